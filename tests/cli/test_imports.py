"""Imports take most of the run time of a command, so these tests limit them. They count modules, not seconds."""

import subprocess
from collections.abc import Iterator

import pytest
from temp_home import Home, home_in

# Modules of Python itself, those that `json` needs, and ours.
PYTHON = "__future__ _collections _functools _json _operator _socket _sre _struct _typing"
LIBRARY = "collections copyreg enum functools itertools json keyword operator re reprlib types"
OURS = (
    "sploot sploot.main sploot.client sploot.commands sploot.connection sploot.exit_codes sploot.fast_path "
    "sploot.daemon_connect sploot.render"
)
SHARED = (
    "sploot.terminal sploot.formatting splootd splootd.core splootd.core.error_code splootd.errors splootd.app_dirs"
)
ALLOWED = {*PYTHON.split(), *LIBRARY.split(), *OURS.split(), *SHARED.split()}
PER_COMMAND = {
    ("status",): {"sploot.commands.status"},
    ("status", "--json"): {"sploot.commands.status"},
    ("add", "picture.png"): {"sploot.commands.add", "sploot.paths"},
}
TIMES = {"datetime", "_datetime", "math"}  # only imported to print a time

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
    """Return the modules that `sploot ARGUMENTS` imports and plain Python does not."""
    bare, whole = (
        f"import sys; bare = set(sys.modules); sys.argv = {['sploot', *arguments]}",
        "from sploot.main import main; main(); print(*sorted(set(sys.modules) - bare), file=sys.stderr)",
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


@pytest.mark.parametrize("command", PER_COMMAND)
def test_the_most_frequent_commands_import_only_what_they_need(home: Home, command: tuple[str, ...]):
    modules = imported(home, *command)
    assert {name for name in modules if not _is_part_of(name, ALLOWED | PER_COMMAND[command])} == set()


def test_a_watched_folder_adds_only_the_time_modules_to_status(home: Home):
    (home.folder / "memes").mkdir()
    (home.folder / "memes" / "cat.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(99))
    home.ok("add", "memes")
    modules = imported(home, "status")
    assert {name for name in modules if not _is_part_of(name, ALLOWED | PER_COMMAND["status",] | TIMES)} == set()


def _is_part_of(name: str, allowed: set[str]) -> bool:
    return name in allowed or (name.rpartition(".")[0] in ("re", "json", "collections", "importlib"))


@pytest.mark.parametrize("command", OTHERS, ids=" ".join)
def test_usual_command_lines_import_no_parser(home: Home, command: list[str]):
    assert not {"typer", "click", *HEAVY} & imported(home, *command)


@pytest.mark.parametrize("command", BY_TYPER, ids=" ".join)
def test_other_command_lines_import_a_parser_and_nothing_heavier(home: Home, command: list[str]):
    modules = imported(home, *command)
    assert "typer" in modules
    assert not set(HEAVY) & modules


@pytest.mark.parametrize(
    ("command", "modules"),
    [(["list"], {"items"}), (["bump", "x"], {"item_actions", "daemon"}), (["config", "list"], set())],
)
def test_only_the_needed_modules_of_the_protocol_are_imported(home: Home, command: list[str], modules: set[str]):
    read = {name.removeprefix("splootd.protocol.") for name in imported(home, *command) if "splootd.protocol." in name}
    assert read - {"request"} == modules
