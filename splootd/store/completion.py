"""Completion of a leased item, inside one transaction.

Every statement here is fenced: its WHERE clause compares the lease, not only the id. A completion can come late or
twice: a COMMIT that reported an I/O error may still have reached the disk, the caller repeats it, and by then another
worker may have claimed the item again. With the id alone, the repetition would overwrite the newer attempt; with the
lease it matches no row.
"""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from splootd.core.error_code import ErrorCode
from splootd.core.item import Leased, Version
from splootd.core.retry_policy import RetryAction
from splootd.store.queries import SQL
from splootd.store.rows import version_values

SUPERSEDED_MESSAGE = "Replaced by another file or a newer version."
RENAMED_MESSAGE = "The file was renamed during the upload."

_Completion = tuple[str, RetryAction, Mapping[str, Any]]  # query, action in the history, values that it overrides

# An item that would return to the queue, but whose path belongs to another file since the claim, ends here.
_COMPLETE_SUPERSEDED: _Completion = (
    "complete_superseded",
    RetryAction.FILE_MISSING,
    {"error_code": ErrorCode.FILE_MISSING, "error_message": SUPERSEDED_MESSAGE},
)
# A file that was renamed since the claim is not missing: its item has the new path already.
_SNOOZE_RENAMED: _Completion = (
    "snooze",
    RetryAction.SNOOZE,
    {"error_code": ErrorCode.INTERRUPTED, "error_message": RENAMED_MESSAGE, "next_at": None},
)

# The first query that matches the row completes the item.
_COMPLETIONS: Mapping[RetryAction, Sequence[_Completion]] = {
    RetryAction.RETRY: [("retry", RetryAction.RETRY, {}), _COMPLETE_SUPERSEDED],
    RetryAction.SNOOZE: [("snooze", RetryAction.SNOOZE, {}), _COMPLETE_SUPERSEDED],
    RetryAction.DISCARD: [("discard", RetryAction.DISCARD, {}), _COMPLETE_SUPERSEDED],
    RetryAction.SKIP: [("skip", RetryAction.SKIP, {})],
    RetryAction.FILE_MISSING: [("file_missing", RetryAction.FILE_MISSING, {}), _SNOOZE_RENAMED, _COMPLETE_SUPERSEDED],
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """A leased item whose bytes the server has, with the asset id and the SHA-256 of its content.

    `embedding_requested` is false if the server may never have begun to compute the embedding.
    """

    leased: Leased
    asset_id: str
    sha256: bytes
    duplicate: bool
    embedded: bool
    embedding_requested: bool = True


def accept_item(connection: sqlite3.Connection, values: Mapping[str, Any]) -> bool:
    """Update the item and the ledger, or neither. Returns False if the lease is no longer valid."""
    if not connection.execute(SQL["accept"], values).rowcount:
        return False
    connection.execute(SQL["upsert_content"], values)
    return True


def accept_batch(connection: sqlite3.Connection, batch: Sequence[Accepted], values: Mapping[str, Any]) -> list[bool]:
    """Do the same for a batch, with as many statements as for one item. `values` are the common parameters."""
    # A lease completes once: the first result with it counts.
    first_index_by_lease = {accepted.leased.lease: n for n, accepted in reversed(list(enumerate(batch)))}
    connection.executemany(SQL["stage_accept"], [_staging_row(n, batch[n]) for n in first_index_by_lease.values()])
    still_leased = {n for (n,) in connection.execute(SQL["still_leased_accepts"])}
    invalid = [(n,) for n in first_index_by_lease.values() if n not in still_leased]
    connection.executemany(SQL["unstage_accept"], invalid)
    connection.execute(SQL["accept_staged"], values)
    connection.execute(SQL["upsert_staged_content"], values)
    connection.execute(SQL["clear_staged_accepts"])
    return [n in still_leased for n in range(len(batch))]


def _staging_row(n: int, accepted: Accepted) -> tuple[Any, ...]:
    return (
        n,
        accepted.leased.item.id,
        accepted.leased.lease,
        accepted.asset_id,
        accepted.sha256,
        accepted.duplicate,
        accepted.embedded,
        accepted.embedding_requested,
    )


def fail_item(
    connection: sqlite3.Connection, action: RetryAction, values: Mapping[str, Any], version: Version | None = None
) -> bool:
    """Complete an item that was not accepted, and add an entry to its history.

    Returns False and changes nothing if the lease is no longer valid.
    """
    for query, recorded_action, overrides in _COMPLETIONS[action]:
        params = {**values, **overrides}
        if connection.execute(SQL[query], params).fetchall():
            connection.execute(SQL["insert_attempt"], {**params, "action": recorded_action})
            if version is not None:
                connection.execute(SQL["update_version"], {**params, **version_values(version)})
            return True
    return False
