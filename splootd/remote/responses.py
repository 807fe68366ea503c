"""Parse the server's JSON into values. Every field is checked here: its presence, type and size."""

import enum
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from splootd.core.limits import Limits
from splootd.errors import InvalidResponse
from splootd.text import printable

T = TypeVar("T")

ID_CHARS_MAX = 200


@dataclass(frozen=True, slots=True)
class ExistingAsset:
    """A content that is in the library. `has_embedding` is the server's claim."""

    asset_id: str
    has_embedding: bool


@dataclass(frozen=True, slots=True)
class StoredAsset:
    """An uploaded content. `is_duplicate`: the library had it before."""

    asset_id: str
    is_duplicate: bool


class EmbeddingStatus(enum.StrEnum):
    """The status of an embedding on the server. Deliberately separate from the states of an item."""

    PENDING = "pending"
    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"
    UNKNOWN = "unknown"  # no such asset: it was removed on the server


@dataclass(frozen=True, slots=True)
class EmbeddingReport:
    """The server's report about one embedding. `error` is its message about a failed one."""

    status: EmbeddingStatus
    error: str | None = None


REASON_CHARS_MAX = 100
MATCHED_WORDS_MAX = 20


@dataclass(frozen=True, slots=True)
class Match:
    """One search result. A larger `score` is better; `text` is the text recognised in the image.

    `reason` says what it shares with the query, `words` are those of the query that match; both are empty if the server
    does not tell.
    """

    asset_id: str
    score: float | None
    url: str
    text: str | None
    reason: str | None = None
    words: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    is_favorite: bool = False
    created_at: str | None = None


def parse_json(content_type: str, body: bytes) -> Any:
    """Parse a JSON body. Raises InvalidResponse if the content type or the body is not JSON."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        note = " (a login page of the network?)" if kind == "text/html" else ""
        raise InvalidResponse(f"the server sent {printable(kind, 50) or 'no content type'} instead of JSON{note}")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidResponse("the server's response is not valid JSON") from error


def parse_error_message(value: Any) -> str | None:
    """Return the server's error message, if the parsed response contains one."""
    message = value.get("error") or value.get("message") if isinstance(value, dict) else None
    return printable(message) if isinstance(message, str) and message.strip() else None


def parse_limits(value: Any) -> Limits:
    """Parse the response to GET /api/upload."""
    limits = _require_field(value, "limits", dict)
    bytes_max = _require_field(limits, "maxFileSize", int)
    types = _require_field(limits, "allowedTypes", list)
    if bytes_max <= 0 or not all(isinstance(each, str) for each in types):
        raise _invalid_field("limits")
    features = value.get("features")
    return Limits(bytes_max, frozenset(each.lower() for each in types), features if isinstance(features, dict) else {})


def parse_check(value: Any) -> ExistingAsset | None:
    """Parse the response to POST /api/upload/check."""
    if not _require_field(value, "exists", bool):
        return None
    asset = _require_field(value, "asset", dict)
    return ExistingAsset(_parse_asset_id(asset), asset.get("hasEmbedding") is True)


def parse_check_batch(value: Any, checksums: Iterable[str]) -> list[ExistingAsset | None]:
    """Parse the response to POST /api/upload/check/batch, in the order of `checksums`."""
    results = _require_field(value, "results", dict)
    return [parse_check(_require_field(results, each, dict)) for each in checksums]


def parse_bundle_results(value: Any, count: int) -> list[dict[str, Any]]:
    """Parse the response to POST /api/upload/bundle: one result per file, each with its own status."""
    results = _require_field(value, "results", list)
    if len(results) != count:
        raise _invalid_field("results")
    for each in results:
        _require_field(each, "status", int)
    return results


def parse_stored_asset(value: Any, *, sha256: bytes) -> StoredAsset:
    """Parse the response to POST /api/upload. The checksum computed by the server must match the one sent."""
    asset = _require_field(value, "asset", dict)
    checksum = asset.get("checksum")
    if checksum is not None and checksum != sha256.hex():
        raise InvalidResponse("the server stored different bytes than were sent: the checksums differ")
    return StoredAsset(_parse_asset_id(asset), value.get("isDuplicate") is True)


def parse_embedding_statuses(value: Any, asset_ids: Iterable[str]) -> dict[str, EmbeddingReport]:
    """Parse the response to POST /api/assets/batch/embedding-status, without the ids that it does not contain."""
    statuses = _require_field(value, "statuses", dict)
    return {each: _parse_report(statuses[each]) for each in asset_ids if each in statuses}


def parse_embedding_update(value: Any) -> tuple[str, EmbeddingReport]:
    """Parse an `embedding-update` event of the push channel into the asset id and its report."""
    asset_id = _require_field(value, "assetId", str)
    if not 0 < len(asset_id) <= ID_CHARS_MAX or not asset_id.isprintable():
        raise _invalid_field("assetId")
    return asset_id, _parse_report(value)


def parse_asset_embedding(value: Any) -> EmbeddingReport:
    """Parse the response to GET /api/assets/{id}."""
    return _parse_embedding(_require_field(value, "asset", dict))


