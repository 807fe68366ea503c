"""Access tokens: mint, parse, hash and compare. Pure except for the random numbers.

    sploot_<id>_<secret>

The id, ten base-36 digits, is public and identifies the token; the secret has 256 random bits. Only the SHA-256 of the
whole token is stored: a slow password hash protects guessable secrets and adds nothing to 256 random bits.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from typing import Protocol

from sploot_server.auth.accounts import AccountError, Scope

PREFIX = "sploot_"
ID_DIGITS = 10
SECRET_DIGITS = 50  # base 36: 36 ** 50 > 2 ** 256
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
TOKEN_PATTERN = re.compile(rf"{PREFIX}([0-9a-z]{{{ID_DIGITS}}})_[0-9a-z]{{{SECRET_DIGITS}}}")
BEARER_PREFIX = re.compile(r"bearer[ ]+", re.IGNORECASE)


class HasDigest(Protocol):
    """A stored token, session or invitation."""

    @property
    def digest(self) -> bytes: ...


def mint_token() -> tuple[str, str]:
    """Return a new token and its id."""
    token_id = "".join(secrets.choice(DIGITS) for _ in range(ID_DIGITS))
    secret = secrets.randbits(256)
    return f"{PREFIX}{token_id}_{_to_base36(secret, SECRET_DIGITS)}", token_id


def hash_token(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def parse_token_id(token: str) -> str | None:
    """Return the id of a token, or None if the token is malformed."""
    match = TOKEN_PATTERN.fullmatch(token)
    return match[1] if match else None


def matches_digest(token: HasDigest, digest: bytes) -> bool:
    """Compare digests in constant time: an early exit would reveal the length of the matching prefix."""
    return hmac.compare_digest(token.digest, digest)


def token_from_header(authorization: str) -> str:
    """Return the token of an Authorization header, with or without `Bearer`; Sploot accepts both. '' if missing."""
    return BEARER_PREFIX.sub("", authorization.strip(), count=1)


def parse_scopes(names: Iterable[str]) -> frozenset[Scope]:
    """Parse scope names. Raise AccountError for an unknown name or an empty list."""
    given = [name for name in names if name]
    try:
        scopes = frozenset(map(Scope, given))
    except ValueError:
        scopes = frozenset()
    if not scopes:
        raise AccountError(f"Invalid scopes {','.join(given)!r}; allowed: {', '.join(Scope)}, separated by commas.")
    return scopes


def _to_base36(number: int, digits: int) -> str:
    encoded = []
    for _ in range(digits):
        number, digit = divmod(number, 36)
        encoded.append(DIGITS[digit])
    return "".join(encoded)
