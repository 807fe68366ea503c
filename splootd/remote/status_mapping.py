"""Map HTTP status codes and headers to the daemon's errors. No other module interprets them."""

import email.utils
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from splootd.errors import (
    InternalServerError,
    InvalidResponse,
    LibraryFull,
    RateLimited,
    Rejected,
    ServerError,
    TagsRejected,
    Unauthenticated,
    UploadForbidden,
)
from splootd.remote.responses import StoredAsset, parse_error_message, parse_json, parse_retry_after, parse_stored_asset
from splootd.server_url import find_moved_base
from splootd.text import printable

RETRY_AFTER_DEFAULT_S = 30.0  # for a rate limit without Retry-After
RETRY_AFTER_MAX_S = 3_600.0  # longer delays are shortened to this
RETRY_AFTER_MIN_S = 1.0

CLERK_STATUS_HEADER = "x-clerk-auth-status"  # set by Clerk, Sploot's sign-in service; it outweighs the status code
_UNAUTHENTICATED_STATUSES = frozenset({"signed-out", "handshake"})
_TAGS = re.compile(r"\btags?\b", re.IGNORECASE)  # Sploot's five messages about tags all contain the word
_FILE_REJECTED_STATUSES = frozenset({400, 413, 415, 422})


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """A complete HTTP response. Header names are lower case. `url` is the one requested, where it is known."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str = ""

    def json(self) -> Any:
        """Parse the body. Raises InvalidResponse if it is not JSON."""
        return parse_json(self.headers.get("content-type", ""), self.body)

    @property
    def is_unauthenticated(self) -> bool:
        """Whether the server rejected the sign-in. Sploot does so with 500, with 404 and HTML, or with 401.

        The status code alone proves nothing: Sploot also responds 401, without Clerk's header, to any internal error
        of the limits route. Any other server must send a challenge with a 401 (RFC 9110, 15.5.2).
        """
        if self.headers.get(CLERK_STATUS_HEADER, "").lower() in _UNAUTHENTICATED_STATUSES:
            return True
        return self.status == HTTPStatus.UNAUTHORIZED and "www-authenticate" in self.headers

    @property
    def is_asset_missing(self) -> bool:
        """Whether the library does not have the asset of the request. Only a 404 with a JSON error says so.

        Sploot also sends a 404 page to a signed-out client.
        """
        return self.status == HTTPStatus.NOT_FOUND and not self.is_unauthenticated and self.message is not None

    @property
    def message(self) -> str | None:
        """The server's error message, if the response has one that is meant for people."""
        try:
            return parse_error_message(self.json())
        except InvalidResponse:
            return None

    @property
    def retry_after_s(self) -> float | None:
        """The seconds until the next request, from the header Retry-After (RFC 9110, 10.2.3) or from the body."""
        seconds = _parse_retry_after_header(self.headers.get("retry-after", ""), self.headers.get("date", ""))
        if seconds is None:
            try:
                seconds = parse_retry_after(self.json())
            except InvalidResponse:
                return None
        return None if seconds is None else min(max(seconds, RETRY_AFTER_MIN_S), RETRY_AFTER_MAX_S)


def error_for(response: HttpResponse) -> ServerError | None:
    """Return the error that a response means, or None. Not for uploads: see `error_for_upload`."""
    status = response.status
    if response.is_unauthenticated:
        return Unauthenticated("you are signed out", "sign in with `sploot login`", status=status)
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return None
    detail = f"{status}: {response.message}" if status >= HTTPStatus.BAD_REQUEST and response.message else str(status)
    if status == HTTPStatus.FORBIDDEN and response.message:
        hint = "sign in with a token that allows it: `sploot login`"
        return Unauthenticated(f"your token does not allow this ({detail})", hint, status=status)
    if status == HTTPStatus.TOO_MANY_REQUESTS or (
        status == HTTPStatus.SERVICE_UNAVAILABLE and response.retry_after_s is not None
    ):
        retry_after_s = response.retry_after_s or RETRY_AFTER_DEFAULT_S
        return RateLimited(
            f"rate-limited by the server for {retry_after_s:.0f} s ({detail})",
            retry_after_s=retry_after_s,
            status=status,
        )
    if status == HTTPStatus.INSUFFICIENT_STORAGE:
        hint = "delete files there, or ask its operator for more room"
        return LibraryFull(f"the library has no room for more files ({detail})", hint, status=status)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.UNAUTHORIZED:
        return InternalServerError(f"the server failed ({detail})", status=status)
    if status == HTTPStatus.FORBIDDEN:
        title = f"the server, or a firewall in front of it, refuses the request ({detail})"
        return InvalidResponse(title, "ask its operator, or try another network", status=status)
    if status >= HTTPStatus.BAD_REQUEST:
        return InvalidResponse(
            f"unexpected response ({detail})", "is `server` the URL of a Sploot server?", status=status
        )
    return _redirect_error(response)


