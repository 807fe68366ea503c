"""Assets as the library shows them, checked field by field: what has to be there, and what a Sploot may leave out."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from splootd.errors import BadAnswer
from splootd.remote.answers import ID_CHARS_MAX

ASSETS_MAX = 1_000  # in one answer
TAGS_MAX = 10_000
TEXT_CHARS_MAX = 2_000
WORDS_MAX = 20
STATES = frozenset({"pending", "processing", "ready", "failed"})


@dataclass(frozen=True, slots=True)
class Tag:
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Asset:
    """One meme. What the server does not say is None, or empty; `others` are near-duplicates that stand behind it."""

    id: str
    url: str
    name: str
    mime: str | None
    width: int | None
    height: int | None
    size: int | None
    is_favorite: bool
    tags: tuple[Tag, ...]
    created_at: str | None
    state: str | None
    score: float | None
    text: str | None
    why: tuple[str, ...]
    others: int


@dataclass(frozen=True, slots=True)
class Page:
    assets: Sequence[Asset]
    total: int | None
    has_more: bool


def asset_of(value: Any) -> Asset:
    """The answer of GET /api/assets/{id}; BadAnswer when it is none."""
    return _asset(value.get("asset") if isinstance(value, dict) else None)


def assets_of(value: Any, name: str) -> Sequence[Asset]:
    """The list called `name` of an answer."""
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, list) or len(found) > ASSETS_MAX:
        raise _unusable(name)
    return [_asset(each) for each in found]


def page_of(value: Any, *, offset: int) -> Page:
    """The answer of GET /api/assets."""
    assets = assets_of(value, "assets")
    told = value.get("pagination")
    told = told if isinstance(told, dict) else {}
    total = _number(told.get("total"))
    has_more = told.get("hasMore") is True if total is None else offset + len(assets) < total
    return Page(assets, total, has_more and bool(assets))


def tags_of(value: Any) -> Sequence[tuple[Tag, int]]:
    """The answer of GET /api/tags: each with the number of its assets."""
    found = value.get("tags") if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise _unusable("tags")
    return [(tag, _number(each.get("assetCount")) or 0) for each in found[:TAGS_MAX] if (tag := _tag(each))]


def _asset(value: Any) -> Asset:
    if not isinstance(value, dict):
        raise _unusable("asset")
    asset_id, url = value.get("id"), value.get("blobUrl")
    if not isinstance(asset_id, str) or not 0 < len(asset_id) <= ID_CHARS_MAX or not asset_id.isprintable():
        raise _unusable("id")
    if not isinstance(url, str) or len(url) > TEXT_CHARS_MAX:
        raise _unusable("blobUrl")
    name, score = _text(value.get("filename")) or asset_id, value.get("similarity")
    return Asset(
        id=asset_id,
        url=url,
        name=name.rpartition("/")[2] or name,  # Sploot's is the path in its store
        mime=_text(value.get("mime")),
        width=_number(value.get("width")),
        height=_number(value.get("height")),
        size=_number(value.get("size")),
        is_favorite=value.get("favorite") is True,
        tags=tuple(tag for each in _list(value.get("tags")) if (tag := _tag(each))),
        created_at=_text(value.get("createdAt")),
        state=_state(value),
        score=float(score) if isinstance(score, int | float) and math.isfinite(score) else None,
        text=_text(value.get("matchedText") or value.get("text")),
        why=_why(value.get("why")),
        others=len(_list(value.get("others"))),
    )


def _state(value: Mapping[str, Any]) -> str | None:
    """As `answers.py` has it, where the server does not say it outright: a failed embedding has no dimension."""
    if value.get("embeddingStatus") in STATES:
        return str(value["embeddingStatus"])
    if "embedding" not in value:
        return None
    made = value["embedding"]
    if not isinstance(made, dict):
        return "pending"
    if _number(made.get("dim")):
        return "ready"
    return "failed" if made.get("status") == "failed" else "pending"


def _why(value: Any) -> tuple[str, ...]:
    """The words that were found."""
    words = _list(value.get("words")) if isinstance(value, dict) else _list(value)
    return tuple(text for each in words[:WORDS_MAX] if (text := _text(each)))


def _tag(value: Any) -> Tag | None:
    if not isinstance(value, dict):
        return None
    tag_id, name = _text(value.get("id")), _text(value.get("name"))
    return Tag(tag_id, name) if tag_id and name else None


def _text(value: Any) -> str | None:
    return value[:TEXT_CHARS_MAX] if isinstance(value, str) and value else None


def _number(value: Any) -> int | None:
    return value if type(value) is int and value >= 0 else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _unusable(name: str) -> BadAnswer:
    return BadAnswer(f"the server's answer has no usable `{name}`", "is the address in `server` that of a Sploot?")
