"""Templates, the same in both databases: their names and pictures, and the assets that show them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sploot_server.domain.entities import Template, TemplateSummary
from sploot_server.storage.rows import Row, SqlDatabase

ChangeNames = Callable[..., Awaitable[Sequence[Row]]]
"""Runs statements as `SqlDatabase.execute` does; indexes the words of each `asset` in the rows of the last one anew."""


@dataclass(frozen=True, slots=True)
class TemplatePicture:
    """A picture of a template: its SHA-256, its features and those of its mirror image."""

    checksum: str
    features: bytes
    mirrored: bytes


@dataclass(frozen=True, slots=True)
class TemplatePictures:
    """The state of an owner's pictures of templates; `newest` increases as pictures are added."""

    owner: str
    newest: int
    count: int


class TemplateStore:
    """Stores templates. A write is durable when its call returns. Template and asset rows are internal numbers."""

    def __init__(self, database: SqlDatabase, change_names: ChangeNames) -> None:
        self._sql = database
        self._change_names = change_names

    async def add_picture(self, owner: str, new: Template, picture: TemplatePicture, *, now_ms: int) -> int:
        """Add a picture to the template of this name, which is created if it is new, and return the template's row.

        Keywords replace earlier ones if there are any.
        """
        named = await self._sql.execute(
            "INSERT INTO templates AS t (id, owner, name, folded_name, keywords, created_at) "
            "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (owner, folded_name) DO UPDATE "
            "SET keywords = CASE WHEN excluded.keywords = '' THEN t.keywords ELSE excluded.keywords END RETURNING row",
            values=(
                new.id,
                owner,
                new.name,
                new.name.casefold(),
                "".join(f"\t{each}" for each in new.keywords),
                now_ms,
            ),
        )
        row: int = named[0]["row"]
        await self._change_names("SELECT asset FROM asset_templates WHERE template = $1", values=(row,))
        await self._sql.execute(
            "INSERT INTO template_pictures (template, owner, checksum, features, mirrored) "
            "VALUES ($1, $2, $3, $4, $5) ON CONFLICT (template, checksum) DO NOTHING RETURNING row",
            values=(row, owner, picture.checksum, picture.features, picture.mirrored),
        )
        return row

    async def assign(self, asset: int, template: int) -> None:
        """Record that an asset shows a template. Idempotent; nothing happens if either no longer exists."""
        shown = (
            "INSERT INTO asset_templates (asset, template) SELECT a.row, t.row FROM assets a CROSS JOIN templates t "
            "WHERE a.row = $1 AND t.row = $2 ON CONFLICT DO NOTHING RETURNING asset"
        )
        await self._change_names(shown, values=(asset, template))

    async def list(self, owner: str) -> Sequence[TemplateSummary]:
        """Return the templates by name."""
        rows = await self._sql.fetch(
            "SELECT t.id, t.name, t.keywords, "
            "(SELECT count(*) FROM template_pictures p WHERE p.template = t.row) AS picture_count, "
            "(SELECT count(*) FROM asset_templates x JOIN assets a ON a.row = x.asset "
            "WHERE x.template = t.row AND a.deleted_at IS NULL) AS asset_count "
            "FROM templates t WHERE t.owner = $1 ORDER BY t.folded_name",
            owner,
        )
        return [
            TemplateSummary(
                Template(row["id"], row["name"], row["keywords"].split("\t")[1:]),
                row["picture_count"],
                row["asset_count"],
            )
            for row in rows
        ]

    async def remove(self, template_id: str, owner: str) -> bool:
        """Remove a template and its name from all assets; return False if the owner has none with this id."""
        values = (template_id, owner)
        template = "(SELECT row FROM templates WHERE id = $1 AND owner = $2)"
        await self._change_names(
            f"DELETE FROM template_pictures WHERE template = {template}",  # noqa: S608 - a constant
            f"DELETE FROM asset_templates WHERE template = {template} RETURNING asset",  # noqa: S608 - a constant
            values=values,
        )
        return bool(
            await self._sql.execute("DELETE FROM templates WHERE id = $1 AND owner = $2 RETURNING row", values=values)
        )

    async def get_asset_row(self, asset_id: str, owner: str) -> int | None:
        """Return the row of a live asset."""
        live = "SELECT row FROM assets WHERE id = $1 AND owner = $2 AND deleted_at IS NULL"
        rows = await self._sql.fetch(live, asset_id, owner)
        return rows[0]["row"] if rows else None

    async def list_pictures(self) -> Sequence[TemplatePictures]:
        """Return the state of the pictures of each owner that has any."""
        rows = await self._sql.fetch(
            "SELECT owner, max(row) AS newest, count(*) AS count FROM template_pictures GROUP BY owner"
        )
        return [TemplatePictures(row["owner"], row["newest"], row["count"]) for row in rows]

    async def load_features(self, owner: str) -> Sequence[tuple[int, bytes]]:
        """Return the row of a template and the features of a picture of it, for each picture and its mirror image."""
        rows = await self._sql.fetch(
            "SELECT template, features, mirrored FROM template_pictures WHERE owner = $1 ORDER BY row", owner
        )
        return [(row["template"], row[column]) for row in rows for column in ("features", "mirrored")]

    async def list_unmatched(self, pictures: TemplatePictures, limit: int) -> Sequence[tuple[int, bytes]]:
        """Return rows and features of assets that were not yet compared with the newest picture."""
        rows = await self._sql.fetch(
            "SELECT asset, features FROM image_features WHERE owner = $1 AND matched < $2 ORDER BY asset LIMIT $3",
            *(pictures.owner, pictures.newest, limit),
        )
        return [(row["asset"], row["features"]) for row in rows]

    async def record_matched(self, asset: int, newest: int) -> None:
        """Record that an asset was compared with all pictures up to `newest`."""
        await self._sql.execute("UPDATE image_features SET matched = $2 WHERE asset = $1", values=(asset, newest))
