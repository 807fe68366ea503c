"""What streams: news without gaps, progress until the end."""

import asyncio
import random
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from controlled import LIMIT_S, House, controlled, stream
from simulated import JumpLoop

from splootd.bus import Bell, Bus
from splootd.control.stream import Look, News
from splootd.errors import StoreFull
from splootd.protocol import Done, GetProgress, Items, ListItems, Pause, Progress, Resume


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with controlled(tmp_path) as house:
        yield house


async def nobody_listens(house: House) -> None:
    async with asyncio.timeout(LIMIT_S):
        while repr(house.parts.bus) != "Bus(0 listeners)":  # noqa: ASYNC110 - leaving rings no bell
            await asyncio.sleep(0)


async def test_news_come_as_they_are_committed(house: House):
    news = await stream(house, "/v1/events")
    assert (await news.next())[0] == "start"
    await house.add("a.png")
    kind, data, number = await news.next()
    assert (kind, data["state"], data["path"]) == ("item", "pending", str(house.folder / "a.png"))
    assert number == data["seq"]
    news.close()


@pytest.mark.parametrize("by_header", [True, False])
async def test_news_resume_without_a_gap_after_the_last_that_was_seen(house: House, by_header: bool):
    await house.add("a.png", "b.png", "c.png")
    cursor = (await house.parts.listing.events(since=0, limit=1))[0].seq
    if by_header:
        news = await stream(house, "/v1/events", f"Last-Event-ID: {cursor}")
    else:
        news = await stream(house, f"/v1/events?since={cursor}")
    assert (await news.next())[0] == "start"
    missed = [(await news.next())[2] for _ in range(2)]
    assert missed == [cursor + 1, cursor + 2]
    await house.add("d.png")
    assert (await news.next())[2] == cursor + 3
    news.close()


async def test_a_cursor_that_is_too_old_is_told_so(house: House):
    await house.add("a.png")
    news = await stream(house, "/v1/events?since=999999")
    kind, data, number = await news.next()
    assert kind == "fresh"
    assert number == data["newest"] == await house.parts.listing.newest_event()
    news.close()


async def test_a_cursor_from_before_what_is_kept_is_told_so(house: House):
    added = await house.add("a.png", "b.png", "c.png")
    assert added.counts == {"queued": 3}
    await house.parts.listing._database.write(lambda it: it.execute("DELETE FROM events WHERE seq <= 2").fetchall())
    news = await stream(house, "/v1/events?since=1")
    assert (await news.next())[0] == "fresh"
    news.close()
    news = await stream(house, "/v1/events?since=2")
    assert [(await news.next())[0], (await news.next())[2]] == ["start", 3]
    news.close()


async def test_ten_listeners_see_every_update_and_leave_nothing_behind(house: House):
    listeners = [await stream(house, "/v1/events") for _ in range(10)]
    for each in listeners:
        assert (await each.next())[0] == "start"
    assert repr(house.parts.bus) == "Bus(10 listeners)"
    names = [f"{number}.png" for number in range(20)]
    await house.add(*names)
    for each in listeners:
        assert [Path((await each.next())[1]["path"]).name for _ in names] == names
        each.close()
    await nobody_listens(house)


async def test_a_listener_that_does_not_read_leaves_nothing_behind_either(house: House):
    news = await stream(house, "/v1/events")
    assert (await news.next())[0] == "start"
    padding = "x" * 100_000
    for number in range(100):  # more than the socket takes
        house.parts.bus.publish({"seq": 1_000_001 + number, "item": 1, "path": f"/{padding}"})
        await asyncio.sleep(0)
    news.close()
    await nobody_listens(house)


async def test_news_of_one_folder_or_item_are_no_other_news(house: House):
    await house.add("a.png")
    (row,) = (await house.ask(ListItems(), Items)).items
    below, outside = house.folder / "below", house.folder / "below2"
    below.mkdir()
    outside.mkdir()
    of_folder = await stream(house, f"/v1/events?folder={below}/")
    of_item = await stream(house, f"/v1/events?since=0&item={row.id}")
    assert (await of_folder.next())[0] == (await of_item.next())[0] == "start"
    await house.add("below2/b.png", "below/c.png", "d.png")
    assert (await of_folder.next())[1]["path"] == str(below / "c.png")
    assert (await of_item.next())[1]["item"] == row.id
    await house.parts.queue.forget([row.id], now=house.parts.clock.now())
    _, entry, _ = await of_item.next()
    assert (entry["item"], entry["state"]) == (row.id, "skipped")
    of_folder.close()
    of_item.close()


