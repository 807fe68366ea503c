"""Event streams without gaps, and progress streams up to their end."""

import asyncio
import random
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from control_fixtures import LIMIT_S, ControlApi, serve_control_api, stream
from simulated import JumpLoop

from splootd.control.event_stream import EventStream, Snapshot
from splootd.core.item import State
from splootd.errors import StoreFull
from splootd.event_bus import EventBus, WakeSignal
from splootd.protocol import GetProgress, Items, ListItems, MessageReply, Pause, Progress, Resume
from splootd.store.read_queries import ItemEvent


@pytest_asyncio.fixture
async def control_api(tmp_path: Path) -> AsyncIterator[ControlApi]:
    async with serve_control_api(tmp_path) as control_api:
        yield control_api


async def wait_until_unsubscribed(control_api: ControlApi) -> None:
    async with asyncio.timeout(LIMIT_S):
        while repr(control_api.context.event_bus) != "EventBus(0 subscribers)":  # noqa: ASYNC110 - unsubscribing sends no signal
            await asyncio.sleep(0)


def event(number: int, path: str = "/memes/a.png") -> ItemEvent:
    """Return an event that follows all those of the store."""
    return ItemEvent(1_000_001 + number, 1.0, 1, State.PENDING, path.encode())


async def test_events_are_streamed_after_their_commit(control_api: ControlApi):
    events = await stream(control_api, "/v1/events")
    assert (await events.next())[0] == "start"
    await control_api.add("a.png")
    kind, data, number = await events.next()
    assert (kind, data["state"], data["path"]) == ("item", "pending", str(control_api.folder / "a.png"))
    assert number == data["seq"]
    events.close()


@pytest.mark.parametrize("by_header", [True, False])
async def test_a_stream_resumes_without_a_gap(control_api: ControlApi, by_header: bool):
    await control_api.add("a.png", "b.png", "c.png")
    cursor = (await control_api.context.read_queries.events(since=0, limit=1))[0].seq
    if by_header:
        events = await stream(control_api, "/v1/events", f"Last-Event-ID: {cursor}")
    else:
        events = await stream(control_api, f"/v1/events?since={cursor}")
    assert (await events.next())[0] == "start"
    missed = [(await events.next())[2] for _ in range(2)]
    assert missed == [cursor + 1, cursor + 2]
    await control_api.add("d.png")
    assert (await events.next())[2] == cursor + 3
    events.close()


async def test_an_unknown_cursor_yields_reset(control_api: ControlApi):
    await control_api.add("a.png")
    events = await stream(control_api, "/v1/events?since=999999")
    kind, data, number = await events.next()
    assert kind == "reset"
    assert number == data["newest"] == await control_api.context.read_queries.newest_event_seq()
    events.close()


async def test_a_cursor_before_the_oldest_event_yields_reset(control_api: ControlApi):
    added = await control_api.add("a.png", "b.png", "c.png")
    assert added.counts == {"queued": 3}
    await control_api.context.read_queries._database.write(
        lambda it: it.execute("DELETE FROM events WHERE seq <= 2").fetchall()
    )
    events = await stream(control_api, "/v1/events?since=1")
    assert (await events.next())[0] == "reset"
    events.close()
    events = await stream(control_api, "/v1/events?since=2")
    assert [(await events.next())[0], (await events.next())[2]] == ["start", 3]
    events.close()


async def test_ten_subscribers_receive_every_event_and_unsubscribe(control_api: ControlApi):
    subscribers = [await stream(control_api, "/v1/events") for _ in range(10)]
    for each in subscribers:
        assert (await each.next())[0] == "start"
    assert repr(control_api.context.event_bus) == "EventBus(10 subscribers)"
    names = [f"{number}.png" for number in range(20)]
    await control_api.add(*names)
    for each in subscribers:
        assert [Path((await each.next())[1]["path"]).name for _ in names] == names
        each.close()
    await wait_until_unsubscribed(control_api)


async def test_a_subscriber_that_does_not_read_is_unsubscribed(control_api: ControlApi):
    events = await stream(control_api, "/v1/events")
    assert (await events.next())[0] == "start"
    padding = "x" * 100_000
    for number in range(100):  # more than the socket buffers
        control_api.context.event_bus.publish(event(number, path=f"/{padding}"))
        await asyncio.sleep(0)
    events.close()
    await wait_until_unsubscribed(control_api)


