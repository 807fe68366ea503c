"""What searches find a reading by in PostgreSQL: its vectors, its words, and its near-duplicates."""

import sys
import zlib
from array import array
from collections.abc import Sequence

from sploot_server.assets.postgres.database import LOOKS_LOCK, PostgresDatabase, Statements
from sploot_server.embedding import Model, Reading
from sploot_server.looks import alike, bands, distance
from sploot_server.words import squeeze, trigrams

MEANING_DIM = 768  # of the column
PICTURE_DIM_MAX = 4000  # that an index of pgvector takes
LOOKED_AT_MAX = 64
SIMILAR = """
    SELECT l.kin, l.look, e.text FROM looks l JOIN assets a ON a.row = l.asset JOIN embeddings e ON e.asset = l.asset
    WHERE l.bands && $1::integer[] AND a.owner = $2 ORDER BY
      (SELECT count(*) FROM unnest(l.bands) AS band WHERE band = ANY($1::integer[])) DESC, l.asset LIMIT $3
"""


async def prepare(database: PostgresDatabase, model: Model) -> None:
    """Make the index of pictures' vectors for this model. Raises ValueError if there can be none."""
    if model.dim > MEANING_DIM or model.picture_dim > PICTURE_DIM_MAX:
        raise ValueError(f"Vectors of {model.name} are too long: at most {MEANING_DIM} and {PICTURE_DIM_MAX} go.")
    if model.picture_dim:
        dim = int(model.picture_dim)
        await database.fetch(
            f"CREATE INDEX IF NOT EXISTS pictures_nearest_{dim} ON vectors "
            f"USING hnsw ((picture::halfvec({dim})) halfvec_ip_ops) WHERE vector_dims(picture) = {dim}"
        )


async def index(statements: Statements, row: int, owner: str, reading: Reading) -> None:
    """Let searches find a reading, and no more what was read before."""
    for table in ("vectors", "texts", "looks"):
        await statements.fetch(f"DELETE FROM {table} WHERE asset = $1", row)  # noqa: S608 - constants
    if reading.vector is not None or reading.picture is not None:
        add = (
            "INSERT INTO vectors (asset, owner, meaning, picture) "
            "VALUES ($1, $2, $3::float4[]::vector, $4::float4[]::vector)"
        )
        picture = None if reading.picture is None else floats(reading.picture)
        await statements.fetch(add, row, owner, padded(reading.vector), picture)
    squeezed = squeeze(reading.text)
    if squeezed:
        add = "INSERT INTO texts (asset, squeezed, trigrams) VALUES ($1, $2, $3)"
        await statements.fetch(add, row, squeezed, numbers(trigrams([squeezed])))
    if reading.look is not None:
        await _put_look(statements, row, owner, reading.look, reading.text)


async def _put_look(statements: Statements, row: int, owner: str, look: bytes, text: str) -> None:
    """Put a picture among its near-duplicates. Those who share most bands with it are looked at closely."""
    shared = list(bands(look))
    # Two that are alike and come at once must see each other.
    await statements.fetch("SELECT pg_advisory_xact_lock($1, hashtext($2))", LOOKS_LOCK, owner)
    similar = await statements.fetch(SIMILAR, shared, owner, LOOKED_AT_MAX)
    same = [other for other in similar if alike(look, text, other["look"], other["text"] or "")]
    nearest = min(same, key=lambda other: distance(look, other["look"]), default=None)
    kin = row if nearest is None else nearest["kin"]
    await statements.fetch(
        "INSERT INTO looks (asset, look, kin, bands) VALUES ($1, $2, $3, $4)", row, look, kin, shared
    )


def floats(vector: bytes) -> list[float]:
    """Little-endian float32 as numbers."""
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def padded(vector: bytes | None) -> list[float] | None:
    """A vector of a text's meaning, filled up with zeros to the dimension of the column."""
    if vector is None:
        return None
    given = floats(vector)
    return given + [0.0] * (MEANING_DIM - len(given))


def numbers(runs: Sequence[str]) -> list[int]:
    """One signed 32-bit number for each run of letters; two runs of one number only widen the circle a little."""
    return [zlib.crc32(run.encode()) - 2**31 for run in runs]
