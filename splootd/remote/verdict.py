"""What an HTTP answer means: the one place that turns status codes and headers into our errors."""

import email.utils
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from splootd.errors import BadAnswer, RateLimited, Refused, ServerError, ServerFault, SignedOut
from splootd.remote.answers import Stored, parsed, printable, retry_after_of, stored_of, words

PATIENCE_S = 30.0  # where the server asks for patience without saying how much
PATIENCE_MAX_S = 3_600.0  # then it is asked again, whatever it said
PATIENCE_MIN_S = 1.0

CLERK_STATUS = "x-clerk-auth-status"  # Sploot signs people in with Clerk, whose word outweighs the status code
_NOT_SIGNED_IN = frozenset({"signed-out", "handshake"})
_OF_THIS_FILE = frozenset({400, 413, 415, 422})


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer as it came. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The parsed body; BadAnswer when it is not JSON."""
        return parsed(self.headers.get("content-type", ""), self.body)

    @property
    def is_signed_out(self) -> bool:
        """Whether the server does not know who asks. Sploot says so with 500, with 404 and HTML, or with 401.

        A 401 without Clerk's header is what Sploot makes of any fault there; a challenge makes it a plain 401.
        """
        if self.headers.get(CLERK_STATUS, "").lower() in _NOT_SIGNED_IN:
            return True
        return self.status == HTTPStatus.UNAUTHORIZED and "www-authenticate" in self.headers

    @property
    def words(self) -> str | None:
        """What the server says about it, where that is meant for people."""
        try:
            return words(self.json())
        except BadAnswer:
            return None

    @property
    def patience_s(self) -> float | None:
        """How long the server asks to be left alone: Retry-After in seconds or as a date, or in the body."""
        asked = _seconds(self.headers.get("retry-after", ""), self.headers.get("date", ""))
        if asked is None:
            try:
                asked = retry_after_of(self.json())
            except BadAnswer:
                return None
        return None if asked is None else min(max(asked, PATIENCE_MIN_S), PATIENCE_MAX_S)


def error_of(answer: Answer) -> ServerError | None:
    """What is wrong with `answer` to any question, or None."""
    status = answer.status
    said = f"{status}: {answer.words}" if status >= HTTPStatus.BAD_REQUEST and answer.words else str(status)
    if answer.is_signed_out:
        return SignedOut("the server does not know who you are", "sign in: `sploot login`", status=status)
    if status == HTTPStatus.FORBIDDEN and answer.words:
        hint = "sign in with a token that allows it: `sploot login`"
        return SignedOut(f"your token does not allow this ({said})", hint, status=status)
    if status == HTTPStatus.TOO_MANY_REQUESTS or (
        status == HTTPStatus.SERVICE_UNAVAILABLE and answer.patience_s is not None
    ):
        patience_s = answer.patience_s or PATIENCE_S
        return RateLimited(
            f"the server asks for {patience_s:.0f} s of patience ({said})", retry_after_s=patience_s, status=status
        )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return ServerFault(f"the server failed ({said})", status=status)
    if status >= HTTPStatus.BAD_REQUEST:
        return BadAnswer(
            f"the server does not do what a Sploot does ({said})", "is the address in `server` right?", status=status
        )
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        target = printable(answer.headers.get("location", "nowhere"))
        return BadAnswer(f"the server points elsewhere, to {target}", "set `server` to that address", status=status)
    return None


def error_of_upload(answer: Answer, name: str) -> ServerError | None:
    """What is wrong with the answer to an upload, or None. 409 says that the library has it: that is success."""
    status = answer.status
    if answer.is_signed_out:
        return error_of(answer)
    if status == HTTPStatus.CONFLICT:
        return None
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        said = f" ({answer.words})" if answer.words else ""
        return Refused(
            f"{name} is too large for the server{said}", "make it smaller, then `sploot retry`", status=status
        )
    if status in _OF_THIS_FILE and answer.words:
        return Refused(
            f"the server refuses {name}: {answer.words}", "change the file, then `sploot retry`", status=status
        )
    return error_of(answer)


def stored_or_not(outcome: Mapping[str, Any], *, name: str, sha256: bytes) -> Stored | ServerError:
    """What became of one file of a bundle: its outcome says what the answer to an upload of its own would have said."""
    answer = Answer(outcome["status"], {"content-type": "application/json"}, json.dumps(outcome).encode())
    if error := error_of_upload(answer, name):
        return error
    try:
        return stored_of(outcome, sha256=sha256)
    except BadAnswer as error:
        return error


def _seconds(retry_after: str, date: str) -> float | None:
    """Retry-After in seconds; a date is measured from the server's own `Date`, so that wrong clocks do no harm."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:10])
    until = _moment(text)
    if until is None:
        return None
    return (until - (_moment(date) or datetime.now(UTC))).total_seconds()


def _moment(text: str) -> datetime | None:
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
