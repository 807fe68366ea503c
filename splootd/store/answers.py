"""How an upload ended, inside one transaction. Each answer is fenced by its lease: a late lane changes nothing."""

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from splootd.core.failure import Verdict
from splootd.core.fault import Fault
from splootd.core.item import Leased, Version
from splootd.store.queries import SQL
from splootd.store.rows import version_values

SUPERSEDED = "Another file, or a newer version of it, took its place."
RENAMED = "The file was renamed while it was being sent."

_Answer = tuple[str, Verdict, Mapping[str, Any]]  # statement, what the item's story calls it, what it says instead

# What would go on waiting, but has lost its path to another file since the claim, has nothing left to wait for.
_YIELD: _Answer = ("yield_path", Verdict.DROP, {"fault": Fault.VANISHED, "reason": SUPERSEDED})
# What was not found because it was renamed since the claim is not gone.
_LOOK_AGAIN: _Answer = ("wait", Verdict.WAIT, {"fault": Fault.DISTURBED, "reason": RENAMED, "next_at": None})

# The first of these that finds the row is the answer. All of them ask for the lease.
_ANSWERS: Mapping[Verdict, Sequence[_Answer]] = {
    Verdict.RETRY: [("retry", Verdict.RETRY, {}), _YIELD],
    Verdict.WAIT: [("wait", Verdict.WAIT, {}), _YIELD],
    Verdict.BURY: [("bury", Verdict.BURY, {}), _YIELD],
    Verdict.SKIP: [("skip", Verdict.SKIP, {})],
    Verdict.DROP: [("vanish", Verdict.DROP, {}), _LOOK_AGAIN, _YIELD],
}


@dataclass(frozen=True, slots=True)
class Accepted:
    """An item whose bytes the library has, and what it knows them by."""

    leased: Leased
    asset_id: str
    sha256: bytes
    duplicate: bool
    embedded: bool


def accepted(connection: sqlite3.Connection, values: Mapping[str, Any]) -> bool:
    """The library has the bytes: the item goes on and the ledger knows it, or neither."""
    if not connection.execute(SQL["accept"], values).rowcount:
        return False
    connection.execute(SQL["remember_content"], values)
    return True


def all_accepted(connection: sqlite3.Connection, group: Sequence[Accepted], values: Mapping[str, Any]) -> list[bool]:
    """The same of each of a group, by as many statements as for one. `values` are those that all have in common."""
    first_of = {each.leased.lease: n for n, each in reversed(list(enumerate(group)))}  # a lease answers once
    connection.executemany(SQL["stage_taken"], [_staged(n, group[n]) for n in first_of.values()])
    ours = {n for (n,) in connection.execute(SQL["ours_taken"])}
    connection.executemany(SQL["unstage_taken"], [(n,) for n in first_of.values() if n not in ours])
    connection.execute(SQL["accept_taken"], values)
    connection.execute(SQL["remember_taken"], values)
    connection.execute(SQL["clear_taken"])
    return [n in ours for n in range(len(group))]


def _staged(n: int, each: Accepted) -> tuple[Any, ...]:
    return (n, each.leased.item.id, each.leased.lease, each.asset_id, each.sha256, each.duplicate, each.embedded)


def failed(
    connection: sqlite3.Connection, verdict: Verdict, values: Mapping[str, Any], version: Version | None = None
) -> bool:
    """Any other end, with one line in the item's story. False, and nothing changed, when it was no longer ours."""
    for query, told_as, instead in _ANSWERS[verdict]:
        told = {**values, **instead}
        if connection.execute(SQL[query], told).fetchall():
            connection.execute(SQL["note_attempt"], {**told, "verdict": told_as})
            if version is not None:
                connection.execute(SQL["revise"], {**told, **version_values(version), "add_id": None})
            return True
    return False
