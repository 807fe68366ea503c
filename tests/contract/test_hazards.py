"""Each hazard of the real Sploot by name: what the daemon makes of answers that were seen in production.

The daemon and a Sploot that behaves as the real one does run in one process, on a clock that jumps (`world.py`); the
last tests run both as processes, over a real line.
"""

import hashlib
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import faulty_sploot
import memes
import pytest
from bad_luck import FAULTS
from homes import Home, home_in
from real_sploot import lasting
from undici import undici_form
from walkkit import jpeg
from world import World, simulate

from splootd.core.item import Item, State
from splootd.core.retry import TRIES_MAX

PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + bytes(20) + b"\0\0\0\0IEND\xaeB\x60\x82"
YEAR_S = 31_536_000.0


def simulated(story: Callable[[World], Awaitable[None]]) -> Callable[[], None]:
    """A test that lives through `story`."""

    def test() -> None:
        simulate(story)

    test.__name__, test.__doc__ = story.__name__, story.__doc__
    return test


def checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def states(world: World) -> dict[str, Item]:
    """The items by the names of their files, when all have ended."""
    return {os.fsdecode(item.path.rpartition(b"/")[2]): item for item in await world.until_ended()}


def asked(world: World, route: str) -> int:
    return sum(request.route == route for request in world.requests)


# Who asks.


@simulated
async def test_a_500_that_means_signed_out_costs_no_try_and_frees_itself_when_the_user_is_back(world: World) -> None:
    await world.start()
    world.has_session = False
    await world.add(*world.files(*[f"{number}.jpg" for number in range(30)]))
    await world.until(lambda _: world.life.gate.signed_out)
    await lasting(600)
    items = await world.life.listing.items(limit=100)
    assert {(item.state, item.attempts) for item in items} == {(State.PENDING, 0)}
    assert asked(world, "upload") == 0
    assert len(world.requests) <= 4, "nobody knocks again and again"
    world.has_session = True
    assert {item.state for item in await world.until_ended()} == {State.READY}


@simulated
async def test_an_upload_that_answers_500_because_the_token_has_ended_is_repeated_with_the_next(world: World) -> None:
    await world.start()
    world.faulty.script("upload", ["signed out"])
    await world.add(*world.files("a.jpg"))
    items = await states(world)
    assert (items["a.jpg"].state, items["a.jpg"].attempts) == (State.READY, 0)
    tokens = [request.headers["authorization"] for request in world.requests if request.route == "upload"]
    assert len(set(tokens)) == 2


@simulated
async def test_tokens_of_a_minute_are_renewed_before_they_end(world: World) -> None:
    world.sploot.embed_s = 1_200.0
    await world.start()
    await world.add(*world.files("a.jpg"))
    assert (await states(world))["a.jpg"].state is State.READY
    assert [event for event in world.journal.events if event["event"] == "unknown"] == []
    assert len({request.headers["authorization"] for request in world.requests}) > 10


@simulated
async def test_a_token_that_is_revoked_under_all_lanes_is_renewed_for_all_of_them(world: World) -> None:
    """The command prints the same token as long as it is good: the second lane is given what the first one was."""
    world.caches = True
    world.sploot.travel_s = 0.4
    await world.start()
    await world.add(*world.files(*[f"{number}.jpg" for number in range(20)]))
    for _ in range(5):
        await lasting(0.5)
        world.sploot.revoke()
        await lasting(0.5)
        assert not world.life.gate.signed_out
    assert {item.state for item in await world.until_ended()} == {State.READY}


@simulated
async def test_a_404_page_to_the_signed_out_is_not_taken_for_removed_pictures(world: World) -> None:
    world.sploot.embed_s = 300.0
    await world.start()
    await world.add(*world.files("a.jpg", "b.jpg"))
    await world.until(lambda items: bool(items) and all(item.state is State.EMBEDDING for item in items))
    world.has_session = False
    world.sploot.revoke()
    await lasting(1_000)
    assert {item.state for item in await world.life.listing.items(limit=10)} == {State.EMBEDDING}
    world.has_session = True
    assert {item.state for item in await world.until_ended()} == {State.READY}