async def test_a_filter_selects_one_folder_or_item(control_api: ControlApi):
    await control_api.add("a.png")
    (row,) = (await control_api.request(ListItems(), Items)).items
    below, outside = control_api.folder / "below", control_api.folder / "below2"
    below.mkdir()
    outside.mkdir()
    of_folder = await stream(control_api, f"/v1/events?folder={below}/")
    of_item = await stream(control_api, f"/v1/events?since=0&item={row.id}")
    assert (await of_folder.next())[0] == (await of_item.next())[0] == "start"
    await control_api.add("below2/b.png", "below/c.png", "d.png")
    assert (await of_folder.next())[1]["path"] == str(below / "c.png")
    assert (await of_item.next())[1]["item"] == row.id
    await control_api.context.queue.forget([row.id], now=control_api.context.clock.now())
    _, entry, _ = await of_item.next()
    assert (entry["item"], entry["state"]) == (row.id, "skipped")
    of_folder.close()
    of_item.close()


async def test_a_filter_applies_to_transfers(control_api: ControlApi):
    await control_api.add("a.png")
    (row,) = (await control_api.request(ListItems(), Items)).items
    of_item = await stream(control_api, f"/v1/events?item={row.id}")
    of_folder = await stream(control_api, "/v1/events?folder=/memes")
    assert (await of_folder.next())[0] == (await of_item.next())[0] == "start"
    metrics = control_api.context.metrics
    with metrics.transfer(b"/memes/b.png", 10), metrics.transfer(row.path.encode(), 13), metrics.transfer(b"/c", 1):
        control_api.context.event_bus.wake()
        assert [each["path"] for each in (await of_item.next())[1]["transfers"]] == [row.path]
        assert [each["path"] for each in (await of_folder.next())[1]["transfers"]] == ["/memes/b.png"]
    of_item.close()
    of_folder.close()


async def test_a_filter_without_a_match_is_rejected(control_api: ControlApi):
    status, _, problem = await control_api.http("GET", "/v1/events?item=7")
    assert (status, problem["code"]) == (404, "not_found")
    status, _, problem = await control_api.http("GET", "/v1/events?folder=memes")
    assert (status, problem["code"]) == (400, "bad_folder")


