"""Encode multipart/form-data (RFC 7578) as strictly as Sploot's parser, undici, requires.

undici rejects more than RFC 7578 and RFC 2046 do, and Sploot turns each rejection into a 500 without a reason:
- `filename*` (RFC 5987) and backslash escapes in quoted strings, so file names are plain ASCII without quotes;
- a preamble before the first boundary, or an epilogue after the last one;
- names without quotes, and lines that end in a bare LF.
It also searches the data for the boundary without its leading dashes, so the boundary string must not occur in any
file. Sploot compares the part's content type as a whole, so it must not have parameters.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

BOUNDARY_BYTES = 16  # 32 hex digits: the chance that a file of 1 GB contains them is 1 in 10^29


@dataclass(frozen=True, slots=True)
class PartHeaders:
    """The headers of one file. `filename` is ASCII, without quotes; `original_name` is a field of its own."""

    filename: str
    mime: str
    tags: Sequence[str] = ()
    original_name: str | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """The bytes around the files: `before` each of them, and `after` the last."""

    content_type: str
    before: Sequence[bytes]
    after: bytes

    @property
    def size(self) -> int:
        return sum(map(len, self.before)) + len(self.after)


def build_frame(parts: Sequence[PartHeaders], *, boundary: str | None = None) -> Frame:
    """Build the frame of a form. Tags, as a JSON array, and an original name precede their file."""
    delimiter = boundary or secrets.token_hex(BOUNDARY_BYTES)
    before = [_encode_part_headers(part, delimiter, is_first=not index) for index, part in enumerate(parts)]
    return Frame(f"multipart/form-data; boundary={delimiter}", before, f"\r\n--{delimiter}--\r\n".encode())


def _encode_part_headers(part: PartHeaders, delimiter: str, *, is_first: bool) -> bytes:
    opening = f"--{delimiter}\r\nContent-Disposition: form-data; name="
    tags = f'{opening}"tags"\r\n\r\n{json.dumps(list(part.tags))}\r\n' if part.tags else ""
    name = f'{opening}"originalName"\r\n\r\n{part.original_name}\r\n' if part.original_name else ""
    file = f'{opening}"file"; filename="{part.filename}"\r\nContent-Type: {part.mime}\r\n\r\n'
    return f"{'' if is_first else chr(13) + chr(10)}{tags}{name}{file}".encode()
