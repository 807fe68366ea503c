"""The search index in PostgreSQL: writes the vectors, trigrams and dHash of an analysis."""

import sys
import zlib
from array import array
from collections.abc import Sequence

from sploot_server.domain.embedding import EmbeddingModel, ImageAnalysis
from sploot_server.domain.near_duplicates import bands, choose_duplicate_group
from sploot_server.domain.text_match import normalize, trigrams
from sploot_server.storage.postgres.database import NEAR_DUPLICATE_LOCK, PostgresDatabase, Transaction

TEXT_VECTOR_DIM = 768  # of the column
IMAGE_DIM_MAX = 4000  # pgvector's limit for an index on halfvec
CANDIDATES_MAX = 64  # images that a new image is compared with
SELECT_CANDIDATES = """
    SELECT h.duplicate_group, h.dhash, e.text
    FROM image_hashes h JOIN assets a ON a.row = h.asset JOIN embeddings e ON e.asset = h.asset
    WHERE h.dhash_bands && $1::integer[] AND a.owner = $2 ORDER BY
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
    """Replace the vectors, text and dHash by which searches find an asset."""
    for table in ("vectors", "search_texts", "image_hashes"):
        await transaction.fetch(f"DELETE FROM {table} WHERE asset = $1", row)  # noqa: S608 - constants
    if analysis.text_vector is not None or analysis.image_vector is not None:
        add = (
            "INSERT INTO vectors (asset, owner, text_vector, image_vector) "
            "VALUES ($1, $2, $3::float4[]::vector, $4::float4[]::vector)"
        )
        image_vector = None if analysis.image_vector is None else unpack_floats(analysis.image_vector)
        await transaction.fetch(add, row, owner, pad_text_vector(analysis.text_vector), image_vector)
    normalized = normalize(analysis.text)
    if normalized:
        add = "INSERT INTO search_texts (asset, normalized, trigrams) VALUES ($1, $2, $3)"
        await transaction.fetch(add, row, normalized, hash_trigrams(trigrams([normalized])))
    if analysis.dhash is not None:
        await _index_dhash(transaction, row, owner, analysis.dhash, analysis.text)


async def _index_dhash(transaction: Transaction, row: int, owner: str, dhash: bytes, text: str) -> None:
    """Assign an image to its duplicate group; only the images that share most bands with it are compared."""
    dhash_bands = list(bands(dhash))
    # Without the lock, two near-duplicates completed by concurrent transactions would not see each other.
    await transaction.fetch("SELECT pg_advisory_xact_lock($1, hashtext($2))", NEAR_DUPLICATE_LOCK, owner)
    candidates = await transaction.fetch(SELECT_CANDIDATES, dhash_bands, owner, CANDIDATES_MAX)
    duplicate_group = choose_duplicate_group(row, dhash, text, candidates)
    await transaction.fetch(
        "INSERT INTO image_hashes (asset, dhash, duplicate_group, dhash_bands) VALUES ($1, $2, $3, $4)",
        *(row, dhash, duplicate_group, dhash_bands),
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
