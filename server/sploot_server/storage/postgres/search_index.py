"""The search index in PostgreSQL: writes the vectors, trigrams and dHash of an analysis."""

import sys
import zlib
from array import array
from collections.abc import Sequence
from typing import Any

from sploot_server.domain.embedding import EmbeddingModel, ImageAnalysis
from sploot_server.domain.near_duplicates import WORDS_BAND, Look, bands, choose_near_duplicate
from sploot_server.domain.text_match import trigrams
from sploot_server.storage.postgres.database import NEAR_DUPLICATE_LOCK, PostgresDatabase, Transaction
from sploot_server.storage.rows import SELECT_WORDS, words_from_row

TEXT_VECTOR_DIM = 896  # of the column
IMAGE_DIM_MAX = 4000  # pgvector's limit for an index on halfvec
CANDIDATES_MAX = 64  # images that a new image is compared with
SELECT_CANDIDATES = """
    SELECT h.asset, h.duplicate_group, h.dhash, h.colours, h.aspect_ratio, e.text
    FROM image_hashes h JOIN assets a ON a.row = h.asset JOIN embeddings e ON e.asset = h.asset
    WHERE h.dhash_bands && $1::integer[] AND a.owner = $2 ORDER BY
      (SELECT max(band) FROM unnest(h.dhash_bands) AS band WHERE band = ANY($1::integer[])) >= $4 DESC,
      (SELECT count(*) FROM unnest(h.dhash_bands) AS band WHERE band = ANY($1::integer[])) DESC, h.asset LIMIT $3
"""


async def create_image_index(database: PostgresDatabase, model: EmbeddingModel) -> None:
    """Create the HNSW index on the image vectors of this model. Raises ValueError if its dimension is too large."""
    if model.dim > TEXT_VECTOR_DIM or model.image_dim > IMAGE_DIM_MAX:
        raise ValueError(
            f"The vectors of {model.name} have {model.dim} (text) and {model.image_dim} (image) dimensions; "
            f"at most {TEXT_VECTOR_DIM} and {IMAGE_DIM_MAX} are supported."
        )
    if model.image_dim:
        dim = int(model.image_dim)
        # HNSW needs a fixed dimension, and the column has none: the cast gives it one, the condition excludes others.
        await database.fetch(
            f"CREATE INDEX IF NOT EXISTS image_vectors_hnsw_{dim} ON vectors "
            f"USING hnsw ((image_vector::halfvec({dim})) halfvec_ip_ops) WHERE vector_dims(image_vector) = {dim}"
        )


async def index_analysis(transaction: Transaction, row: int, owner: str, analysis: ImageAnalysis) -> None:
    """Replace the vectors and dHash by which searches find an asset."""
    for table in ("vectors", "image_hashes", "image_features"):
        await transaction.fetch(f"DELETE FROM {table} WHERE asset = $1", row)  # noqa: S608 - constants
    if analysis.text_vector is not None or analysis.image_vector is not None:
        add = (
            "INSERT INTO vectors (asset, owner, text_vector, image_vector, hubness) "
            "VALUES ($1, $2, $3::float4[]::vector, $4::float4[]::vector, $5)"
        )
        image_vector = None if analysis.image_vector is None else unpack_floats(analysis.image_vector)
        text_vector = pad_text_vector(analysis.text_vector)
        await transaction.fetch(add, row, owner, text_vector, image_vector, analysis.hubness)
    if analysis.features:
        add = "INSERT INTO image_features (asset, owner, features) VALUES ($1, $2, $3)"
        await transaction.fetch(add, row, owner, analysis.features)
    if analysis.look is not None:
        await _index_look(transaction, row, owner, analysis.look, analysis.features)


async def change_names(database: PostgresDatabase, *statements: str, values: Sequence[Any]) -> Sequence[Any]:
    """Run statements in one transaction; index the words of each `asset` in the rows of the last one anew."""
    async with database.transaction() as transaction:
        rows = [await transaction.fetch(each, *values) for each in statements][-1]
        for asset in sorted(row["asset"] for row in rows):  # in one order, or two transactions would deadlock
            await index_words(transaction, asset)
    return rows


async def index_words(transaction: Transaction, row: int) -> None:
    """Replace the words by which searches find an asset that has been read; run again when one of its names changes."""
    # Concurrent transactions would both insert a row.
    await transaction.fetch("SELECT 1 FROM embeddings WHERE asset = $1 FOR UPDATE", row)
    await transaction.fetch("DELETE FROM search_texts WHERE asset = $1", row)
    for details in await transaction.fetch(SELECT_WORDS, row):
        words = words_from_row(details)
        add = "INSERT INTO search_texts (asset, normalized, trigrams) VALUES ($1, $2, $3)"
        await transaction.fetch(add, row, words, hash_trigrams(trigrams(words.split("\n"))))


async def _index_look(transaction: Transaction, row: int, owner: str, look: Look, features: bytes) -> None:
    """Assign an image to its duplicate group; only the images that share most bands with it are compared."""
    look_bands = list(bands(look))
    # Without the lock, two near-duplicates completed by concurrent transactions would not see each other.
    await transaction.fetch("SELECT pg_advisory_xact_lock($1, hashtext($2))", NEAR_DUPLICATE_LOCK, owner)
    candidates = await transaction.fetch(SELECT_CANDIDATES, look_bands, owner, CANDIDATES_MAX, WORDS_BAND)
    nearest, doubtful = choose_near_duplicate(look, candidates)
    if doubtful:
        from sploot_server.inference.template_index import show_same_picture  # noqa: PLC0415 - numpy, which few images need

        stored: dict[int, bytes] = dict(
            await transaction.fetch(
                "SELECT asset, features FROM image_features WHERE asset = ANY($1::bigint[])",
                [other["asset"] for other in doubtful],
            )
        )
        nearest = next((each for each in doubtful if show_same_picture(features, stored.get(each["asset"], b""))), None)
    await transaction.fetch(
        "INSERT INTO image_hashes (asset, dhash, colours, aspect_ratio, duplicate_group, dhash_bands) "
        "VALUES ($1, $2, $3, $4, $5, $6)",
        *(row, look.dhash, look.colours, look.aspect_ratio),
        *(row if nearest is None else nearest["duplicate_group"], look_bands),
    )


def unpack_floats(vector: bytes) -> list[float]:
    """Return little-endian float32 bytes as numbers."""
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def pad_text_vector(vector: bytes | None) -> list[float] | None:
    """Return a text vector as numbers, padded with zeros to the dimension of the column."""
    if vector is None:
        return None
    floats = unpack_floats(vector)
    return floats + [0.0] * (TEXT_VECTOR_DIM - len(floats))


def hash_trigrams(trigrams: Sequence[str]) -> list[int]:
    """Return a signed 32-bit number per trigram; a hash collision only adds a few candidates."""
    return [zlib.crc32(trigram.encode()) - 2**31 for trigram in trigrams]
