"""Replies of the daemon to each request."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from control_fixtures import PNG, ControlApi, serve_control_api
from sploot.client import Client
from sploot.connection import Connection

from splootd import protocol
from splootd.codec import encode
from splootd.core.error_code import ErrorCode
from splootd.core.item import State
from splootd.errors import RequestError, Unauthenticated
from splootd.protocol import (
    Add,
    AddReply,
    Bump,
    ChangeReply,
    Explanation,
    Folders,
    Forget,
    GetExplanation,
    GetFolders,
    GetStatus,
    Hits,
    Items,
    ListItems,
    Login,
    Logout,
    MessageReply,
    Pause,
    RemoveFolder,
    Resume,
    Retry,
    Search,
    Shutdown,
    Status,
)
from splootd.remote.client import Match


@pytest_asyncio.fixture
async def control_api(tmp_path: Path) -> AsyncIterator[ControlApi]:
    async with serve_control_api(tmp_path) as control_api:
        yield control_api


async def test_the_status_has_the_documented_keys_and_adds_up(control_api: ControlApi):
    await control_api.add("a.png", "b.png")
    status, _, body = await control_api.http("GET", "/v1/status")
    assert status == 200
    states = [state.value for state in State]
    assert list(body) == [
        "daemon",
        "server",
        "items",
        "duplicates",
        "delayed",
        "rates",
        "folders",
        "actions_required",
    ]
    assert set(body["items"]) == {"total", *states}
    assert body["items"]["total"] == 2 == sum(body["items"][state] for state in states)
    assert body["daemon"]["pid"] == os.getpid()
    assert body["daemon"]["state"] == "running"
    assert body["daemon"]["rss_bytes"] > 1_000_000
    assert body["server"] == {
        "url": "local",
        "is_local": True,
        "state": "ok",
        "breaker": "closed",
        "push": "polling",
        "retry_at": None,
        "detail": None,
        "proxy": None,
    }
    assert body["rates"] == {"items_per_s": 0.0, "bytes_per_s": 0.0, "eta_s": None}


async def test_a_server_that_has_answered_nothing_yet_is_unknown_and_not_ok(control_api: ControlApi):
    control_api.context.client.silence.has_responded = False
    assert (await control_api.request(GetStatus(), Status)).server.state == "unknown"


async def test_an_added_file_is_listed_and_explained(control_api: ControlApi):
    added = await control_api.add("a.png")
    (row,) = (await control_api.request(ListItems(), Items)).items
    assert (row.path, row.state, row.size) == (str(control_api.folder / "a.png"), "pending", 13)
    explanation = await control_api.request(GetExplanation(str(control_api.folder / "a.png")), Explanation)
    assert explanation == await control_api.request(GetExplanation(str(row.id)), Explanation)
    assert explanation.next == "Waiting for its turn in the queue."
    assert explanation.item == row
    assert added.counts["queued"] == 1


async def test_an_item_is_found_through_a_symbolic_link(control_api: ControlApi, tmp_path: Path):
    await control_api.add("a.png")
    (tmp_path / "link").symlink_to(control_api.folder)
    assert (await control_api.request(GetExplanation(f"{tmp_path}/link/a.png"), Explanation)).item.path == str(
        control_api.folder / "a.png"
    )


async def test_a_name_that_is_not_utf8_survives(control_api: ControlApi):
    name = os.fsdecode(b"caf\xe9\n.png")
    (control_api.folder / name).write_bytes(PNG)
    await control_api.request(Add((str(control_api.folder / name),)), AddReply)
    (row,) = (await control_api.request(ListItems(), Items)).items
    assert row.path == str(control_api.folder / name)
    assert (await control_api.request(GetExplanation(row.path), Explanation)).item.id == row.id


async def test_pages_follow_each_other_without_gap_or_overlap(control_api: ControlApi):
    await control_api.add(*(f"{number}.png" for number in range(5)))
    seen: list[int] = []
    before: int | None = None
    while True:
        page = await control_api.request(ListItems(limit=2, before=before), Items)
        seen += [row.id for row in page.items]
        before = page.before
        if before is None:
            break
    assert seen == sorted(seen, reverse=True)
    assert len(seen) == 5


async def test_a_repeated_key_applies_once_and_replays_the_reply(control_api: ControlApi):
    (control_api.folder / "a.png").write_bytes(PNG)
    body = json.dumps({"paths": [str(control_api.folder / "a.png")]}).encode()
    first = await control_api.http("POST", "/v1/add", body, Idempotency_Key="k1")
    again = await control_api.http("POST", "/v1/add", body, Idempotency_Key="k1")
    assert first[2] == again[2]
    assert first[2]["counts"] == {"queued": 1}
    other = await control_api.http("POST", "/v1/add", body, Idempotency_Key="k2")
    assert other[2]["counts"] == {"known": 1}


async def test_concurrent_requests_with_one_key_apply_once(control_api: ControlApi):
    (control_api.folder / "a.png").write_bytes(PNG)
    body = json.dumps({"paths": [str(control_api.folder / "a.png")]}).encode()
    replies = await asyncio.gather(*(control_api.http("POST", "/v1/add", body, Idempotency_Key="k") for _ in range(5)))
    assert [reply[2]["counts"] for reply in replies] == [{"queued": 1}] * 5


async def test_a_key_is_scoped_to_its_path(control_api: ControlApi):
    assert (await control_api.http("POST", "/v1/pause", Idempotency_Key="k"))[0] == 200
    assert (await control_api.http("POST", "/v1/resume", Idempotency_Key="k"))[0] == 200
    assert not control_api.context.admission.is_paused


async def test_a_rejected_change_can_be_retried_with_its_key(control_api: ControlApi):
    assert (await control_api.http("POST", "/v1/login", b"{}", Idempotency_Key="k"))[0] == 400
    assert (await control_api.http("POST", "/v1/login", b'{"token": "t"}', Idempotency_Key="k"))[0] == 200


async def test_a_pause_is_applied_and_saved(control_api: ControlApi):
    await control_api.request(Pause(), MessageReply)
    assert control_api.context.admission.is_paused
    assert await control_api.context.settings_store.get("paused")
    control_api.context.metrics.record_item(100)
    await control_api.add("a.png")
    paused = await control_api.request(GetStatus(), Status)
    assert (paused.daemon.state, paused.rates.eta_s) == ("paused", None)
    assert (
        "sploot resume"
        in (await control_api.request(GetExplanation(str(control_api.folder / "a.png")), Explanation)).next
    )
    await control_api.request(Resume(), MessageReply)
    assert not control_api.context.admission.is_paused
    assert not await control_api.context.settings_store.get("paused")


async def test_forget_retry_and_bump_report_changed_and_missing_items(control_api: ControlApi):
    await control_api.add("a.png", "b.png")
    a, b = (str(control_api.folder / name) for name in ("a.png", "b.png"))
    forgotten = await control_api.request(Forget((a, "99", "/nowhere")), ChangeReply)
    assert forgotten.not_found == ("99", "/nowhere")
    assert (await control_api.request(GetExplanation(a), Explanation)).item.state == "skipped"
    assert (await control_api.request(Retry(forgotten.ids), ChangeReply)).ids == forgotten.ids
    assert (await control_api.request(GetExplanation(a), Explanation)).item.priority == "urgent"
    assert len((await control_api.request(Bump((b,)), ChangeReply)).ids) == 1
    await control_api.request(Forget((b,)), ChangeReply)
    assert await control_api.request(Bump((b,)), ChangeReply) == ChangeReply((), (b,))
    assert (await control_api.request(Retry((99,)), ChangeReply)) == ChangeReply((), ("99",))


async def discard(control_api: ControlApi, error_code: ErrorCode = ErrorCode.TOO_LARGE) -> int:
    """Claim the only pending item and move it to the dead-letter queue."""
    now = control_api.context.clock.now()
    leased = [await control_api.context.queue.claim(shard, now=now, chance=0.0) for shard in range(16)]
    (one,) = [each for each in leased if each is not None]
    assert await control_api.context.queue.discard(one, error_code=error_code, error_message="it is too large", now=now)
    return one.item.id


async def test_a_failed_item_requires_an_action_and_can_be_requeued(control_api: ControlApi):
    await control_api.add("a.png")
    item = await discard(control_api)
    (action,) = (await control_api.request(GetStatus(), Status)).actions_required
    assert (action.count, action.command) == (1, "sploot failed")
    (row,) = (await control_api.request(ListItems(state="failed", error_code="too_large"), Items)).items
    assert (row.id, row.error_message) == (item, "it is too large")
    explanation = await control_api.request(GetExplanation(str(item)), Explanation)
    assert [(each.error_code, each.action) for each in explanation.attempts] == [("too_large", "discard")]
    assert f"sploot retry {item}" in explanation.next
    assert (await control_api.request(Retry(error_code="too_large"), ChangeReply)).ids == (item,)
    assert (await control_api.request(GetStatus(), Status)).actions_required == ()


async def test_retry_all_leaves_the_files_that_must_change_first_and_counts_them(control_api: ControlApi):
    await control_api.add("a.png")
    large = await discard(control_api)
    await control_api.add("b.png")
    lost = await discard(control_api, ErrorCode.CONNECTION_LOST)
    reply = await control_api.request(Retry(all=True), ChangeReply)
    assert (reply.ids, reply.left_counts) == ((lost,), {"too_large": 1})
    (control_api.folder / "a.png").write_bytes(b"smaller")
    assert await control_api.request(Retry(all=True), ChangeReply) == ChangeReply((large,))


async def test_watched_folders_are_listed_and_can_be_removed(control_api: ControlApi):
    await control_api.request(Add((str(control_api.folder),)), AddReply)
    (row,) = (await control_api.request(GetFolders(), Folders)).folders
    assert row.path == str(control_api.folder)
    await control_api.request(RemoveFolder(str(control_api.folder)), MessageReply)
    assert (await control_api.request(GetFolders(), Folders)).folders == ()


async def test_a_hit_has_the_path_of_its_local_file(control_api: ControlApi):
    await control_api.add("a.png")
    now = control_api.context.clock.now()
    leased = [await control_api.context.queue.claim(shard, now=now, chance=0.0) for shard in range(16)]
    (one,) = [each for each in leased if each is not None]
    assert await control_api.context.queue.accept(
        one, asset_id="A", sha256=b"1" * 32, duplicate=False, embedded=True, now=now
    )
    control_api.library.matches = [Match("A", 0.9, "http://x/A", "cat"), Match("B", None, "http://x/B", None)]
    hits = await control_api.request(Search("cat"), Hits)
    assert [(hit.asset_id, hit.path, hit.score) for hit in hits.hits] == [
        ("A", str(control_api.folder / "a.png"), 0.9),
        ("B", None, None),
    ]
    assert hits.note is None


async def test_the_nearest_are_named_only_where_nothing_matches(control_api: ControlApi):
    control_api.library.nearest = [Match(f"N{number}", 0.01, "http://x/N", None) for number in range(5)]
    hits = await control_api.request(Search("xyzzy"), Hits)
    assert (hits.hits, [hit.asset_id for hit in hits.nearest]) == ((), ["N0", "N1", "N2"])
    control_api.library.matches = [Match("A", 0.9, "http://x/A", "cat", "words: cat")]
    hits = await control_api.request(Search("cat"), Hits)
    assert ([hit.reason for hit in hits.hits], hits.nearest) == (["words: cat"], ())


async def test_the_number_of_hits_is_limited(control_api: ControlApi):
    control_api.library.matches = [Match(f"A{number}", 0.5, "http://x/A", None) for number in range(5)]
    assert [hit.asset_id for hit in (await control_api.request(Search("cat", 2), Hits)).hits] == ["A0", "A1"]


async def test_a_search_with_unfinished_files_has_a_note(control_api: ControlApi):
    await control_api.add("a.png")
    assert "1 file is still being processed" in ((await control_api.request(Search("cat"), Hits)).note or "")


async def test_an_error_of_the_server_keeps_its_code(control_api: ControlApi):
    control_api.library.error = Unauthenticated("you are signed out", "sploot login")
    with pytest.raises(RequestError) as caught:
        await control_api.request(Search("cat"), Hits)
    assert (caught.value.code, caught.value.hint) == ("unauthenticated", "sploot login")


async def test_a_token_is_saved_and_deleted(control_api: ControlApi):
    await control_api.request(Login(token="t-1"), MessageReply)
    assert await control_api.context.credentials.token() == "t-1"
    await control_api.request(Logout(), MessageReply)
    assert await control_api.context.credentials.token() is None


async def test_shutdown_starts_draining(control_api: ControlApi):
    await control_api.request(Shutdown(), MessageReply)
    assert control_api.shutdowns == ["now"]
    assert (await control_api.request(GetStatus(), Status)).daemon.state == "draining"


async def test_lists_are_paged_in_both_directions_and_filtered_by_name(control_api: ControlApi):
    await control_api.add(*(f"{name}.png" for name in ("cat", "dog", "Cat 2", "cow")))

    async def names(request: ListItems) -> tuple[list[str], int | None, int | None]:
        page = await control_api.request(request, Items)
        return [Path(row.path).stem for row in page.items], page.before, page.after

    assert await names(ListItems(limit=2)) == (["cow", "Cat 2"], 3, None)
    assert await names(ListItems(after=0, limit=3)) == (["Cat 2", "dog", "cat"], None, 3)
    assert await names(ListItems(after=3, limit=3)) == (["cow"], None, None)
    assert await names(ListItems(text="CAT")) == (["Cat 2", "cat"], None, None)
    assert await names(ListItems(text="cat", before=3)) == (["cat"], None, None)
    assert await names(ListItems(text="cat", after=1)) == (["Cat 2"], None, None)
    status, _, problem = await control_api.http("GET", f"/v1/items?text={'x' * 201}")
    assert (status, problem["code"]) == (400, "bad_text")


async def test_a_long_list_is_streamed_as_lines_page_by_page(control_api: ControlApi, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "PAGE_MAX", 2)
    await control_api.add(*(f"{number}.png" for number in range(5)))

    async def rows(query: str) -> list[dict[str, Any]]:
        client = Client(lambda: Connection(control_api.path), print)
        with closing(client):
            return await asyncio.to_thread(lambda: [json.loads(each) for each in client.stream_lines(requests[query])])

    requests = {
        "all": ListItems(lines=True, limit=100),
        "some": ListItems(lines=True, limit=3, before=5),
        "named": ListItems(lines=True, limit=100, text="3"),
        "none": ListItems(lines=True, limit=100, state="failed"),
    }
    assert [row["id"] for row in await rows("all")] == [5, 4, 3, 2, 1]
    assert [row["id"] for row in await rows("some")] == [4, 3, 2]
    assert [Path(row["path"]).name for row in await rows("named")] == ["3.png"]
    assert await rows("none") == []
    (page,) = [await control_api.request(ListItems(limit=1), Items)]
    assert (await rows("all"))[0] == json.loads(json.dumps(encode(page.items[0])))
    for wrong, code in (("after=1", "bad_list"), ("state=x", "bad_state")):
        status, _, problem = await control_api.http("GET", f"/v1/items?lines=true&{wrong}")
        assert (status, problem["code"]) == (400, code)
