"""Account store in PostgreSQL."""

from collections.abc import Sequence

from sploot_server.auth.accounts import Token, User, token_from_row, user_from_row
from sploot_server.storage.postgres.database import PostgresDatabase


class PostgresAccounts:
    """AccountStore in a PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    async def add_user(self, user: User) -> bool:
        added = (
            "INSERT INTO users (id, name, folded_name, created_at) VALUES ($1, $2, $3, $4) "
            "ON CONFLICT (folded_name) DO NOTHING RETURNING id"
        )
        values = (user.id, user.name, user.name.casefold(), user.created_at_ms)
        return bool(await self._database.fetch(added, *values))

    async def get_user(self, name: str) -> User | None:
        rows = await self._database.fetch("SELECT * FROM users WHERE folded_name = $1", name.casefold())
        return user_from_row(rows[0]) if rows else None

    async def list_users(self) -> Sequence[User]:
        return [user_from_row(row) for row in await self._database.fetch("SELECT * FROM users ORDER BY folded_name")]

    async def remove_user(self, user_id: str) -> None:
        await self._database.fetch("DELETE FROM users WHERE id = $1", user_id)

    async def adopt_unowned_assets(self, user_id: str) -> int:
        async with self._database.transaction() as statements:
            await statements.fetch("UPDATE tags SET owner = $1 WHERE owner = ''", user_id)
            return len(await statements.fetch("UPDATE assets SET owner = $1 WHERE owner = '' RETURNING row", user_id))

    async def count_assets(self, owner: str) -> int:
        rows = await self._database.fetch("SELECT count(*) AS assets FROM assets WHERE owner = $1", owner)
        count: int = rows[0]["assets"]
        return count

    async def add_token(self, token: Token) -> None:
        await self._database.fetch(
            'INSERT INTO tokens (id, "user", name, digest, scopes, created_at, expires_at) '
            "VALUES ($1, $2, $3, $4, $5, $6, $7)",
            token.id,
            token.user_id,
            token.name,
            token.digest,
            " ".join(sorted(token.scopes)),
            token.created_at_ms,
            token.expires_at_ms,
        )

    async def get_token(self, token_id: str) -> Token | None:
        rows = await self._database.fetch("SELECT * FROM tokens WHERE id = $1", token_id)
        return token_from_row(rows[0]) if rows else None

    async def list_tokens(self) -> Sequence[Token]:
        return [
            token_from_row(row) for row in await self._database.fetch("SELECT * FROM tokens ORDER BY created_at, id")
        ]

    async def has_tokens(self) -> bool:
        return bool(await self._database.fetch("SELECT 1 FROM tokens LIMIT 1"))

    async def revoke_token(self, token_id: str, *, now_ms: int) -> bool:
        revoke = "UPDATE tokens SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1 RETURNING id"
        return bool(await self._database.fetch(revoke, token_id, now_ms))

    async def record_token_use(self, token_id: str, *, now_ms: int) -> None:
        await self._database.fetch("UPDATE tokens SET last_used_at = $2 WHERE id = $1", token_id, now_ms)
