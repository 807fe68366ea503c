"""What streams: news without gaps, progress until the end."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from controlled import House, controlled, stream

from splootd.protocol import GetProgress, Items, ListItems, Progress


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with controlled(tmp_path) as house:
        yield house


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


async def test_a_slow_reader_is_told_how_much_it_lost(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("splootd.bus.LISTENER_NEWS_MAX", 2)
    news = house.control.answers.news.events(None)
    assert b"event: start" in await anext(news)
    house.parts.bus.publish({"seq": 1_000_001})
    for number in range(5):
        house.parts.bus.publish({"seq": 1_000_002 + number})
    assert b'event: lost\ndata: {"count": 4}' in await anext(news)
    await news.aclose()


async def test_bytes_that_move_are_shown_until_they_have_arrived(house: House):
    news = await stream(house, "/v1/events")
    assert (await news.next())[0] == "start"
    with house.parts.traffic.transfer(b"/memes/caf\xe9.png", 1000) as transfer:
        transfer.progress(400)
        house.parts.bus.publish({"seq": 0})
        kind, data, number = await news.next()
        assert (kind, number) == ("transfers", None)
        assert data == {"transfers": [{"path": "/memes/caf\udce9.png", "size": 1000, "sent": 400}]}
    assert (await news.next())[1] == {"transfers": []}
    news.close()


async def test_silence_is_broken_by_a_sign_of_life(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("splootd.control.stream.HEARTBEAT_S", 0.01)
    news = house.control.answers.news.events(None)
    await anext(news)
    assert (await anext(news)).startswith(b":")
    await news.aclose()


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


async def test_streams_end_when_the_daemon_does(house: House):
    added = await house.add("a.png")
    news = await stream(house, "/v1/events")
    progress = await stream(house, f"/v1/progress?add={added.add}&follow=true")
    await news.next()
    await progress.next()
    house.control.close()
    assert b"event: lost" not in await news.rest()
    await progress.rest()
