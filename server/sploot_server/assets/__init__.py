"""What the library asks of the place where assets are kept; each backend is one module of this package."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from sploot_server.model import Added, Asset, AssetPage, AssetQuery, Embedding, NewAsset, Tag, TagCount


class AssetStore(Protocol):
    """Assets, their tags and the state of their embeddings. A call that returns has stored what it was given."""

    async def add(self, new: NewAsset, *, now_ms: int) -> Added:
        """Add content, or bring it back under its old id if it was deleted, or find it there (`created` false).

        Tags are added in every case. Any number of calls with the same checksum create it once.
        """

    async def find(self, checksum: str) -> Asset | None:
        """The live asset with this content."""

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
