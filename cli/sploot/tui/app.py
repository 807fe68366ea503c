"""The Textual app of `sploot top`: layout, key bindings and actions."""

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
from sploot.desktop import open_location
from sploot.formatting import format_count
from sploot.render import Style
from sploot.tui import render as tui_render
from sploot.tui.daemon_link import DaemonApi, DataUpdate, Offline, Online, Update
from sploot.tui.dialogs import ConfirmDialog, HelpDialog
from sploot.tui.list_window import ListWindow
from sploot.tui.page_loader import RELOAD_INTERVAL_S, ItemFilter, PageLoader
from sploot.tui.rate_limit import RateLimit
from sploot.tui.table import Table
from sploot.tui.transfer_rates import Transfer, TransferRates
from splootd import protocol
from splootd.errors import SplootError

TICK_S = 1.0
NOTICE_S = 6.0
PARTS = ("head", "active-title", "active", "title", "metrics", "foot")
PROCESSING_MAX = 8  # rows that are shown above the list
STATE_FILTERS: tuple[str | None, ...] = (
    None,
    "pending",
    "uploading",
    "embedding",
    "failed",
    "ready",
    "skipped",
    "missing",
)


T = TypeVar("T")


class UpdateReceived(Message):
    """Carries an update of the daemon into the event loop of the app."""

    def __init__(self, update: Update) -> None:
        super().__init__()
        self.update = update


