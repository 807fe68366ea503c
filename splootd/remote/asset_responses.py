"""Parse assets, pages and tags for the web UI. Each field is checked; fields that Sploot does not send are optional."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from splootd.errors import InvalidResponse
from splootd.remote.responses import ID_CHARS_MAX

ASSETS_MAX = 1_000  # in one response
TAGS_MAX = 10_000
TEXT_CHARS_MAX = 2_000
MATCHED_WORDS_MAX = 20
EMBEDDING_STATES = frozenset({"pending", "processing", "ready", "failed"})


@dataclass(frozen=True, slots=True)
class Tag:
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Asset:
    """One asset of the library. Fields that the server did not send are None or empty.

    `near_duplicate_count` is the number of near-duplicates that the server grouped under this asset.
    """

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
    matched_words: tuple[str, ...]
    near_duplicate_count: int


@dataclass(frozen=True, slots=True)
class Page:
    assets: Sequence[Asset]
    total: int | None
    has_more: bool


def parse_asset(value: Any) -> Asset:
    """Parse the response to GET /api/assets/{id}. Raises InvalidResponse if it contains no valid asset."""
    return _parse_asset(value.get("asset") if isinstance(value, dict) else None)


def parse_assets(value: Any, name: str) -> Sequence[Asset]:
    """Parse the list `name` of a response."""
    found = value.get(name) if isinstance(value, dict) else None
    if not isinstance(found, list) or len(found) > ASSETS_MAX:
        raise _invalid_field(name)
    return [_parse_asset(each) for each in found]


def parse_page(value: Any, *, offset: int) -> Page:
    """Parse the response to GET /api/assets."""
    assets = parse_assets(value, "assets")
    pagination = value.get("pagination")
    pagination = pagination if isinstance(pagination, dict) else {}
    total = _number(pagination.get("total"))
    has_more = pagination.get("hasMore") is True if total is None else offset + len(assets) < total
    return Page(assets, total, has_more and bool(assets))


def parse_tags(value: Any) -> Sequence[tuple[Tag, int]]:
    """Parse the response to GET /api/tags into tags with their numbers of assets."""
    found = value.get("tags") if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise _invalid_field("tags")
    return [(tag, _number(each.get("assetCount")) or 0) for each in found[:TAGS_MAX] if (tag := _parse_tag(each))]


def _parse_asset(value: Any) -> Asset:
    if not isinstance(value, dict):
        raise _invalid_field("asset")
    asset_id, url = value.get("id"), value.get("blobUrl")
    if not isinstance(asset_id, str) or not 0 < len(asset_id) <= ID_CHARS_MAX or not asset_id.isprintable():
        raise _invalid_field("id")
    if not isinstance(url, str) or len(url) > TEXT_CHARS_MAX:
        raise _invalid_field("blobUrl")
    name, score = _text(value.get("filename")) or asset_id, value.get("similarity")
    return Asset(
        id=asset_id,
        url=url,
        name=name.rpartition("/")[2] or name,  # Sploot sends the path in its blob store
        mime=_text(value.get("mime")),
        width=_number(value.get("width")),
        height=_number(value.get("height")),
        size=_number(value.get("size")),
        is_favorite=value.get("favorite") is True,
        tags=tuple(tag for each in _list(value.get("tags")) if (tag := _parse_tag(each))),
        created_at=_text(value.get("createdAt")),
        state=_parse_state(value),
        score=float(score) if isinstance(score, int | float) and math.isfinite(score) else None,
        text=_text(value.get("matchedText") or value.get("text")),
        matched_words=_parse_matched_words(value.get("why")),
        near_duplicate_count=len(_list(value.get("nearDuplicates"))),
    )


def _parse_state(value: Mapping[str, Any]) -> str | None:
    """Return the state of the embedding; derive it from its row, as `responses.py` does, if the server omits it."""
    if value.get("embeddingStatus") in EMBEDDING_STATES:
        return str(value["embeddingStatus"])
    if "embedding" not in value:
        return None
    embedding = value["embedding"]
    if not isinstance(embedding, dict):
        return "pending"
    if _number(embedding.get("dim")):
        return "ready"
    return "failed" if embedding.get("status") == "failed" else "pending"


def _parse_matched_words(value: Any) -> tuple[str, ...]:
    """Return the words of the query that matched."""
    words = _list(value.get("words")) if isinstance(value, dict) else _list(value)
    return tuple(text for each in words[:MATCHED_WORDS_MAX] if (text := _text(each)))


def _parse_tag(value: Any) -> Tag | None:
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


def _invalid_field(name: str) -> InvalidResponse:
    return InvalidResponse(f"the server's response has no valid `{name}`", "is `server` the URL of a Sploot server?")