async def test_bytes_that_move_elsewhere_are_not_shown(house: House):
    await house.add("a.png")
    (row,) = (await house.ask(ListItems(), Items)).items
    of_item = await stream(house, f"/v1/events?item={row.id}")
    of_folder = await stream(house, "/v1/events?folder=/memes")
    assert (await of_folder.next())[0] == (await of_item.next())[0] == "start"
    traffic = house.parts.traffic
    with traffic.transfer(b"/memes/b.png", 10), traffic.transfer(row.path.encode(), 13), traffic.transfer(b"/c", 1):
        house.parts.bus.wake()
        assert [each["path"] for each in (await of_item.next())[1]["transfers"]] == [row.path]
        assert [each["path"] for each in (await of_folder.next())[1]["transfers"]] == ["/memes/b.png"]
    of_item.close()
    of_folder.close()


async def test_news_of_nothing_are_refused(house: House):
    status, _, problem = await house.http("GET", "/v1/events?item=7")
    assert (status, problem["code"]) == (404, "not_found")
    status, _, problem = await house.http("GET", "/v1/events?folder=memes")
    assert (status, problem["code"]) == (400, "bad_folder")


async def test_a_slow_reader_is_told_how_much_it_lost(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("splootd.bus.LISTENER_NEWS_MAX", 2)
    news = house.control.answers.news.events(None)
    assert b"event: start" in await anext(news)
    for number in range(6):
        house.parts.bus.publish({"seq": 1_000_001 + number, "item": 1, "path": "/memes/a.png"})
    assert b'event: lost\ndata: {"count": 4}' in await anext(news)
    await news.aclose()


async def test_bytes_that_move_are_shown_until_they_have_arrived(house: House):
    news = await stream(house, "/v1/events")
    assert (await news.next())[0] == "start"
    with house.parts.traffic.transfer(b"/memes/caf\xe9.png", 1000) as transfer:
        transfer.progress(400)
        house.parts.bus.wake()
        kind, data, number = await news.next()
        assert (kind, number) == ("transfers", None)
        assert data == {"transfers": [{"path": "/memes/caf\udce9.png", "size": 1000, "sent": 400}]}
    assert (await news.next())[1] == {"transfers": []}
    news.close()


async def test_a_pause_is_news_to_everybody_at_once(house: House):
    news = await stream(house, "/v1/events?folder=/elsewhere")
    assert (await news.next())[0] == "start"
    await house.ask(Pause(), Done)
    assert (await news.next())[:2] == (
        "status",
        {"daemon": "paused", "server": "ok", "breaker": "closed", "push": "polling"},
    )
    await house.ask(Resume(), Done)
    assert (await news.next())[1]["daemon"] == "running"
    news.close()


async def test_silence_is_broken_by_a_sign_of_life(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("splootd.control.stream.HEARTBEAT_S", 0.01)
    news = house.control.answers.news.events(None)
    await anext(news)
    assert (await anext(news)).startswith(b":")
    await news.aclose()


async def test_figures_are_told_when_their_sign_changes_and_not_more_often(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("splootd.control.stream.FIGURES_S", 0.001)
    monkeypatch.setattr("splootd.control.stream.HEARTBEAT_S", 0.02)
    looks = iter([Look({"n": 1}, "a"), Look({"n": 2}, "a"), Look({"n": 3}, "b")])

    async def figures() -> Look:
        return next(looks, Look({"n": 4}, "b"))

    news = house.control.answers.news.events(None, figures={"figures": figures})
    said = [await anext(news) for _ in range(4)]
    assert b"event: start" in said[0]
    assert said[1:3] == [b'event: figures\ndata: {"n": 1}\n\n', b'event: figures\ndata: {"n": 3}\n\n']
    assert said[3].startswith(b":"), "what stays the same is not told again"
    await news.aclose()


async def test_figures_are_not_looked_at_more_than_once_a_second(house: House):
    looked, began_at = 0, asyncio.get_running_loop().time()

    async def figures() -> Look:
        nonlocal looked
        looked += 1
        return Look({"n": looked}, looked)

    news = house.control.answers.news.events(None, figures={"figures": figures})
    assert b"start" in await anext(news)
    assert b'"n": 1' in await anext(news)
    for number in range(10):
        house.parts.bus.publish({"seq": 1_000_001 + number, "item": 1, "path": "/memes/a.png"})
        assert b"event: item" in await anext(news)
    assert looked <= 2 + asyncio.get_running_loop().time() - began_at
    await news.aclose()


async def test_figures_that_cannot_be_read_are_told_another_time(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("splootd.control.stream.FIGURES_S", 0.001)
    tries = iter([StoreFull("no room"), None])

    async def figures() -> Look:
        if error := next(tries):
            raise error
        return Look({"n": 1}, 1)

    news = house.control.answers.news.events(None, figures={"figures": figures})
    assert b"start" in await anext(news)
    assert await anext(news) == b'event: figures\ndata: {"n": 1}\n\n'
    await news.aclose()


async def test_the_status_comes_whole_to_those_who_watch_it(house: House):
    news = await stream(house, "/v1/events?now=true")
    assert (await news.next())[0] == "start"
    kind, first, _ = await news.next()
    assert (kind, first) == ("now", {**(await house.http("GET", "/v1/status"))[2], "daemon": first["daemon"]})
    await house.add("a.png")
    while kind != "now" or first["items"]["total"] != 1:
        kind, first, _ = await news.next()
    assert sum(first["items"].values()) == 2, "the total, and the one"
    news.close()


async def test_the_progress_of_an_add_streams_until_it_has_ended(house: House):
    added = await house.add("a.png", "b.png")
    progress = await stream(house, f"/v1/progress?add={added.add}&follow=true")
    _, data, _ = await progress.next()
    assert (data["total"], data["states"]["pending"], data["ended"]) == (2, 2, False)
    assert sum(data["states"].values()) == data["total"]
    now = house.parts.clock.now()
    ids = [row.id for row in (await house.ask(ListItems(), Items)).items]
    await house.parts.queue.forget(ids, now=now)
    while not data["ended"]:
        _, data, _ = await progress.next()
    assert data["states"]["skipped"] == 2
    assert b"data:" not in await progress.rest()


async def test_the_progress_is_also_told_once(house: House):
    added = await house.add("a.png")
    progress = await house.ask(GetProgress(added.add), Progress)
    assert (progress.total, progress.bytes_total, progress.ended) == (1, 13, False)


@pytest.mark.parametrize("query_s", [0.0, 0.01, 0.1, 0.4])
def test_progress_is_told_at_least_once_a_second_however_long_it_takes_to_find_out(query_s: float):
    told = Progress(1, walking=True, total=0, states={}, duplicates=0, bytes_total=0, bytes_done=0, ended=False)

    async def watched() -> list[float]:
        async def snapshot() -> Progress:
            await asyncio.sleep(query_s)
            return told

        nothing: Any = None
        told_at, loop = [], asyncio.get_running_loop()
        async for _ in News(nothing, nothing, Bus(), Bell(), dict).progress(snapshot):
            told_at.append(loop.time())
            if len(told_at) == 20:
                break
        return told_at

    with asyncio.Runner(loop_factory=lambda: JumpLoop(random.Random(1))) as runner:
        at = runner.run(watched())
    assert all(0.25 <= later - earlier <= 1.001 for earlier, later in pairwise(at))


async def test_streams_end_when_the_daemon_does(house: House):
    added = await house.add("a.png")
    news = await stream(house, "/v1/events")
    progress = await stream(house, f"/v1/progress?add={added.add}&follow=true")
    await news.next()
    await progress.next()
    house.control.close()
    assert b"event: lost" not in await news.rest()
    await progress.rest()