class TopApp(App[None]):
    """The screen of `sploot top`."""

    ENABLE_COMMAND_PALETTE = False
    CSS_PATH = "top.tcss"
    # Textual declares these two without ClassVar, so they cannot have it here.
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (140, "-wide")]  # noqa: RUF012 - see above
    VERTICAL_BREAKPOINTS = [(0, "-low"), (20, "-high"), (36, "-tall")]  # noqa: RUF012 - as above
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,ctrl+c", "quit"),
        Binding("question_mark,h", "help"),
        Binding("slash", "search"),
        Binding("s", "cycle_state(1)"),
        Binding("S", "cycle_state(-1)"),
        Binding("o", "open"),
        Binding("n", "next_folder"),
        Binding("escape", "clear_filter"),
        Binding("enter", "why"),
        Binding("r", "retry"),
        Binding("b", "bump"),
        Binding("f", "forget"),
        Binding("p", "pause"),
        Binding("m,ctrl+shift+m", "metrics"),
    ]

    def __init__(self, daemon: DaemonApi) -> None:
        super().__init__(ansi_color=True)
        self.theme = "ansi-dark"
        self._daemon = daemon
        self._style = Style(is_on=not self.no_color)
        self._status: protocol.Status | None = None
        self._offline_message = ""
        self._transfer_rates = TransferRates()
        self._transfers: list[Transfer] = []
        self._processing: tuple[protocol.ItemRow, ...] = ()
        self._window = ListWindow()
        self._table = Table(self._window)
        self._page_loader = PageLoader(daemon.request, self._window, self._table)
        self._metrics_refresh = RateLimit(self._refresh_metrics, TICK_S)
        self._processing_refresh = RateLimit(self._refresh_processing, RELOAD_INTERVAL_S)
        self._notice, self._notice_at = "", 0.0
        self._parts = {name: Static(id=name) for name in PARTS}

    def compose(self) -> ComposeResult:
        yield from (self._parts[name] for name in ("head", "active-title", "active", "title"))
        with Horizontal():
            yield self._table
            yield self._parts["metrics"]
        yield Input(placeholder="words in file names", max_length=protocol.TEXT_CHARS_MAX, compact=True, id="search")
        yield self._parts["foot"]

    def on_mount(self) -> None:
        self._table.focus()
        for each in (self._page_loader, self._metrics_refresh, self._processing_refresh):
            self.run_worker(each.run())
        self.set_interval(TICK_S, self._tick)
        # The default action of SIGTERM would leave the terminal in raw mode and on the alternate screen.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self.exit)
        self._daemon.open(self._receive_update)

    def on_unmount(self) -> None:
        asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
        self._daemon.close()

    def _print_error_renderables(self) -> None:
        """Print no traceback of an unexpected error; `sploot.main` prints one sentence instead."""

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def _receive_update(self, update: Update) -> None:
        """Post an update. Called from the event thread."""
        with contextlib.suppress(RuntimeError):  # the app has exited
            self.post_message(UpdateReceived(update))

    def on_update_received(self, message: UpdateReceived) -> None:
        match message.update:
            case Online():
                self._offline_message = self._notice = ""
                self._page_loader.mark_stale()
            case Offline(sentence):
                self._offline_message, self._transfers = sentence, []
            case DataUpdate(has_changed, transfers, status):
                if status is not None:
                    self._set_status(status)
                if has_changed:
                    self._page_loader.mark_stale()
                if has_changed or status is not None:
                    self._processing_refresh.trigger()
                if transfers is not None:
                    self._transfers = self._transfer_rates.update(transfers, time.monotonic())
        self._draw()

    def _set_status(self, status: protocol.Status) -> None:
        """Store the status and shift the rows if the total changed."""
        self._status = status
        self._table.shift_rows(self._window.set_total(self._page_loader.item_filter.expected_total(status)))

    async def _refresh_metrics(self) -> None:
        with contextlib.suppress(SplootError):  # the header shows the error
            # Events report the status only when it changes in more than uptime and memory.
            status = await self._daemon.request(protocol.GetStatus(), protocol.Status)
            report = await self._daemon.request(protocol.GetReport(), protocol.Report)
            self._set_part("metrics", *tui_render.render_metrics(status, report, self._style))

    async def _refresh_processing(self) -> None:
        """Load the files that have been processed for the longest time."""
        request = protocol.ListItems("embedding", after=0, limit=PROCESSING_MAX)
        with contextlib.suppress(SplootError):  # the header shows the error
            is_any = self._status is not None and self._status.items.get("embedding")
            reply = await self._daemon.request(request, protocol.Items) if is_any else None
            self._processing = reply.items[::-1] if reply else ()
            self._draw()

    def _tick(self) -> None:
        """Run once a second. It sends no request unless the metrics are visible."""
        if self.screen_stack[0].has_class("-metrics") and not self._offline_message:
            self._metrics_refresh.trigger()
        if self._notice and time.monotonic() - self._notice_at > NOTICE_S:
            self._show_notice("")

    def _draw(self) -> None:
        """Draw everything except the table, which draws itself."""
        width, style = self.size.width, self._style
        head = tui_render.render_header(self._status, style, width) if self._status else [""]
        if self._offline_message:
            head[0] = style.bad(tui_render.truncate(f"offline: {self._offline_message}", width))
        if self._status or self._offline_message:
            self._set_part("head", *head)
        pace = tui_render.render_pace(len(self._transfers), self._status)
        self._set_part("active-title", tui_render.render_rule("In progress", pace, style, width))
        height = max(1, self._parts["active"].size.height)
        count = len(self._transfers) + (self._status.items.get("embedding", 0) if self._status else 0)
        active = tui_render.render_active(self._transfers, self._processing, count, style, width=width, height=height)
        self._set_part("active", *active)
        self._draw_title()
        self._draw_foot()

    def _draw_title(self) -> None:
        item_filter, window = self._page_loader.item_filter, self._window
        more = "+" if item_filter.text and not window.is_oldest else ""
        position = f"{self._table.cursor + 1:,} of {window.length:,}{more}" if window.rows else "none"
        if not (window.rows or window.is_newest):
            position = "loading ..."
        title = tui_render.render_title(item_filter.state, item_filter.folder, item_filter.text)
        self._set_part("title", tui_render.render_rule(title, position, self._style, self.size.width))

    def _draw_foot(self) -> None:
        width = self.size.width
        notice = self._style.bold(tui_render.truncate(f" {self._notice}", width))
        self._set_part("foot", notice if self._notice else self._style.dim(tui_render.render_key_hints(width)))

    def _set_part(self, part: str, *shown: str) -> None:
        self._parts[part].update(Text("\n").join(Text.from_ansi(line) for line in shown))

    def _show_notice(self, message: str) -> None:
        """Show a message in the last line for NOTICE_S."""
        self._notice, self._notice_at = message, time.monotonic()
        self._draw_foot()

    def on_table_view_changed(self) -> None:
        self._page_loader.wake()
        self._draw_title()

    def on_table_load_failed(self, failed: Table.LoadFailed) -> None:
        self._show_error(failed.error)

    def _show_error(self, error: SplootError) -> None:
        if not self._offline_message:  # the header already shows the cause
            self._show_notice(error.title)

    def action_help(self) -> None:
        self.push_screen(HelpDialog("Keys", tui_render.HELP_LINES))

    def action_metrics(self) -> None:
        self.screen.toggle_class("-metrics")
        self._metrics_refresh.trigger()

    def action_search(self) -> None:
        search = self.query_one(Input)
        search.value = self._page_loader.item_filter.text or ""
        self.screen.add_class("-searching")
        search.focus()

    def on_input_submitted(self, submitted: Input.Submitted) -> None:
        self._leave_search()
        self._set_filter(replace(self._page_loader.item_filter, text=submitted.value.strip() or None))

    def _leave_search(self) -> None:
        self.screen.remove_class("-searching")
        self._table.focus()

    def action_clear_filter(self) -> None:
        if self.screen.has_class("-searching"):
            self._leave_search()
        else:
            self._set_filter(ItemFilter())

    def action_cycle_state(self, by: int) -> None:
        at = STATE_FILTERS.index(self._page_loader.item_filter.state) + by
        self._set_filter(replace(self._page_loader.item_filter, state=STATE_FILTERS[at % len(STATE_FILTERS)]))

    def action_next_folder(self) -> None:
        folders = self._status.folders if self._status else ()
        paths: list[str | None] = [None, *(folder.path for folder in folders)]
        shown = self._page_loader.item_filter.folder
        at = paths.index(shown) if shown in paths else 0
        self._set_filter(replace(self._page_loader.item_filter, folder=paths[(at + 1) % len(paths)]))

    def _set_filter(self, item_filter: ItemFilter) -> None:
        """Show the items that match the filter."""
        self._window.clear(item_filter.expected_total(self._status) if self._status else None)
        self._page_loader.set_filter(item_filter)
        self._table.reset_cursor()
        self._draw_title()

    @work
    async def action_why(self) -> None:
        if (row := self._table.selected_row) and (
            explanation := await self._request(protocol.GetExplanation(str(row.id)), protocol.Explanation)
        ):
            self.push_screen(HelpDialog("Why", render.render_explanation(explanation, self._style)))

    @work
    async def action_open(self) -> None:
        """Open the file of the selected row with the user's program for it."""
        if (row := self._table.selected_row) is None:
            return
        try:
            await asyncio.to_thread(open_location, row.path)
        except SplootError as error:
            self._show_error(error)

    @work
    async def action_retry(self) -> None:
        if row := self._table.selected_row:
            await self._request_change(protocol.Retry((row.id,)), "back in the queue", "the file has not failed")

    @work
    async def action_bump(self) -> None:
        if row := self._table.selected_row:
            await self._request_change(
                protocol.Bump((str(row.id),)), "moved to the front of the queue", "the file is not waiting"
            )

    @work
    async def action_forget(self) -> None:
        if (row := self._table.selected_row) is None:
            return
        question = ConfirmDialog(
            f"Remove from the queue: {tui_render.truncate_path(row.path, max(8, self.size.width - 52))}?"
        )
        if await self.push_screen_wait(question):
            await self._request_change(
                protocol.Forget((str(row.id),)), "removed from the queue", "the file is no longer in the queue"
            )

    async def _request_change(self, request: protocol.Request, done: str, nothing_done: str) -> None:
        if changed := await self._request(request, protocol.ChangeReply):
            self._show_notice(
                f"{format_count(len(changed.ids), 'file')} {done}."
                if changed.ids
                else f"Nothing to do: {nothing_done}."
            )

    @work
    async def action_pause(self) -> None:
        if self._status is not None:
            request = protocol.Resume() if self._status.daemon.state == "paused" else protocol.Pause()
            if done := await self._request(request, protocol.MessageReply):
                self._show_notice(done.message)
                # The event with the new status arrives up to UPDATE_INTERVAL_S later.
                if status := await self._request(protocol.GetStatus(), protocol.Status):
                    self._set_status(status)
                    self._draw()

    async def _request(self, request: protocol.Request, reply: type[T]) -> T | None:
        """Return the daemon's reply, or show the error and return None."""
        try:
            return await self._daemon.request(request, reply)
        except SplootError as error:
            self._show_error(error)
            return None