async def test_a_slow_subscriber_receives_the_dropped_count(control_api: ControlApi, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("splootd.event_bus.SUBSCRIBER_EVENTS_MAX", 2)
    events = control_api.server.handlers.event_stream.stream_events(None)
    assert b"event: start" in await anext(events)
    for number in range(6):
        control_api.context.event_bus.publish(event(number))
    assert b'event: dropped\ndata: {"count": 4}' in await anext(events)
    await events.aclose()


async def test_transfers_are_streamed_until_they_end(control_api: ControlApi):
    events = await stream(control_api, "/v1/events")
    assert (await events.next())[0] == "start"
    with control_api.context.metrics.transfer(b"/memes/caf\xe9.png", 1000) as transfer:
        transfer.record_progress(400)
        control_api.context.event_bus.wake()
        kind, data, number = await events.next()
        assert (kind, number) == ("transfers", None)
        assert data == {"transfers": [{"path": "/memes/caf\udce9.png", "size": 1000, "sent": 400}]}
    assert (await events.next())[1] == {"transfers": []}
    events.close()


async def test_every_stream_receives_the_status_when_it_is_paused(control_api: ControlApi):
    events = await stream(control_api, "/v1/events?folder=/elsewhere")
    assert (await events.next())[0] == "start"
    await control_api.request(Pause(), MessageReply)
    kind, status, _ = await events.next()
    assert (kind, status["daemon"]["state"], status["server"]["state"]) == ("status", "paused", "ok")
    assert status == {**(await control_api.http("GET", "/v1/status"))[2], "daemon": status["daemon"]}
    await control_api.request(Resume(), MessageReply)
    assert (await events.next())[1]["daemon"]["state"] == "running"
    events.close()


async def test_an_idle_stream_sends_heartbeats(control_api: ControlApi, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("splootd.control.event_stream.HEARTBEAT_S", 0.01)
    events = control_api.server.handlers.event_stream.stream_events(None)
    await anext(events)
    assert (await anext(events)).startswith(b":")
    await events.aclose()


async def test_a_snapshot_is_sent_only_when_its_fingerprint_changes(
    control_api: ControlApi, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("splootd.control.event_stream.SNAPSHOT_INTERVAL_S", 0.001)
    monkeypatch.setattr("splootd.control.event_stream.HEARTBEAT_S", 0.02)
    snapshots = iter([Snapshot({"n": 1}, "a"), Snapshot({"n": 2}, "a"), Snapshot({"n": 3}, "b")])

    async def source() -> Snapshot:
        return next(snapshots, Snapshot({"n": 4}, "b"))

    events = control_api.server.handlers.event_stream.stream_events(None, sources={"figures": source})
    chunks = [await anext(events) for _ in range(4)]
    assert b"event: start" in chunks[0]
    assert chunks[1:3] == [b'event: figures\ndata: {"n": 1}\n\n', b'event: figures\ndata: {"n": 3}\n\n']
    assert chunks[3].startswith(b":"), "an unchanged snapshot is not sent again"
    await events.aclose()


async def test_a_source_is_queried_at_most_once_a_second(control_api: ControlApi):
    queries, started_at = 0, asyncio.get_running_loop().time()

    async def source() -> Snapshot:
        nonlocal queries
        queries += 1
        return Snapshot({"n": queries}, queries)

    events = control_api.server.handlers.event_stream.stream_events(None, sources={"figures": source})
    assert b"start" in await anext(events)
    assert b'"n": 1' in await anext(events)
    for number in range(10):
        control_api.context.event_bus.publish(event(number))
        assert b"event: item" in await anext(events)
    assert queries <= 2 + asyncio.get_running_loop().time() - started_at
    await events.aclose()


async def test_a_failed_snapshot_is_retried(control_api: ControlApi, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("splootd.control.event_stream.SNAPSHOT_INTERVAL_S", 0.001)
    errors = iter([StoreFull("disk full"), None])

    async def source() -> Snapshot:
        if error := next(errors):
            raise error
        return Snapshot({"n": 1}, 1)

    events = control_api.server.handlers.event_stream.stream_events(None, sources={"figures": source})
    assert b"start" in await anext(events)
    assert await anext(events) == b'event: figures\ndata: {"n": 1}\n\n'
    await events.aclose()


async def test_the_status_is_streamed_to_its_subscribers(control_api: ControlApi):
    events = await stream(control_api, "/v1/events?status=true")
    assert (await events.next())[0] == "start"
    kind, first, _ = await events.next()
    assert (kind, first) == ("status", {**(await control_api.http("GET", "/v1/status"))[2], "daemon": first["daemon"]})
    await control_api.add("a.png")
    while kind != "status" or first["items"]["total"] != 1:
        kind, first, _ = await events.next()
    assert sum(first["items"].values()) == 2, "the total and the one item"
    events.close()


async def test_the_progress_of_an_import_is_streamed_to_its_end(control_api: ControlApi):
    added = await control_api.add("a.png", "b.png")
    progress = await stream(control_api, f"/v1/progress?import_id={added.import_id}&follow=true")
    _, data, _ = await progress.next()
    assert (data["total"], data["states"]["pending"], data["ended"]) == (2, 2, False)
    assert sum(data["states"].values()) == data["total"]
    now = control_api.context.clock.now()
    ids = [row.id for row in (await control_api.request(ListItems(), Items)).items]
    await control_api.context.queue.forget(ids, now=now)
    while not data["ended"]:
        _, data, _ = await progress.next()
    assert data["states"]["skipped"] == 2
    assert b"data:" not in await progress.rest()


async def test_the_progress_is_returned_without_following(control_api: ControlApi):
    added = await control_api.add("a.png")
    progress = await control_api.request(GetProgress(added.import_id), Progress)
    assert (progress.total, progress.bytes_total, progress.ended) == (1, 13, False)


@pytest.mark.parametrize("query_s", [0.0, 0.01, 0.1, 0.4])
def test_progress_is_sent_at_least_once_a_second_for_any_query_time(query_s: float):
    progress = Progress(1, scanning=True, total=0, states={}, duplicates=0, bytes_total=0, bytes_done=0, ended=False)

    async def measure() -> list[float]:
        async def get_progress() -> Progress:
            await asyncio.sleep(query_s)
            return progress

        unused: Any = None
        event_stream = EventStream(
            unused, unused, EventBus(), WakeSignal(), get_connection_state=dict, get_status=unused
        )
        sent_at, loop = [], asyncio.get_running_loop()
        async for _ in event_stream.stream_progress(get_progress):
            sent_at.append(loop.time())
            if len(sent_at) == 20:
                break
        return sent_at

    with asyncio.Runner(loop_factory=lambda: JumpLoop(random.Random(1))) as runner:
        sent_at = runner.run(measure())
    assert all(0.25 <= later - earlier <= 1.001 for earlier, later in pairwise(sent_at))


async def test_streams_end_at_the_shutdown(control_api: ControlApi):
    added = await control_api.add("a.png")
    events = await stream(control_api, "/v1/events")
    progress = await stream(control_api, f"/v1/progress?import_id={added.import_id}&follow=true")
    await events.next()
    await progress.next()
    control_api.server.close()
    assert b"event: dropped" not in await events.rest()
    await progress.rest()