def _redirect_error(response: HttpResponse) -> InvalidResponse:
    """Name the new address of a server that has moved. Never advise to set any other target: it would get the files."""
    location = response.headers.get("location", "")
    if base := find_moved_base(response.url, location):
        hint = f"set it: sploot config set server {base}"
        return InvalidResponse(f"the server has moved to {printable(base)}", hint, status=response.status)
    target = printable(location) or "nowhere"
    return InvalidResponse(
        f"something in between answers (a login page of the network?): it redirects to {target}",
        "open any web page in a browser to see whether the network asks you to sign in",
        status=response.status,
    )


def error_for_upload(response: HttpResponse, name: str) -> ServerError | None:
    """Return the error that the response to an upload means, or None. 409 is success: the library has the content."""
    status = response.status
    if response.is_unauthenticated:
        return error_for(response)
    if status == HTTPStatus.CONFLICT:
        return None
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        detail = f" ({response.message})" if response.message else ""
        return Rejected(
            f"{name} is too large for the server{detail}", "make it smaller, then `sploot retry`", status=status
        )
    if status == HTTPStatus.FORBIDDEN and "token" not in (response.message or "").lower():  # a server names the token
        # A firewall that dislikes some bytes of the file answers so. Only a lookup by hash with the same token tells
        # whether the token is refused: it follows every InvalidResponse.
        detail = f"{status}: {response.message}" if response.message else str(status)
        title = f"something between here and the server refuses {name} ({detail})"
        kind = UploadForbidden if response.message else InvalidResponse
        return kind(title, "other files are uploaded meanwhile", status=status)
    if status in _FILE_REJECTED_STATUSES and response.message and _TAGS.search(response.message):
        return TagsRejected(f"the server rejected the tags of {name}: {response.message}", status=status)
    if status in _FILE_REJECTED_STATUSES and response.message:
        return Rejected(
            f"the server rejected {name}: {response.message}", "change the file, then `sploot retry`", status=status
        )
    return error_for(response)


def error_for_bundle(response: HttpResponse, files: int) -> ServerError | None:
    """As `error_for_upload`, for a bundle. A rejection of the whole concerns no file of it: each is sent alone."""
    error = error_for_upload(response, f"a bundle of {files} files")
    return InvalidResponse(error.title, status=response.status) if isinstance(error, Rejected) else error


def parse_bundle_result(result: Mapping[str, Any], *, name: str, sha256: bytes) -> StoredAsset | ServerError:
    """Parse the result of one file of a bundle. It has the form of the response to an upload of this file alone."""
    response = HttpResponse(result["status"], {"content-type": "application/json"}, json.dumps(result).encode())
    if error := error_for_upload(response, name):
        return error
    try:
        return parse_stored_asset(result, sha256=sha256)
    except InvalidResponse as error:
        return error


def _parse_retry_after_header(retry_after: str, date: str) -> float | None:
    """Return the seconds of a Retry-After header. A date is compared with the server's own `Date`: clocks differ."""
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return float(text[:10])
    until = _parse_http_date(text)
    if until is None:
        return None
    return (until - (_parse_http_date(date) or datetime.now(UTC))).total_seconds()


def _parse_http_date(text: str) -> datetime | None:
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
