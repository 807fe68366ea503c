"""Fixtures for the terminal UI: a fake daemon with a list of rows, and the screen as text."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sploot.tui.app import TopApp
from sploot.tui.daemon_link import DataUpdate, Online, Update

from splootd import protocol
from splootd.errors import SplootError

LIMIT_S = 20


def row(number: int, state: str = "pending", **more: Any) -> protocol.ItemRow:
    values: dict[str, Any] = {
        "id": number,
        "path": f"/memes/meme {number}.png",
        "state": state,
        "priority": "normal",
        "shard": number % 16,
        "size": 1000 * number,
        "sha256": None,
        "asset_id": None,
        "attempts": 0,
        "added_at": "2026-01-01T10:00:00.000Z",
        "updated_at": "2026-01-01T10:00:05.000Z",
        "next_at": None,
        "error_code": None,
        "error_message": None,
        "duplicate": False,
        "folder": "/memes",
        "tags": (),
    }
    return protocol.ItemRow(**(values | more))


class FakeDaemon:
    """A daemon that replies from `rows`, in the order of their ids. `requests` records every request."""

    def __init__(self, rows: list[protocol.ItemRow]) -> None:
        self.rows = rows
        self.requests: list[protocol.Request] = []
        self.state = "running"
        self.is_offline = False
        self.is_closed = False
        self._on_update: Callable[[Update], None] = lambda _: None

    def open(self, on_update: Callable[[Update], None]) -> None:
        self._on_update = on_update
        self.send(Online())

    def close(self) -> None:
        self.is_closed = True

    def send(self, update: Update) -> None:
        """Send an update, and after `Online` the status, like the daemon."""
        self._on_update(update)
        if isinstance(update, Online):
            self._on_update(DataUpdate(has_changed=False, status=self._status()))

    def change(self, number: int, **values: Any) -> None:
        self.rows = [replace(each, **values) if each.id == number else each for each in self.rows]
        self.send(DataUpdate(has_changed=True, status=self._status()))

    async def request(self, request: protocol.Request, reply: type[Any]) -> Any:
        self.requests.append(request)
        await asyncio.sleep(0)
        if self.is_offline:
            raise SplootError("the daemon is not running")
        result = self._reply(request)
        assert isinstance(result, reply)
        return result

    def count(self, kind: type[protocol.Request]) -> int:
        return sum(isinstance(each, kind) for each in self.requests)

    def _reply(self, request: protocol.Request) -> Any:
        match request:
            case protocol.GetStatus():
                return self._status()
            case protocol.ListItems():
                return self._page(request)
            case protocol.GetExplanation():
                (found,) = (each for each in self.rows if str(each.id) == request.target)
                return protocol.Explanation(found, (), "It is uploaded next.", 1)
            case protocol.Retry():
                return self._set(request.ids, "failed", state="pending", priority="urgent")
            case protocol.Bump():
                return self._set([int(each) for each in request.targets], "pending", priority="urgent")
            case protocol.Forget():
                return self._set([int(each) for each in request.targets], "pending", state="skipped")
            case protocol.Pause():
                self.state = "paused"
                return protocol.MessageReply("Uploads are paused.")
            case protocol.Resume():
                self.state = "running"
                return protocol.MessageReply("Uploads are resumed.")
            case protocol.GetReport():
                return REPORT
        raise AssertionError(request)

    def _set(self, ids: Any, of: str, **values: Any) -> protocol.ChangeReply:
        changed = [each.id for each in self.rows if each.id in ids and each.state == of]
        self.rows = [replace(each, **values) if each.id in changed else each for each in self.rows]
        return protocol.ChangeReply(tuple(changed))

    def _page(self, request: protocol.ListItems) -> protocol.Items:
        found = [
            each
            for each in reversed(self.rows)
            if request.state in (None, each.state)
            and request.folder in (None, each.folder)
            and (request.text or "") in each.path
            and (request.before is None or each.id < request.before)
            and (request.after is None or each.id > request.after)
        ]
        if request.after is not None:
            page = found[-request.limit :]
            return protocol.Items(tuple(page), None, page[0].id if len(page) == request.limit else None)
        page = found[: request.limit]
        return protocol.Items(tuple(page), page[-1].id if len(page) == request.limit else None)

    def _status(self) -> protocol.Status:
        states = ("pending", "uploading", "embedding", "ready", "failed", "missing", "skipped")
        items = dict.fromkeys(states, 0)
        for each in self.rows:
            items[each.state] += 1
        return replace(
            STATUS, daemon=replace(STATUS.daemon, state=self.state), items={"total": len(self.rows), **items}
        )


STATUS = protocol.Status(
    daemon=protocol.DaemonStatus("0.1.0", 4711, 3700.0, "running", 85_000_000),
    server=protocol.ServerStatus("local", True, "ok", "closed", "websocket", None),
    items={},
    duplicates=0,
    delayed=0,
    rates=protocol.Rates(0.0, 0.0, None),
    folders=(protocol.FolderRow("/memes", "watching", None, 3, None),),
    actions_required=(),
)
REPORT = protocol.Report(
    uploads=(),
    calls=(protocol.CallRow("upload", 9120, 12, {"ok": 9108, "rate_limited": 12}, 0.045, 0.12, 1.3, 500.0),),
    memory=protocol.MemoryRow(312_000_000, 401_000_000, 298_000_000),
    errors={"rate_limited": 12, "unreachable": 3},
    urgent_queue_latency={"count": 3.0, "p50_s": 0.01, "p95_s": 0.02, "p99_s": 0.5},
    embedding={"count": 0.0},
)


def shown(app: TopApp) -> list[str]:
    """Return the lines on the screen without trailing blanks."""
    return ["".join(segment.text for segment in strip).rstrip() for strip in app.screen._compositor.render_strips()]


async def until(app: TopApp, pilot: Any, holds: Callable[[], bool]) -> None:
    """Let the app run until `holds` returns True."""
    try:
        async with asyncio.timeout(LIMIT_S):
            while not holds():
                await pilot.pause()
    except TimeoutError:
        raise AssertionError("\n".join(shown(app))) from None
