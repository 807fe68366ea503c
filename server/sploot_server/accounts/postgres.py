"""Users and tokens in PostgreSQL."""

from collections.abc import Sequence

from sploot_server.accounts import Token, User, token_of, user_of
from sploot_server.assets.postgres.database import PostgresDatabase


class PostgresAccounts:
    """AccountStore on one PostgreSQL database."""

    def __init__(self, database: PostgresDatabase) -> None:
        self._database = database

    async def add_user(self, user: User) -> bool:
        added = (
            "INSERT INTO users (id, name, folded, created_at) VALUES ($1, $2, $3, $4) "
            "ON CONFLICT (folded) DO NOTHING RETURNING id"
        )
        values = (user.id, user.name, user.name.casefold(), user.created_at_ms)
        return bool(await self._database.fetch(added, *values))

    async def user(self, name: str) -> User | None:
        rows = await self._database.fetch("SELECT * FROM users WHERE folded = $1", name.casefold())
        return user_of(rows[0]) if rows else None

    async def users(self) -> Sequence[User]:
        return [user_of(row) for row in await self._database.fetch("SELECT * FROM users ORDER BY folded")]

    async def remove_user(self, user_id: str) -> None:
        await self._database.fetch("DELETE FROM users WHERE id = $1", user_id)

    async def adopt(self, user_id: str) -> int:
        async with self._database.transaction() as statements:
            await statements.fetch("UPDATE tags SET owner = $1 WHERE owner = ''", user_id)
            return len(await statements.fetch("UPDATE assets SET owner = $1 WHERE owner = '' RETURNING row", user_id))

    async def asset_count(self, owner: str) -> int:
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

    async def token(self, token_id: str) -> Token | None:
        rows = await self._database.fetch("SELECT * FROM tokens WHERE id = $1", token_id)
        return token_of(rows[0]) if rows else None

    async def tokens(self) -> Sequence[Token]:
        return [token_of(row) for row in await self._database.fetch("SELECT * FROM tokens ORDER BY created_at, id")]

    async def has_tokens(self) -> bool:
        return bool(await self._database.fetch("SELECT 1 FROM tokens LIMIT 1"))

    async def revoke(self, token_id: str, *, now_ms: int) -> bool:
        revoke = "UPDATE tokens SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1 RETURNING id"
        return bool(await self._database.fetch(revoke, token_id, now_ms))

    async def used(self, token_id: str, *, now_ms: int) -> None:
        await self._database.fetch("UPDATE tokens SET last_used_at = $2 WHERE id = $1", token_id, now_ms)
