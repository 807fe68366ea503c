"""The queue as rows on the screen: draws the few that are seen, whatever their number."""

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from sploot.topview import lines
from sploot.topview.window import Window
from splootd.errors import SplootError
from splootd.protocol import ItemRow

PLAIN, DIM, CHOSEN = Style(), Style(dim=True), Style(reverse=True)
STATES = {
    "ready": Style(color="green"),
    "dead": Style(color="red", bold=True),
    "uploading": Style(color="cyan"),
    "embedding": Style(color="cyan"),
    "gone": DIM,
    "skipped": DIM,
}


class Table(ScrollView, can_focus=True):
    """The rows of a window. One of them is chosen, and stays so wherever it moves."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)"),
        Binding("down,j", "move(1)"),
        Binding("pageup", "page(-1)"),
        Binding("pagedown,space", "page(1)"),
        Binding("home,g", "newest"),
        Binding("end,G", "oldest"),
    ]

    class Looked(Message):
        """Other rows are looked at, or another one is chosen."""

    class Failed(Message):
        def __init__(self, error: SplootError) -> None:
            super().__init__()
            self.error = error

    def __init__(self, window: Window) -> None:
        super().__init__(id="table")
        self._window = window
        self.cursor = 0
        self._chosen_id: int | None = None

    @property
    def chosen(self) -> ItemRow | None:
        return self._window.row(self.cursor)

    def looked_at(self) -> tuple[int, int]:
        return self.scroll_offset.y, max(1, self.size.height)

    def is_following(self) -> bool:
        return self.cursor == 0 and self.scroll_offset.y == 0

    def moved(self, by: int) -> None:
        """Draw the rows of the window as they are now. What was seen stays in its place, unless it is the newest."""
        top, cursor = self.scroll_offset.y + by, self.cursor + by
        if self._chosen_id is not None and not self.is_following():
            found = self._window.number_of(self._chosen_id)
            top, cursor = (top, cursor) if found is None else (top + found - cursor, found)
        self.virtual_size = Size(0, self._window.length)
        self._choose(cursor)
        self.scroll_to(y=max(0, top), animate=False, force=True)
        self.refresh()
        self.post_message(self.Looked())

    def failed(self, error: SplootError) -> None:
        self.post_message(self.Failed(error))

    def begin(self) -> None:
        """Another list is shown, from its beginning."""
        self._chosen_id = None
        self.cursor = 0
        self.scroll_to(y=0, animate=False, force=True)
        self.refresh()

    def render_line(self, y: int) -> Strip:
        number, width = self.scroll_offset.y + y, self.scrollable_content_region.width
        row = self._window.row(number)
        if row is None:
            is_coming = number < self._window.length and self._window.length > 0
            return Strip([Segment(("   …" if is_coming else "").ljust(width), DIM)])
        state, file, why = lines.item(row, width)
        if number == self.cursor:
            return Strip([Segment(state + file + why, CHOSEN)])
        return Strip([Segment(state, STATES.get(row.state, PLAIN)), Segment(file, PLAIN), Segment(why, DIM)])

    def action_move(self, by: int) -> None:
        self._go(self.cursor + by)

    def action_page(self, by: int) -> None:
        top, height = self.looked_at()
        number = self.cursor + by * (height - 1)
        self.scroll_to(y=top + by * (height - 1), animate=False, force=True)
        self._go(number)

    def action_newest(self) -> None:
        self._go(0)

    def action_oldest(self) -> None:
        self._go(self._window.length - 1)

    def on_click(self, event: events.Click) -> None:
        self._go(self.scroll_offset.y + event.y)

    def on_resize(self) -> None:
        self._go(self.cursor)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """By a wheel or the scroll bar: the choice stays in sight."""
        super().watch_scroll_y(old_value, new_value)
        top, height = self.looked_at()
        if not top <= self.cursor < top + height:
            self._choose(min(max(self.cursor, top), top + height - 1))
        self.post_message(self.Looked())

    def _go(self, number: int) -> None:
        """Choose a row and bring it into sight."""
        self._choose(number)
        top, height = self.looked_at()
        self.scroll_to(y=min(max(top, self.cursor - height + 1), self.cursor), animate=False, force=True)
        self.refresh()
        self.post_message(self.Looked())

    def _choose(self, number: int) -> None:
        self.cursor = min(max(number, 0), max(0, self._window.length - 1))
        self._chosen_id = self.chosen.id if self.chosen else None
