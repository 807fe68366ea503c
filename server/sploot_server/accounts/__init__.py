"""Who may use a library: users, and the tokens their programs show. A user owns what was added with his tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol


class Scope(StrEnum):
    """What a token is good for; none includes another."""

    READ = "read"  # look at pictures, search, hear news
    WRITE = "write"  # add, change and remove
    ADMIN = "admin"  # what concerns the server and not one library, as its figures


@dataclass(frozen=True, slots=True)
class User:
    """`id` is the owner of the assets; `name` is for people, unique whatever its case."""

    id: str
    name: str
    created_at_ms: int


@dataclass(frozen=True, slots=True)
class Token:
    """What is kept of a token. `id` is the part of it that may be shown, `digest` the SHA-256 of the whole."""

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
    """What was asked for is not possible; the message is a sentence for people."""


class AccountStore(Protocol):
    """Users and tokens. A call that returns has stored what it was given."""

    async def add_user(self, user: User) -> bool:
        """False if there is a user of this name."""

    async def user(self, name: str) -> User | None: ...

    async def users(self) -> Sequence[User]:
        """All, by name."""

    async def remove_user(self, user_id: str) -> None:
        """With his tokens; not with his assets."""

    async def adopt(self, user_id: str) -> int:
        """Give a user without assets what was added without accounts, tags too; how many assets, hidden ones too."""

    async def asset_count(self, owner: str) -> int:
        """How many assets an owner has, hidden ones too."""

    async def add_token(self, token: Token) -> None: ...

    async def token(self, token_id: str) -> Token | None: ...

    async def tokens(self) -> Sequence[Token]:
        """All, those too that are no longer valid, by the time of their making."""

    async def has_tokens(self) -> bool:
        """Whether there are any, valid or not."""

    async def revoke(self, token_id: str, *, now_ms: int) -> bool:
        """False if there is no such token; the first revocation counts."""

    async def used(self, token_id: str, *, now_ms: int) -> None: ...


def user_of(row: Any) -> User:
    """A row of `users` as a value."""
    return User(row["id"], row["name"], row["created_at"])


def token_of(row: Any) -> Token:
    """A row of `tokens` as a value."""
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
