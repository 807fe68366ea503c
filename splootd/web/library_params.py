"""Parameters of requests about the library. Functions raise RequestError."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from splootd.core.tags import TAGS_MAX
from splootd.errors import RequestError
from splootd.remote.asset_query import KINDS, AssetChange, AssetFilter, Order, Removal, Sort
from splootd.remote.responses import ID_CHARS_MAX

TEXT_CHARS_MAX = 500  # limit of a Sploot server
TAG_CHARS_MAX = 200
SHARE_DAYS_MAX = 3_650
CHANGES_MAX = 500  # assets in one request
OFFSET_MAX = 10_000_000
SEED_MAX = 2**31 - 1
FOLDER_CHARS_MAX = 255
TIME_CHARS_MAX = 40


def parse_text(query: Mapping[str, str]) -> str:
    """Return the text to search for; empty for a list."""
    text = query.get("text", "").strip()
    if len(text) > TEXT_CHARS_MAX:
        raise RequestError("bad_text", f"`text` is longer than {TEXT_CHARS_MAX} characters")
    return text


def parse_filter(query: Mapping[str, str]) -> AssetFilter:
    """Return the filter of a list or a search."""
    kind = query.get("kind") or None
    if kind is not None and kind not in KINDS:
        raise RequestError("malformed", f"`kind` must be one of {', '.join(sorted(KINDS))}")
    return AssetFilter(
        is_favorite=query.get("favorite") == "true",
        tag_id=_parse_short(query, "tag", ID_CHARS_MAX),
        kind=kind,
        folder=_parse_short(query, "folder", FOLDER_CHARS_MAX),
        template=_parse_short(query, "template", TAG_CHARS_MAX),
        duplicates_of=_parse_short(query, "group", ID_CHARS_MAX),
        after=_parse_short(query, "after", TIME_CHARS_MAX),
        before=_parse_short(query, "before", TIME_CHARS_MAX),
        is_deleted=query.get("trash") == "true",
    )


def parse_order(query: Mapping[str, str]) -> Order:
    """Return the order of a list."""
    name = query.get("sort") or Sort.NEWEST
    if name not in tuple(Sort):
        raise RequestError("bad_sort", f"`sort` must be one of {', '.join(Sort)}")
    return Order(Sort(name), parse_number(query, "seed", 0, 0, SEED_MAX))


def parse_changes(body: bytes) -> tuple[bool | None, list[str] | None]:
    """Parse a PATCH body: favorite flag and complete tag list, None for an unchanged field."""
    fields = _parse_object(body)
    return _parse_favorite(fields), _parse_tags(fields, "tags")


def parse_many_changes(body: bytes) -> tuple[list[str], AssetChange]:
    """Parse the body of a change to many assets into their ids and the change."""
    fields = _parse_object(body)
    asset_ids = fields.get("ids")
    if not isinstance(asset_ids, list) or len(asset_ids) > CHANGES_MAX or not all(map(_is_id, asset_ids)):
        raise RequestError("malformed", f"`ids` must be a list of at most {CHANGES_MAX} ids")
    removals = [each for each in Removal if fields.get(each) is True]
    if len(removals) > 1:
        raise RequestError("malformed", f"only one of {', '.join(removals)} is possible at a time")
    change = AssetChange(
        is_favorite=_parse_favorite(fields),
        added_tags=_parse_tags(fields, "add_tags") or (),
        removed_tags=_parse_tags(fields, "remove_tags") or (),
        removal=removals[0] if removals else None,
    )
    return asset_ids, change


def parse_tag_name(body: bytes) -> str:
    """Parse the body of a renaming into the new name."""
    name = _parse_object(body).get("name")
    if not _is_tag(name):
        raise RequestError("malformed", f"`name` must have 1 to {TAG_CHARS_MAX} characters")
    return str(name).strip()


def parse_share_end(body: bytes) -> Mapping[str, int | None] | None:
    """Return the `days` until a share link ends, null for one without an end; None if the body has none."""
    fields = _parse_object(body) if body else {}
    if "days" not in fields:
        return None
    days = fields["days"]
    if days is not None and (type(days) is not int or not 1 <= days <= SHARE_DAYS_MAX):
        raise RequestError("malformed", f"`days` must be a whole number from 1 to {SHARE_DAYS_MAX}, or null")
    return {"days": days}


def parse_ids(query: Mapping[str, str]) -> list[str]:
    """Return the ids of a query, which are separated by commas."""
    asset_ids = [each for each in query.get("ids", "").split(",") if each]
    if not asset_ids or len(asset_ids) > CHANGES_MAX or not all(map(_is_id, asset_ids)):
        raise RequestError("malformed", f"`ids` must be 1 to {CHANGES_MAX} ids")
    return list(dict.fromkeys(asset_ids))


def parse_asset_id(http: Request) -> str:
    asset_id: str = http.path_params["id"]
    if not _is_id(asset_id):
        raise RequestError("not_found", "the library has no asset with this id", status=404)
    return asset_id


def parse_number(query: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """Return a number of the query, clamped to `least` and `most`."""
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdecimal() or len(text) > 15:
        raise RequestError("malformed", f"`{name}` must be a whole number")
    return min(max(int(text), least), most)


def _parse_short(query: Mapping[str, str], name: str, chars_max: int) -> str | None:
    text = query.get(name) or None
    if text is not None and len(text) > chars_max:
        raise RequestError("malformed", f"`{name}` is longer than {chars_max} characters")
    return text


def _parse_object(body: bytes) -> dict[str, Any]:
    try:
        fields = json.loads(body)
    except ValueError as error:
        raise RequestError("malformed", f"the body is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise RequestError("malformed", "the body must be a JSON object")
    return fields


def _parse_favorite(fields: Mapping[str, Any]) -> bool | None:
    favorite = fields.get("favorite")
    if favorite is not None and not isinstance(favorite, bool):
        raise RequestError("malformed", "`favorite` must be true or false")
    return favorite


def _parse_tags(fields: Mapping[str, Any], name: str) -> list[str] | None:
    tags = fields.get(name)
    if tags is None:
        return None
    if not isinstance(tags, list) or len(tags) > TAGS_MAX or not all(_is_tag(tag) for tag in tags):
        message = f"`{name}` must be a list of at most {TAGS_MAX} strings of at most {TAG_CHARS_MAX} characters"
        raise RequestError("malformed", message)
    return [tag.strip() for tag in tags]


def _is_tag(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value.strip()) <= TAG_CHARS_MAX


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= ID_CHARS_MAX and value.isprintable()
