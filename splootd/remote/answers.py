"""What the server says, as values. Everything that comes in is checked here: its size, its kind, each field's type."""

import enum
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from splootd.errors import BadAnswer

T = TypeVar("T")

ID_CHARS_MAX = 200
WORDS_CHARS_MAX = 300


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server takes. `features` are its additions to Sploot's API."""

    bytes_max: int
    types: frozenset[str]
    features: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tells_embedding_states(self) -> bool:
        """Whether its embedding statuses are true. Sploot's own say `ready` of an embedding that failed."""
        return "embeddingStates" in self.features

    @property
    def checks_max(self) -> int:
        """How many contents can be asked about in one request; 0 where they are asked about one by one."""
        return _amount(self.features.get("checkBatch"))

    @property
    def bundle_files_max(self) -> int:
        """How many files can be sent in one request; 0 where they are sent one by one."""
        bundle = self.features.get("bundle")
        return _amount(bundle.get("files")) if isinstance(bundle, dict) else 0

    @property
    def hand_over_max(self) -> int:
        """How many files of this machine can be named in one request instead of being sent; 0 where none can."""
        return _amount(self.features.get("handOver"))

    @property
    def bundle_bytes_max(self) -> int:
        """The size of such a request, all of it."""
        bundle = self.features.get("bundle")
        return _amount(bundle.get("bytes")) if isinstance(bundle, dict) else 0


@dataclass(frozen=True, slots=True)
class Found:
    """The library has the content. `embedded`: it says that there is an embedding."""

    asset_id: str
    embedded: bool


@dataclass(frozen=True, slots=True)
class Stored:
    """The library has taken the content; `duplicate` when it had it before."""

    asset_id: str
    duplicate: bool


class EmbeddingStatus(enum.StrEnum):
    """How far the server is with an embedding. Not a state of an item: one more enum on purpose."""

    PENDING = "pending"
    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"
    UNKNOWN = "unknown"  # no such asset: it was removed there


@dataclass(frozen=True, slots=True)
class EmbeddingReport:
    """What the server says about one embedding; `error` are its words for a failed one."""

    status: EmbeddingStatus
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Match:
    """One result of a search. A larger `score` is better; `text` is what was read in the picture."""

    asset_id: str
    score: float | None
    url: str
    text: str | None


def printable(text: str, chars_max: int = WORDS_CHARS_MAX) -> str:
    """Foreign text made fit for a sentence: no control characters, no half surrogates, not endless."""
    cut = text if len(text) <= chars_max else text[: chars_max - 1] + "…"
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in cut)


def parsed(content_type: str, body: bytes) -> Any:
    """The JSON in `body`; BadAnswer for what does not call itself JSON, or is none."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise BadAnswer(f"the server answered with {printable(kind, 50) or 'no content type'} instead of JSON")
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadAnswer("the server's answer is not valid JSON") from error


def words(value: Any) -> str | None:
    """The server's own words for what is wrong, where a parsed answer has any."""
    said = value.get("error") or value.get("message") if isinstance(value, dict) else None
    return printable(said) if isinstance(said, str) and said.strip() else None


def limits_of(value: Any) -> Limits:
    """The answer of GET /api/upload."""
    limits = _field(value, "limits", dict)
    bytes_max = _field(limits, "maxFileSize", int)
    types = _field(limits, "allowedTypes", list)
    if bytes_max <= 0 or not all(isinstance(each, str) for each in types):
        raise _unusable("limits")
    features = value.get("features")
    return Limits(bytes_max, frozenset(each.lower() for each in types), features if isinstance(features, dict) else {})


def found_of(value: Any) -> Found | None:
    """The answer of POST /api/upload/check."""
    if not _field(value, "exists", bool):
        return None
    asset = _field(value, "asset", dict)
    return Found(_id(asset), asset.get("hasEmbedding") is True)


def all_found_of(value: Any, checksums: Iterable[str]) -> list[Found | None]:
    """The answer of POST /api/upload/check/batch, in the order of `checksums`."""
    results = _field(value, "results", dict)
    return [found_of(_field(results, each, dict)) for each in checksums]


