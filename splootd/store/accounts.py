"""The accounts of the servers. Each account has items and a ledger of its own."""

import sqlite3

from splootd.store.database import Database
from splootd.store.queries import SQL


async def open_account(database: Database, url: str, account: str | None = None) -> tuple[int, str | None]:
    """Make `account` the current one of the server at `url`; None keeps the current one.

    Return its `server_id` and the user id, None while no token has named it. A new account gets a new `server_id`,
    unless the current one has no name yet: then it gets this name.
    """

    def op(connection: sqlite3.Connection) -> tuple[int, str | None]:
        values = {"url": url, "account": account}
        if account is not None:
            connection.execute(SQL["name_account"], values)
            connection.execute(SQL["leave_account"], values)
        row = connection.execute(SQL["current_account"], values).fetchone()
        rows = [row] if row else connection.execute(SQL["upsert_account"], values).fetchall()
        return int(rows[0]["id"]), rows[0]["account"]

    return await database.write(op)
