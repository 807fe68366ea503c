"""For tests of the full screen: a daemon that is a list, and what the screen shows as text."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sploot.topview.app import Top
from sploot.topview.link import Heard, Online, Told

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
        "reason": None,
        "duplicate": False,
        "folder": "/memes",
        "tags": (),
    }
    return protocol.ItemRow(**(values | more))


class FakeDaemon:
    """Answers from `rows`, which are in the order of their ids. `asked` is all that it was asked for."""

    def __init__(self, rows: list[protocol.ItemRow]) -> None:
        self.rows = rows
        self.asked: list[protocol.Request] = []
        self.state = "running"
        self.is_away = False
        self.is_closed = False
        self._hear: Callable[[Heard], None] = lambda _: None

    def open(self, hear: Callable[[Heard], None]) -> None:
        self._hear = hear
        self.tell(Online())

    def close(self) -> None:
        self.is_closed = True

    def tell(self, heard: Heard) -> None:
        """As the daemon does, which begins with where everything stands."""
        self._hear(heard)
        if isinstance(heard, Online):
            self._hear(Told(has_changed=False, status=self._status()))

    def change(self, number: int, **values: Any) -> None:
        self.rows = [replace(each, **values) if each.id == number else each for each in self.rows]
        self.tell(Told(has_changed=True, status=self._status()))

    async def ask(self, request: protocol.Request, reply: type[Any]) -> Any:
        self.asked.append(request)
        await asyncio.sleep(0)
        if self.is_away:
            raise SplootError("the daemon does not run")
        answer = self._answer(request)
        assert isinstance(answer, reply)
        return answer

    def count(self, kind: type[protocol.Request]) -> int:
        return sum(isinstance(each, kind) for each in self.asked)

    def _answer(self, request: protocol.Request) -> Any:
        match request:
            case protocol.GetStatus():
                return self._status()
            case protocol.ListItems():
                return self._page(request)
            case protocol.Why():
                (found,) = (each for each in self.rows if str(each.id) == request.target)
                return protocol.Story(found, (), "It is sent as soon as it is its turn.", 1)
            case protocol.Retry():
                return self._set(request.ids, "dead", state="pending", priority="urgent")
            case protocol.Bump():
                return self._set([int(each) for each in request.targets], "pending", priority="urgent")
            case protocol.Forget():
                return self._set([int(each) for each in request.targets], "pending", state="skipped")
            case protocol.Pause():
                self.state = "paused"
                return protocol.Done("Sending is paused.")
            case protocol.Resume():
                self.state = "running"
                return protocol.Done("Sending goes on.")
            case protocol.GetReport():
                return REPORT
        raise AssertionError(request)

    def _set(self, ids: Any, of: str, **values: Any) -> protocol.Changed:
        changed = [each.id for each in self.rows if each.id in ids and each.state == of]
        self.rows = [replace(each, **values) if each.id in changed else each for each in self.rows]
        return protocol.Changed(tuple(changed))

    def _page(self, asked: protocol.ListItems) -> protocol.Items:
        found = [
            each
            for each in reversed(self.rows)
            if asked.state in (None, each.state)
            and asked.folder in (None, each.folder)
            and (asked.text or "") in each.path
            and (asked.before is None or each.id < asked.before)
            and (asked.after is None or each.id > asked.after)
        ]
        if asked.after is not None:
            page = found[-asked.limit :]
            return protocol.Items(tuple(page), None, page[0].id if len(page) == asked.limit else None)
        page = found[: asked.limit]
        return protocol.Items(tuple(page), page[-1].id if len(page) == asked.limit else None)

    def _status(self) -> protocol.Status:
        states = ("pending", "uploading", "embedding", "ready", "dead", "gone", "skipped")
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
    ready_of_which_duplicates=0,
    pending_of_which_delayed=0,
    rates=protocol.Rates(0.0, 0.0, None),
    folders=(protocol.FolderRow("/memes", "watching", None, 3, None),),
    needs_you=(),
)
REPORT = protocol.Report(
    uploads=(),
    calls=(protocol.CallRow("upload", 9120, 12, {"ok": 9108, "rate_limited": 12}, 0.045, 0.12, 1.3, 500.0),),
    memory=protocol.MemoryRow(312_000_000, 401_000_000, 298_000_000),
    errors={"rate_limited": 12, "unreachable": 3},
    urgent_wait={"count": 3.0, "p50_s": 0.01, "p95_s": 0.02, "p99_s": 0.5},
    embedding={"count": 0.0},
)


def shown(app: Top) -> list[str]:
    """The lines on the screen, without the blanks at their ends."""
    return ["".join(segment.text for segment in strip).rstrip() for strip in app.screen._compositor.render_strips()]


async def until(app: Top, pilot: Any, holds: Callable[[], bool]) -> None:
    """Let the screen work until `holds`."""
    try:
        async with asyncio.timeout(LIMIT_S):
            while not holds():
                await pilot.pause()
    except TimeoutError:
        raise AssertionError("\n".join(shown(app))) from None
