"""The reference, from the code itself: python docs/reference.py writes docs/reference/*.md.

A test holds what is written there against what this would write.
"""

import re
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import typer.main
from sploot import manual
from sploot.commands import app
from sploot_server import openapi

from splootd import API, config, protocol
from splootd.clock import Clock
from splootd.core import failure, lifecycle
from splootd.core import fault as faults
from splootd.core.item import Priority, State
from splootd.metrics import Traffic
from splootd.metrics.calls import Calls
from splootd.metrics.families import Measured, families
from splootd.metrics.memory import Memory

FOLDER = Path(__file__).parent / "reference"
DO_NOT_EDIT = "<!-- made by `python docs/reference.py`; edit the code instead -->\n\n"
VERDICTS = {
    failure.Verdict.RETRY: "tried again; it counts",
    failure.Verdict.WAIT: "waits; it does not count",
    failure.Verdict.BURY: "ends as `dead`",
    failure.Verdict.SKIP: "ends as `skipped`",
    failure.Verdict.DROP: "ends as `gone`",
}


def pages() -> dict[str, str]:
    """The text of each page by its file name."""
    written = {
        "commands.md": _commands(),
        "configuration.md": _configuration(),
        "states.md": _states(),
        "metrics.md": _metrics(),
        "control-api.md": _control_api(),
        "library-api.md": _library_api(),
    }
    return {name: DO_NOT_EDIT + "\n".join(lines).strip() + "\n" for name, lines in written.items()}


def _commands() -> Iterator[str]:
    yield "# Commands\n\nThe same text is in the manual pages that `python -m sploot.manual FOLDER` makes.\n"
    group: Any = typer.main.get_command(app)
    yield from _options(group)
    yield from _below(group, "sploot")


def _below(group: Any, before: str) -> Iterator[str]:
    for name, command in sorted(group.commands.items()):
        words = f"{before} {name}"
        arguments = [each.metavar or each.name.upper() for each in command.params if _is_argument(each)]
        yield f"## `{' '.join([words, *arguments])}`\n"
        yield (command.help or "").replace("\n\n", "\n").strip() + "\n"
        yield from _options(command)
        if hasattr(command, "commands"):
            yield from _below(command, words)


def _is_argument(parameter: Any) -> bool:
    return bool(parameter.param_type_name == "argument")


def _options(command: Any) -> Iterator[str]:
    options = [each for each in command.params if not _is_argument(each) and not each.hidden]
    if options:
        yield from _table("option", "does")
        yield from (_row(f"`{', '.join([*each.opts, *each.secondary_opts])}`", each.help or "") for each in options)
        yield ""


def _configuration() -> Iterator[str]:
    yield "# Configuration\n\n`sploot config path` says where the file is; `sploot config set KEY VALUE` writes it.\n"
    yield from _table("key", "what it is", "allowed", "default")
    defaults = {each.name: each.default for each in fields(config.Config)}
    for name, key in config.KEYS.items():
        assert defaults[name] is not MISSING
        default = "none" if defaults[name] == "" else f"`{defaults[name]}`"
        yield _row(f"`{name}`", key.about, key.allowed, default)
    yield "\n## Environment\n\nIt beats the file.\n"
    yield from _table("variable", "what it is")
    yield from (_row(f"`{name}`", about) for name, about in manual.ENVIRONMENT)


def _states() -> Iterator[str]:
    yield "# States, reasons and exit codes\n\n## The life of an item\n"
    yield f"```mermaid\n{lifecycle.mermaid()}\n```\n"
    yield f"Nothing more happens by itself in: {', '.join(f'`{each}`' for each in State if each in lifecycle.ENDED)}.\n"
    yield "## Reasons\n\nWhat `sploot list --reason` and `sploot retry --reason` take, and what follows.\n"
    yield from _table("reason", "what it means", "what follows")
    meanings = dict(re.findall(r'^    [A-Z_]+ = "(\w+)"  # (.+)$', Path(faults.__file__).read_text(), re.MULTILINE))
    for fault, handling in failure.HANDLING.items():
        yield _row(f"`{fault}`", meanings[fault], VERDICTS[handling.verdict])
    yield "\n## Exit codes\n"
    yield from _table("code", "means")
    yield from (_row(code, about) for code, about in manual.EXITS)


