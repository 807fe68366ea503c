"""The table of items. It draws only the visible rows, whatever the length of the list."""

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from sploot.tui import render
from sploot.tui.list_window import ListWindow
from splootd.errors import SplootError
from splootd.protocol import ItemRow

PLAIN, DIM, SELECTED = Style(), Style(dim=True), Style(reverse=True)
STATE_STYLES = {
    "ready": Style(color="green"),
    "failed": Style(color="red", bold=True),
    "uploading": Style(color="cyan"),
    "embedding": Style(color="cyan"),
    "missing": DIM,
    "skipped": DIM,
}


class Table(ScrollView, can_focus=True):
    """Shows the rows of a list window. The selection follows its item when rows shift."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)"),
        Binding("down,j", "move(1)"),
        Binding("pageup", "page(-1)"),
        Binding("pagedown,space", "page(1)"),
        Binding("home,g", "newest"),
        Binding("end,G", "oldest"),
    ]

    class ViewChanged(Message):
        """Sent after a scroll or a change of the selection."""

    class LoadFailed(Message):
        """Sent when the rows could not be loaded."""

        def __init__(self, error: SplootError) -> None:
            super().__init__()
            self.error = error

    def __init__(self, window: ListWindow) -> None:
        super().__init__(id="table")
        self._window = window
        self.cursor = 0
        self._selected_id: int | None = None

    @property
    def selected_row(self) -> ItemRow | None:
        return self._window.row(self.cursor)

    def visible_range(self) -> tuple[int, int]:
        return self.scroll_offset.y, max(1, self.size.height)

    def is_following(self) -> bool:
        return self.cursor == 0 and self.scroll_offset.y == 0

    def shift_rows(self, by: int) -> None:
        """Draw the rows of the window, shifted by `by`. Visible rows stay in place unless it follows new items."""
        top, cursor = self.scroll_offset.y + by, self.cursor + by
        if self._selected_id is not None and not self.is_following():
            found = self._window.row_number(self._selected_id)
            top, cursor = (top, cursor) if found is None else (top + found - cursor, found)
        self.virtual_size = Size(0, self._window.length)
        self._set_cursor(cursor)
        self.scroll_to(y=max(0, top), animate=False, force=True)
        self.refresh()
        self.post_message(self.ViewChanged())

    def show_error(self, error: SplootError) -> None:
        self.post_message(self.LoadFailed(error))

    def reset_cursor(self) -> None:
        """Select the first row of another list."""
        self._selected_id = None
        self.cursor = 0
        self.scroll_to(y=0, animate=False, force=True)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        number, width = self.scroll_offset.y + y, self.scrollable_content_region.width
        row = self._window.row(number)
        if row is None:
            is_loading = number < self._window.length and self._window.length > 0
            return Strip([Segment(("   …" if is_loading else "").ljust(width), DIM)])
        state, file, message = render.render_row(row, width)
        if number == self.cursor:
            return Strip([Segment(state + file + message, SELECTED)])
        return Strip([Segment(state, STATE_STYLES.get(row.state, PLAIN)), Segment(file, PLAIN), Segment(message, DIM)])

    def action_move(self, by: int) -> None:
        self._move_cursor(self.cursor + by)

    def action_page(self, by: int) -> None:
        top, height = self.visible_range()
        number = self.cursor + by * (height - 1)
        self.scroll_to(y=top + by * (height - 1), animate=False, force=True)
        self._move_cursor(number)

    def action_newest(self) -> None:
        self._move_cursor(0)

    def action_oldest(self) -> None:
        self._move_cursor(self._window.length - 1)

    def on_click(self, event: events.Click) -> None:
        self._move_cursor(self.scroll_offset.y + event.y)

    def on_resize(self) -> None:
        self._move_cursor(self.cursor)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Keep the selection visible when the mouse wheel or the scroll bar moves the view."""
        super().watch_scroll_y(old_value, new_value)
        top, height = self.visible_range()
        if not top <= self.cursor < top + height:
            self._set_cursor(min(max(self.cursor, top), top + height - 1))
        self.post_message(self.ViewChanged())

    def _move_cursor(self, number: int) -> None:
        """Select a row and scroll it into view."""
        self._set_cursor(number)
        top, height = self.visible_range()
        self.scroll_to(y=min(max(top, self.cursor - height + 1), self.cursor), animate=False, force=True)
        self.refresh()
        self.post_message(self.ViewChanged())

    def _set_cursor(self, number: int) -> None:
        self.cursor = min(max(number, 0), max(0, self._window.length - 1))
        self._selected_id = self.selected_row.id if self.selected_row else None
