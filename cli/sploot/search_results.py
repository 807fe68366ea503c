"""Renders search results as lines of text. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from sploot.formatting import escape_unprintable, format_path, shorten
from sploot.render import PLAIN, Style
from splootd.protocol import Hit

NEAREST_CHARS_MAX = 60
CAPTION_CHARS_MAX = 200
LIKENESS_MIN = 0.75  # of a word and one with a typo; the server compares them in the same spirit
_PUNCTUATION = " .,;:!?\"'()[]…-"
_INDENT = "     "


def render_hit(
    nth: int,
    hit: Hit,
    style: Style = PLAIN,
    *,
    columns: int | None = None,
    with_scores: bool = False,
    link: str | None = None,
) -> list[str]:
    """Render one match: the words on the picture, those that match in bold, and its file.

    A `link` is put under the words; where the output has no style, it gets a line.
    """
    cells_max = None if columns is None else max(1, columns - len(_INDENT))
    caption = shorten(_render_caption(hit)[:CAPTION_CHARS_MAX], cells_max)
    marked = _mark_words(caption, hit.words, style)
    lines = [f"{nth:>3}  {_link(marked, link) if link and style.is_on else marked}"]
    location = format_path(hit.path) if hit.path else f"no local file; to view it: sploot search TEXT --open {nth}"
    lines.append(f"{_INDENT}{style.dim(location)}")
    if link and not style.is_on:
        lines.append(f"{_INDENT}{link}")
    if with_scores:
        score = "" if hit.score is None else f"score {hit.score:.3f}"
        parts = [part for part in (score, escape_unprintable(hit.reason or "")) if part]
        lines.append(f"{_INDENT}{style.dim(', '.join(parts) or 'no score')}")
    return lines


def render_no_match(query: str, nearest: Sequence[Hit]) -> str:
    """Render that nothing matches, with the texts or names of the nearest."""
    if not nearest:
        return f"Nothing matches {escape_unprintable(query)}."
    shown = "; ".join(_one_line(hit.text or hit.path or hit.asset_id)[:NEAREST_CHARS_MAX] for hit in nearest)
    return f'Nothing close to "{escape_unprintable(query)}". Nearest: {shown}.'


def _render_caption(hit: Hit) -> str:
    """Return the words on the picture; without words, the name of its file."""
    name = hit.path.rpartition("/")[2] if hit.path else ""
    return _one_line(hit.text or "") or escape_unprintable(name) or "a picture without words"


def _one_line(text: str) -> str:
    return " ".join(escape_unprintable(text.replace("\n", " ")).split())


def _mark_words(caption: str, words: Sequence[str], style: Style) -> str:
    """Mark the words of the caption that are like one of `words`, which are those of the query."""
    wanted = [word.casefold() for word in words]
    return " ".join(style.bold(word) if _is_like_any(word, wanted) else word for word in caption.split(" "))


def _is_like_any(word: str, wanted: Sequence[str]) -> bool:
    bare = word.casefold().strip(_PUNCTUATION)
    return bool(bare) and any(
        bare == each or SequenceMatcher(None, bare, each).ratio() >= LIKENESS_MIN for each in wanted
    )


def _link(text: str, url: str) -> str:
    """Return `text` as a hyperlink of the terminal (OSC 8); terminals without it show the text alone."""
    return f"\x1b]8;;{url}\x1b\\{text}\x1b]8;;\x1b\\"
