"""What a command imports is most of the time that it takes, so it is held here: counts of modules, not of seconds."""

import subprocess
from collections.abc import Iterator

import pytest
from homes import Home, home_in

# Whatever Python imports by itself, the pattern module that `json` needs, and ours.
PYTHON = "__future__ _collections _functools _json _operator _socket _sre _struct _typing"
LIBRARY = "collections copyreg enum functools itertools json keyword operator re reprlib types"
OURS = "sploot sploot.app sploot.client sploot.connection sploot.exits sploot.plain sploot.reach sploot.render"
SHARED = "sploot.terminal sploot.text splootd splootd.core splootd.core.fault splootd.errors splootd.places"
ALLOWED = {*PYTHON.split(), *LIBRARY.split(), *OURS.split(), *SHARED.split()}
MORE = {
    ("status",): {"sploot.status"},
    ("status", "--json"): {"sploot.status"},
    ("add", "picture.png"): {"sploot.adding", "sploot.paths"},
}
TIMES = {"datetime", "_datetime", "math"}  # where a time is shown

HEAVY = ("asyncio", "httpx", "structlog", "pydantic", "rich", "textual", "ssl", "logging", "multiprocessing")
OTHERS = [
    *(
        ["list"],
        ["why", "picture.png"],
        ["failed"],
        ["folders"],
        ["retry", "--all"],
        ["bump", "picture.png"],
        ["pause"],
    ),
    *(["metrics"], ["logs"], ["resume"], ["forget", "picture.png"], ["undo", "--last"]),
    *(["retry", "17"], ["undo", "17"], ["ui", "--no-open"], ["why", "--slow"], ["doctor", "--no-self-test"]),
    *(["config", "list"], ["service", "status"]),
]
BY_TYPER = [
    *(["--version"], ["--help"], ["list", "--help"], ["daemon", "start"], ["search", "cat", "--limit", "100"]),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    with home_in(tmp_path_factory.mktemp("imports")) as home:
        (home.folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(64))
        home.ok("pause")
        home.ok("add", "picture.png")
        yield home


def imported(home: Home, *arguments: str) -> set[str]:
    """The modules that `sploot ARGUMENTS` imports and bare Python does not."""
    bare, whole = (
        f"import sys; bare = set(sys.modules); sys.argv = {['sploot', *arguments]}",
        "from sploot.app import main; main(); print(*sorted(set(sys.modules) - bare), file=sys.stderr)",
    )
    done = subprocess.run(
        [*home.command()[:1], "-c", f"{bare}; {whole}"],
        env=home.variables(),
        cwd=home.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("command", MORE)
def test_the_commands_that_are_run_most_import_what_they_must(home: Home, command: tuple[str, ...]):
    found = imported(home, *command)
    assert {name for name in found if not _is_part_of(name, ALLOWED | MORE[command])} == set()


def test_a_time_is_all_that_a_watched_folder_adds_to_the_status(home: Home):
    (home.folder / "memes").mkdir()
    (home.folder / "memes" / "cat.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    home.ok("add", "memes")
    found = imported(home, "status")
    assert {name for name in found if not _is_part_of(name, ALLOWED | MORE["status",] | TIMES)} == set()


def _is_part_of(name: str, allowed: set[str]) -> bool:
    return name in allowed or (name.rpartition(".")[0] in ("re", "json", "collections", "importlib"))


@pytest.mark.parametrize("command", OTHERS, ids=" ".join)
def test_commands_as_they_are_mostly_typed_import_no_parser(home: Home, command: list[str]):
    assert not {"typer", "click", *HEAVY} & imported(home, *command)


@pytest.mark.parametrize("command", BY_TYPER, ids=" ".join)
def test_the_others_import_a_parser_and_nothing_heavier(home: Home, command: list[str]):
    found = imported(home, *command)
    assert "typer" in found
    assert not set(HEAVY) & found


@pytest.mark.parametrize(
    ("command", "pages"),
    [(["list"], {"items", "folders", "library"}), (["bump", "x"], {"changes", "running"}), (["config", "list"], set())],
)
def test_of_the_protocol_only_the_pages_that_are_needed_are_read(home: Home, command: list[str], pages: set[str]):
    read = {name.removeprefix("splootd.protocol.") for name in imported(home, *command) if "splootd.protocol." in name}
    assert read - {"request"} == pages
