"""What the daemon answers to each request."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from controlled import PNG, House, controlled
from sploot.client import Client
from sploot.connection import Connection

from splootd import protocol
from splootd.core.fault import Fault
from splootd.core.item import State
from splootd.errors import RequestError, SignedOut
from splootd.protocol import (
    Add,
    Added,
    Bump,
    Changed,
    Done,
    Folders,
    Forget,
    GetFolders,
    GetStatus,
    Hits,
    Items,
    ListItems,
    Login,
    Logout,
    Pause,
    RemoveFolder,
    Resume,
    Retry,
    Search,
    Shutdown,
    Status,
    Story,
    Why,
)
from splootd.remote.api import Match
from splootd.wire import encode


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with controlled(tmp_path) as house:
        yield house


async def test_the_status_has_the_agreed_shape_and_adds_up(house: House):
    await house.add("a.png", "b.png")
    status, _, body = await house.http("GET", "/v1/status")
    assert status == 200
    states = [state.value for state in State]
    assert list(body) == [
        "daemon",
        "server",
        "items",
        "ready_of_which_duplicates",
        "pending_of_which_delayed",
        "rates",
        "folders",
        "needs_you",
    ]
    assert set(body["items"]) == {"total", *states}
    assert body["items"]["total"] == 2 == sum(body["items"][state] for state in states)
    assert body["daemon"]["pid"] == os.getpid()
    assert body["daemon"]["state"] == "running"
    assert body["daemon"]["rss_bytes"] > 1_000_000
    assert body["server"] == {
        "url": "local",
        "embedded": True,
        "state": "ok",
        "breaker": "closed",
        "push": "polling",
        "retry_at": None,
        "detail": None,
    }
    assert body["rates"] == {"items_per_s": 0.0, "bytes_per_s": 0.0, "eta_s": None}


async def test_an_added_file_is_listed_and_has_a_story(house: House):
    added = await house.add("a.png")
    (row,) = (await house.ask(ListItems(), Items)).items
    assert (row.path, row.state, row.size) == (str(house.folder / "a.png"), "pending", 13)
    story = await house.ask(Why(str(house.folder / "a.png")), Story)
    assert story == await house.ask(Why(str(row.id)), Story)
    assert story.next == "It waits for its turn."
    assert story.item == row
    assert added.counts["queued"] == 1


async def test_a_story_is_found_over_a_link(house: House, tmp_path: Path):
    await house.add("a.png")
    (tmp_path / "link").symlink_to(house.folder)
    assert (await house.ask(Why(f"{tmp_path}/link/a.png"), Story)).item.path == str(house.folder / "a.png")


async def test_a_name_that_is_not_utf8_comes_through(house: House):
    name = os.fsdecode(b"caf\xe9\n.png")
    (house.folder / name).write_bytes(PNG)
    await house.ask(Add((str(house.folder / name),)), Added)
    (row,) = (await house.ask(ListItems(), Items)).items
    assert row.path == str(house.folder / name)
    assert (await house.ask(Why(row.path), Story)).item.id == row.id


async def test_pages_follow_each_other_without_gap_or_overlap(house: House):
    await house.add(*(f"{number}.png" for number in range(5)))
    seen: list[int] = []
    before: int | None = None
    while True:
        page = await house.ask(ListItems(limit=2, before=before), Items)
        seen += [row.id for row in page.items]
        before = page.before
        if before is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 5


async def test_the_same_key_twice_is_one_change_and_the_same_answer(house: House):
    (house.folder / "a.png").write_bytes(PNG)
    body = json.dumps({"paths": [str(house.folder / "a.png")]}).encode()
    first = await house.http("POST", "/v1/add", body, Idempotency_Key="k1")
    again = await house.http("POST", "/v1/add", body, Idempotency_Key="k1")
    assert first[2] == again[2]
    assert first[2]["counts"] == {"queued": 1}
    other = await house.http("POST", "/v1/add", body, Idempotency_Key="k2")
    assert other[2]["counts"] == {"known": 1}


async def test_the_same_key_at_the_same_time_is_one_change_too(house: House):
    (house.folder / "a.png").write_bytes(PNG)
    body = json.dumps({"paths": [str(house.folder / "a.png")]}).encode()
    answers = await asyncio.gather(*(house.http("POST", "/v1/add", body, Idempotency_Key="k") for _ in range(5)))
    assert [answer[2]["counts"] for answer in answers] == [{"queued": 1}] * 5


async def test_a_key_belongs_to_its_request(house: House):
    assert (await house.http("POST", "/v1/pause", Idempotency_Key="k"))[0] == 200
    assert (await house.http("POST", "/v1/resume", Idempotency_Key="k"))[0] == 200
    assert not house.parts.gate.paused


async def test_a_refused_change_may_be_tried_again_under_its_key(house: House):
    assert (await house.http("POST", "/v1/login", b"{}", Idempotency_Key="k"))[0] == 400
    assert (await house.http("POST", "/v1/login", b'{"token": "t"}', Idempotency_Key="k"))[0] == 200


async def test_a_pause_holds_and_is_kept(house: House):
    await house.ask(Pause(), Done)
    assert house.parts.gate.paused
    assert await house.parts.listing.setting("paused")
    house.parts.traffic.record(100)
    await house.add("a.png")
    paused = await house.ask(GetStatus(), Status)
    assert (paused.daemon.state, paused.rates.eta_s) == ("paused", None)
    assert "sploot resume" in (await house.ask(Why(str(house.folder / "a.png")), Story)).next
    await house.ask(Resume(), Done)
    assert not house.parts.gate.paused
    assert not await house.parts.listing.setting("paused")


async def test_forget_retry_and_bump_say_what_they_changed_and_what_is_not_there(house: House):
    await house.add("a.png", "b.png")
    a, b = (str(house.folder / name) for name in ("a.png", "b.png"))
    forgotten = await house.ask(Forget((a, "99", "/nowhere")), Changed)
    assert forgotten.not_found == ("99", "/nowhere")
    assert (await house.ask(Why(a), Story)).item.state == "skipped"
    assert (await house.ask(Retry(forgotten.ids), Changed)).ids == forgotten.ids
    assert (await house.ask(Why(a), Story)).item.priority == "urgent"
    assert len((await house.ask(Bump((b,)), Changed)).ids) == 1
    await house.ask(Forget((b,)), Changed)
    assert await house.ask(Bump((b,)), Changed) == Changed((), (b,))
    assert (await house.ask(Retry((99,)), Changed)) == Changed((), ("99",))


async def bury(house: House) -> int:
    """Send the one item that waits to the dead letters."""
    now = house.parts.clock.now()
    leased = [await house.parts.queue.claim(shard, now=now, chance=0.0) for shard in range(16)]
    (one,) = [each for each in leased if each is not None]
    assert await house.parts.queue.bury(one, fault=Fault.TOO_LARGE, reason="it is too large", now=now)
    return one.item.id


async def test_a_dead_letter_needs_the_user_and_comes_back(house: House):
    await house.add("a.png")
    item = await bury(house)
    (need,) = (await house.ask(GetStatus(), Status)).needs_you
    assert (need.count, need.command) == (1, "sploot failed")
    (row,) = (await house.ask(ListItems(state="dead", reason="too_large"), Items)).items
    assert (row.id, row.reason) == (item, "it is too large")
    story = await house.ask(Why(str(item)), Story)
    assert [(each.fault, each.verdict) for each in story.attempts] == [("too_large", "bury")]
    assert f"sploot retry {item}" in story.next
    assert (await house.ask(Retry(reason="too_large"), Changed)).ids == (item,)
    assert (await house.ask(GetStatus(), Status)).needs_you == ()


async def test_watched_folders_are_shown_and_can_be_let_go(house: House):
    await house.ask(Add((str(house.folder),)), Added)
    (row,) = (await house.ask(GetFolders(), Folders)).folders
    assert row.path == str(house.folder)
    await house.ask(RemoveFolder(str(house.folder)), Done)
    assert (await house.ask(GetFolders(), Folders)).folders == ()


async def test_a_match_knows_its_file(house: House):
    await house.add("a.png")
    now = house.parts.clock.now()
    leased = [await house.parts.queue.claim(shard, now=now, chance=0.0) for shard in range(16)]
    (one,) = [each for each in leased if each is not None]
    assert await house.parts.queue.accept(one, asset_id="A", sha256=b"1" * 32, duplicate=False, embedded=True, now=now)
    house.library.matches = [Match("A", 0.9, "http://x/A", "cat"), Match("B", None, "http://x/B", None)]
    hits = await house.ask(Search("cat"), Hits)
    assert [(hit.asset_id, hit.path, hit.score) for hit in hits.hits] == [
        ("A", str(house.folder / "a.png"), 0.9),
        ("B", None, None),
    ]
    assert hits.note is None


async def test_no_more_matches_are_given_than_were_asked_for(house: House):
    house.library.matches = [Match(f"A{number}", 0.5, "http://x/A", None) for number in range(5)]
    assert [hit.asset_id for hit in (await house.ask(Search("cat", 2), Hits)).hits] == ["A0", "A1"]


async def test_a_search_while_memes_are_on_their_way_says_so(house: House):
    await house.add("a.png")
    assert "1 more" in ((await house.ask(Search("cat"), Hits)).note or "")


async def test_an_error_of_the_server_keeps_its_code(house: House):
    house.library.error = SignedOut("the server does not know you", "sploot login")
    with pytest.raises(RequestError) as caught:
        await house.ask(Search("cat"), Hits)
    assert (caught.value.code, caught.value.hint) == ("signed_out", "sploot login")


async def test_a_token_is_kept_and_forgotten(house: House):
    await house.ask(Login(token="t-1"), Done)
    assert await house.parts.credentials.token() == "t-1"
    await house.ask(Logout(), Done)
    assert await house.parts.credentials.token() is None


async def test_shutdown_begins_the_end(house: House):
    await house.ask(Shutdown(), Done)
    assert house.shutdowns == ["now"]
    assert (await house.ask(GetStatus(), Status)).daemon.state == "draining"


async def test_lists_are_paged_both_ways_and_searched_by_name(house: House):
    await house.add(*(f"{name}.png" for name in ("cat", "dog", "Cat 2", "cow")))

    async def names(asked: ListItems) -> tuple[list[str], int | None, int | None]:
        page = await house.ask(asked, Items)
        return [Path(row.path).stem for row in page.items], page.before, page.after

    assert await names(ListItems(limit=2)) == (["cow", "Cat 2"], 3, None)
    assert await names(ListItems(after=0, limit=3)) == (["Cat 2", "dog", "cat"], None, 3)
    assert await names(ListItems(after=3, limit=3)) == (["cow"], None, None)
    assert await names(ListItems(text="CAT")) == (["Cat 2", "cat"], None, None)
    assert await names(ListItems(text="cat", before=3)) == (["cat"], None, None)
    assert await names(ListItems(text="cat", after=1)) == (["Cat 2"], None, None)
    status, _, problem = await house.http("GET", f"/v1/items?text={'x' * 201}")
    assert (status, problem["code"]) == (400, "bad_text")


async def test_a_whole_list_comes_as_lines_a_page_at_a_time(house: House, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "PAGE_MAX", 2)
    await house.add(*(f"{number}.png" for number in range(5)))

    async def rows(query: str) -> list[dict[str, Any]]:
        client = Client(lambda: Connection(house.path), print)
        with closing(client):
            return await asyncio.to_thread(lambda: [json.loads(each) for each in client.lines(asked[query])])

    asked = {
        "all": ListItems(lines=True, limit=100),
        "some": ListItems(lines=True, limit=3, before=5),
        "named": ListItems(lines=True, limit=100, text="3"),
        "none": ListItems(lines=True, limit=100, state="dead"),
    }
    assert [row["id"] for row in await rows("all")] == [5, 4, 3, 2, 1]
    assert [row["id"] for row in await rows("some")] == [4, 3, 2]
    assert [Path(row["path"]).name for row in await rows("named")] == ["3.png"]
    assert await rows("none") == []
    (page,) = [await house.ask(ListItems(limit=1), Items)]
    assert (await rows("all"))[0] == json.loads(json.dumps(encode(page.items[0])))
    for wrong, code in (("after=1", "bad_list"), ("state=x", "bad_state")):
        status, _, problem = await house.http("GET", f"/v1/items?lines=true&{wrong}")
        assert (status, problem["code"]) == (400, code)
