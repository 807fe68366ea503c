"""What comes over the screen: a page to read, a question to answer."""

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static


class Paper(ModalScreen[None]):
    """A page to read, left with escape."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,question_mark", "dismiss(None)"),
        Binding("up,k", "turn(-1)"),
        Binding("down,j", "turn(1)"),
        Binding("pageup", "turn(-10)"),
        Binding("pagedown,space", "turn(10)"),
    ]

    def __init__(self, title: str, text: Sequence[str]) -> None:
        super().__init__()
        self._title = title
        self._text = text

    def compose(self) -> ComposeResult:
        yield Static(Text(f"{self._title}   (escape: back)", style="bold"), id="paper-title")
        with VerticalScroll(id="paper"):
            yield Static(Text("\n").join(Text.from_ansi(line) for line in self._text))

    def action_turn(self, by: int) -> None:
        self.query_one("#paper").scroll_relative(y=by, animate=False)


class Question(ModalScreen[bool]):
    """Yes or no. Any other key is no."""

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        yield Static(Text(f" {self._question}  y: yes, any other key: no ", style="reverse"), id="question")

    def on_key(self, event: events.Key) -> None:
        event.stop()
        self.dismiss(event.key == "y")