def outcomes_of(value: Any, count: int) -> list[dict[str, Any]]:
    """The answer of POST /api/upload/bundle: one outcome for each of its files, each with a status of its own."""
    outcomes = _field(value, "results", list)
    if len(outcomes) != count:
        raise _unusable("results")
    for each in outcomes:
        _field(each, "status", int)
    return outcomes


def stored_of(value: Any, *, sha256: bytes) -> Stored:
    """The answer of POST /api/upload. The server says what it has hashed, which must be what was sent."""
    asset = _field(value, "asset", dict)
    checksum = asset.get("checksum")
    if checksum is not None and checksum != sha256.hex():
        raise BadAnswer("the server has stored other bytes than were sent: its checksum differs")
    return Stored(_id(asset), value.get("isDuplicate") is True)


def reports_of(value: Any, asset_ids: Iterable[str]) -> dict[str, EmbeddingReport]:
    """The answer of POST /api/assets/batch/embedding-status; ids that it does not name are left out."""
    statuses = _field(value, "statuses", dict)
    return {each: _report(statuses[each]) for each in asset_ids if each in statuses}


def update_of(value: Any) -> tuple[str, EmbeddingReport]:
    """An `embedding-update` of a push channel: which asset, and what is said about it."""
    asset_id = _field(value, "assetId", str)
    if not 0 < len(asset_id) <= ID_CHARS_MAX or not asset_id.isprintable():
        raise _unusable("assetId")
    return asset_id, _report(value)


def asset_of(value: Any) -> EmbeddingReport:
    """The answer of GET /api/assets/{id}."""
    return _embedding(_field(value, "asset", dict))


def page_of(value: Any) -> dict[str, EmbeddingReport]:
    """One page of GET /api/assets."""
    return {_id(each): _embedding(each) for each in _field(value, "assets", list)}


def matches_of(value: Any) -> list[Match]:
    """The answer of POST /api/search, best first."""
    return [_match(each) for each in _field(value, "results", list)]


def retry_after_of(value: Any) -> float | None:
    """The patience that a body asks for, in seconds."""
    asked = value.get("retryAfter") if isinstance(value, dict) else None
    return float(asked) if isinstance(asked, int | float) and math.isfinite(asked) else None


def _match(value: Any) -> Match:
    score = value.get("similarity") if isinstance(value, dict) else None
    text = value.get("text") if isinstance(value, dict) else None
    return Match(
        asset_id=_id(value),
        score=float(score) if isinstance(score, int | float) and math.isfinite(score) else None,
        url=_field(value, "blobUrl", str),
        text=text if isinstance(text, str) else None,
    )


def _report(value: Any) -> EmbeddingReport:
    status, error = _field(value, "status", str), words(value)
    if status == EmbeddingStatus.FAILED and error and "not found" in error.lower():
        return EmbeddingReport(EmbeddingStatus.UNKNOWN)
    try:
        return EmbeddingReport(EmbeddingStatus(status), error)
    except ValueError:
        raise _unusable("status") from None


def _embedding(asset: dict[str, Any]) -> EmbeddingReport:
    """The truth, as an asset tells it: Sploot's own `status` stays `pending` for ever, a failed one has dimension 0."""
    if asset.get("embedding", ...) is None:
        return EmbeddingReport(EmbeddingStatus.PENDING)
    embedding = _field(asset, "embedding", dict)
    dimension = embedding.get("dim")
    if isinstance(dimension, int) and dimension > 0:
        return EmbeddingReport(EmbeddingStatus.READY)
    is_failed = embedding.get("status") == EmbeddingStatus.FAILED
    return EmbeddingReport(EmbeddingStatus.FAILED if is_failed else EmbeddingStatus.PENDING, words(embedding))


def _amount(value: Any) -> int:
    return value if type(value) is int and value > 0 else 0


def _id(asset: Any) -> str:
    asset_id = _field(asset, "id", str)
    if not 0 < len(asset_id) <= ID_CHARS_MAX or not asset_id.isprintable():
        raise _unusable("id")
    return asset_id


def _field(value: Any, name: str, kind: type[T]) -> T:
    found = value.get(name) if isinstance(value, dict) else None
    if type(found) is not kind:
        raise _unusable(name)
    return found


def _unusable(name: str) -> BadAnswer:
    return BadAnswer(f"the server's answer has no usable `{name}`", "is the address in `server` that of a Sploot?")
