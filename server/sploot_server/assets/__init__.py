"""What the library asks of the place where assets are kept; each backend is one module of this package."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from sploot_server.embedding import Model, Reading, Vectors
from sploot_server.model import Added, Asset, AssetPage, AssetQuery, Content, Embedding, NewAsset, Tag, TagCount


@dataclass(frozen=True, slots=True)
class Owned:
    """Whose asset it is, and its embedding: None if the asset is hidden."""

    owner: str
    embedding: Embedding | None


class AssetStore(Protocol):
    """Assets, their tags and the state of their embeddings. A call that returns has stored what it was given.

    All but the last two speak of one owner's assets and tags; '' owns the library that has no accounts.
    """

    def of(self, owner: str) -> "AssetStore":
        """The same store as this owner sees it: what others have does not exist."""

    async def add(self, new: NewAsset, *, now_ms: int) -> Added:
        """Add content, or bring it back under its old id if it was deleted, or find it there (`created` false).

        Tags are added in every case. Any number of calls with the same checksum create it once.
        """

    async def add_all(self, new: Sequence[NewAsset], *, now_ms: int) -> Sequence[Added]:
        """`add` for each of them."""

    async def find(self, checksum: str) -> Asset | None:
        """The live asset with this content."""

    async def find_all(self, checksums: Sequence[str]) -> Mapping[str, Asset]:
        """The live assets with these contents, by their checksums: one statement for all."""

    async def get(self, asset_id: str) -> Asset | None:
        """The live asset with this id."""

    async def list(self, query: AssetQuery) -> AssetPage: ...

    async def edit(self, asset_id: str, *, favorite: bool | None, tags: Sequence[str] | None, now_ms: int) -> bool:
        """Change what is not None; `tags` replaces all tags. False if there is no such live asset."""

    async def delete(self, asset_id: str, *, now_ms: int) -> bool:
        """Hide an asset; adding its content again restores it. Repeatable; false if it is unknown."""

    async def purge(self, asset_id: str) -> str | None:
        """Remove an asset, hidden or not, for ever; the checksum of its content, or None if it is unknown."""

    async def checksum_of(self, asset_id: str) -> str | None:
        """The content of an asset, hidden or not."""

    async def tags(self) -> Sequence[TagCount]: ...

    async def add_tags(
        self, asset_id: str, *, names: Sequence[str], tag_ids: Sequence[str], now_ms: int
    ) -> Sequence[Tag] | None:
        """Add tags by name (made if new) and by id (unknown ones are left out); None if there is no such live asset."""

    async def embeddings(self, asset_ids: Sequence[str]) -> Mapping[str, Embedding]:
        """The embedding of each live asset among `asset_ids`."""

    async def contents_after(self, row: int, limit: int) -> Sequence[Content]:
        """Assets of a higher row, hidden ones too, in that order."""

    async def owned(self, asset_ids: Sequence[str]) -> Mapping[str, Owned]:
        """Those of `asset_ids` that exist, whoever has them, hidden ones too."""

    def holding(self, checksum: str) -> AbstractAsyncContextManager[None]:
        """Within the block no other process adds or removes this content, if all that do ask for it."""

    async def is_held(self, checksum: str) -> bool:
        """Whether anybody has this content, hidden or not: then its bytes are needed."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An embedding that is ready or has failed, and its place in the order in which they did."""

    order: int
    asset_id: str
    owner: str
    embedding: Embedding


class EndStore(Protocol):
    """The order in which embeddings have ended. Places in it become visible in their order, and without gaps."""

    async def last(self) -> tuple[str, int]:
        """The name of this library, which no other one has, and the last place that is taken; 0 if none is."""

    async def after(self, order: int, limit: int, owner: str | None = None) -> Sequence[Ended]:
        """Live assets whose embeddings ended after that, the first `limit` of them; of everybody if `owner` is None."""


