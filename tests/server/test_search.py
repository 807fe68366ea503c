"""How a search goes about it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from sploot_server.assets import Begun, Filter
from sploot_server.assets.database import Database
from sploot_server.assets.texts import SqliteTexts
from sploot_server.embedding import Vectors
from sploot_server.search import Search
from toy_library import FakeEmbedder

PATIENCE_S = 10


class WatchedTexts(SqliteTexts):
    """Says when it has found what needs no vectors."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.begun = asyncio.Event()

    async def begin(self, trigrams: Sequence[str], only: Filter, count: int) -> Begun:
        begun = await super().begin(trigrams, only, count)
        self.begun.set()
        return begun


class LateEmbedder(FakeEmbedder):
    """Has no vectors before `awaited` is set."""

    def __init__(self, awaited: asyncio.Event) -> None:
        super().__init__()
        self.asked: list[str] = []
        self._awaited = awaited

    async def query(self, text: str) -> Vectors:
        self.asked.append(text)
        await self._awaited.wait()
        return await super().query(text)


async def test_words_are_looked_for_while_the_vectors_are_made_and_these_are_made_once(tmp_path: Path) -> None:
    database = Database(tmp_path / "library.db")
    database.open()
    texts = WatchedTexts(database)
    embedder = LateEmbedder(texts.begun)
    async with asyncio.timeout(PATIENCE_S):
        await Search(texts, embedder).find("walrus sleeps", limit=9, only=Filter())
    assert embedder.asked == ["walrus sleeps"]
    await database.close()
