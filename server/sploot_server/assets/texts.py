"""What searches read from SQLite."""

import asyncio
import itertools
import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING

from sploot_server.assets import Begun, Candidate, Filter, Found, Seed, Text
from sploot_server.assets.database import Database
from sploot_server.assets.sqlite import asset_of
from sploot_server.embedding import Model, Vectors

if TYPE_CHECKING:
    from sploot_server.vectors import SignIndex

REFRESH_ROWS = 2000  # 6 MB of vectors
SPARE = 1.5  # so many are near by the signs of their vectors for each that is near by the vectors
POSTINGS_MAX = 3000  # texts that the trigrams looked for occur in, taken together
WANTED_MAX = 50_000  # of a filter; the newest

# The plus signs keep SQLite from walking through all assets of an owner where their rows are known.
WANTED = """
    a.deleted_at IS NULL AND +a.owner = :owner
    AND (:favorite IS NULL OR a.favorite = :favorite) AND (:mime IS NULL OR a.mime = :mime)
    AND (:from IS NULL OR a.created_at >= :from) AND (:before IS NULL OR a.created_at < :before)
    AND (:tag IS NULL OR a.row IN (
      SELECT at.asset FROM asset_tags at JOIN tags t ON t.row = at.tag WHERE t.id = :tag AND t.owner = :owner))
"""