class ShareStore(Protocol):
    """The links by which owners show pictures to everybody; a slug is the secret part of one."""

    async def share(self, asset_id: str, owner: str, slug: str, *, now_ms: int) -> str | None:
        """The slug that this asset has, which is `slug` if it had none; None if there is no such live asset."""

    async def unshare(self, asset_id: str, owner: str) -> None:
        """End the link, if there is one; the next one is another."""

    async def shared(self, slug: str) -> Asset | None:
        """The live asset of this link."""


@dataclass(frozen=True, slots=True)
class Job:
    """A picture to be read. `attempts` have failed before; `claim` tells this taking in hand from earlier ones."""

    row: int
    asset_id: str
    checksum: str
    filename: str
    mime: str
    attempts: int
    claim: int = 0


class JobStore(Protocol):
    """The embeddings still to be made. Every write but `retry` changes only what is being processed."""

    async def release(self, model: Model, *, now_ms: int) -> int:
        """Let wait again what nobody has in hand any more, and what another model made; how many that were."""

    async def claim(self, limit: int, *, now_ms: int) -> Sequence[Job]:
        """Take jobs in hand, those asked for by people first, then the longest due."""

    async def complete(self, job: Job, reading: Reading, model: Model, *, now_ms: int) -> None:
        """Store a reading, and the asset among its near-duplicates, if its owner has any (`looks.alike`)."""

    async def fail(self, job: Job, error: str, *, now_ms: int) -> None:
        """Give up; `error` is a sentence."""

    async def put_back(self, job: Job, *, due_ms: int) -> None:
        """Count a failed attempt and wait again until `due_ms`."""

    async def next_due_ms(self) -> int | None:
        """When the next waiting job is due; None if none waits."""

    async def counts(self) -> Mapping[str, int]:
        """How many embeddings are in each state."""

    async def retry(self, asset_id: str, *, now_ms: int) -> bool:
        """Before all others and with attempts counted afresh. False if there is no such live asset, or it is ready."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which assets a search is about; None and False say nothing."""

    owner: str = ""
    favorite: bool | None = None
    tag_id: str | None = None
    mime: str | None = None
    created_from_ms: int | None = None
    created_before_ms: int | None = None  # not itself included

    @property
    def takes_all(self) -> bool:
        """Whether everything of the owner is wanted."""
        return self == Filter(self.owner)


@dataclass(frozen=True, slots=True)
class Text:
    """What is written in an asset, as `words.squeeze` has it. Near-duplicates are of the same `kin`."""

    row: int
    squeezed: str
    kin: int


@dataclass(frozen=True, slots=True)
class Begun:
    """The part of a search that needs no vectors, so that it is done while those are made.

    `like` are texts of the owner that share trigrams, not all of them wanted. `wanted` are rows that `only` leaves, if
    the store has to know them first.
    """

    only: Filter
    count: int
    like: Sequence[Text]
    wanted: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """What may be an answer.

    `meaning` and `picture` are the cosines of its vectors and those sought, None where either has none.
    """

    text: Text
    meaning: float | None
    picture: float | None


@dataclass(frozen=True, slots=True)
class Found:
    """An asset with its text as it was read, and the ids of its owner's near-duplicates of it that are live."""

    asset: Asset
    text: str
    others: Sequence[str]


@dataclass(frozen=True, slots=True)
class Seed:
    """An asset that others are compared with; `kin` are the live rows of its near-duplicates, itself left out."""

    row: int
    vectors: Vectors
    kin: Sequence[int]


class SearchStore(Protocol):
    """What a search reads of ready assets, by row."""

    async def begin(self, trigrams: Sequence[str], only: Filter, count: int) -> Begun:
        """Begin a search for about `count` assets of each kind that `candidates` tells of."""

    async def candidates(self, begun: Begun, sought: Vectors, model: Model) -> Sequence[Candidate]:
        """Live and wanted assets, each once; what became ready before the search began is seen by it.

        Those whose text means most nearly what is sought, those whose picture does, and those whose text shares most,
        and rarest, of the trigrams. Vectors of other models than `model` do not count.
        """

    async def found(self, rows: Sequence[int]) -> Mapping[int, Found]:
        """The live assets among `rows`."""

    async def seed(self, asset_id: str, model: Model, owner: str) -> Seed | None:
        """None if the owner has no such live asset."""
