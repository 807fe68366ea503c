"""The SQL of asset filters and orders, valid in both databases."""

from collections.abc import Mapping
from typing import Any

from sploot_server.domain.asset_query import AssetFilter, AssetKind, AssetSort

KIND_CONDITIONS: Mapping[AssetKind, str] = {  # the first two are those of partial indexes
    AssetKind.GIF: "a.mime = 'image/gif'",
    AssetKind.TALL: "a.height >= 2 * a.width",
    AssetKind.NO_TEXT: "a.row IN (SELECT asset FROM embeddings WHERE text = '')",
    AssetKind.UNTAGGED: "NOT EXISTS (SELECT 1 FROM asset_tags WHERE asset = a.row)",
}
SORT_KEYS: Mapping[AssetSort, str] = {
    AssetSort.CREATED: "a.created_at",
    AssetSort.UPDATED: "a.updated_at",
    AssetSort.SIZE: "a.size_bytes",
    AssetSort.COPIED: "a.copied_at",
}
# x -> x^3 modulo a prime p that is 2 modulo 3 gives each x another value, and is stable when assets are added. p is
# below 2^31, so no product exceeds 64 bits.
SHUFFLE_PRIME = 2_147_483_579
SHUFFLE_FACTOR = 1_103_515_245  # spreads neighbouring rows and seeds before they are cubed


class Parameters:
    """The values of a statement, whose placeholders are numbered from `first`."""

    def __init__(self, first: int = 1) -> None:
        self._first = first
        self.values: list[Any] = []

    def add(self, value: Any) -> str:
        """Add a value and return its placeholder."""
        self.values.append(value)
        return f"${self._first + len(self.values) - 1}"


def filter_condition(asset_filter: AssetFilter, parameters: Parameters, *, owner_column: str = "a.owner") -> str:
    """Return the condition that a row `a` of `assets` matches the filter; add its values to `parameters`."""
    owner = parameters.add(asset_filter.owner)
    conditions = [f"{owner_column} = {owner}", f"a.deleted_at IS {'NOT ' if asset_filter.is_deleted else ''}NULL"]
    if asset_filter.favorite is not None:
        conditions.append(f"a.favorite = {parameters.add(asset_filter.favorite)}")
    if asset_filter.tag_id is not None:
        conditions.append(
            "a.row IN (SELECT at.asset FROM asset_tags at JOIN tags t ON t.row = at.tag "  # noqa: S608 - placeholders
            f"WHERE t.id = {parameters.add(asset_filter.tag_id)} AND t.owner = {owner})"
        )
    if asset_filter.mime is not None:
        conditions.append(f"a.mime = {parameters.add(asset_filter.mime)}")
    if asset_filter.kind is not None:
        conditions.append(KIND_CONDITIONS[asset_filter.kind])
    if asset_filter.folder is not None:
        conditions.append(f"a.folder = {parameters.add(asset_filter.folder)}")
    if asset_filter.template is not None:
        template = parameters.add(asset_filter.template)
        conditions.append(
            "a.row IN (SELECT at.asset FROM asset_templates at JOIN templates t ON t.row = at.template "  # noqa: S608 - placeholders
            f"WHERE t.owner = {owner} AND (t.id = {template} OR t.folded_name = {template}))"
        )
    if asset_filter.duplicates_of is not None:
        conditions.append(
            "a.row IN (SELECT h.asset FROM image_hashes h WHERE h.duplicate_group = "  # noqa: S608 - placeholders
            "(SELECT k.duplicate_group FROM image_hashes k JOIN assets b ON b.row = k.asset "
            f"WHERE b.id = {parameters.add(asset_filter.duplicates_of)} AND b.owner = {owner}))"
        )
    if asset_filter.created_from_ms is not None:
        conditions.append(f"a.created_at >= {parameters.add(asset_filter.created_from_ms)}")
    if asset_filter.created_before_ms is not None:
        conditions.append(f"a.created_at < {parameters.add(asset_filter.created_before_ms)}")
    return " AND ".join(conditions)


def sort_key(sort: AssetSort, seed: int, parameters: Parameters) -> str:
    """Return the expression by which rows `a` of `assets` are sorted; add its values to `parameters`."""
    if sort is not AssetSort.SHUFFLE:
        return SORT_KEYS[sort]
    x = f"((a.row * {SHUFFLE_FACTOR} + CAST({parameters.add(seed)} AS bigint) * {SHUFFLE_FACTOR}) % {SHUFFLE_PRIME})"
    return f"({x} * {x} % {SHUFFLE_PRIME} * {x} % {SHUFFLE_PRIME})"
