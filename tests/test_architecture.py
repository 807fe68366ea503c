"""Who may import whom, what is pure, and that a file fits in the head. Rules that nothing checks do not hold."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAMS = {
    "splootd": ROOT / "splootd",
    "sploot": ROOT / "cli" / "sploot",
    "sploot_server": ROOT / "server" / "sploot_server",
}

LINES_MAX = 300

PURE = frozenset({"collections", "dataclasses", "enum", "itertools", "math", "typing", "pathlib", "zlib"})
"""What the core may import beside itself: nothing that knows the time, chance, files or sockets."""

LAYERS = {
    "splootd.core": 0,
    **{
        f"splootd.{name}": 1
        for name in ("__init__", "errors", "protocol", "wire", "config", "places", "bus", "clock", "logs")
    },
    **{f"splootd.{name}": 1 for name in ("metrics", "credentials", "budget")},
    **{f"splootd.{name}": 2 for name in ("store", "remote", "gate", "work")},
    **{f"splootd.work.{name}": 3 for name in ("watcher", "intake", "uploader", "tracker", "janitor", "embedded")},
    **{f"splootd.work.{name}": 3 for name in ("aftercare", "chronicle", "courtesy", "metered", "notifier")},
    "splootd.work.timekeeper": 3,
    "splootd": 4,
}
"""The longest name counts. A module imports from its own layer and those below; a worker, in layer 3, no worker."""
WORKERS = 3

FOR_THE_COMMAND_LINE = {f"splootd{name}" for name in ("", ".protocol", ".wire", ".config", ".places", ".errors")}


def modules() -> dict[str, Path]:
    found = {}
    for program, folder in PROGRAMS.items():
        for file in sorted(folder.rglob("*.py")):
            parts = (program, *file.relative_to(folder).with_suffix("").parts)
            found[".".join(parts)] = file
    return found


MODULES = modules()
PACKAGES = {name.removesuffix(".__init__") for name in MODULES if name.endswith(".__init__")}

DOORS = {
    "obstore": {"sploot_server.blobs_s3"},
    "redis": {"sploot_server.notify_redis"},
    "asyncpg": {"sploot_server.assets.postgres.database"},
    "aiosqlite": {"splootd.store.connection", "sploot_server.assets.database"},
    "httpx": {f"splootd.remote.{name}" for name in ("api", "http1", "lines", "pictures", "resumable", "translated")},
    "httptools": {"splootd.remote.http1"},
    "websockets": {"splootd.remote.feed"},
    "watchfiles": {"splootd.work.watcher"},
    "pathspec": {"splootd.work.ignore"},
    "structlog": {"splootd.logs", *(name for name in MODULES if name.startswith("sploot_server."))},
}
"""Where a library is let in. Everywhere else it is not known, so it can be replaced in one place."""


def imports(module: str) -> Iterator[str]:
    """Every module that `module` imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: a relative import hides where it leads"
            source = node.module or ""
            for name in node.names:
                inner = f"{source}.{name.name}"
                yield inner if inner in MODULES or inner in PACKAGES else source


def layer(module: str) -> int:
    name = module
    while name not in LAYERS:
        name = name.rpartition(".")[0]
    return LAYERS[name]


def own(module: str) -> list[str]:
    return [name for name in MODULES if name == module or name.startswith(module + ".")]


@pytest.mark.parametrize("module", own("splootd"))
def test_imports_point_downwards(module: str) -> None:
    for target in imports(module):
        if target.startswith("splootd.") and target != module:
            assert layer(target) <= layer(module), f"{module} must not import {target}"
            assert not layer(target) == layer(module) == WORKERS, f"a worker imports a worker: {target}"


@pytest.mark.parametrize("module", own("splootd.core"))
def test_the_core_is_pure(module: str) -> None:
    for target in imports(module):
        assert target.split(".")[0] in PURE or target.startswith("splootd.core"), f"{module} must not import {target}"


@pytest.mark.parametrize("module", own("splootd.protocol") + own("splootd.wire"))
def test_what_travels_needs_the_standard_library_only(module: str) -> None:
    for target in imports(module):
        assert target.split(".")[0] in sys.stdlib_module_names or target.startswith("splootd."), target


@pytest.mark.parametrize("library", DOORS)
def test_each_library_has_one_door(library: str) -> None:
    users = {module for module in MODULES if library in {target.split(".")[0] for target in imports(module)}}
    assert users <= DOORS[library]


@pytest.mark.parametrize("module", own("sploot"))
def test_the_command_line_knows_the_agreement_with_the_daemon_and_no_more(module: str) -> None:
    known = {target for target in imports(module) if target.split(".")[0] in ("splootd", "sploot_server")}
    assert known <= FOR_THE_COMMAND_LINE


@pytest.mark.parametrize("module", own("sploot_server"))
def test_the_server_knows_neither_the_daemon_nor_the_command_line(module: str) -> None:
    assert not {target for target in imports(module) if target.split(".")[0] in ("splootd", "sploot")}


@pytest.mark.parametrize("module", MODULES)
def test_a_file_fits_in_the_head(module: str) -> None:
    lines = len(MODULES[module].read_text("utf-8").splitlines())
    assert lines <= LINES_MAX


@pytest.mark.parametrize("module", MODULES)
def test_a_name_says_what_is_in_a_file(module: str) -> None:
    vague = {
        "utils",
        "util",
        "helpers",
        "helper",
        "common",
        "base",
        "misc",
        "types",
        "constants",
        "manager",
        "services",
    }
    assert not vague & set(module.split("."))


@pytest.mark.parametrize("folder", ["cli", "server"])
def test_a_folder_of_a_program_is_no_package(folder: str) -> None:
    """An import package called `cli` would be overwritten by any other one of that name."""
    assert not (ROOT / folder / "__init__.py").exists()
