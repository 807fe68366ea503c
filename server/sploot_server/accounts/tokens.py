"""Tokens: made, taken apart and compared. Pure but for the random numbers.

    sploot_<id>_<secret>

The id, ten digits of base 36, finds the token and may be shown; the secret has 256 random bits. Of the whole only the
SHA-256 is kept: against so many random bits a slow hash, as passwords need it, would add nothing.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable

from sploot_server.accounts import AccountError, Scope, Token

PREFIX = "sploot_"
ID_DIGITS = 10
SECRET_DIGITS = 50  # of base 36: 36 ** 50 > 2 ** 256
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
FORM = re.compile(rf"{PREFIX}([0-9a-z]{{{ID_DIGITS}}})_[0-9a-z]{{{SECRET_DIGITS}}}")
SCHEME = re.compile(r"bearer[ ]+", re.IGNORECASE)


def minted() -> tuple[str, str]:
    """A fresh token, and its id."""
    token_id = "".join(secrets.choice(DIGITS) for _ in range(ID_DIGITS))
    secret = secrets.randbits(256)
    return f"{PREFIX}{token_id}_{_base_36(secret, SECRET_DIGITS)}", token_id


def digest_of(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def id_of(token: str) -> str | None:
    """The id in a token; None if it has not the form of one."""
    form = FORM.fullmatch(token)
    return form[1] if form else None


def is_same(token: Token, digest: bytes) -> bool:
    """Whether `digest` is this token's, in a time that does not tell how much of it is right."""
    return hmac.compare_digest(token.digest, digest)


def shown(authorization: str) -> str:
    """The token in an Authorization header: after `Bearer`, or alone, as Sploot takes it too; '' if there is none."""
    return SCHEME.sub("", authorization.strip(), count=1)


def scopes_of(words: Iterable[str]) -> frozenset[Scope]:
    """Raises AccountError for a word that is no scope, or if there is none."""
    named = [word for word in words if word]
    try:
        scopes = frozenset(map(Scope, named))
    except ValueError:
        scopes = frozenset()
    if not scopes:
        raise AccountError(f"{','.join(named)!r} names no scopes; allowed are {', '.join(Scope)}, separated by commas.")
    return scopes


def _base_36(number: int, digits: int) -> str:
    found = []
    for _ in range(digits):
        number, digit = divmod(number, 36)
        found.append(DIGITS[digit])
    return "".join(found)
