"""Imports run one way, the core is pure, each library has one door, and names can be guessed."""

import ast
import functools
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROGRAMS = {
    "splootd": ROOT / "splootd",
    "sploot": ROOT / "cli" / "sploot",
    "sploot_server": ROOT / "server" / "sploot_server",
}

LINES_MAX = 400

PURE = frozenset({"collections", "dataclasses", "enum", "itertools", "math", "typing", "pathlib", "re", "zlib"})
"""What the core may import beside itself: nothing that reads the time, randomness, files or sockets."""

BASICS = (
    "errors app_dirs clock server_url config codec protocol event_bus credentials lock logs text metrics"
    " weighted_semaphore"
)
ORDER = {
    "splootd": [
        *("core", BASICS, "file_reader", "store", "remote", "watch", "upload", "embeddings", "post_upload", "system"),
        *("pipeline", "control", "web", "daemon", "__main__"),
    ],
    "sploot_server": [
        *(
            "domain",
            "config environment logs acceptor measurements",
            "inference",
            "models",
            "server_process storage",
            "auth pubsub",
            "library",
        ),
        *("storage_backends", "http", "admin", "app", "worker_app", "cli", "__main__"),
    ],
}
"""The packages of a program, lowest first. A module imports from its own entry and from those before it."""

PIPELINE = ("watch", "upload", "embeddings", "post_upload", "system")
"""The steps of the pipeline meet in the database and on the wake signals, not by imports."""
SHARED_BY_THE_PIPELINE = {"splootd.upload.admission"}
"""What a step may import of another one: whether a request may be sent now is one question for all of them."""

FOR_THE_COMMAND_LINE = {f"splootd{name}" for name in ("", ".protocol", ".codec", ".config", ".app_dirs", ".errors")}

TWICE_AT_MOST = 2
SAME_NAME = {
    "search": "one module per layer: command, control API, HTTP route, use case, and each database",
    "app": "the entry of each program that has one",
    "items": "the same subject in protocol, control API and command",
    "status": "the same subject in protocol, control API and command",
    "doctor": "the same subject in protocol, control API and command",
    "folders": "the same subject in protocol, store, control API and command",
    "metrics": "the same subject in protocol, control API, server and command",
    "add": "the same subject in protocol, control API and command",
    "daemon": "the program, its part of the protocol, and the command",
    "logs": "the log of each program, and the command that prints it",
    "config": "the settings of each program, and the command that edits them",
    "connection": "the one connection to SQLite, and the one to the daemon",
    "server": "the HTTP servers of control API and web UI",
    "client": "the clients of the Sploot API and of the control API",
    "database": "one per database system",
    "assets": "what all database systems share, one per system, and their routes",
    "jobs": "one per database system",
    "templates": "use cases, storage and routes",
    "undo": "the same subject in the pipeline, control API and command",
    "backup": "the same subject in control API and command",
    "library": "the same subject in protocol, control API and web UI",
    "service": "use cases of library and admin, and the command",
}
"""Module names that stand more than twice in the three programs, each with the reason."""


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
    "obstore": {"sploot_server.storage.blobs.s3"},
    "redis": {"sploot_server.pubsub.redis"},
    "asyncpg": {"sploot_server.storage.postgres.database"},
    "aiosqlite": {"splootd.store.connection", "sploot_server.storage.sqlite.database"},
    "httpx": {
        *(name for name in MODULES if name.startswith("splootd.remote.")),
        "splootd.upload.transports.tus",
    },
    "httptools": {"splootd.remote.http11_connection"},
    "websockets": {"splootd.embeddings.push_client"},
    "watchfiles": {"splootd.watch.watcher"},
    "pathspec": {"splootd.watch.ignore"},
    "sploot_web": {
        "splootd.web.static_files",
        *(f"sploot_server.http.routes.{name}" for name in ("page", "share_page")),
    },
    "structlog": {"splootd.logs", *(name for name in MODULES if name.startswith("sploot_server."))},
}
"""The modules that may import a library; it can be replaced there."""


@functools.cache
def imports(module: str) -> list[str]:
    """Every module that `module` imports, wherever in it the import stands."""
    return list(_imports(module))


def _imports(module: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(MODULES[module].read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: a relative import hides where it leads"
            source = node.module or ""
            for name in node.names:
                inner = f"{source}.{name.name}"
                yield inner if inner in MODULES or inner in PACKAGES else source


def place(module: str) -> tuple[str, int]:
    """The package of `module` below its program, and its place in the order."""
    program, _, below = module.partition(".")
    package = below.partition(".")[0]
    return package, next(at for at, names in enumerate(ORDER[program]) if package in names.split())


def own(module: str) -> list[str]:
    return [name for name in MODULES if name == module or name.startswith(module + ".")]


@pytest.mark.parametrize(
    "module", [name for program in ORDER for name in own(program) if not name.endswith("__init__")]
)
def test_imports_run_one_way(module: str) -> None:
    program = module.partition(".")[0]
    package, at = place(module)
    for target in imports(module):
        if target.startswith(f"{program}.") and target != module:
            other, below = place(target)
            assert below <= at, f"{module} must not import {target}"
            is_sideways = program == "splootd" and package != other and {package, other} <= set(PIPELINE)
            assert not is_sideways or target in SHARED_BY_THE_PIPELINE, f"a step imports a step: {module}, {target}"


@pytest.mark.parametrize("program", ORDER)
def test_every_package_has_its_place_in_the_order(program: str) -> None:
    for module in own(program):
        if not module.endswith("__init__") or module.count(".") > 1:
            place(module)


@pytest.mark.parametrize("module", own("splootd.core"))
def test_the_core_is_pure(module: str) -> None:
    for target in imports(module):
        assert target.split(".")[0] in PURE or target.startswith("splootd.core"), f"{module} must not import {target}"


@pytest.mark.parametrize("module", own("splootd.protocol") + own("splootd.codec"))
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
def test_a_module_has_at_most_400_lines(module: str) -> None:
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


def test_a_module_name_stands_at_most_twice_or_has_a_reason() -> None:
    places = defaultdict(list)
    for name in MODULES:
        places[name.rpartition(".")[2]].append(name)
    many = {name for name, modules in places.items() if len(modules) > TWICE_AT_MOST and not name.startswith("__")}
    assert many <= set(SAME_NAME), {name: places[name] for name in many - set(SAME_NAME)}
    assert set(SAME_NAME) <= set(places), "a reason without a module"


@pytest.mark.parametrize("folder", ["cli", "server", "web"])
def test_a_folder_of_a_program_is_no_package(folder: str) -> None:
    """An import package called `cli` would be overwritten by any other one of that name."""
    assert not (ROOT / folder / "__init__.py").exists()
