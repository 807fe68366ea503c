"""The screen: what stands where, and what each key does."""

import asyncio
import contextlib
import signal
import time
from dataclasses import replace
from typing import ClassVar, TypeVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static

from sploot import render
from sploot.render import Style
from sploot.text import count
from sploot.topview import lines
from sploot.topview.feed import Choice, Feed
from sploot.topview.link import Daemon, Heard, Offline, Online, Told
from sploot.topview.pace import Pace
from sploot.topview.paper import Paper, Question
from sploot.topview.speeds import Speeds, Transfer
from sploot.topview.table import Table
from sploot.topview.window import Window
from splootd import protocol
from splootd.errors import SplootError

TICK_S = 1.0
SAY_S = 6.0
PARTS = ("head", "sending", "transfers", "title", "metrics", "foot")
NEXT_STATE: tuple[str | None, ...] = (None, "pending", "uploading", "embedding", "dead", "ready", "skipped", "gone")


T = TypeVar("T")


class News(Message):
    def __init__(self, heard: Heard) -> None:
        super().__init__()
        self.heard = heard


class Top(App[None]):
    """`sploot top`."""

    ENABLE_COMMAND_PALETTE = False
    CSS_PATH = "top.tcss"
    # Textual declares these two without ClassVar, so they cannot have it here.
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (140, "-wide")]  # noqa: RUF012 - see above
    VERTICAL_BREAKPOINTS = [(0, "-low"), (20, "-high")]  # noqa: RUF012 - as above
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c", "quit"),
        Binding("question_mark,h", "help"),
        Binding("slash", "search"),
        Binding("s", "state(1)"),
        Binding("S", "state(-1)"),
        Binding("o", "folder"),
        Binding("escape", "everything"),
        Binding("enter", "why"),
        Binding("r", "retry"),
        Binding("b", "bump"),
        Binding("f", "forget"),
        Binding("p", "pause"),
        Binding("m,ctrl+shift+m", "metrics"),
    ]

    def __init__(self, daemon: Daemon) -> None:
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self._daemon = daemon
        self._style = Style(is_on=not self.no_color)
        self._status: protocol.Status | None = None
        self._lost = ""
        self._speeds = Speeds()
        self._moving: list[Transfer] = []
        self._window = Window()
        self._table = Table(self._window)
        self._feed = Feed(daemon.ask, self._window, self._table)
        self._measuring = Pace(self._measure, TICK_S)
        self._said, self._said_at = "", 0.0
        self._parts = {name: Static(id=name) for name in PARTS}

    def compose(self) -> ComposeResult:
        yield from (self._parts[name] for name in ("head", "sending", "transfers", "title"))
        with Horizontal():
            yield self._table
            yield self._parts["metrics"]
        yield Input(
            placeholder="words in the names of files", max_length=protocol.TEXT_CHARS_MAX, compact=True, id="search"
        )
        yield self._parts["foot"]

    def on_mount(self) -> None:
        self._table.focus()
        for each in (self._feed, self._measuring):
            self.run_worker(each.run())
        self.set_interval(TICK_S, self._tick)
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.exit)  # else the terminal stays as it is now
        self._daemon.open(self._hear)

    def on_unmount(self) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
        self._daemon.close()

    def _print_error_renderables(self) -> None:
        """Print no traceback of what was not foreseen: only a developer has any use for one."""

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def _hear(self, heard: Heard) -> None:
        """From the thread that listens."""
        with contextlib.suppress(RuntimeError):  # the screen has closed
            self.post_message(News(heard))

    def on_news(self, news: News) -> None:
        match news.heard:
            case Online():
                self._lost = self._said = ""
                self._feed.changed()
            case Offline(sentence):
                self._lost, self._moving = sentence, []
            case Told(has_changed, transfers, status):
                if status is not None:
                    self._count(status)
                if has_changed:
                    self._feed.changed()
                if transfers is not None:
                    self._moving = self._speeds.note(transfers, time.monotonic())
        self._draw()

    def _count(self, now: protocol.Status) -> None:
        """Where everything stands."""
        self._status = now
        self._table.moved(self._window.count(self._feed.choice.total(now)))

    async def _measure(self) -> None:
        with contextlib.suppress(SplootError):  # the head of the screen says it
            now = await self._daemon.ask(protocol.GetStatus(), protocol.Status)  # its age and memory are no news
            report = await self._daemon.ask(protocol.GetReport(), protocol.Report)
            self._put("metrics", *lines.metrics(now, report, self._style))

    def _tick(self) -> None:
        """Once a second: nothing is asked, unless the metrics are on the screen."""
        if self.screen_stack[0].has_class("-metrics") and not self._lost:
            self._measuring.want()
        if self._said and time.monotonic() - self._said_at > SAY_S:
            self._say("")

    def _draw(self) -> None:
        """All but the rows of the queue, which draw themselves."""
        width, style = self.size.width, self._style
        head = lines.head(self._status, style, width) if self._status else [""]
        if self._lost:
            head[0] = style.bad(lines.fit(f"no daemon: {self._lost}", width))
        if self._status or self._lost:
            self._put("head", *head)
        self._put("sending", lines.rule("Sending", str(len(self._moving) or ""), style, width))
        height = max(1, self._parts["transfers"].size.height)
        self._put("transfers", *lines.transfers(self._moving, style, width, height))
        self._draw_title()
        self._draw_foot()

    def _draw_title(self) -> None:
        choice, window = self._feed.choice, self._window
        more = "+" if choice.text and not window.is_oldest else ""
        where = f"{self._table.cursor + 1:,} of {window.length:,}{more}" if window.rows else "none"
        if not (window.rows or window.is_newest):
            where = "looking ..."
        title = lines.title(choice.state, choice.folder, choice.text)
        self._put("title", lines.rule(title, where, self._style, self.size.width))

    def _draw_foot(self) -> None:
        width = self.size.width
        said = self._style.bold(lines.fit(f" {self._said}", width))
        self._put("foot", said if self._said else self._style.dim(lines.keys(width)))

    def _put(self, part: str, *shown: str) -> None:
        self._parts[part].update(Text("\n").join(Text.from_ansi(line) for line in shown))

    def _say(self, sentence: str) -> None:
        """One line at the foot, for a while."""
        self._said, self._said_at = sentence, time.monotonic()
        self._draw_foot()

    def on_table_looked(self) -> None:
        self._feed.look()
        self._draw_title()

    def on_table_failed(self, failed: Table.Failed) -> None:
        self._fail(failed.error)

    def _fail(self, error: SplootError) -> None:
        if not self._lost:  # the head of the screen says more
            self._say(error.title)

    def action_help(self) -> None:
        self.push_screen(Paper("Keys", lines.HELP))

    def action_metrics(self) -> None:
        self.screen.toggle_class("-metrics")
        self._measuring.want()

    def action_search(self) -> None:
        search = self.query_one(Input)
        search.value = self._feed.choice.text or ""
        self.screen.add_class("-searching")
        search.focus()

    def on_input_submitted(self, submitted: Input.Submitted) -> None:
        self._leave_search()
        self._choose(replace(self._feed.choice, text=submitted.value.strip() or None))

    def _leave_search(self) -> None:
        self.screen.remove_class("-searching")
        self._table.focus()

    def action_everything(self) -> None:
        if self.screen.has_class("-searching"):
            self._leave_search()
        else:
            self._choose(Choice())

    def action_state(self, by: int) -> None:
        at = NEXT_STATE.index(self._feed.choice.state) + by
        self._choose(replace(self._feed.choice, state=NEXT_STATE[at % len(NEXT_STATE)]))

    def action_folder(self) -> None:
        folders = self._status.folders if self._status else ()
        paths: list[str | None] = [None, *(folder.path for folder in folders)]
        shown = self._feed.choice.folder
        at = paths.index(shown) if shown in paths else 0
        self._choose(replace(self._feed.choice, folder=paths[(at + 1) % len(paths)]))

    def _choose(self, choice: Choice) -> None:
        """Show other items."""
        self._window.clear(choice.total(self._status) if self._status else None)
        self._feed.choose(choice)
        self._table.begin()
        self._draw_title()

    @work
    async def action_why(self) -> None:
        if (row := self._table.chosen) and (story := await self._asked(protocol.Why(str(row.id)), protocol.Story)):
            self.push_screen(Paper("Why", render.story(story, self._style)))

    @work
    async def action_retry(self) -> None:
        if row := self._table.chosen:
            await self._change(protocol.Retry((row.id,)), "back in the queue", "it has not failed")

    @work
    async def action_bump(self) -> None:
        if row := self._table.chosen:
            await self._change(protocol.Bump((str(row.id),)), "now first in line", "it does not wait in the queue")

    @work
    async def action_forget(self) -> None:
        if (row := self._table.chosen) is None:
            return
        question = Question(f"Forget {lines.fit_place(row.path, max(8, self.size.width - 36))}?")
        if await self.push_screen_wait(question):
            await self._change(protocol.Forget((str(row.id),)), "out of the queue", "it is not in the queue any more")

    async def _change(self, request: protocol.Request, done: str, why_not: str) -> None:
        if changed := await self._asked(request, protocol.Changed):
            self._say(f"{count(len(changed.ids), 'file')} {done}." if changed.ids else f"Nothing to do: {why_not}.")

    @work
    async def action_pause(self) -> None:
        if self._status is not None:
            request = protocol.Resume() if self._status.daemon.state == "paused" else protocol.Pause()
            if done := await self._asked(request, protocol.Done):
                self._say(done.message)
                if now := await self._asked(protocol.GetStatus(), protocol.Status):  # it comes as news, too, but later
                    self._count(now)
                    self._draw()

    async def _asked(self, request: protocol.Request, reply: type[T]) -> T | None:
        """The daemon's answer, or None after saying why there is none."""
        try:
            return await self._daemon.ask(request, reply)
        except SplootError as error:
            self._fail(error)
            return None
