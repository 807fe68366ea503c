"""Politeness: metered networks, a server that is behind, and words for the desktop."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from storekit import opened
from walkkit import walking

from splootd.clock import Clock
from splootd.core.backlog import BACKLOG_LARGE
from splootd.core.item import State
from splootd.credentials import Credentials
from splootd.gate import Gate
from splootd.protocol import Need
from splootd.store.listing import Counts
from splootd.work import metered
from splootd.work.courtesy import Courtesy
from splootd.work.metered import METERED, Metered, metered_in
from splootd.work.notifier import Notifier, command_of, is_wanted

LIMIT_S = 20.0


def program(folder: Path, name: str, script: str) -> None:
    """A program called `name`, found before all others."""
    file = folder / name
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)


@pytest.fixture
def first_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.mark.parametrize(
    ("answer", "is_metered"),
    [
        (b'{"type":"u","data":1}', True),
        (b'{"type":"u","data":3}', True),
        (b'{"type":"u","data":0}', False),
        (b'{"type":"u","data":2}', False),
        (b'{"type":"u","data":4}', False),
        (b"", False),
        (b"[]", False),
        (b'{"data":[1]}', False),
        (b"\xff", False),
    ],
)
def test_the_answer_of_networkmanager_is_understood(answer: bytes, is_metered: bool):
    assert metered_in(answer) is is_metered


async def test_the_system_is_asked_for_the_property_of_networkmanager(first_on_path: Path):
    program(first_on_path, "busctl", 'test "$8" = Metered && echo \'{"type":"u","data":1}\'')
    assert await metered.asks_for_thrift()


@pytest.mark.parametrize("script", ["exit 1", "echo nonsense", "exec yes"])
async def test_a_system_that_does_not_know_has_no_metered_network(first_on_path: Path, script: str):
    program(first_on_path, "busctl", script)
    assert not await metered.asks_for_thrift()


async def test_a_system_that_hangs_is_not_waited_for(first_on_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(metered, "ANSWER_S", 0.05)
    program(first_on_path, "busctl", "exec tail -f /dev/null")
    assert not await metered.asks_for_thrift()


async def test_without_the_program_nothing_is_metered(first_on_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", os.fspath(first_on_path))
    assert not await metered.asks_for_thrift()


async def test_a_metered_network_holds_the_sending_until_it_is_another(tmp_path: Path, first_on_path: Path):
    async with walking(tmp_path) as walk:
        program(first_on_path, "busctl", "echo '{\"data\":1}'")
        worker = Metered(walk.store.listing, walk.store.bells, walk.gate)
        await worker.run_once()
        assert (walk.gate.held_for, walk.gate.detail) == (METERED, f"sending waits, because {METERED}")
        await walk.add("a.jpg")
        walk.start()
        assert (await walk.until(lambda counts: counts[State.PENDING] == 1))[State.UPLOADING] == 0
        program(first_on_path, "busctl", "echo '{\"data\":2}'")
        await worker.run_once()
        assert walk.gate.detail is None
        await walk.until_through()


class Backlogged:
    """A listing with as many embeddings as a test says."""

    def __init__(self) -> None:
        self.states = dict.fromkeys(State, 0)

    async def counts(self) -> Counts:
        return Counts(self.states, {}, self.states, {}, 0, 0)


async def test_a_growing_backlog_takes_lanes_away_and_says_so(tmp_path: Path):
    async with opened(tmp_path / "queue.db") as store:
        clock, listing, allowed = Clock(), Backlogged(), list[int]()
        gate = Gate(clock, Credentials(tmp_path / "token", clock))
        courtesy = Courtesy(listing, store.bells, gate, lanes_max=3, allow=allowed.append)  # type: ignore[arg-type]  # all of it that is asked
        listing.states[State.PENDING] = 1
        for outstanding in (BACKLOG_LARGE + 1, BACKLOG_LARGE + 2):
            listing.states[State.EMBEDDING] = outstanding
            assert await courtesy.run_once()
        assert gate.detail == "the server is still making 202 files searchable, so 1 of 3 connections send"
        listing.states |= {State.PENDING: 0, State.EMBEDDING: 10}
        assert await courtesy.run_once()
        assert not await courtesy.run_once()
        assert (allowed, gate.detail) == ([2, 1, 2, 3], None)


async def test_lanes_that_were_taken_away_are_not_used_until_they_come_back(tmp_path: Path):
    async with walking(tmp_path) as walk:
        walk.uploader.allow(1)
        for number in range(20):
            await walk.add(f"{number}.jpg")
        walk.start()
        await walk.until_through()
        assert walk.sploot.uploads_max == 1
        walk.uploader.allow(walk.server.uploads_max)
        for number in range(20):
            await walk.add(f"more {number}.jpg")
        assert (await walk.until_through())[State.PENDING] == 0


class Told:
    """Trouble as a test says, and what the desktop was told of it."""

    def __init__(self, folder: Path) -> None:
        self.needs: list[Need] = []
        self.words = folder / "words"
        self.notifier = Notifier(self.ask, self.command)

    async def ask(self) -> Sequence[Need]:
        return self.needs

    def command(self, title: str, words: str) -> Sequence[str]:
        return ("sh", "-c", 'printf "%s|%s\\n" "$1" "$2" >> "$0"', os.fspath(self.words), title, words)

    async def look(self, *needs: Need) -> list[str]:
        self.needs = list(needs)
        self.words.write_text("")
        await self.notifier.run_once()
        return self.words.read_text().splitlines()


async def test_the_desktop_is_told_once_not_for_each_file(tmp_path: Path):
    told = Told(tmp_path)
    dead = [Need(f"{count} files could not be sent", count, "sploot failed") for count in (2, 30)]
    assert await told.look(dead[0]) == ["Sploot needs you|2 files could not be sent: sploot failed"]
    assert await told.look(dead[0]) == []
    assert await told.look(dead[1]) == []
    assert await told.look() == []
    assert await told.look(dead[1]) == ["Sploot needs you|30 files could not be sent: sploot failed"]


async def test_new_trouble_is_told_beside_old_trouble(tmp_path: Path):
    told = Told(tmp_path)
    await told.look(Need("2 files could not be sent", 2, "sploot failed"))
    both = (Need("the server does not know you", 1, "sploot login"), Need("3 files", 3, "sploot failed"))
    assert await told.look(*both) == ["Sploot needs you|the server does not know you: sploot login"]


async def test_a_desktop_that_cannot_be_told_stops_nothing():
    async def ask() -> Sequence[Need]:
        return [Need("it", 1, "sploot failed")]

    assert await Notifier(ask, lambda *_: ("no-such-program-here",)).run_once()


def test_words_are_never_options_markup_or_script():
    freedesktop = command_of("linux")("title", "<b>&\n-x")
    assert freedesktop == ("notify-send", "--app-name=Sploot", "--", "title", "&lt;b&gt;&amp;\n-x")
    assert command_of("darwin")("title", 'a" & b')[-2:] == ("title", 'a" & b')


@pytest.mark.parametrize(
    ("wish", "environ", "is_told"),
    [
        ("auto", {}, False),
        ("auto", {"DISPLAY": ":0"}, True),
        ("auto", {"WAYLAND_DISPLAY": "w"}, True),
        ("no", {"DISPLAY": ":0"}, False),
        ("yes", {}, True),
    ],
)
def test_without_a_desktop_nobody_is_told(
    monkeypatch: pytest.MonkeyPatch,
    wish: str,
    environ: dict[str, str],
    is_told: bool,
):
    monkeypatch.setattr("sys.platform", "linux")
    assert is_wanted(wish, environ) is is_told