@simulated
async def test_the_first_calls_of_a_new_user_come_one_by_one(world: World) -> None:
    world.sploot.work_s = 1.0
    await world.start()
    await world.add(*world.files(*[f"{number}.jpg" for number in range(20)]))
    assert {item.state for item in await world.until_ended()} == {State.READY}
    assert [event for event in world.journal.events if event["event"] == "user race"] == []
    assert {item.attempts for item in await world.life.listing.items(limit=100)} == {0}


# The same content.


@simulated
async def test_the_same_bytes_are_never_sent_twice_at_once(world: World) -> None:
    world.sploot.work_s = 5.0
    await world.start()
    folder = world.folder / "copies"
    paths = [world.write(folder / f"{number}.jpg", jpeg(number // 10)) for number in range(40)]
    await world.add(*paths)
    items = await world.until_ended()
    assert {item.state for item in items} == {State.READY}
    assert sorted(world.books.created.values()) == [1] * 4
    assert (world.books.uploads, world.books.at_once) == (4, 0)
    assert sum(item.duplicate for item in items) == 36


@simulated
async def test_what_the_library_has_is_not_sent(world: World) -> None:
    """Sploot takes the hash in upper case, too, and then never finds it."""
    await world.start()
    (path,) = world.files("a.jpg")
    await world.add(path)
    await world.until_ended()
    await world.crash()
    for file in world.folder.glob("queue.db*"):
        file.unlink()
    await world.start()
    await world.add(path)
    item = (await states(world))["a.jpg"]
    assert (item.state, item.duplicate, world.books.uploads) == (State.READY, True, 1)


@simulated
async def test_409_is_success_though_it_comes_as_an_error(world: World) -> None:
    """A look-up that fails in Sploot's database says that the content is not there."""
    world.faulty.script("upload", ["bare conflict"])
    await world.start()
    await world.add(*world.files("a.jpg"))
    item = (await states(world))["a.jpg"]
    assert (item.state, item.attempts) == (State.READY, 0)
    assert sum(world.books.conflicts.values()) == 1


@simulated
async def test_the_twin_of_a_removed_picture_is_parked_with_an_explanation_while_others_go_through(
    world: World,
) -> None:
    await world.start()
    (twin,) = world.files("twin.jpg")
    await world.add(twin)
    await world.until_ended()
    world.sploot.remove(checksum(jpeg("twin.jpg")))
    await world.crash()
    for file in world.folder.glob("queue.db*"):
        file.unlink()
    await world.start()
    await world.add(twin, *world.files(*[f"{number}.jpg" for number in range(20)]))
    items = await states(world)
    sick = items.pop("twin.jpg")
    assert (sick.state, sick.fault, sick.attempts) == (State.DEAD, "server_fault", TRIES_MAX[sick.priority])
    assert "removed there before" in (sick.reason or "")
    assert {(item.state, item.attempts) for item in items.values()} == {(State.READY, 0)}
    assert world.life.gate.state == "ok"


@simulated
async def test_an_upload_that_is_given_up_here_and_finished_there_is_stored_once(world: World) -> None:
    world.faulty.late_s = 20.0
    world.faulty.script("upload", ["late"])
    await world.start()
    await world.add(*world.files("a.jpg"))
    item = (await states(world))["a.jpg"]
    await world.faulty.finished()
    assert item.state is State.READY
    assert list(world.books.created.values()) == [1]


@simulated
async def test_new_tags_are_introduced_by_one_upload_alone(world: World) -> None:
    world.sploot.work_s = 2.0
    await world.start()
    await world.add(*world.files(*[f"{number}.jpg" for number in range(12)]), tags=("cat", "Dog"))
    items = await world.until_ended()
    assert {(item.state, item.attempts) for item in items} == {(State.READY, 0)}
    assert not world.books.failures
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
    items = await world.until_ended()
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
    await world.until_ended()
    assert world.sploot.tags == set(tags)


@simulated
async def test_the_type_that_is_declared_is_the_one_of_the_bytes(world: World) -> None:
    """Sploot checks the declared type alone, to the letter, and stores a text as a picture if it is told so."""
    await world.start()
    folder = world.folder / "memes"
    world.write(folder / "really-a-png.jpg", PNG)
    world.write(folder / "text.jpg", b"This is no picture.")
    world.write(folder / "empty.png", b"")
    world.write(folder / "stub.heic", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    await world.add(folder)
    items = await states(world)
    assert items["really-a-png.jpg"].state is State.READY
    assert items["text.jpg"].state is State.DEAD
    assert items["stub.heic"].state is State.SKIPPED
    uploads = [request for request in world.requests if request.route == "upload"]
    (parts,) = [undici_form(request.headers["content-type"], request.body) for request in uploads]
    assert parts is not None
    assert [part.type for part in parts] == ["image/png"]


@simulated
async def test_a_picture_over_the_limit_is_not_sent(world: World) -> None:
    await world.start()
    folder = world.folder / "memes"
    world.write(folder / "exact.jpg", jpeg("exact", 10_485_760))
    world.write(folder / "over.jpg", jpeg("over", 10_485_761))
    await world.add(folder)
    items = await states(world)
    assert items["exact.jpg"].state is State.READY
    assert (items["over.jpg"].state, items["over.jpg"].fault) == (State.DEAD, "too_large")
    assert asked(world, "upload") == 1


@simulated
async def test_the_platforms_413_is_final_though_its_limit_was_never_told(world: World) -> None:
    world.sploot.platform_bytes_max = 4_500_000
    await world.start()
    folder = world.folder / "memes"
    world.write(folder / "large.jpg", jpeg("large", 5_000_000))
    world.write(folder / "small.jpg", jpeg("small"))
    await world.add(folder)
    items = await states(world)
    assert (items["large.jpg"].state, items["large.jpg"].fault) == (State.DEAD, "refused")
    assert "too large" in (items["large.jpg"].reason or "")
    assert items["small.jpg"].state is State.READY


@simulated
async def test_sync_embeddings_is_never_asked_for(world: World) -> None:
    """When it fails, Sploot deletes the picture and keeps the row."""
    await world.start()
    await world.add(*world.files("a.jpg"))
    await world.until_ended()
    assert {request.target for request in world.requests if request.route == "upload"} == {"/api/upload"}


# What has become of it.


@simulated
async def test_an_embedding_that_failed_is_no_success_though_its_status_is_ready(world: World) -> None:
    world.sploot.failing_embeddings = 1.0
    await world.start()
    await world.add(*world.files("a.jpg"))
    item = (await states(world))["a.jpg"]
    assert (item.state, item.fault) == (State.DEAD, "embedding_failed")
    assert "Replicate is down" in (item.reason or "")


@simulated
async def test_an_embedding_that_is_never_made_is_asked_for(world: World) -> None:
    world.sploot.forgotten_embeddings = 1.0
    await world.start()
    await world.add(*world.files("a.jpg", "b.jpg"))
    assert {item.state for item in await world.until_ended()} == {State.READY}
    assert sum(request.target.endswith("/generate-embedding") for request in world.requests) == 2


@simulated
async def test_a_clock_that_is_set_back_does_not_hide_an_embedding_that_is_never_made(world: World) -> None:
    world.sploot.forgotten_embeddings = 1.0
    await world.start()
    await world.add(*world.files("a.jpg"))
    await world.until(lambda items: bool(items) and items[0].state is State.EMBEDDING)
    world.clock.off_s -= YEAR_S
    await world.add(*world.files("b.jpg"))
    await lasting(60)
    assert not any(request.target.endswith("/generate-embedding") for request in world.requests), "b.jpg is not overdue"
    assert {item.state for item in await world.until_ended()} == {State.READY}


@simulated
async def test_statuses_are_asked_for_at_most_fifty_at_once(world: World) -> None:
    world.sploot.embed_s = 100.0
    await world.start()
    await world.add(*world.files(*[f"{number}.jpg" for number in range(330)]))
    assert {item.state for item in await world.until_ended()} == {State.READY}
    sizes = [len(json.loads(request.body)["assetIds"]) for request in world.requests if request.route == "statuses"]
    assert sizes, "more were waiting than one listing shows"
    assert max(sizes) <= 50


@simulated
async def test_what_its_owner_removed_while_it_was_embedding_stays_removed(world: World) -> None:
    world.sploot.embed_s = 500.0
    await world.start()
    await world.add(*world.files("a.jpg"))
    await world.until(lambda items: bool(items) and items[0].state is State.EMBEDDING)
    world.sploot.remove(checksum(jpeg("a.jpg")))
    item = (await states(world))["a.jpg"]
    assert (item.state, item.fault) == (State.SKIPPED, "removed")


@simulated
async def test_what_was_removed_is_found_to_be_so_by_a_clock_that_was_set_back_since(world: World) -> None:
    world.sploot.embed_s = 500.0
    await world.start()
    await world.add(*world.files("a.jpg"))
    await world.until(lambda items: bool(items) and items[0].state is State.EMBEDDING)
    world.sploot.remove(checksum(jpeg("a.jpg")))
    world.clock.off_s -= YEAR_S
    assert (await states(world))["a.jpg"].fault == "removed"


# A bad network on a bad day.

FINAL = {"too large"}


@pytest.mark.parametrize("route", ["limits", "check", "upload", "assets"])
@pytest.mark.parametrize("fault", sorted(set(FAULTS) - FINAL))
def test_one_fault_of_any_kind_anywhere_costs_time_and_nothing_else(fault: str, route: str) -> None:
    async def story(world: World) -> None:
        world.faulty.script(route, [fault])
        await world.start()
        await world.add(*world.files("a.jpg", "b.jpg", "c.jpg"))
        assert {item.state for item in await world.until_ended()} == {State.READY}
        await world.faulty.finished()
        assert sorted(world.books.created.values()) == [1, 1, 1]
        assert world.books.faults == {fault: 1}

    simulate(story)


@pytest.mark.parametrize(
    "fault", ["reset after", "error after", "gateway after", "truncated", "page after", "hang after"]
)
def test_what_was_stored_although_the_answer_never_came_is_not_sent_again(fault: str) -> None:
    """To a server that would store it twice."""

    async def story(world: World) -> None:
        world.faulty.rates = {fault: 1.0}
        world.faulty.script("limits", ["none"] * 10)
        world.faulty.script("check", ["none"] * 10)
        world.faulty.script("assets", ["none"] * 10)
        await world.start()
        await world.add(*world.files("a.jpg", "b.jpg"))
        items = await world.until_ended()
        assert {(item.state, item.duplicate) for item in items} == {(State.READY, False)}
        assert asked(world, "upload") == 2

    simulate(story, knows_twins=False)


@simulated
async def test_an_answer_that_takes_a_minute_is_waited_for(world: World) -> None:
    """Sploot may work on an upload for as long; its own page gives up after ten seconds."""
    world.sploot.work_s = 60.0
    await world.start()
    await world.add(*world.files("a.jpg"))
    item = (await states(world))["a.jpg"]
    assert (item.state, item.attempts, asked(world, "upload")) == (State.READY, 0, 1)


@simulated
async def test_an_hour_in_which_the_server_fails_on_everything_costs_no_item_a_try(world: World) -> None:
    world.faulty.rates = {"gateway": 1.0}
    await world.start()
    await world.add(*world.files(*[f"{number}.jpg" for number in range(30)]))
    await lasting(3_600)
    items = await world.life.listing.items(limit=100)
    assert {(item.state, item.attempts) for item in items} == {(State.PENDING, 0)}
    assert len(world.requests) < 400
    world.faulty.rates = {}
    assert {item.state for item in await world.until_ended()} == {State.READY}


@pytest.mark.parametrize("seed", range(6))
def test_a_plea_for_patience_in_any_form_holds_all_sending_and_costs_no_item_a_try(seed: int) -> None:
    async def story(world: World) -> None:
        world.faulty.busy_s = 300
        world.faulty.script("check", ["busy"])
        await world.start()
        await world.add(*world.files(*[f"{number}.jpg" for number in range(30)]))
        await world.until(lambda _: world.life.gate.state == "rate_limited")
        await lasting(5)
        before = len(world.requests)
        await lasting(280)
        assert len(world.requests) == before
        assert {(item.state, item.attempts) for item in await world.until_ended()} == {(State.READY, 0)}

    simulate(story, seed=seed)


@simulated
async def test_a_clock_that_is_set_back_a_year_makes_nobody_wait_for_a_year(world: World) -> None:
    world.faulty.script("upload", ["error"] * 3)
    world.sploot.embed_s = 60.0
    await world.start()
    await world.add(*world.files("a.jpg", "b.jpg", "c.jpg", "d.jpg"))
    await world.until(lambda items: any(item.state is State.EMBEDDING for item in items))
    world.clock.off_s -= YEAR_S
    await lasting(300)
    assert {item.state for item in await world.life.listing.items(limit=10)} == {State.READY}


@simulated
async def test_a_clock_that_was_set_back_while_the_daemon_was_off_makes_nobody_wait_for_a_year(world: World) -> None:
    world.faulty.script("upload", ["error"] * 3)
    world.sploot.embed_s = 60.0
    await world.start()
    await world.add(*world.files("a.jpg", "b.jpg", "c.jpg", "d.jpg"))
    await world.until(lambda items: any(item.state is State.EMBEDDING for item in items))
    await world.crash()
    world.clock.off_s -= YEAR_S
    await world.start()
    await lasting(300)
    assert {item.state for item in await world.life.listing.items(limit=10)} == {State.READY}


# The same with real programs.


@pytest.fixture
def server(tmp_path: Path) -> Iterator[faulty_sploot.Process]:
    with faulty_sploot.running(tmp_path / "journal", "--token", "a-good-token") as process:
        yield process


def counts(home: Home) -> dict[str, int]:
    """The items by state, without the states in which there are none."""
    items: dict[str, int] = home.json("status")["items"]
    return {state: number for state, number in items.items() if number and state != "total"}


def test_signed_out_is_told_costs_nothing_and_ends_with_login(tmp_path: Path, server: faulty_sploot.Process) -> None:
    folder = tmp_path / "memes"
    memes.mass(folder, count=20, size_bytes=5_000)
    with home_in(tmp_path / "home", SPLOOT_SERVER=server.url) as home:
        assert home.run("add", str(folder), "--once", "--wait", "--timeout", "5").returncode in (4, 124)
        status = home.json("status")
        assert status["server"]["state"] == "signed_out"
        assert counts(home) == {"pending": 20}
        assert "sploot login" in [need["command"] for need in status["needs_you"]]
        assert home.run("status", "--exit-code").returncode == 4
        home.ok("login", "--token-stdin", stdin=b"a-good-token\n")
        home.ok("add", str(folder), "--once", "--wait", "--timeout", "60")
        assert counts(home) == {"ready": 20}
        assert {row["attempts"] for row in home.rows()} == {0}
        assert "a-good-token" not in home.log()
    assert set(server.books().created.values()) == {1}


def test_a_session_that_ends_early_is_renewed_by_the_token_command(
    tmp_path: Path, server: faulty_sploot.Process
) -> None:
    folder = tmp_path / "memes"
    files = memes.mass(folder, count=20, size_bytes=5_000)
    with home_in(tmp_path / "home", SPLOOT_SERVER=server.url) as home:
        home.ok("login", "--token-command", server.token_command)
        for start in (0, 10):
            home.ok("add", *map(str, files[start : start + 10]), "--wait", "--timeout", "60")
            server.tell("revoke")
        assert counts(home) == {"ready": 20}
        assert {row["attempts"] for row in home.rows()} == {0}


def test_on_its_worst_day_each_content_is_stored_once_and_asked_about_before_it_is_sent_again(
    tmp_path: Path, server: faulty_sploot.Process
) -> None:
    """Faults after which the content is there already, and the lines broken in the middle of the body."""
    folder = tmp_path / "memes"
    memes.mass(folder, count=40, size_bytes=300_000)
    unheard = dict.fromkeys(["reset after", "error after", "gateway after", "truncated", "page after"], 0.08)
    with home_in(tmp_path / "home", SPLOOT_SERVER=server.url, SPLOOT_TOKEN="a-good-token") as home:
        server.tell("script", {"route": "upload", "faults": [*unheard, "reset inside"]})
        server.tell("faults", unheard)
        home.ok("add", str(folder), "--once")
        while server.books().faults.total() < 10:
            home.ok("status")
        server.tell("faults", {})
        home.run("bump", *[str(row["id"]) for row in home.rows("--state", "pending")])
        home.ok("add", str(folder), "--once", "--wait", "--timeout", "90")
        assert counts(home) == {"ready": 40}
    books = server.books()
    assert sorted(books.created.values()) == [1] * 40
    assert (books.conflicts.total(), books.at_once) == (0, 0)
    assert books.lines_max <= 4
