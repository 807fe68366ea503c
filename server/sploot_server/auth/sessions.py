"""Sessions of browsers, and the invitations that begin them; the same in both databases.

A session has the scopes of the token it began with, and ends with that token. It also ends when it has not been used
for SESSION_IDLE_MS, and when its user ends it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sploot_server.auth.accounts import Scope, Token
from sploot_server.auth.tokens import hash_token, mint_token
from sploot_server.storage.rows import Row, SqlDatabase

DAY_MS = 86_400_000
SESSION_IDLE_MS = 90 * DAY_MS
SESSION_SCOPES = frozenset({Scope.READ, Scope.WRITE})
"""The scopes of an invited browser. A session never has ADMIN: nothing in a browser needs it."""
USER_AGENT_CHARS_MAX = 300
SELECT = """
    SELECT s.*, u.name AS user_name, u.is_admin
    FROM sessions s JOIN users u ON u.id = s."user" LEFT JOIN tokens t ON t.id = s.token
    WHERE s.last_used_at > $1
      AND (s.token IS NULL OR (t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > $2)))
"""
"""The sessions that have not ended, for the time of the longest idle one and now."""


@dataclass(frozen=True, slots=True)
class Session:
    """A signed-in browser. `digest` is the SHA-256 of its cookie."""

    id: str
    user_id: str
    user_name: str
    digest: bytes
    scopes: frozenset[Scope]
    user_agent: str
    created_at_ms: int
    last_used_at_ms: int
    is_admin: bool = False


@dataclass(frozen=True, slots=True)
class Invitation:
    """An unused invitation; `id` is the part of it that may be displayed."""

    id: str
    user_name: str
    created_at_ms: int
    expires_at_ms: int


class SessionStore:
    """Store of sessions and invitations. Every call returns after its change is durable."""

    def __init__(self, database: SqlDatabase) -> None:
        self._database = database

    async def invite(self, user_id: str, *, now_ms: int, ttl_ms: int) -> str:
        """Return a new invitation: a secret that signs in one browser of the user."""
        text, invitation_id = mint_token()
        await self._database.execute("DELETE FROM invitations WHERE expires_at <= $1", values=(now_ms,))
        await self._database.execute(
            'INSERT INTO invitations (id, "user", digest, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)',
            values=(invitation_id, user_id, hash_token(text), now_ms, now_ms + ttl_ms),
        )
        return text

    async def redeem(self, invitation_id: str, digest: bytes, *, now_ms: int) -> str | None:
        """Use up a valid invitation and return the id of its user, else None."""
        rows = await self._database.execute(
            'DELETE FROM invitations WHERE id = $1 AND digest = $2 AND expires_at > $3 RETURNING "user"',
            values=(invitation_id, digest, now_ms),
        )
        return str(rows[0]["user"]) if rows else None

    async def list_invitations(self, *, now_ms: int) -> Sequence[Invitation]:
        """Return the unused invitations of all users, the first to expire first."""
        rows = await self._database.fetch(
            'SELECT i.id, u.name, i.created_at, i.expires_at FROM invitations i JOIN users u ON u.id = i."user" '
            "WHERE i.expires_at > $1 ORDER BY i.expires_at, i.id",
            now_ms,
        )
        return [Invitation(row["id"], row["name"], row["created_at"], row["expires_at"]) for row in rows]

    async def revoke_invitation(self, invitation_id: str) -> bool:
        """Revoke an invitation of any user; return False if it does not exist or was used."""
        revoked = "DELETE FROM invitations WHERE id = $1 RETURNING id"
        return bool(await self._database.execute(revoked, values=(invitation_id,)))

    async def begin(self, user_id: str, token: Token | None, *, user_agent: str, now_ms: int) -> str:
        """Begin a session by a token, or by an invitation if it is None; return the secret for the cookie."""
        text, session_id = mint_token()
        scopes = SESSION_SCOPES if token is None else token.scopes & SESSION_SCOPES
        await self._database.execute(
            "DELETE FROM sessions WHERE last_used_at <= $1", values=(now_ms - SESSION_IDLE_MS,)
        )
        await self._database.execute(
            'INSERT INTO sessions (id, "user", token, digest, scopes, user_agent, created_at, last_used_at) '
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
            values=(
                *(session_id, user_id, None if token is None else token.id, hash_token(text)),
                *(" ".join(sorted(scopes)), user_agent[:USER_AGENT_CHARS_MAX], now_ms),
            ),
        )
        return text

    async def get(self, session_id: str, *, now_ms: int) -> Session | None:
        """Return a session that has not ended."""
        row = await self._database.fetch_row(f"{SELECT} AND s.id = $3", now_ms - SESSION_IDLE_MS, now_ms, session_id)
        return _session_from_row(row) if row else None

    async def list_of_user(self, user_id: str, *, now_ms: int) -> Sequence[Session]:
        """Return the sessions of a user, the last used first."""
        rows = await self._database.fetch(
            f'{SELECT} AND s."user" = $3 ORDER BY s.last_used_at DESC, s.id', now_ms - SESSION_IDLE_MS, now_ms, user_id
        )
        return [_session_from_row(row) for row in rows]

    async def record_use(self, session_id: str, *, now_ms: int) -> None:
        await self._database.execute("UPDATE sessions SET last_used_at = $2 WHERE id = $1", values=(session_id, now_ms))

    async def end(self, user_id: str, session_id: str | None = None) -> int:
        """End one session of a user, or all, with the unused invitations; return the number of ended sessions."""
        if session_id is not None:
            ended = 'DELETE FROM sessions WHERE "user" = $1 AND id = $2 RETURNING id'
            return len(await self._database.execute(ended, values=(user_id, session_id)))
        return len(
            await self._database.execute(
                'DELETE FROM invitations WHERE "user" = $1',
                'DELETE FROM sessions WHERE "user" = $1 RETURNING id',
                values=(user_id,),
            )
        )


def _session_from_row(row: Row) -> Session:
    """Convert a row of `sessions` with `user_name`."""
    return Session(
        id=row["id"],
        user_id=row["user"],
        user_name=row["user_name"],
        digest=row["digest"],
        scopes=frozenset(map(Scope, row["scopes"].split())),
        user_agent=row["user_agent"],
        created_at_ms=row["created_at"],
        last_used_at_ms=row["last_used_at"],
        is_admin=bool(row["is_admin"]),
    )
