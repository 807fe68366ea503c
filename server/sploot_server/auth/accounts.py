"""Users, tokens and the interface of the account store. A user owns the assets added with their tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol


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


class AccountStore(Protocol):
    """Store of users and tokens. Every call returns after its change is durable."""

    async def add_user(self, user: User) -> bool:
        """Add a user; return False if the name is in use."""

    async def get_user(self, name: str) -> User | None: ...

    async def list_users(self) -> Sequence[User]:
        """Return all users, ordered by name."""

    async def remove_user(self, user_id: str) -> None:
        """Remove a user and their tokens, but not their assets."""

    async def adopt_unowned_assets(self, user_id: str) -> int:
        """Give the assets and tags without an owner to a user without assets.

        Return the number of assets, deleted ones included.
        """

    async def count_assets(self, owner: str) -> int:
        """Return the number of assets of an owner, deleted ones included."""

    async def add_token(self, token: Token) -> None: ...

    async def get_token(self, token_id: str) -> Token | None: ...

    async def list_tokens(self) -> Sequence[Token]:
        """Return all tokens, invalid ones included, ordered by creation time."""

    async def has_tokens(self) -> bool:
        """Return True if any token exists, valid or not."""

    async def revoke_token(self, token_id: str, *, now_ms: int) -> bool:
        """Revoke a token; keep the time of an earlier revocation. Return False if the token does not exist."""

    async def record_token_use(self, token_id: str, *, now_ms: int) -> None: ...


def user_from_row(row: Any) -> User:
    """Convert a row of `users`."""
    return User(row["id"], row["name"], row["created_at"])


def token_from_row(row: Any) -> Token:
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
