"""What searches read from SQLite, and how much of it."""

import math
import random
import re
import struct
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from sploot_server.assets import Candidate, Filter
from sploot_server.assets import texts as module
from sploot_server.assets.database import Database
from sploot_server.assets.jobs import SqliteJobs
from sploot_server.assets.sqlite import SqliteAssets, new_id
from sploot_server.assets.texts import SqliteTexts
from sploot_server.embedding import Model, Reading, Vectors
from sploot_server.model import NewAsset
from sploot_server.words import squeeze, trigrams
from toy_library import DIM, look, vector

MODEL = Model("m", DIM)
NOTHING = Vectors(None, None)
EVERYTHING = Filter()


class Shelf:
    """A library whose assets are ready as soon as they are added."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.texts = SqliteTexts(database)
        self._jobs = SqliteJobs(database)
        self._count = 0

    async def add(self, text: str, *, owner: str = "", picture: bytes | None = None, model: Model = MODEL) -> str:
        self._count += 1
        new = NewAsset(new_id(), f"{self._count:064x}", "x.jpg", "image/jpeg", 9, [])
        asset = (await SqliteAssets(self.database, owner).add(new, now_ms=self._count)).asset
        (job,) = await self._jobs.claim(1, now_ms=self._count)
        reading = Reading(text, vector(text) if text else None, 1, 1, picture, look(text))
        await self._jobs.complete(job, reading, model, now_ms=self._count)
        return asset.id

    async def read_again(self, text: str) -> None:
        await self._jobs.release(Model("another", DIM), now_ms=99)
        (job,) = await self._jobs.claim(1, now_ms=99)
        await self._jobs.complete(job, Reading(text, None, 1, 1), MODEL, now_ms=99)

    async def like(self, *words: str, count: int = 9, only: Filter = EVERYTHING) -> list[str]:
        found = await self.candidates(NOTHING, trigrams(words), only, count)
        return [each.text.squeezed for each in found]

    async def candidates(
        self, sought: Vectors, trigrams: Sequence[str] = (), only: Filter = EVERYTHING, count: int = 9
    ) -> Sequence[Candidate]:
        return await self.texts.candidates(await self.texts.begin(trigrams, only, count), sought, MODEL)

    async def near(self, sought: Vectors, count: int = 9, only: Filter = EVERYTHING) -> list[str]:
        found = await self.candidates(sought, [], only, count)
        return [each.text.squeezed for each in sorted(found, key=lambda each: -(each.meaning or each.picture or 0))]


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    database = Database(tmp_path / "library.db")
    database.open()
    yield Shelf(database)
    await database.close()


async def test_the_rarest_trigrams_decide_where_common_ones_would_be_too_many(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POSTINGS_MAX", 5)
    for number in range(20):
        await shelf.add(f"common {number}")
    await shelf.add("common walrus")
    assert await shelf.like("common", "walrus") == ["commonwalrus"]
    assert await shelf.like("common", count=2) == ["commonwalrus", "common19"]  # the newest, if nothing is rare


async def test_counts_follow_what_is_read_again(shelf: Shelf) -> None:
    await shelf.add("walrus")
    await shelf.read_again("penguin")
    assert await shelf.like("walrus") == []
    assert await shelf.like("penguin") == ["penguin"]
    counted = await shelf.database.read(
        lambda connection: connection.execute("SELECT trigram, texts FROM trigrams WHERE texts > 0").fetchall()
    )
    assert dict(counted) == dict.fromkeys(trigrams(["penguin"]), 1)


def anywhere(seed: str) -> bytes:
    """A vector in a direction of its own."""
    rng = random.Random(seed)
    direction = [rng.gauss(0, 1) for _ in range(DIM)]
    length = math.hypot(*direction)
    return struct.pack(f"<{DIM}f", *(each / length for each in direction))


async def test_the_nearest_picture_is_found_among_many(shelf: Shelf) -> None:
    for number in range(40):
        await shelf.add(f"filler{number}", picture=anywhere(f"{number}"))
    await shelf.add("", picture=anywhere("walrus"))
    (found,) = await shelf.candidates(Vectors(None, anywhere("walrus")), count=1)
    assert (found.text.row, found.text.squeezed, found.meaning) == (41, "", None)
    assert found.picture == pytest.approx(1)


async def test_an_owner_is_not_crowded_out_by_others(shelf: Shelf) -> None:
    for number in range(30):
        await shelf.add(f"walrus number{number}", owner="anna")
    await shelf.add("walrus", owner="ben")
    assert await shelf.near(Vectors(vector("walrus"), None), 2, Filter(owner="ben")) == ["walrus"]
    assert await shelf.like("walrus", count=2, only=Filter(owner="ben")) == ["walrus"]


async def test_hidden_assets_do_not_stand_in_the_way(shelf: Shelf) -> None:
    for number in range(30):
        asset_id = await shelf.add(f"walrus number{number}")
        await SqliteAssets(shelf.database).delete(asset_id, now_ms=99)
    await shelf.add("something else")
    assert await shelf.near(Vectors(vector("walrus"), None), 2) == ["somethingelse"]


async def test_vectors_of_another_model_are_not_compared(shelf: Shelf) -> None:
    await shelf.add("walrus", model=Model("old", DIM))
    assert await shelf.near(Vectors(vector("walrus"), None)) == []
    found = await shelf.candidates(Vectors(vector("walrus"), None), trigrams(["walrus"]))
    assert [(each.text.squeezed, each.meaning) for each in found] == [("walrus", None)]


async def test_no_search_walks_through_everything(shelf: Shelf) -> None:
    statements: list[str] = []
    await shelf.add("walrus sleeps")
    connection = shelf.database._read_connection
    connection.set_trace_callback(statements.append)
    await shelf.candidates(Vectors(vector("walrus"), None), trigrams(["walrus"]))
    await shelf.texts.found([1])
    connection.set_trace_callback(None)
    own = [each for each in statements if each.startswith("SELECT")]  # not what full-text search asks for inside
    assert len(own) >= 5
    for statement in own:
        plan = [row["detail"] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
        scans = [step for step in plan if re.match(r"SCAN (a|b|e|k|l|w|x)\b(?!.*VIRTUAL)", step) or "(owner=?" in step]
        assert not scans, (statement, plan)


async def test_squeezed_texts_are_what_is_kept(shelf: Shelf) -> None:
    await shelf.add("C\u00f4te d'Azur\nIS NICE!")
    assert await shelf.like("azur") == [squeeze("C\u00f4te d'Azur\nIS NICE!")]
