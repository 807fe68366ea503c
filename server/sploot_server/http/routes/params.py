"""Parses parameters of request bodies and queries, and builds URLs for responses."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

from starlette.requests import HTTPConnection, Request

from sploot_server.domain.asset_query import AssetFilter, AssetKind
from sploot_server.domain.entities import Asset, InvalidInput

CHECKSUM = re.compile(r"[0-9a-fA-F]{64}")
PAGE_MAX = 1000

Choice = TypeVar("Choice", bound=StrEnum)


def get_owner(request: HTTPConnection) -> str:
    """Return the id of the authenticated user, who owns the library; '' on a server without accounts."""
    owner: str = getattr(request.state, "owner", "")
    return owner


def original_url(request: Request, asset: Asset) -> str:
    """Return the URL of an original, with the host and scheme that the client used."""
    return f"{request.base_url}api/assets/{asset.id}/original"  # `url_for` costs more time than storing a row


def parse_object(value: Any, name: str) -> dict[str, Any]:
    """Return `value`, one of the array `name`, if it is a JSON object. Raise InvalidInput."""
    if not isinstance(value, dict):
        raise InvalidInput(f"{name} must be an array of objects")
    return value


def parse_flag(values: Mapping[str, Any], name: str) -> bool | None:
    """Return the field `name`, if it is true, false or absent. Raise InvalidInput."""
    value = values.get(name)
    if value is not None and not isinstance(value, bool):
        raise InvalidInput(f"{name} must be true or false")
    return value


def parse_name(values: Mapping[str, Any]) -> str:
    """Return the field `name`, if it is a string. Raise InvalidInput."""
    name = values.get("name")
    if not isinstance(name, str):
        raise InvalidInput("name must be a string")
    return name


def parse_strings(value: Any, name: str) -> list[str]:
    """Return `value`, the field `name`, if it is an array of strings. Raise InvalidInput."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise InvalidInput(f"{name} must be an array of strings")
    return value


def parse_checksum(value: Any) -> str:
    """Return a SHA-256 in lower-case hex. Raise InvalidInput with the messages of Sploot."""
    if not isinstance(value, str) or not value:
        raise InvalidInput("Checksum is required and must be a string")
    if not CHECKSUM.fullmatch(value):
        raise InvalidInput("Invalid checksum format. Expected SHA256 hash (64 hex characters)")
    return value.lower()


def parse_whole_number(parameters: Mapping[str, str], name: str, default: int) -> int:
    """Return a parameter as a number of 0 or more, or the default if it is absent. Raise InvalidInput."""
    text = parameters.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise InvalidInput(f"{name} must be a whole number, 0 or more")
    return int(text)


def parse_choice(value: Any, choices: type[Choice], name: str) -> Choice:
    """Return the member of `choices` with this value. Raise InvalidInput."""
    try:
        return choices(value)
    except ValueError:
        raise InvalidInput(f"{name} must be one of {', '.join(choices)}") from None


def parse_filter(values: Mapping[str, Any]) -> AssetFilter:
    """Return the filter that a list and a search share. Raise InvalidInput."""
    for name in ("tagId", "mime", "folder", "template", "duplicatesOf"):
        if not isinstance(values.get(name), str | None):
            raise InvalidInput(f"{name} must be a string")
    kind = values.get("kind")
    return AssetFilter(
        tag_id=values.get("tagId"),
        mime=values.get("mime"),
        kind=None if kind is None else parse_choice(kind, AssetKind, "kind"),
        folder=values.get("folder"),
        template=None if values.get("template") is None else values["template"].casefold(),
        duplicates_of=values.get("duplicatesOf"),
        created_from_ms=parse_time_ms(values, "createdAfter"),
        created_before_ms=parse_time_ms(values, "createdBefore"),
    )


def parse_time_ms(values: Mapping[str, Any], name: str) -> int | None:
    """Return an ISO 8601 time, in UTC unless it has an offset, or None if it is absent. Raise InvalidInput."""
    text = values.get(name)
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"{name} must be an ISO 8601 time, for example 2026-11-23T08:00:00Z") from error
    since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(milliseconds=1)
