"""What both databases share: statements, and rows of the view `asset_details` as domain values."""

from collections.abc import Sequence
from typing import Any, Protocol

from sploot_server.domain.entities import Asset, Embedding, EmbeddingState, Tag, Template
from sploot_server.domain.image_formats import filename_words
from sploot_server.domain.text_match import searchable_text

SELECT_WORDS = "SELECT * FROM asset_details WHERE row = $1 AND text IS NOT NULL"


class Row(Protocol):
    """A row of either database driver, indexed by column name."""

    def __getitem__(self, column: str, /) -> Any: ...


class SqlDatabase(Protocol):
    """Either database, for statements that are valid in both. Their parameters are `$1`, `$2` and so on."""

    async def fetch(self, statement: str, *values: Any) -> Sequence[Row]:
        """Run one statement that only reads, and return its rows."""

    async def fetch_row(self, statement: str, *values: Any) -> Row | None:
        """Return the row that a lookup by key finds."""

    async def execute(self, *statements: str, values: Sequence[Any]) -> Sequence[Row]:
        """Run statements with the same values in one transaction; return the rows of the last once it is durable."""


def asset_from_row(row: Row) -> Asset:
    """Return a row of `asset_details` as an Asset."""
    return Asset(
        id=row["id"],
        checksum=row["checksum"],
        filename=row["filename"],
        folder=row["folder"],
        mime=row["mime"],
        size_bytes=row["size_bytes"],
        width=row["width"],
        height=row["height"],
        favorite=bool(row["favorite"]),
        created_at_ms=row["created_at"],
        updated_at_ms=row["updated_at"],
        embedding=embedding_from_row(row),
        tags=[Tag(*line.split(" ", 1)) for line in (row["tags"] or "").split("\n") if line],
        text=row["text"],
        deleted_at_ms=row["deleted_at"],
        templates=[_parse_template(line) for line in (row["templates"] or "").split("\n") if line],
    )


def words_from_row(row: Row) -> str:
    """Return the normalized words by which a search finds an asset, from a row of `asset_details`."""
    asset = asset_from_row(row)
    names = [filename_words(asset.filename), asset.folder, *(tag.name for tag in asset.tags)]
    return searchable_text(
        row["text"], [*names, *(word for each in asset.templates for word in (each.name, *each.keywords))]
    )


def _parse_template(line: str) -> Template:
    template_id, names = line.split(" ", 1)
    name, *keywords = names.split("\t")
    return Template(template_id, name, keywords)


def embedding_from_row(row: Row) -> Embedding:
    """Return the embedding columns of a row of `asset_details`."""
    return Embedding(
        state=EmbeddingState(row["state"]),
        model=row["model"],
        dim=row["dim"],
        error_message=row["error_message"],
        queued_at_ms=row["queued_at"],
        completed_at_ms=row["completed_at"],
    )
