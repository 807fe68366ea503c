"""Search queries in SQLite: nearest vectors by an index in memory, texts by trigrams in FTS5."""

import asyncio
import itertools
import json
import sqlite3
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from sploot_server.domain.asset_query import AssetFilter
from sploot_server.domain.embedding import EmbeddingModel, Vectors
from sploot_server.storage.asset_filter import Parameters, filter_condition
from sploot_server.storage.interfaces import AssetText, Candidate, PreparedSearch, SearchHit, Seed
from sploot_server.storage.rows import asset_from_row
from sploot_server.storage.sqlite.database import Database

if TYPE_CHECKING:
    from sploot_server.storage.vector_index import BinaryVectorIndex

REFRESH_BATCH_ROWS = 2000  # 6 MB of vectors
OVERSAMPLING = 1.5  # the index compares signs only: it must return more rows than the exact comparison keeps
POSTINGS_MAX = 3000  # the trigrams of one query match at most this many texts, all together
ALLOWED_ROWS_MAX = 50_000  # the newest rows that match a filter

# The unary plus hides the column from the planner: otherwise SQLite scans all assets of an owner by index, although the
# rows are given.
OWNER_OF_GIVEN_ROWS = "+a.owner"


class SqliteSearch:
    """SearchStore on one SQLite file, with an index of its vectors' signs in memory."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._indexes: dict[tuple[str, str], BinaryVectorIndex] = {}  # by column and owner
        self._model_name: str | None = None
        self._last_ready_seq = 0  # of the last embedding in the indexes
        self._refresh_lock = asyncio.Lock()

    async def prepare_search(self, trigrams: Sequence[str], asset_filter: AssetFilter, count: int) -> PreparedSearch:
        def run(connection: sqlite3.Connection) -> PreparedSearch:
            text_matches = _read_texts(connection, _match_trigrams(connection, trigrams, asset_filter, count))
            return PreparedSearch(
                asset_filter,
                count,
                text_matches,
                None if asset_filter.is_unrestricted else _find_allowed_rows(connection, asset_filter),
            )

        return await self._database.read(run)

    async def find_candidates(
        self, prepared: PreparedSearch, query_vectors: Vectors, model: EmbeddingModel
    ) -> Sequence[Candidate]:
        vectors_by_column = {"text_vector": query_vectors.text, "image_vector": query_vectors.image}
        vectors = {column: vector for column, vector in vectors_by_column.items() if vector is not None}
        if vectors:
            await self._refresh_indexes(model)
        indexes = {column: self._indexes.get((column, prepared.asset_filter.owner)) for column in vectors}
        texts = {text.row: text for text in prepared.text_matches}

        def run(connection: sqlite3.Connection) -> Sequence[Candidate]:
            limit = int(prepared.count * OVERSAMPLING)
            while True:
                near = [
                    index.nearest(vectors[column], limit, prepared.allowed_rows)
                    for column, index in indexes.items()
                    if index is not None
                ]
                rows = {*texts, *itertools.chain.from_iterable(near)}
                similarities = _compute_similarities(connection, rows, vectors, model, prepared.asset_filter)
                # Deleted assets stay in the index: search wider until enough live candidates are left.
                if len(similarities) >= prepared.count or all(len(rows) < limit for rows in near):
                    break
                limit *= 8
            best = _select_best(similarities, texts, prepared.count)
            texts.update((text.row, text) for text in _read_texts(connection, best.keys() - texts.keys()))
            return [
                Candidate(
                    texts[row], products.get("text_vector"), products.get("image_vector"), products["hubness"] or 0.0
                )
                for row, products in best.items()
            ]

        return await self._database.read(run)

    async def get_hits(self, rows: Sequence[int]) -> Mapping[int, SearchHit]:
        def run(connection: sqlite3.Connection) -> Mapping[int, SearchHit]:
            assets = connection.execute(
                "SELECT d.*, (SELECT group_concat(b.id, ' ') FROM image_hashes h "
                "  JOIN image_hashes k ON k.duplicate_group = h.duplicate_group JOIN assets b ON b.row = k.asset "
                "  WHERE h.asset = d.row AND b.row <> d.row AND +b.owner = d.owner AND +b.deleted_at IS NULL "
                "  ) AS near_duplicates "
                "FROM asset_details d WHERE d.row IN (SELECT value FROM json_each(?)) AND d.deleted_at IS NULL",
                (json.dumps(rows),),
            )
            return {
                row["row"]: SearchHit(asset_from_row(row), (row["near_duplicates"] or "").split()) for row in assets
            }

        return await self._database.read(run)

    async def get_seed(self, asset_id: str, model: EmbeddingModel, owner: str) -> Seed | None:
        def run(connection: sqlite3.Connection) -> Seed | None:
            row = connection.execute(
                "SELECT a.row, e.text_vector, e.image_vector, e.model, h.duplicate_group "
                "FROM assets a JOIN embeddings e ON e.asset = a.row LEFT JOIN image_hashes h ON h.asset = a.row "
                "WHERE a.id = ? AND a.owner = ? AND a.deleted_at IS NULL",
                (asset_id, owner),
            ).fetchone()
            if row is None:
                return None
            near_duplicates = connection.execute(
                "SELECT a.row FROM image_hashes h JOIN assets a ON a.row = h.asset "
                "WHERE h.duplicate_group = ? AND +a.owner = ? AND +a.deleted_at IS NULL AND a.row <> ? ORDER BY a.row",
                (row["duplicate_group"], owner, row["row"]),
            )
            comparable = row["model"] == model.name
            vectors = Vectors(row["text_vector"], row["image_vector"]) if comparable else Vectors(None, None)
            return Seed(row["row"], vectors, [other["row"] for other in near_duplicates])

        return await self._database.read(run)

    async def _refresh_indexes(self, model: EmbeddingModel) -> None:
        """Add the vectors that became ready since the last refresh."""
        async with self._refresh_lock:
            if self._model_name != model.name:
                self._indexes, self._last_ready_seq, self._model_name = {}, 0, model.name
            while new_vectors := await self._list_vectors_after(self._last_ready_seq, model):
                await asyncio.to_thread(self._add_to_indexes, new_vectors)
                self._last_ready_seq = new_vectors[-1]["ready_seq"]

    async def _list_vectors_after(self, ready_seq: int, model: EmbeddingModel) -> Sequence[sqlite3.Row]:
        def run(connection: sqlite3.Connection) -> Sequence[sqlite3.Row]:
            return connection.execute(
                "SELECT e.ready_seq, e.asset, a.owner, e.text_vector, e.image_vector "
                "FROM embeddings e JOIN assets a ON a.row = e.asset "
                "WHERE e.ready_seq > ? AND e.model = ? ORDER BY e.ready_seq LIMIT ?",
                (ready_seq, model.name, REFRESH_BATCH_ROWS),
            ).fetchall()

        return await self._database.read(run)

    def _add_to_indexes(self, new_vectors: Sequence[sqlite3.Row]) -> None:
        from sploot_server.storage.vector_index import FLOAT_BYTES, BinaryVectorIndex  # noqa: PLC0415 - numpy, which only searches need

        vectors = defaultdict[tuple[str, str], list[tuple[int, bytes]]](list)
        for row in new_vectors:
            for column in ("text_vector", "image_vector"):
                if row[column] is not None:
                    vectors[column, row["owner"]].append((row["asset"], row[column]))
        for key, pairs in vectors.items():
            index = self._indexes.setdefault(key, BinaryVectorIndex(len(pairs[0][1]) // FLOAT_BYTES))
            index.add(*zip(*pairs, strict=True))


def _find_allowed_rows(connection: sqlite3.Connection, asset_filter: AssetFilter) -> Sequence[int]:
    condition, values = _filter_condition(asset_filter, "a.owner")
    newest = f"SELECT a.row FROM assets a WHERE {condition} ORDER BY a.row DESC LIMIT {ALLOWED_ROWS_MAX}"  # noqa: S608
    return [row for (row,) in connection.execute(newest, values)]


def _filter_condition(asset_filter: AssetFilter, owner_column: str) -> tuple[str, dict[str, Any]]:
    """Return the condition of a filter, and its values by their numbers."""
    parameters = Parameters()
    condition = filter_condition(asset_filter, parameters, owner_column=owner_column)
    return condition, {str(number): value for number, value in enumerate(parameters.values, 1)}


def _match_trigrams(
    connection: sqlite3.Connection, trigrams: Sequence[str], asset_filter: AssetFilter, count: int
) -> Sequence[int]:
    """Return rows of texts that contain the rarest of the trigrams: as many trigrams as occur in POSTINGS_MAX texts."""
    # A trigram of a typo that occurs in no text has no count above 0, so it uses up none of the limit.
    counts = connection.execute(
        "SELECT trigram, text_count FROM trigram_counts "
        "WHERE text_count > 0 AND trigram IN (SELECT value FROM json_each(?)) ORDER BY text_count",
        (json.dumps(trigrams),),
    ).fetchall()
    chosen: list[str] = []
    left = POSTINGS_MAX
    for trigram, text_count in counts:
        if text_count > left and chosen:
            break
        chosen.append(f'"{trigram}"')  # letters and digits only: nothing to escape
        left -= text_count
    if not chosen:
        return []
    order = "rank" if left >= 0 else "rowid DESC"  # a trigram that occurs nearly everywhere does not discriminate
    rows = connection.execute(
        "SELECT rowid FROM search_texts WHERE normalized MATCH ? "  # noqa: S608 - constants
        f"AND (SELECT owner FROM assets WHERE row = search_texts.rowid) = ? ORDER BY {order} LIMIT ?",
        (" OR ".join(chosen), asset_filter.owner, count),
    )
    return [row for (row,) in rows]


def _compute_similarities(
    connection: sqlite3.Connection,
    rows: Collection[int],
    vectors: Mapping[str, bytes],
    model: EmbeddingModel,
    asset_filter: AssetFilter,
) -> dict[int, dict[str, float | None]]:
    """Return the similarities of those of `rows` that match the filter, by row and column, and their hubness."""
    columns = "".join(f", iif(e.model = :model, e.{column}, NULL) AS {column}" for column in vectors)
    condition, values = _filter_condition(asset_filter, OWNER_OF_GIVEN_ROWS)
    allowed = connection.execute(
        f"SELECT a.row, e.hubness{columns} FROM assets a JOIN embeddings e ON e.asset = a.row "  # noqa: S608 - constants
        f"WHERE a.row IN (SELECT value FROM json_each(:rows)) AND {condition}",
        {"rows": json.dumps(list(rows)), "model": model.name, **values},
    ).fetchall()
    products: dict[int, dict[str, float | None]] = {row["row"]: {"hubness": row["hubness"]} for row in allowed}
    for column, query_vector in vectors.items():
        from sploot_server.storage.vector_index import cosine_similarities  # noqa: PLC0415 - numpy, which only searches need

        for row, product in zip(
            products, cosine_similarities(query_vector, [row[column] for row in allowed]), strict=True
        ):
            products[row][column] = product
    return products


def _select_best(
    similarities: Mapping[int, Mapping[str, float | None]], text_matches: Collection[int], count: int
) -> dict[int, Mapping[str, float | None]]:
    """Return the rows that share trigrams with the query, and per column the `count` nearest rows."""
    best = dict.fromkeys(row for row in text_matches if row in similarities)
    for column in next(iter(similarities.values()), {}).keys() - {"hubness"}:
        near = [(product, row) for row, products in similarities.items() if (product := products[column]) is not None]
        best.update(dict.fromkeys(map(itemgetter(1), sorted(near, reverse=True)[:count])))
    return {row: similarities[row] for row in best}


def _read_texts(connection: sqlite3.Connection, rows: Collection[int]) -> Sequence[AssetText]:
    texts = connection.execute(
        "SELECT r.value AS row, coalesce(x.normalized, ''), coalesce(h.duplicate_group, r.value) FROM json_each(?) r "
        "LEFT JOIN search_texts x ON x.rowid = r.value LEFT JOIN image_hashes h ON h.asset = r.value",
        (json.dumps(list(rows)),),
    )
    return [AssetText(*text) for text in texts]
