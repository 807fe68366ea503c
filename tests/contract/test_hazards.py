"""Each deviation of the real Sploot by name: how the daemon handles responses observed in production.

The daemon and a simulated Sploot run in one process, on a clock that jumps (`simulated_machine.py`);
the last tests run both as processes, over real sockets.
"""

import hashlib
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import faulty_sploot
import memes
import pytest
from fault_proxy import FAULTS
from pipeline_fixtures import jpeg
from real_sploot import sleep_for
from simulated_machine import World, simulate
from temp_home import Home, home_in
from undici import undici_form

from splootd.core.backoff import ATTEMPTS_MAX
from splootd.core.item import Item, State

PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + bytes(20) + b"\0\0\0\0IEND\xaeB\x60\x82"
YEAR_S = 31_536_000.0
LOOKED_UP_BYTES = 1_100_000  # new files of this size are looked up before they are sent


def simulated(story: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    """Turn a coroutine into a test that runs it in a simulation."""

    def test() -> None:
        simulate(story)

    test.__name__, test.__doc__ = story.__name__, story.__doc__
    return test


def checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def states(world: World) -> dict[str, Item]:
    """Return the finished items by file name."""
    return {os.fsdecode(item.path.rpartition(b"/")[2]): item for item in await world.wait_until_finished()}


def count_requests(world: World, route: str) -> int:
    return sum(request.route == route for request in world.requests)


# Authentication.


@simulated
async def test_a_500_that_means_signed_out_costs_no_attempt_and_resumes_after_sign_in(world: World) -> None:
    await world.start()
    world.has_session = False
    await world.add(*world.files(*[f"{number}.jpg" for number in range(30)]))
    await world.wait_until(lambda _: world.instance.admission.is_signed_out)
    await sleep_for(600)
    items = await world.instance.read_queries.items(limit=100)
    assert {(item.state, item.attempts) for item in items} == {(State.PENDING, 0)}
    assert count_requests(world, "upload") == 0
    assert len(world.requests) <= 4, "requests are not repeated for ever"
    world.has_session = True
    assert {item.state for item in await world.wait_until_finished()} == {State.READY}


@simulated
async def test_an_upload_that_fails_with_500_for_an_expired_token_is_repeated_with_the_next(world: World) -> None:
    await world.start()
    world.fault_proxy.script("upload", ["signed out"])
    await world.add(*world.files("a.jpg"))
    items = await states(world)
    assert (items["a.jpg"].state, items["a.jpg"].attempts) == (State.READY, 0)
    tokens = [request.headers["authorization"] for request in world.requests if request.route == "upload"]
    assert len(set(tokens)) == 2


@simulated
async def test_tokens_valid_for_a_minute_are_refreshed_before_they_expire(world: World) -> None:
    world.sploot.embed_s = 1_200.0
    await world.start()
    await world.add(*world.files("a.jpg"))
    assert (await states(world))["a.jpg"].state is State.READY
    assert [event for event in world.journal.events if event["event"] == "unknown"] == []
    assert len({request.headers["authorization"] for request in world.requests}) > 10


@simulated
async def test_a_revoked_token_is_refreshed_for_all_workers(world: World) -> None:
    """The command prints the same token as long as it is valid, so all workers share one token."""
    world.caches_token = True
    world.sploot.travel_s = 0.4
    await world.start()
    await world.add(*world.files(*[f"{number}.jpg" for number in range(20)]))
    for _ in range(5):
        await sleep_for(0.5)
        world.sploot.revoke()
        await sleep_for(0.5)
        assert not world.instance.admission.is_signed_out
    assert {item.state for item in await world.wait_until_finished()} == {State.READY}


@simulated
async def test_a_404_page_for_a_signed_out_client_is_not_taken_for_removed_assets(world: World) -> None:
    world.sploot.embed_s = 300.0
    await world.start()
    await world.add(*world.files("a.jpg", "b.jpg"))
    await world.wait_until(lambda items: bool(items) and all(item.state is State.EMBEDDING for item in items))
    world.has_session = False
    world.sploot.revoke()
    await sleep_for(1_000)
    assert {item.state for item in await world.instance.read_queries.items(limit=10)} == {State.EMBEDDING}
    world.has_session = True
    assert {item.state for item in await world.wait_until_finished()} == {State.READY}


@simulated
async def test_the_first_requests_of_a_new_user_are_sent_one_by_one(world: World) -> None:
    world.sploot.work_s = 1.0
    await world.start()
    await world.add(*world.files(*[f"{number}.jpg" for number in range(20)]))
    assert {item.state for item in await world.wait_until_finished()} == {State.READY}
    assert [event for event in world.journal.events if event["event"] == "user race"] == []
    assert {item.attempts for item in await world.instance.read_queries.items(limit=100)} == {0}


# The same content.


@simulated
async def test_the_same_bytes_are_never_uploaded_concurrently(world: World) -> None:
    world.sploot.work_s = 5.0
    await world.start()
    folder = world.folder / "copies"
    paths = [world.write(folder / f"{number}.jpg", jpeg(number // 10)) for number in range(40)]
    await world.add(*paths)
    items = await world.wait_until_finished()
    assert {item.state for item in items} == {State.READY}
    assert sorted(world.summary.created.values()) == [1] * 4
    assert (world.summary.uploads, world.summary.concurrent) == (4, 0)
    assert sum(item.duplicate for item in items) == 36


@simulated
async def test_a_content_that_the_library_has_is_not_sent(world: World) -> None:
    """Sploot accepts the hash in upper case, too, but never matches it."""
    await world.start()
    (path,) = world.files("a.jpg", size=LOOKED_UP_BYTES)
    await world.add(path)
    await world.wait_until_finished()
    await world.crash()
    for file in world.folder.glob("queue.db*"):
        file.unlink()
    await world.start()
    await world.add(path)
    item = (await states(world))["a.jpg"]
    assert (item.state, item.duplicate, world.summary.uploads) == (State.READY, True, 1)


@simulated
async def test_409_is_success(world: World) -> None:
    """A lookup that fails in Sploot's database reports that the content does not exist."""
    world.fault_proxy.script("upload", ["bare conflict"])
    await world.start()
    await world.add(*world.files("a.jpg"))
    item = (await states(world))["a.jpg"]
    assert (item.state, item.attempts) == (State.READY, 0)
    assert sum(world.summary.conflicts.values()) == 1


@simulated
async def test_a_copy_of_a_removed_image_fails_with_a_message_while_others_are_uploaded(
    world: World,
) -> None:
    await world.start()
    (twin,) = world.files("twin.jpg")
    await world.add(twin)
    await world.wait_until_finished()
    world.sploot.remove(checksum(jpeg("twin.jpg")))
    await world.crash()
    for file in world.folder.glob("queue.db*"):
        file.unlink()
    await world.start()
    await world.add(twin, *world.files(*[f"{number}.jpg" for number in range(20)]))
    items = await states(world)
    failing = items.pop("twin.jpg")
    assert (failing.state, failing.error_code, failing.attempts) == (
        State.FAILED,
        "server_error",
        ATTEMPTS_MAX[failing.priority],
    )
    assert "removed from the library before" in (failing.error_message or "")
    assert {(item.state, item.attempts) for item in items.values()} == {(State.READY, 0)}
    assert world.instance.admission.state == "ok"


@simulated
async def test_an_upload_that_times_out_and_is_completed_by_the_server_is_stored_once(world: World) -> None:
    world.fault_proxy.late_s = 20.0
    world.fault_proxy.script("upload", ["late"])
    await world.start()
    await world.add(*world.files("a.jpg"))
    item = (await states(world))["a.jpg"]
    await world.fault_proxy.wait_until_idle()
    assert item.state is State.READY
    assert list(world.summary.created.values()) == [1]


@simulated
async def test_new_tags_are_created_by_a_single_upload(world: World) -> None:
    world.sploot.work_s = 2.0
    await world.start()
    await world.add(*world.files(*[f"{number}.jpg" for number in range(12)]), tags=("cat", "Dog"))
    items = await world.wait_until_finished()
    assert {(item.state, item.attempts) for item in items} == {(State.READY, 0)}
    assert not world.summary.failures
    assert world.sploot.tags == {"cat", "Dog"}


# Forms and files.

AWKWARD = [
    'quote".jpg',
    "back\\slash.jpg",
    "semi;colon.jpg",
    "percent%22.jpg",
    "two\nlines.jpg",
    "naïve café 漫画.jpg",
    "no-extension",
    "dots...jpg.",
    "x" * 240 + ".jpg",
    "a.x-y.jpg",
]


@simulated
async def test_no_file_name_breaks_the_form(world: World) -> None:
    await world.start()
    folder = world.folder / "memes"
    paths = [world.write(folder / name, jpeg(number)) for number, name in enumerate(AWKWARD)]
    paths.append(world.write(folder / os.fsdecode(b"caf\xe9.jpg"), jpeg("latin")))
    await world.add(folder)
    items = await world.wait_until_finished()
    assert {(item.state, item.attempts) for item in items} == {(State.READY, 0)}
    assert len(items) == len(paths)
    for request in world.requests:
        if request.route == "upload":
            parts = undici_form(request.headers["content-type"], request.body)
            assert parts is not None
            assert parts[-1].filename is not None
            assert parts[-1].filename.isascii()
            assert parts[-1].filename.endswith(".jpg")


@simulated
async def test_tags_arrive_as_they_were_given(world: World) -> None:
    await world.start()
    tags = ('say "hi"', "back\\slash", "漫画", "two words")
    await world.add(*world.files("a.jpg"), tags=tags)
    await world.wait_until_finished()
    assert world.sploot.tags == set(tags)


@simulated
async def test_the_declared_type_is_the_detected_one(world: World) -> None:
    """Sploot checks only the declared type, and stores a text file that is declared as an image."""
    await world.start()
    folder = world.folder / "memes"
    world.write(folder / "really-a-png.jpg", PNG)
    world.write(folder / "text.jpg", b"This is no image.")
    world.write(folder / "empty.png", b"")
    world.write(folder / "stub.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    await world.add(folder)
    items = await states(world)
    assert items["really-a-png.jpg"].state is State.READY
    assert items["text.jpg"].state is State.FAILED
    assert items["stub.heic"].state is State.SKIPPED
    uploads = [request for request in world.requests if request.route == "upload"]
    (parts,) = [undici_form(request.headers["content-type"], request.body) for request in uploads]
    assert parts is not None
    assert [part.type for part in parts] == ["image/png"]


@simulated
async def test_an_image_over_the_limit_is_not_sent(world: World) -> None:
    await world.start()
    folder = world.folder / "memes"
    world.write(folder / "exact.jpg", jpeg("exact", 10_485_760))
    world.write(folder / "over.jpg", jpeg("over", 10_485_761))
    await world.add(folder)
    items = await states(world)
    assert items["exact.jpg"].state is State.READY
    assert (items["over.jpg"].state, items["over.jpg"].error_code) == (State.FAILED, "too_large")
    assert count_requests(world, "upload") == 1


@simulated
async def test_a_413_of_the_platform_is_final(world: World) -> None:
    world.sploot.platform_bytes_max = 4_500_000
    await world.start()
    folder = world.folder / "memes"
    world.write(folder / "large.jpg", jpeg("large", 5_000_000))
    world.write(folder / "small.jpg", jpeg("small"))
    await world.add(folder)
    items = await states(world)
    assert (items["large.jpg"].state, items["large.jpg"].error_code) == (State.FAILED, "rejected")
    assert "too large" in (items["large.jpg"].error_message or "")
    assert items["small.jpg"].state is State.READY


@simulated
async def test_sync_embeddings_is_never_sent(world: World) -> None:
    """If it fails, Sploot deletes the image and keeps the row."""
    await world.start()
    await world.add(*world.files("a.jpg"))
    await world.wait_until_finished()
    assert {request.target for request in world.requests if request.route == "upload"} == {"/api/upload"}


# Embeddings.


@simulated
async def test_a_failed_embedding_with_the_status_ready_is_a_failure(world: World) -> None:
    world.sploot.failing_embeddings = 1.0
    await world.start()
    await world.add(*world.files("a.jpg"))
    item = (await states(world))["a.jpg"]
    assert (item.state, item.error_code) == (State.FAILED, "embedding_failed")
    assert "Replicate is down" in (item.error_message or "")


@simulated
async def test_uploads_wait_while_the_model_is_down_and_continue_when_a_search_works(world: World) -> None:
    """Sploot repeats no failed embedding, so each further upload would be lost to search."""
    world.sploot.failing_embeddings = 1.0
    await world.start()
    admission = world.instance.admission
    await world.add(*world.files(*[f"first-{number}.jpg" for number in range(10)]))
    await world.wait_until(lambda _: admission.state == "embeddings_fail")
    assert "Failed to search assets" in (admission.detail or "")
    assert admission.retry_at is not None
    uploads = count_requests(world, "upload")
    await world.add(*world.files(*[f"second-{number}.jpg" for number in range(30)]))
    await sleep_for(3_600)
    assert count_requests(world, "upload") == uploads
    searches = [request for request in world.requests if request.route == "search"]
    assert 5 <= len(searches) <= 7, "1 at once, then after 60 s, 120 s, 240 s, ..."
    assert len({request.body for request in searches}) == len(searches), "no cache may answer"
    world.sploot.failing_embeddings = 0.0
    items = await states(world)
    assert {item.state for name, item in items.items() if name.startswith("second")} == {State.READY}
    assert admission.state == "ok"


@simulated
async def test_an_embedding_that_is_ready_ends_the_wait_for_the_model(world: World) -> None:
    world.sploot.failing_embeddings = 1.0
    world.fault_proxy.script("search", ["error"] * 100)
    await world.start()
    admission = world.instance.admission
    await world.add(*world.files(*[f"first-{number}.jpg" for number in range(10)]))
    await world.wait_until(lambda _: admission.state == "embeddings_fail")
    world.sploot.failing_embeddings = 0.0
    admission.resume()  # as `sploot resume` does
    await world.add(*world.files("again.jpg"))
    assert (await states(world))["again.jpg"].state is State.READY
    assert admission.state == "ok"


@simulated
async def test_a_missing_embedding_is_requested(world: World) -> None:
    world.sploot.missing_embeddings = 1.0
    await world.start()
    await world.add(*world.files("a.jpg", "b.jpg"))
    assert {item.state for item in await world.wait_until_finished()} == {State.READY}
    assert sum(request.target.endswith("/generate-embedding") for request in world.requests) == 2


@simulated
async def test_a_missing_embedding_is_requested_after_the_clock_was_set_back(world: World) -> None:
    world.sploot.missing_embeddings = 1.0
    await world.start()
    await world.add(*world.files("a.jpg"))
    await world.wait_until(lambda items: bool(items) and items[0].state is State.EMBEDDING)
    world.clock.off_s -= YEAR_S
    await world.add(*world.files("b.jpg"))
    await sleep_for(60)
    assert not any(request.target.endswith("/generate-embedding") for request in world.requests), "b.jpg is not stuck"
    assert {item.state for item in await world.wait_until_finished()} == {State.READY}


@simulated
async def test_at_most_fifty_statuses_are_polled_per_request(world: World) -> None:
    world.sploot.embed_s = 100.0
    world.fault_proxy.script("assets", ["error"] * 1_000)
    await world.start()
    await world.add(*world.files(*[f"{number}.jpg" for number in range(130)]))
    assert {item.state for item in await world.wait_until_finished()} == {State.READY}
    sizes = [len(json.loads(request.body)["assetIds"]) for request in world.requests if request.route == "statuses"]
    assert max(sizes) == 50


@simulated
async def test_an_asset_removed_while_embedding_stays_removed(world: World) -> None:
    world.sploot.embed_s = 500.0
    await world.start()
    await world.add(*world.files("a.jpg"))
    await world.wait_until(lambda items: bool(items) and items[0].state is State.EMBEDDING)
    world.sploot.remove(checksum(jpeg("a.jpg")))
    item = (await states(world))["a.jpg"]
    assert (item.state, item.error_code) == (State.SKIPPED, "removed")


@simulated
async def test_a_removed_asset_is_detected_after_the_clock_was_set_back(world: World) -> None:
    world.sploot.embed_s = 500.0
    await world.start()
    await world.add(*world.files("a.jpg"))
    await world.wait_until(lambda items: bool(items) and items[0].state is State.EMBEDDING)
    world.sploot.remove(checksum(jpeg("a.jpg")))
    world.clock.off_s -= YEAR_S
    assert (await states(world))["a.jpg"].error_code == "removed"


# Network and server faults.

FINAL = {"too large"}


@pytest.mark.parametrize("route", ["limits", "check", "upload", "assets"])
@pytest.mark.parametrize("fault", sorted(set(FAULTS) - FINAL))
def test_one_fault_of_any_kind_on_any_route_only_costs_time(fault: str, route: str) -> None:
    async def story(world: World) -> None:
        world.fault_proxy.script(route, [fault])
        await world.start()
        await world.add(*world.files("a.jpg", "b.jpg", "c.jpg", size=LOOKED_UP_BYTES if route == "check" else 0))
        assert {item.state for item in await world.wait_until_finished()} == {State.READY}
        await world.fault_proxy.wait_until_idle()
        assert sorted(world.summary.created.values()) == [1, 1, 1]
        assert world.summary.faults == {fault: 1}

    simulate(story)


@pytest.mark.parametrize(
    "fault", ["reset after", "error after", "gateway after", "truncated", "page after", "hang after"]
)
def test_a_file_stored_despite_a_lost_response_is_not_sent_again(fault: str) -> None:
    """With a server that does not detect duplicates."""

    async def story(world: World) -> None:
        world.fault_proxy.rates = {fault: 1.0}
        world.fault_proxy.script("limits", ["none"] * 10)
        world.fault_proxy.script("check", ["none"] * 10)
        world.fault_proxy.script("assets", ["none"] * 10)
        await world.start()
        await world.add(*world.files("a.jpg", "b.jpg"))
        items = await world.wait_until_finished()
        assert {(item.state, item.duplicate) for item in items} == {(State.READY, False)}
        assert count_requests(world, "upload") == 2

    simulate(story, detects_duplicates=False)


@simulated
async def test_a_response_that_takes_a_minute_is_awaited(world: World) -> None:
    """Sploot may process an upload for that long; its own web app gives up after ten seconds."""
    world.sploot.work_s = 60.0
    await world.start()
    await world.add(*world.files("a.jpg"))
    item = (await states(world))["a.jpg"]
    assert (item.state, item.attempts, count_requests(world, "upload")) == (State.READY, 0, 1)


@simulated
async def test_an_hour_of_server_errors_costs_no_item_an_attempt(world: World) -> None:
    world.fault_proxy.rates = {"gateway": 1.0}
    await world.start()
    await world.add(*world.files(*[f"{number}.jpg" for number in range(30)]))
    await sleep_for(3_600)
    items = await world.instance.read_queries.items(limit=100)
    assert {(item.state, item.attempts) for item in items} == {(State.PENDING, 0)}
    assert len(world.requests) < 400
    world.fault_proxy.rates = {}
    assert {item.state for item in await world.wait_until_finished()} == {State.READY}


@pytest.mark.parametrize("seed", range(6))
def test_a_rate_limit_in_any_form_holds_all_uploads_and_costs_no_item_an_attempt(seed: int) -> None:
    async def story(world: World) -> None:
        world.fault_proxy.busy_s = 300
        world.fault_proxy.script("check", ["busy"])
        await world.start()
        await world.add(*world.files(*[f"{number}.jpg" for number in range(30)], size=LOOKED_UP_BYTES))
        await world.wait_until(lambda _: world.instance.admission.state == "rate_limited")
        await sleep_for(5)
        before = len(world.requests)
        await sleep_for(280)
        assert len(world.requests) == before
        assert {(item.state, item.attempts) for item in await world.wait_until_finished()} == {(State.READY, 0)}

    simulate(story, seed=seed)


@simulated
async def test_a_clock_set_back_by_a_year_delays_no_item(world: World) -> None:
    world.fault_proxy.script("upload", ["error"] * 3)
    world.sploot.embed_s = 60.0
    await world.start()
    await world.add(*world.files("a.jpg", "b.jpg", "c.jpg", "d.jpg"))
    await world.wait_until(lambda items: any(item.state is State.EMBEDDING for item in items))
    world.clock.off_s -= YEAR_S
    await sleep_for(300)
    assert {item.state for item in await world.instance.read_queries.items(limit=10)} == {State.READY}


@simulated
async def test_a_clock_set_back_by_a_year_while_the_daemon_was_stopped_delays_no_item(world: World) -> None:
    world.fault_proxy.script("upload", ["error"] * 3)
    world.sploot.embed_s = 60.0
    await world.start()
    await world.add(*world.files("a.jpg", "b.jpg", "c.jpg", "d.jpg"))
    await world.wait_until(lambda items: any(item.state is State.EMBEDDING for item in items))
    await world.crash()
    world.clock.off_s -= YEAR_S
    await world.start()
    await sleep_for(300)
    assert {item.state for item in await world.instance.read_queries.items(limit=10)} == {State.READY}


# With real processes.


@pytest.fixture
def server(tmp_path: Path) -> Iterator[faulty_sploot.Process]:
    with faulty_sploot.running(tmp_path / "journal", "--token", "a-good-token") as process:
        yield process


def counts(home: Home) -> dict[str, int]:
    """Return the numbers of items by state, without empty states."""
    items: dict[str, int] = home.json("status")["items"]
    return {state: number for state, number in items.items() if number and state != "total"}


def test_signed_out_is_reported_costs_no_attempt_and_ends_with_login(
    tmp_path: Path, server: faulty_sploot.Process
) -> None:
    folder = tmp_path / "memes"
    memes.mass(folder, count=20, size_bytes=5_000)
    with home_in(tmp_path / "home", SPLOOT_SERVER=server.url) as home:
        assert home.run("add", str(folder), "--once", "--wait", "--timeout", "5").returncode in (4, 124)
        status = home.json("status")
        assert status["server"]["state"] == "signed_out"
        assert counts(home) == {"pending": 20}
        assert "sploot login" in [action["command"] for action in status["actions_required"]]
        assert home.run("status", "--exit-code").returncode == 4
        home.ok("login", "--token-stdin", stdin=b"a-good-token\n")
        home.ok("add", str(folder), "--once", "--wait", "--timeout", "60")
        assert counts(home) == {"ready": 20}
        assert {row["attempts"] for row in home.rows()} == {0}
        assert "a-good-token" not in home.log()
    assert set(server.summary().created.values()) == {1}


def test_a_revoked_session_is_renewed_by_the_token_command(tmp_path: Path, server: faulty_sploot.Process) -> None:
    folder = tmp_path / "memes"
    files = memes.mass(folder, count=20, size_bytes=5_000)
    with home_in(tmp_path / "home", SPLOOT_SERVER=server.url) as home:
        home.ok("login", "--token-command", server.token_command)
        for start in (0, 10):
            home.ok("add", *map(str, files[start : start + 10]), "--wait", "--timeout", "60")
            server.send_command("revoke")
        assert counts(home) == {"ready": 20}
        assert {row["attempts"] for row in home.rows()} == {0}


def test_with_many_faults_each_content_is_stored_once_and_looked_up_before_it_is_sent_again(
    tmp_path: Path, server: faulty_sploot.Process
) -> None:
    """With faults after the content was stored, and with connections reset in the middle of the body."""
    folder = tmp_path / "memes"
    memes.mass(folder, count=40, size_bytes=300_000)
    lost_responses = dict.fromkeys(["reset after", "error after", "gateway after", "truncated", "page after"], 0.08)
    with home_in(tmp_path / "home", SPLOOT_SERVER=server.url, SPLOOT_TOKEN="a-good-token") as home:
        server.send_command("script", {"route": "upload", "faults": [*lost_responses, "reset inside"]})
        server.send_command("faults", lost_responses)
        home.ok("add", str(folder), "--once")
        while server.summary().faults.total() < 10:
            home.ok("status")
        server.send_command("faults", {})
        home.run("bump", *[str(row["id"]) for row in home.rows("--state", "pending")])
        home.ok("add", str(folder), "--once", "--wait", "--timeout", "90")
        assert counts(home) == {"ready": 40}
    summary = server.summary()
    assert sorted(summary.created.values()) == [1] * 40
    assert (summary.conflicts.total(), summary.concurrent) == (0, 0)
    assert summary.connections_max <= 4
