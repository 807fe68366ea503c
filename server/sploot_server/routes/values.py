"""What several kinds of requests have in common: parts of bodies and queries, and addresses in answers."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.requests import HTTPConnection, Request

from sploot_server.model import Asset, Invalid

CHECKSUM = re.compile(r"[0-9a-fA-F]{64}")
PAGE_MAX = 1000


def owner_of(request: HTTPConnection) -> str:
    """Whose library this request is about: the user's whose token it carries, '' where there are no accounts."""
    owner: str = getattr(request.state, "owner", "")
    return owner


def url_of(request: Request, asset: Asset) -> str:
    """Where the original of an asset is found, as this client sees this server."""
    return f"{request.base_url}api/assets/{asset.id}/original"  # looking the route up costs more than storing a row


def object_of(body: Any) -> dict[str, Any]:
    """Raises Invalid unless `body` is a JSON object."""
    if not isinstance(body, dict):
        raise Invalid("The request body must be a JSON object")
    return body


def strings_of(value: Any, name: str) -> list[str]:
    """Raises Invalid unless `value`, which the client calls `name`, is an array of strings."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise Invalid(f"{name} must be an array of strings")
    return value


def checksum_of(value: Any) -> str:
    """A SHA-256 in lower-case hex, as it is kept. Raises Invalid in Sploot's words for anything else."""
    if not isinstance(value, str) or not value:
        raise Invalid("Checksum is required and must be a string")
    if not CHECKSUM.fullmatch(value):
        raise Invalid("Invalid checksum format. Expected SHA256 hash (64 hex characters)")
    return value.lower()


def whole_number(parameters: Mapping[str, str], name: str, default: int) -> int:
    """Raises Invalid unless the parameter is absent or a number from 0 on."""
    text = parameters.get(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise Invalid(f"{name} must be a whole number, 0 or more")
    return int(text)


def time_ms(values: Mapping[str, Any], name: str) -> int | None:
    """Raises Invalid unless `values` has no time of this name, or one in ISO 8601; UTC where it does not say."""
    text = values.get(name)
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except (TypeError, ValueError) as error:
        raise Invalid(f"{name} must be a time in ISO 8601, as 2026-11-23T08:00:00Z") from error
    since = (time if time.tzinfo else time.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
    return since // timedelta(milliseconds=1)