class SqliteTexts:
    """SearchStore on one SQLite file, with the signs of its vectors in memory."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._signs: dict[tuple[str, str], SignIndex] = {}  # by column and owner
        self._model: str | None = None
        self._order = 0  # of the last embedding whose signs are known
        self._refreshing = asyncio.Lock()

    async def begin(self, trigrams: Sequence[str], only: Filter, count: int) -> Begun:
        def run(connection: sqlite3.Connection) -> Begun:
            like = _texts(connection, _like(connection, trigrams, only, count))
            return Begun(only, count, like, None if only.takes_all else _wanted(connection, only))

        return await self._database.read(run)

    async def candidates(self, begun: Begun, sought: Vectors, model: Model) -> Sequence[Candidate]:
        both = {"vector": sought.text, "picture": sought.picture}
        vectors = {column: vector for column, vector in both.items() if vector is not None}
        if vectors:
            await self._refresh(model)
        indexes = {column: self._signs.get((column, begun.only.owner)) for column in vectors}
        texts = {text.row: text for text in begun.like}

        def run(connection: sqlite3.Connection) -> Sequence[Candidate]:
            share = int(begun.count * SPARE)
            while True:
                near = [
                    index.nearest(vectors[column], share, begun.wanted)
                    for column, index in indexes.items()
                    if index is not None
                ]
                rows = {*texts, *itertools.chain.from_iterable(near)}
                found = _compared(connection, rows, vectors, model, begun.only)
                # Hidden assets thin the candidates out: widen the circle until enough are left.
                if len(found) >= begun.count or all(len(rows) < share for rows in near):
                    break
                share *= 8
            best = _best(found, texts, begun.count)
            texts.update((text.row, text) for text in _texts(connection, best.keys() - texts.keys()))
            return [
                Candidate(texts[row], products.get("vector"), products.get("picture")) for row, products in best.items()
            ]

        return await self._database.read(run)

    async def found(self, rows: Sequence[int]) -> Mapping[int, Found]:
        def run(connection: sqlite3.Connection) -> Mapping[int, Found]:
            assets = connection.execute(
                "SELECT w.*, e.text, (SELECT group_concat(b.id, ' ') FROM looks l JOIN looks k ON k.kin = l.kin "
                "  JOIN assets b ON b.row = k.asset WHERE l.asset = w.row AND b.row <> w.row AND +b.owner = w.owner "
                "  AND +b.deleted_at IS NULL) AS others "
                "FROM whole_assets w JOIN embeddings e ON e.asset = w.row "
                "WHERE w.row IN (SELECT value FROM json_each(?)) AND w.deleted_at IS NULL",
                (json.dumps(rows),),
            )
            return {
                row["row"]: Found(asset_of(row), row["text"] or "", (row["others"] or "").split()) for row in assets
            }

        return await self._database.read(run)

    async def seed(self, asset_id: str, model: Model, owner: str) -> Seed | None:
        def run(connection: sqlite3.Connection) -> Seed | None:
            row = connection.execute(
                "SELECT a.row, e.vector, e.picture, e.model, l.kin FROM assets a JOIN embeddings e ON e.asset = a.row "
                "LEFT JOIN looks l ON l.asset = a.row WHERE a.id = ? AND a.owner = ? AND a.deleted_at IS NULL",
                (asset_id, owner),
            ).fetchone()
            if row is None:
                return None
            kin = connection.execute(
                "SELECT a.row FROM looks l JOIN assets a ON a.row = l.asset "
                "WHERE l.kin = ? AND +a.owner = ? AND +a.deleted_at IS NULL AND a.row <> ? ORDER BY a.row",
                (row["kin"], owner, row["row"]),
            )
            comparable = row["model"] == model.name
            vectors = Vectors(row["vector"], row["picture"]) if comparable else Vectors(None, None)
            return Seed(row["row"], vectors, [other["row"] for other in kin])

        return await self._database.read(run)

    async def _refresh(self, model: Model) -> None:
        """Learn the signs of what became ready since the last time."""
        async with self._refreshing:
            if self._model != model.name:
                self._signs, self._order, self._model = {}, 0, model.name
            while fresh := await self._vectors_after(self._order, model):
                await asyncio.to_thread(self._learn, fresh)
                self._order = fresh[-1]["ready_order"]

    async def _vectors_after(self, order: int, model: Model) -> Sequence[sqlite3.Row]:
        def run(connection: sqlite3.Connection) -> Sequence[sqlite3.Row]:
            return connection.execute(
                "SELECT e.ready_order, e.asset, a.owner, e.vector, e.picture "
                "FROM embeddings e JOIN assets a ON a.row = e.asset "
                "WHERE e.ready_order > ? AND e.model = ? ORDER BY e.ready_order LIMIT ?",
                (order, model.name, REFRESH_ROWS),
            ).fetchall()

        return await self._database.read(run)

    def _learn(self, fresh: Sequence[sqlite3.Row]) -> None:
        from sploot_server.vectors import FLOAT_BYTES, SignIndex  # noqa: PLC0415 - numpy, which only searches need

        vectors = defaultdict[tuple[str, str], list[tuple[int, bytes]]](list)
        for row in fresh:
            for column in ("vector", "picture"):
                if row[column] is not None:
                    vectors[column, row["owner"]].append((row["asset"], row[column]))
        for key, pairs in vectors.items():
            index = self._signs.setdefault(key, SignIndex(len(pairs[0][1]) // FLOAT_BYTES))
            index.add(*zip(*pairs, strict=True))


def _filter(only: Filter) -> dict[str, object]:
    return {
        "owner": only.owner,
        "favorite": only.favorite,
        "mime": only.mime,
        "from": only.created_from_ms,
        "before": only.created_before_ms,
        "tag": only.tag_id,
    }


def _wanted(connection: sqlite3.Connection, only: Filter) -> Sequence[int]:
    newest = f"SELECT a.row FROM assets a WHERE {WANTED} ORDER BY a.row DESC LIMIT {WANTED_MAX}"  # noqa: S608 - constants
    return [row for (row,) in connection.execute(newest, _filter(only))]


def _like(connection: sqlite3.Connection, trigrams: Sequence[str], only: Filter, count: int) -> Sequence[int]:
    """Rows of texts that share the rarest of the trigrams, as many of these as occur in POSTINGS_MAX texts.

    The trigrams of a slip are rare too, but then nothing is spent on them.
    """
    counts = connection.execute(
        "SELECT trigram, texts FROM trigrams WHERE texts > 0 AND trigram IN (SELECT value FROM json_each(?)) "
        "ORDER BY texts",
        (json.dumps(trigrams),),
    ).fetchall()
    chosen: list[str] = []
    left = POSTINGS_MAX
    for trigram, texts in counts:
        if texts > left and chosen:
            break
        chosen.append(f'"{trigram}"')  # letters and digits only: nothing to escape
        left -= texts
    if not chosen:
        return []
    order = "rank" if left >= 0 else "rowid DESC"  # one that is everywhere ranks nothing
    rows = connection.execute(
        "SELECT rowid FROM texts WHERE squeezed MATCH ? "  # noqa: S608 - constants
        f"AND (SELECT owner FROM assets WHERE row = texts.rowid) = ? ORDER BY {order} LIMIT ?",
        (" OR ".join(chosen), only.owner, count),
    )
    return [row for (row,) in rows]


def _compared(
    connection: sqlite3.Connection, rows: Collection[int], vectors: Mapping[str, bytes], model: Model, only: Filter
) -> dict[int, dict[str, float | None]]:
    """The inner products of those of `rows` that are wanted, by row and column."""
    columns = "".join(f", iif(e.model = :model, e.{column}, NULL) AS {column}" for column in vectors)
    wanted = connection.execute(
        f"SELECT a.row{columns} FROM assets a JOIN embeddings e ON e.asset = a.row "  # noqa: S608 - constants
        f"WHERE a.row IN (SELECT value FROM json_each(:rows)) AND {WANTED}",
        {"rows": json.dumps(list(rows)), "model": model.name, **_filter(only)},
    ).fetchall()
    products: dict[int, dict[str, float | None]] = {row["row"]: {} for row in wanted}
    for column, sought in vectors.items():
        from sploot_server.vectors import inner_products  # noqa: PLC0415 - numpy, which only searches need

        for row, product in zip(products, inner_products(sought, [row[column] for row in wanted]), strict=True):
            products[row][column] = product
    return products


def _best(
    found: Mapping[int, Mapping[str, float | None]], like: Collection[int], count: int
) -> dict[int, Mapping[str, float | None]]:
    """Those that share trigrams, and by each kind of vector the `count` nearest."""
    best = dict.fromkeys(row for row in like if row in found)
    for column in next(iter(found.values()), {}):
        near = [(product, row) for row, products in found.items() if (product := products[column]) is not None]
        best.update(dict.fromkeys(map(itemgetter(1), sorted(near, reverse=True)[:count])))
    return {row: found[row] for row in best}


def _texts(connection: sqlite3.Connection, rows: Collection[int]) -> Sequence[Text]:
    texts = connection.execute(
        "SELECT r.value AS row, coalesce(x.squeezed, ''), coalesce(l.kin, r.value) FROM json_each(?) r "
        "LEFT JOIN texts x ON x.rowid = r.value LEFT JOIN looks l ON l.asset = r.value",
        (json.dumps(list(rows)),),
    )
    return [Text(*text) for text in texts]
