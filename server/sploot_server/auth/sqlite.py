"""Account store in SQLite, in the database file of the library."""

import sqlite3
from collections.abc import Sequence

from sploot_server.auth.accounts import Token, User, token_from_row, user_from_row
from sploot_server.storage.sqlite.database import Database


class SqliteAccounts:
    """AccountStore in a SQLite file."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_user(self, user: User) -> bool:
        def run(connection: sqlite3.Connection) -> bool:
            added = connection.execute(
                "INSERT INTO users (id, name, folded_name, created_at) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (folded_name) DO NOTHING",
                (user.id, user.name, user.name.casefold(), user.created_at_ms),
            )
            return added.rowcount > 0

        return await self._database.write(run)

    async def get_user(self, name: str) -> User | None:
        def run(connection: sqlite3.Connection) -> User | None:
            row = connection.execute("SELECT * FROM users WHERE folded_name = ?", (name.casefold(),)).fetchone()
            return user_from_row(row) if row else None

        return await self._database.read(run)

    async def list_users(self) -> Sequence[User]:
        def run(connection: sqlite3.Connection) -> Sequence[User]:
            return [user_from_row(row) for row in connection.execute("SELECT * FROM users ORDER BY folded_name")]

        return await self._database.read(run)

    async def remove_user(self, user_id: str) -> None:
        def run(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM users WHERE id = ?", (user_id,))

        await self._database.write(run)

    async def adopt_unowned_assets(self, user_id: str) -> int:
        def run(connection: sqlite3.Connection) -> int:
            connection.execute("UPDATE tags SET owner = ? WHERE owner = ''", (user_id,))
            return connection.execute("UPDATE assets SET owner = ? WHERE owner = ''", (user_id,)).rowcount

        return await self._database.write(run)

    async def count_assets(self, owner: str) -> int:
        def run(connection: sqlite3.Connection) -> int:
            count: int = connection.execute("SELECT count(*) FROM assets WHERE owner = ?", (owner,)).fetchone()[0]
            return count

        return await self._database.read(run)

    async def add_token(self, token: Token) -> None:
        def run(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO tokens (id, user, name, digest, scopes, created_at, expires_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    token.id,
                    token.user_id,
                    token.name,
                    token.digest,
                    " ".join(sorted(token.scopes)),
                    token.created_at_ms,
                    token.expires_at_ms,
                ),
            )

        await self._database.write(run)

    async def get_token(self, token_id: str) -> Token | None:
        def run(connection: sqlite3.Connection) -> Token | None:
            row = connection.execute("SELECT * FROM tokens WHERE id = ?", (token_id,)).fetchone()
            return token_from_row(row) if row else None

        return await self._database.read(run)

    async def list_tokens(self) -> Sequence[Token]:
        def run(connection: sqlite3.Connection) -> Sequence[Token]:
            return [token_from_row(row) for row in connection.execute("SELECT * FROM tokens ORDER BY created_at, id")]

        return await self._database.read(run)

    async def has_tokens(self) -> bool:
        def run(connection: sqlite3.Connection) -> bool:
            return connection.execute("SELECT 1 FROM tokens LIMIT 1").fetchone() is not None

        return await self._database.read(run)

    async def revoke_token(self, token_id: str, *, now_ms: int) -> bool:
        def run(connection: sqlite3.Connection) -> bool:
            revoke = "UPDATE tokens SET revoked_at = coalesce(revoked_at, ?) WHERE id = ?"
            return connection.execute(revoke, (now_ms, token_id)).rowcount > 0

        return await self._database.write(run)

    async def record_token_use(self, token_id: str, *, now_ms: int) -> None:
        def run(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE tokens SET last_used_at = ? WHERE id = ?", (now_ms, token_id))

        await self._database.write(run)
