"""Users, tokens and their store, the same in both databases. A user owns the assets added with their tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from sploot_server.storage.rows import Row, SqlDatabase


class Scope(StrEnum):
    """Permission of a token; no scope includes another."""

    READ = "read"  # view images, search, subscribe to events
    WRITE = "write"  # add, change and delete
    ADMIN = "admin"  # endpoints about the whole server, such as its metrics


@dataclass(frozen=True, slots=True)
class User:
    """User of a library. `id` owns the assets; `name` is the display name, unique regardless of case."""

    id: str
    name: str
    created_at_ms: int
    quota_bytes: int | None = None  # None: no limit
    is_admin: bool = False  # sees the members, invitations and links of all in the page, but no pictures


@dataclass(frozen=True, slots=True)
class UserUsage:
    """What a user stores, deleted assets included: they take space until they are removed permanently."""

    user: User
    asset_count: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Token:
    """Stored part of a token: `id` is its public part, `digest` the SHA-256 of the whole token."""

    id: str
    user_id: str
    name: str
    digest: bytes
    scopes: frozenset[Scope]
    created_at_ms: int
    expires_at_ms: int | None = None
    last_used_at_ms: int | None = None
    revoked_at_ms: int | None = None

    def is_valid(self, now_ms: int) -> bool:
        return self.revoked_at_ms is None and (self.expires_at_ms is None or now_ms < self.expires_at_ms)


class AccountError(Exception):
    """The command cannot be done; the message is shown to the user."""


class AccountStore:
    """Store of users and tokens. Every call returns after its change is durable."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def add_user(self, user: User) -> bool:
        """Add a user; return False if the name is in use."""
        added = await self._database.execute(
            "INSERT INTO users (id, name, folded_name, created_at) VALUES ($1, $2, $3, $4) "
            "ON CONFLICT (folded_name) DO NOTHING RETURNING id",
            values=(user.id, user.name, user.name.casefold(), user.created_at_ms),
        )
        return bool(added)

    async def get_user(self, name: str) -> User | None:
        row = await self._database.fetch_row("SELECT * FROM users WHERE folded_name = $1", name.casefold())
        return _user_from_row(row) if row else None

    async def get_user_name(self, user_id: str) -> str:
        """Return the name of a user; '' if the user was removed."""
        row = await self._database.fetch_row("SELECT name FROM users WHERE id = $1", user_id)
        return str(row["name"]) if row else ""

    async def list_users(self) -> Sequence[User]:
        """Return all users, ordered by name."""
        return [_user_from_row(row) for row in await self._database.fetch("SELECT * FROM users ORDER BY folded_name")]

    async def list_usage(self) -> Sequence[UserUsage]:
        """Return what each user stores, ordered by name, with one statement."""
        rows = await self._database.fetch(
            "SELECT u.*, count(a.row) AS assets, CAST(coalesce(sum(a.size_bytes), 0) AS bigint) AS bytes "
            "FROM users u LEFT JOIN assets a ON a.owner = u.id GROUP BY u.id ORDER BY u.folded_name"
        )
        return [UserUsage(_user_from_row(row), row["assets"], row["bytes"]) for row in rows]

    async def set_quota(self, user_id: str, quota_bytes: int | None) -> None:
        """Limit the bytes that a user may store; None removes the limit."""
        await self._database.execute("UPDATE users SET quota_bytes = $2 WHERE id = $1", values=(user_id, quota_bytes))

    async def set_admin(self, user_id: str, *, is_admin: bool) -> None:
        await self._database.execute("UPDATE users SET is_admin = $2 WHERE id = $1", values=(user_id, int(is_admin)))

    async def remove_user(self, user_id: str) -> None:
        """Remove a user and their tokens, but not their assets."""
        await self._database.execute("DELETE FROM users WHERE id = $1", values=(user_id,))

    async def adopt_unowned_assets(self, user_id: str) -> int:
        """Give the assets and tags without an owner to a user without assets.

        Return the number of assets, deleted ones included.
        """
        adopted = await self._database.execute(
            "UPDATE tags SET owner = $1 WHERE owner = ''",
            "UPDATE assets SET owner = $1 WHERE owner = '' RETURNING row",
            values=(user_id,),
        )
        return len(adopted)

    async def count_assets(self, owner: str) -> int:
        """Return the number of assets of an owner, deleted ones included."""
        [row] = await self._database.fetch("SELECT count(*) AS assets FROM assets WHERE owner = $1", owner)
        return int(row["assets"])

    async def add_token(self, token: Token) -> None:
        scopes = " ".join(sorted(token.scopes))
        await self._database.execute(
            'INSERT INTO tokens (id, "user", name, digest, scopes, created_at, expires_at) '
            "VALUES ($1, $2, $3, $4, $5, $6, $7)",
            values=(
                *(token.id, token.user_id, token.name, token.digest, scopes),
                *(token.created_at_ms, token.expires_at_ms),
            ),
        )

    async def get_token(self, token_id: str) -> Token | None:
        row = await self._database.fetch_row("SELECT * FROM tokens WHERE id = $1", token_id)
        return _token_from_row(row) if row else None

    async def list_tokens(self) -> Sequence[Token]:
        """Return all tokens, invalid ones included, ordered by creation time."""
        rows = await self._database.fetch("SELECT * FROM tokens ORDER BY created_at, id")
        return [_token_from_row(row) for row in rows]

    async def has_users(self) -> bool:
        return await self._database.fetch_row("SELECT 1 FROM users LIMIT 1") is not None

    async def revoke_token(self, token_id: str, *, now_ms: int) -> bool:
        """Revoke a token; keep the time of an earlier revocation. Return False if the token does not exist."""
        revoked = "UPDATE tokens SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1 RETURNING id"
        return bool(await self._database.execute(revoked, values=(token_id, now_ms)))

    async def record_token_use(self, token_id: str, *, now_ms: int) -> None:
        used = "UPDATE tokens SET last_used_at = $2 WHERE id = $1"
        await self._database.execute(used, values=(token_id, now_ms))


def _user_from_row(row: Row) -> User:
    """Convert a row of `users`."""
    return User(row["id"], row["name"], row["created_at"], row["quota_bytes"], bool(row["is_admin"]))


def _token_from_row(row: Row) -> Token:
    """Convert a row of `tokens`."""
    return Token(
        id=row["id"],
        user_id=row["user"],
        name=row["name"],
        digest=row["digest"],
        scopes=frozenset(map(Scope, row["scopes"].split())),
        created_at_ms=row["created_at"],
        expires_at_ms=row["expires_at"],
        last_used_at_ms=row["last_used_at"],
        revoked_at_ms=row["revoked_at"],
    )
