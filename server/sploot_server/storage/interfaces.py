"""The storage interfaces that differ between the databases; `sqlite/` and `postgres/` implement them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from sploot_server.domain.asset_query import AssetFilter
from sploot_server.domain.embedding import EmbeddingModel, ImageAnalysis, Vectors
from sploot_server.domain.entities import Asset, Embedding


class DatabaseError(Exception):
    """The database cannot be opened or migrated; the message is a sentence with the reason and the location."""


@dataclass(frozen=True, slots=True)
class OwnedEmbedding:
    """The owner of an asset, and its embedding: None if the asset is deleted."""

    owner: str
    embedding: Embedding | None


@dataclass(frozen=True, slots=True)
class Quota:
    """The bytes that an owner may store, and those that the owner does store, deleted assets included."""

    limit_bytes: int
    used_bytes: int


@dataclass(frozen=True, slots=True)
class Job:
    """A claimed embedding job. `attempts` counts earlier failures; `claim_number` fences writes of earlier claims."""

    row: int
    asset_id: str
    checksum: str
    filename: str
    mime: str
    attempts: int
    claim_number: int = 0


class JobStore(Protocol):
    """The queue of embedding jobs. All writes but `requeue` require that the job is in the state `processing`."""

    async def release_stale(self, model: EmbeddingModel, *, now_ms: int) -> int:
        """Requeue jobs whose worker is dead and embeddings of another model; return their number."""

    async def claim(self, limit: int, *, now_ms: int) -> Sequence[Job]:
        """Claim up to `limit` due jobs: urgent ones first, then the longest due."""

    async def complete(self, job: Job, analysis: ImageAnalysis, model: EmbeddingModel, *, now_ms: int) -> None:
        """Store an analysis and assign the asset to its duplicate group (`near_duplicates.is_near_duplicate`)."""

    async def fail(self, job: Job, error_message: str, *, now_ms: int) -> None:
        """Mark the job as failed; `error_message` is a sentence."""

    async def reschedule(self, job: Job, *, due_ms: int) -> None:
        """Count a failed attempt and retry the job at `due_ms`."""

    async def next_due_ms(self) -> int | None:
        """Return the due time of the next pending job; None if there is none."""

    async def count_by_state(self) -> Mapping[str, int]:
        """Return the number of embeddings per state."""

    async def count_workers(self) -> int:
        """Return the number of processes that run these jobs."""

    async def requeue(self, asset_id: str, *, now_ms: int) -> bool:
        """Make the job urgent and reset its attempts; False if no live asset has this id or its embedding is ready."""


@dataclass(frozen=True, slots=True)
class AssetText:
    """The text of an asset, normalized by `text_match.normalize`, and its duplicate group."""

    row: int
    normalized: str
    duplicate_group: int


@dataclass(frozen=True, slots=True)
class PreparedSearch:
    """The part of a search that needs no vectors, so it runs while the query is embedded.

    `text_matches` are texts of the owner that share trigrams with the query; the filter is applied later.
    `allowed_rows` are the rows that match `asset_filter`; None if the store needs no such list.
    """

    asset_filter: AssetFilter
    count: int
    text_matches: Sequence[AssetText]
    allowed_rows: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """An asset that may match; a similarity is the cosine of its vector and the query's, None if either is missing.

    `hubness` is the text similarity that any query has to it.
    """

    text: AssetText
    text_similarity: float | None
    image_similarity: float | None
    hubness: float = 0.0


@dataclass(frozen=True, slots=True)
class SearchHit:
    """A matching asset, and the ids of its live near-duplicates of the same owner."""

    asset: Asset
    near_duplicates: Sequence[str]


@dataclass(frozen=True, slots=True)
class Seed:
    """The asset of a similarity search; `near_duplicates` are the live rows of its group without its own."""

    row: int
    vectors: Vectors
    near_duplicates: Sequence[int]


class SearchStore(Protocol):
    """Finds candidates among the ready assets, by row."""

    async def prepare_search(self, trigrams: Sequence[str], asset_filter: AssetFilter, count: int) -> PreparedSearch:
        """Prepare a search for about `count` candidates of each kind that `find_candidates` returns."""

    async def find_candidates(
        self, prepared: PreparedSearch, query_vectors: Vectors, model: EmbeddingModel
    ) -> Sequence[Candidate]:
        """Return distinct live assets that match the filter; assets that were ready before the search are included.

        They are the assets with the most similar text vectors, those with the most similar image vectors, and those
        whose texts share the most and rarest trigrams. Vectors of models other than `model` do not count.
        """

    async def get_hits(self, rows: Sequence[int]) -> Mapping[int, SearchHit]:
        """Return the live assets among `rows`."""

    async def get_seed(self, asset_id: str, model: EmbeddingModel, owner: str) -> Seed | None:
        """Return the seed of a similarity search; None if the owner has no such live asset."""