def _metrics() -> Iterator[str]:
    yield "# Metrics\n\n`sploot metrics` prints them; with `metrics_port` set, Prometheus may fetch them.\n"
    yield from _table("metric", "kind", "labels", "what it is")
    for family in families(_sample()):
        labels = dict.fromkeys(label for _, labels, _ in family.samples for label in labels if label != "le")
        yield _row(f"`{family.name}`", family.kind, ", ".join(f"`{each}`" for each in labels), family.about)


def _sample() -> Measured:
    """One of everything, so that every label is seen."""
    traffic, calls = Traffic(Clock()), Calls()
    calls.observe("check", "ok", 0.1)
    traffic.faults.update([faults.Fault.UNREACHABLE])
    return Measured(
        version="1",
        sqlite="1",
        started_at=0.0,
        now=0.0,
        rss_bytes=1,
        memory=Memory(),
        traffic=traffic,
        calls=calls,
        items={(State.PENDING, Priority.URGENT): 1},
        delayed=0,
        duplicates=0,
        paused=False,
        server_state="ok",
        breaker="closed",
        push="websocket",
        folders={},
        throttled_s=0.0,
        lanes=1,
        lanes_max=3,
    )


def _control_api() -> Iterator[str]:
    yield f"# Control API {API}\n"
    yield (
        "HTTP/1.1 and JSON on the Unix socket, for its owner alone. What is asked with GET travels in the\n"
        "query, what is asked with POST as a JSON object. A POST may carry an `Idempotency-Key`: sent again,\n"
        "it has its effect once. Errors are problem JSON (RFC 9457) with a stable `code`.\n\n"
        "The socket is `$XDG_RUNTIME_DIR/sploot/splootd.sock`, and where there is no such folder:\n\n"
        "```sh\n"
        "sploot status\n"
        "curl -s --unix-socket ~/.local/state/sploot/run/splootd.sock http://sploot/v1/status\n"
        "```\n"
    )
    for request in protocol.REQUESTS:
        yield f"## `{request.method} {request.path}`\n"
        if request.__doc__ and not request.__doc__.startswith(f"{request.__name__}("):
            yield "\n".join(line.strip() for line in request.__doc__.strip().splitlines()) + "\n"
        asked = fields(request)  # type: ignore[arg-type]  # every request is a dataclass
        if asked:
            yield from _table("field", "type", "default")
            yield from (_row(f"`{each.name}`", f"`{_type(each.type)}`", _default(each)) for each in asked)
            yield ""


def _library_api() -> Iterator[str]:
    document = openapi.document()
    yield f"# HTTP API of the library\n\n{document['info']['description']}\n"
    yield f"The whole document, with the schemas of all that travels, is at `{openapi.PATH}` of every server.\n"
    yield from _table("request", "does", "query", "answers")
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                asked = (f"`{each['name']}`" for each in operation.get("parameters", ()) if each["in"] == "query")
                answers = ", ".join(operation["responses"])
                yield _row(f"`{method.upper()} {path}`", operation["summary"], ", ".join(asked), answers)


def _type(annotation: Any) -> str:
    is_plain = isinstance(annotation, type) and not hasattr(annotation, "__args__")
    return annotation.__name__ if is_plain else str(annotation)


def _default(field: Any) -> str:
    return "required" if field.default is MISSING else f"`{field.default!r}`"


def _table(*titles: str) -> Iterator[str]:
    yield _row(*titles)
    yield _row(*("---" for _ in titles))


def _row(*cells: str) -> str:
    return f"| {' | '.join(' '.join(each.split()).replace('|', chr(92) + '|') for each in cells)} |"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, "utf-8")
