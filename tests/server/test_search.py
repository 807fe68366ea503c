"""The order of a search's steps."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from sploot_server.domain.asset_query import AssetFilter
from sploot_server.domain.embedding import Vectors
from sploot_server.library.search import Search
from sploot_server.storage.interfaces import PreparedSearch
from sploot_server.storage.sqlite.database import Database
from sploot_server.storage.sqlite.search import SqliteSearch
from toy_library import FakeEmbedder

TIMEOUT_S = 10


class ObservedSearch(SqliteSearch):
    """Sets `prepared` when the text matches are found."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.prepared = asyncio.Event()

    async def prepare_search(self, trigrams: Sequence[str], asset_filter: AssetFilter, count: int) -> PreparedSearch:
        prepared = await super().prepare_search(trigrams, asset_filter, count)
        self.prepared.set()
        return prepared


class LateEmbedder(FakeEmbedder):
    """Returns no vectors before `awaited` is set."""

    def __init__(self, awaited: asyncio.Event) -> None:
        super().__init__()
        self.queries: list[str] = []
        self._awaited = awaited

    async def embed_query(self, text: str) -> Vectors:
        self.queries.append(text)
        await self._awaited.wait()
        return await super().embed_query(text)


async def test_the_query_is_embedded_once_and_concurrently_with_the_text_search(tmp_path: Path) -> None:
    database = Database(tmp_path / "library.db")
    database.open()
    store = ObservedSearch(database)
    embedder = LateEmbedder(store.prepared)
    async with asyncio.timeout(TIMEOUT_S):
        await Search(store, embedder).search("walrus sleeps", limit=9, asset_filter=AssetFilter())
    assert embedder.queries == ["walrus sleeps"]
    await database.close()
