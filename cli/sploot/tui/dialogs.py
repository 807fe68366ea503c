"""Dialogs: scrollable text and a confirmation."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static


class HelpDialog(ModalScreen[None]):
    """Shows scrollable text until it is dismissed."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,question_mark", "dismiss(None)"),
        Binding("up,k", "scroll_lines(-1)"),
        Binding("down,j", "scroll_lines(1)"),
        Binding("pageup", "scroll_lines(-10)"),
        Binding("pagedown,space", "scroll_lines(10)"),
    ]

    def __init__(self, title: str, text: Sequence[str]) -> None:
        super().__init__()
        self._title = title
        self._text = text

    def compose(self) -> ComposeResult:
        yield Static(Text(f"{self._title}   (escape: back)", style="bold"), id="help-title")
        with VerticalScroll(id="help-text"):
            yield Static(Text("\n").join(Text.from_ansi(line) for line in self._text))

    def action_scroll_lines(self, by: int) -> None:
        self.query_one("#help-text").scroll_relative(y=by, animate=False)


class ConfirmDialog(ModalScreen[bool]):
    """Asks for confirmation. Any key but y means no."""

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        yield Static(Text(f" {self._question}  y: yes, any other key: no ", style="reverse"), id="confirm")

    def on_key(self, event: events.Key) -> None:
        event.stop()
        self.dismiss(event.key == "y")
