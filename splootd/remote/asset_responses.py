"""Parse assets, pages and tags for the web UI. Each field is checked; fields that Sploot does not send are optional."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from splootd.errors import InvalidResponse
from splootd.remote.responses import ID_CHARS_MAX, closest_in, parse_matched_words

ASSETS_MAX = 1_000  # in one response
LISTED_TAGS_MAX = 10_000
FOLDERS_MAX = 10_000
TEXT_CHARS_MAX = 2_000
EMBEDDING_STATES = frozenset({"pending", "processing", "ready", "failed"})


@dataclass(frozen=True, slots=True)
class Tag:
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Template:
    """A well-known picture with a name: it was learned from `pictures` pictures, and `assets` assets show it."""

    id: str
    name: str
    keywords: tuple[str, ...]
    pictures: int
    assets: int


@dataclass(frozen=True, slots=True)
class Asset:
    """One asset of the library. Fields that the server did not send are None or empty.

    `reason` says in what a search result without common words is close to the query: meaning or picture.
    `near_duplicate_count` is the number of other assets that look the same; `is_near` marks a search result that does
    not match, but is among the nearest; `folder` is the name of the folder that held the file;
    `templates` are names.
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
    templates: tuple[str, ...]
    created_at: str | None
    state: str | None
    score: float | None
    text: str | None
    matched_words: tuple[str, ...]
    reason: str | None
    near_duplicate_count: int
    folder: str | None
    deleted_at: str | None
    is_near: bool


@dataclass(frozen=True, slots=True)
class ShareUrl:
    """The address of a link, and the time at which it ends, if it does."""

    url: str
    expires_at: str | None


@dataclass(frozen=True, slots=True)
class ShareLink:
    """A link that shows one asset without an account."""

    url: str
    created_at: str | None
    expires_at: str | None
    asset: Asset


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Assets that look the same, the best first. `count` may exceed their number."""

    assets: Sequence[Asset]
    count: int


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list or a search. `nearest` are the assets nearest to a search that nothing matches."""

    assets: Sequence[Asset]
    total: int | None
    has_more: bool
    nearest: Sequence[Asset] = ()


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


def parse_search(value: Any) -> Page:
    """Parse the response to POST /api/search, which does not tell the number of all results."""
    assets = parse_assets(value, "results")
    matches = [each for each in assets if not each.is_near]
    return Page(matches, None, value.get("hasMore") is True, () if matches else assets)


def parse_folders(value: Any) -> Sequence[tuple[str, int]]:
    """Parse the response to GET /api/folders into names with their numbers of assets."""
    found = value.get("folders") if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise _invalid_field("folders")
    folders = [each for each in found[:FOLDERS_MAX] if isinstance(each, dict)]
    return [(name, _number(each.get("assetCount")) or 0) for each in folders if (name := _text(each.get("name")))]


def parse_changed(value: Any) -> Sequence[str]:
    """Parse the response to POST /api/assets/changes into the ids of the changed assets."""
    found = value.get("changed") if isinstance(value, dict) else None
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise _invalid_field("changed")
    return found


def parse_tag(value: Any) -> Tag:
    """Parse the response to PATCH /api/tags/{id}."""
    tag = _parse_tag(value.get("tag")) if isinstance(value, dict) else None
    if tag is None:
        raise _invalid_field("tag")
    return tag


def parse_duplicate_groups(value: Any) -> tuple[Sequence[DuplicateGroup], int]:
    """Parse the response to GET /api/duplicates into groups and the number of all groups."""
    found = value.get("groups") if isinstance(value, dict) else None
    if not isinstance(found, list) or len(found) > ASSETS_MAX:
        raise _invalid_field("groups")
    groups = []
    for each in found:
        assets = parse_assets(each, "assets")
        groups.append(DuplicateGroup(assets, max(_number(each.get("assetCount")) or 0, len(assets))))
    pagination = value.get("pagination")
    total = _number(pagination.get("total")) if isinstance(pagination, dict) else None
    return groups, len(groups) if total is None else total


def parse_tags(value: Any) -> Sequence[tuple[Tag, int]]:
    """Parse the response to GET /api/tags into tags with their numbers of assets."""
    found = value.get("tags") if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise _invalid_field("tags")
    return [
        (tag, _number(each.get("assetCount")) or 0) for each in found[:LISTED_TAGS_MAX] if (tag := _parse_tag(each))
    ]


def parse_share_url(value: Any) -> ShareUrl:
    """Parse the response to POST /api/assets/{id}/share."""
    url = _text(value.get("shareUrl")) if isinstance(value, dict) else None
    if url is None or not url.startswith(("https://", "http://")) or not url.isprintable():
        raise _invalid_field("shareUrl")
    return ShareUrl(url, _text(value.get("expiresAt")))


def parse_share_links(value: Any) -> Sequence[ShareLink]:
    """Parse the response to GET /api/shares."""
    found = value.get("shares") if isinstance(value, dict) else None
    if not isinstance(found, list) or len(found) > ASSETS_MAX or not all(isinstance(each, dict) for each in found):
        raise _invalid_field("shares")
    return [
        ShareLink(link.url, _text(each.get("createdAt")), link.expires_at, _parse_asset(each.get("asset")))
        for each in found
        for link in [parse_share_url(each)]
    ]


def parse_templates(value: Any) -> Sequence[Template]:
    """Parse the response to GET /api/templates."""
    found = value.get("templates") if isinstance(value, dict) else None
    if not isinstance(found, list):
        raise _invalid_field("templates")
    return [
        Template(
            id=named.id,
            name=named.name,
            keywords=tuple(text for word in _list(each.get("keywords")) if (text := _text(word))),
            pictures=_number(each.get("pictureCount")) or 0,
            assets=_number(each.get("assetCount")) or 0,
        )
        for each in found
        if (named := _parse_tag(each))
    ]


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
        templates=tuple(named.name for each in _list(value.get("templates")) if (named := _parse_tag(each))),
        created_at=_text(value.get("createdAt")),
        state=_parse_state(value),
        score=float(score) if isinstance(score, int | float) and math.isfinite(score) else None,
        text=_text(value.get("matchedText") or value.get("text")),
        matched_words=parse_matched_words(value.get("why")),
        reason=closest_in(value.get("why")),
        near_duplicate_count=_number(value.get("nearDuplicateCount")) or len(_list(value.get("nearDuplicates"))),
        folder=_text(value.get("folder")),
        deleted_at=_text(value.get("deletedAt")),
        # Sploot's search fills its page with assets without an embedding, whose similarity is null.
        is_near=value.get("belowThreshold") is True or value.get("similarity", ...) is None,
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
