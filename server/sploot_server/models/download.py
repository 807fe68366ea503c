"""Downloads over HTTP that continue where they stopped and are checked before they count.

A partial file `NAME.part` continues by a range request (RFC 9110, 14). `NAME.etag` holds the validator of the bytes so
far, for If-Range: a server whose file has changed then sends it whole.
"""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from sploot_server import __version__
from sploot_server.inference.model_manifest import ModelUnusable
from sploot_server.models.model_source import ModelFile

CHUNK_BYTES = 256 * 1024
TIMEOUT_S = 30.0  # without any byte
FILE_BYTES_MAX = 8 * 1024**3
RETRY_DELAYS_S = (0.5, 2.0, 5.0)  # after a broken connection; a later run continues anyway

OnBytes = Callable[[int], None]
"""Takes the number of bytes of the file that have arrived in all."""


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *arguments: Any) -> urllib.request.Request | None:
        request, new_url = arguments[0], arguments[-1]
        if request.type == "https" and not new_url.startswith("https://"):
            raise ModelUnusable(f"{request.full_url} leads to {new_url}, which is not encrypted.")
        return super().redirect_request(*arguments)


@contextmanager
def open_url(request: urllib.request.Request) -> Iterator[Any]:
    """Open a URL through the proxies of the environment. Raises ModelUnusable with what to do."""
    request.add_header("User-Agent", f"sploot/{__version__}")
    opener = urllib.request.build_opener(_SafeRedirects)
    try:
        with opener.open(request, timeout=TIMEOUT_S) as response:
            yield response
    except urllib.error.HTTPError as error:
        meaning = {401: "it asks for a sign-in", 403: "it refuses access", 404: "it has no such model or file"}
        reason = meaning.get(error.code, error.reason or "an error")
        raise ModelUnusable(f"{request.full_url} answered {error.code}: {reason}.") from error
    except urllib.error.URLError as error:
        raise ModelUnusable(f"{request.full_url} cannot be reached: {error.reason}.") from error


def download(file: ModelFile, target: Path, on_bytes: OnBytes) -> None:
    """Fetch a file to `target`, after the bytes that an earlier attempt left, and verify it. Raises ModelUnusable."""
    if target.is_file():
        return  # verified before it got its name
    part = target.with_name(f"{target.name}.part")
    for delay_s in (*RETRY_DELAYS_S, None):
        try:
            _fetch_rest(file, part, on_bytes)
            break
        except (OSError, http.client.HTTPException) as error:
            if delay_s is None:
                raise ModelUnusable(
                    f"{file.location} broke off: {error or type(error).__name__}. Run the command again to continue."
                ) from error
            time.sleep(delay_s)
    try:
        verify(file, part)
    except ModelUnusable:
        part.unlink()  # continuing it could never succeed
        raise
    part.replace(target)


def _fetch_rest(file: ModelFile, part: Path, on_bytes: OnBytes) -> None:
    etag_file = part.with_suffix(".etag")
    request = urllib.request.Request(file.location)  # noqa: S310 - parse_source and the endpoint limit the scheme
    have = part.stat().st_size if part.exists() and etag_file.exists() else 0
    if have and have == file.size_bytes:
        return
    if have:
        request.add_header("Range", f"bytes={have}-")
        request.add_header("If-Range", etag_file.read_text())
    with open_url(request) as response:
        continues = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
        etag = response.headers.get("ETag", "")
        if not continues:
            have = 0
            if etag.startswith('"'):  # a weak one does not identify the bytes
                etag_file.write_text(etag)
            else:
                etag_file.unlink(missing_ok=True)
        with part.open("ab" if continues else "wb") as output:
            _copy(response, output, have, file, on_bytes)


def _copy(response: Any, output: BinaryIO, have: int, file: ModelFile, on_bytes: OnBytes) -> None:
    limit = FILE_BYTES_MAX if file.size_bytes is None else file.size_bytes
    while chunk := response.read1(CHUNK_BYTES):
        have += len(chunk)
        if have > limit:
            raise ModelUnusable(f"{file.location} is larger than the {limit} bytes that it should have.")
        output.write(chunk)
        on_bytes(have)
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)


def verify(file: ModelFile, path: Path) -> None:
    """Compare a file with the size and the checksum of its source. Raises ModelUnusable."""
    size = path.stat().st_size
    expected: list[tuple[str, object, object]] = (
        [("size", file.size_bytes, size)] if file.size_bytes is not None else []
    )
    if file.sha256 is not None:
        expected.append(("SHA-256", file.sha256, hash_file(path, "sha256")))
    elif file.git_sha1 is not None:
        expected.append(("git id", file.git_sha1, hash_file(path, "sha1", f"blob {size}\0".encode())))
    for what, stated, found in expected:
        if stated != found:
            raise ModelUnusable(
                f"{file.location} is not the file that its source describes: its {what} is {found} and not {stated}. "
                "Nothing was installed."
            )


def hash_file(path: Path, algorithm: str, prefix: bytes = b"") -> str:
    """Return the hexadecimal hash of `prefix` and a file's content."""
    digest = hashlib.new(algorithm, prefix)
    with path.open("rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