def parse_page_embeddings(value: Any) -> dict[str, EmbeddingReport]:
    """Parse one page of GET /api/assets."""
    return {_parse_asset_id(each): _parse_embedding(each) for each in _require_field(value, "assets", list)}


def parse_search(value: Any) -> tuple[list[Match], list[Match]]:
    """Parse the response to POST /api/search: the matches, and those that are merely the nearest; both best first.

    Sploot fills up to ten results with those below its threshold, which are the nearest, and with assets that have no
    embedding.
    """
    results = [(_parse_match(each), _is_match(each)) for each in _require_field(value, "results", list)]
    matches = [match for match, is_match in results if is_match]
    return matches, [match for match, is_match in results if not is_match and match.score is not None]


def parse_retry_after(value: Any) -> float | None:
    """Return the `retryAfter` of a body, in seconds."""
    seconds = value.get("retryAfter") if isinstance(value, dict) else None
    return float(seconds) if isinstance(seconds, int | float) and math.isfinite(seconds) else None


def _is_match(value: dict[str, Any]) -> bool:
    return value.get("belowThreshold") is not True and value.get("similarity", ...) is not None


def _parse_match(value: Any) -> Match:
    score = value.get("similarity") if isinstance(value, dict) else None
    text = value.get("matchedText") if isinstance(value, dict) else None
    words = parse_matched_words(value.get("why")) if isinstance(value, dict) else ()
    return Match(
        asset_id=_parse_asset_id(value),
        score=float(score) if isinstance(score, int | float) and math.isfinite(score) else None,
        url=_require_field(value, "blobUrl", str),
        text=text if isinstance(text, str) else None,
        reason=_describe_reason(words, value.get("why")),
        words=words,
        tags=_parse_tag_names(value.get("tags")),
        is_favorite=value.get("favorite") is True,
        created_at=created_at if isinstance(created_at := value.get("createdAt"), str) else None,
    )


def parse_matched_words(why: Any) -> tuple[str, ...]:
    """Return the words of the query that match. Only our server tells."""
    words = why.get("words") if isinstance(why, dict) else None
    found = words[:MATCHED_WORDS_MAX] if isinstance(words, list) else []
    return tuple(printable(word, REASON_CHARS_MAX) for word in found if isinstance(word, str) and word)


def _parse_tag_names(tags: Any) -> tuple[str, ...]:
    entries = tags if isinstance(tags, list) else []
    names = (each.get("name") for each in entries if isinstance(each, dict))
    return tuple(name for name in names if isinstance(name, str))


def _describe_reason(words: tuple[str, ...], why: Any) -> str | None:
    """Return what a match shares with the query: words, and the template they name; else the meaning or the picture."""
    if words:
        template = why.get("template") if isinstance(why, dict) else None
        named = f"; template: {printable(template, REASON_CHARS_MAX)}" if isinstance(template, str) else ""
        return "words: " + ", ".join(words)[:REASON_CHARS_MAX] + named
    return closest_in(why)


def closest_in(why: Any) -> str | None:
    """Return in what a match without common words is closest to the query: meaning or picture, None if unknown."""
    closeness = {kind: why.get(kind) for kind in ("meaning", "picture")} if isinstance(why, dict) else {}
    known = {kind: value for kind, value in closeness.items() if isinstance(value, int | float)}
    return max(known, key=lambda kind: known[kind], default=None)


def _parse_report(value: Any) -> EmbeddingReport:
    status, error = _require_field(value, "status", str), parse_error_message(value)
    # Sploot reports an asset that does not exist as `failed`, with "Asset not found or access denied".
    if status == EmbeddingStatus.FAILED and error and "not found" in error.lower():
        return EmbeddingReport(EmbeddingStatus.UNKNOWN)
    try:
        return EmbeddingReport(EmbeddingStatus(status), error)
    except ValueError:
        raise _invalid_field("status") from None


def _parse_embedding(asset: dict[str, Any]) -> EmbeddingReport:
    """Derive the status from an asset's embedding row.

    The row's `status` is not reliable: Sploot leaves it at `pending` after success. A failed embedding has dimension 0.
    """
    if asset.get("embedding", ...) is None:
        return EmbeddingReport(EmbeddingStatus.PENDING)
    embedding = _require_field(asset, "embedding", dict)
    dimension = embedding.get("dim")
    if isinstance(dimension, int) and dimension > 0:
        return EmbeddingReport(EmbeddingStatus.READY)
    is_failed = embedding.get("status") == EmbeddingStatus.FAILED
    return EmbeddingReport(
        EmbeddingStatus.FAILED if is_failed else EmbeddingStatus.PENDING, parse_error_message(embedding)
    )


def _parse_asset_id(asset: Any) -> str:
    asset_id = _require_field(asset, "id", str)
    if not 0 < len(asset_id) <= ID_CHARS_MAX or not asset_id.isprintable():
        raise _invalid_field("id")
    return asset_id


def _require_field(value: Any, name: str, kind: type[T]) -> T:
    field_value = value.get(name) if isinstance(value, dict) else None
    if type(field_value) is not kind:
        raise _invalid_field(name)
    return field_value


def _invalid_field(name: str) -> InvalidResponse:
    return InvalidResponse(f"the server's response has no valid `{name}`", "is `server` the URL of a Sploot server?")
