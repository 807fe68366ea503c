"""The index of words in SQLite: the text of an asset with its names, and how many texts contain each trigram."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from sploot_server.domain.text_match import trigrams
from sploot_server.storage.rows import SELECT_WORDS, words_from_row
from sploot_server.storage.sqlite.database import Database, fetch


async def change_names(database: Database, *statements: str, values: Sequence[Any]) -> list[sqlite3.Row]:
    """Run statements in one transaction; index the words of each `asset` in the rows of the last one anew."""

    def run(connection: sqlite3.Connection) -> list[sqlite3.Row]:
        rows = [fetch(connection, each, values) for each in statements][-1]
        for row in rows:
            index_words(connection, row["asset"])
        return rows

    return await database.write(run)


def index_words(connection: sqlite3.Connection, row: int) -> None:
    """Replace the words by which searches find an asset that has been read; run again when one of its names changes."""
    remove_words(connection, row)
    for details in connection.execute(SELECT_WORDS, {"1": row}).fetchall():
        words = words_from_row(details)
        connection.execute("INSERT INTO search_texts (rowid, normalized) VALUES (?, ?)", (row, words))
        connection.executemany(
            "INSERT INTO trigram_counts (trigram, text_count) VALUES (?, 1) "
            "ON CONFLICT DO UPDATE SET text_count = text_count + 1",
            [(each,) for each in trigrams(words.split("\n"))],
        )


def remove_words(connection: sqlite3.Connection, row: int) -> None:
    """Remove an asset from the index. No foreign key reaches a virtual table, so ON DELETE CASCADE does not do it."""
    for (previous,) in connection.execute("SELECT normalized FROM search_texts WHERE rowid = ?", (row,)).fetchall():
        connection.execute("DELETE FROM search_texts WHERE rowid = ?", (row,))
        connection.executemany(
            "UPDATE trigram_counts SET text_count = text_count - 1 WHERE trigram = ?",
            [(each,) for each in trigrams(previous.split("\n"))],
        )
