"""The upload form as bytes, kept to what Sploot's parser (undici) accepts.

That parser is strict: no `filename*`, no backslash escapes, no bytes before the first boundary or behind the last one,
no boundary string within the data; names quoted, lines ended by CRLF, and the part's type without parameters, because
Sploot compares it as it stands.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

BOUNDARY_BYTES = 16  # as hex 32 characters: by chance in a file of 1 GB once in 10^29 times


@dataclass(frozen=True, slots=True)
class Part:
    """What is said about one file. `filename` is ASCII, without quotes."""

    filename: str
    mime: str
    tags: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around the bytes of files: `before` each of them, and after the last."""

    content_type: str
    before: Sequence[bytes]
    after: bytes

    @property
    def size(self) -> int:
        return sum(map(len, self.before)) + len(self.after)


def frame(parts: Sequence[Part], *, boundary: str | None = None) -> Frame:
    """The form's frame for these files. Tags travel in front of their file as a JSON array, or not at all."""
    line = boundary or secrets.token_hex(BOUNDARY_BYTES)
    before = [_before(part, line, is_first=not index) for index, part in enumerate(parts)]
    return Frame(f"multipart/form-data; boundary={line}", before, f"\r\n--{line}--\r\n".encode())


def _before(part: Part, line: str, *, is_first: bool) -> bytes:
    opening = f"--{line}\r\nContent-Disposition: form-data; name="
    tags = f'{opening}"tags"\r\n\r\n{json.dumps(list(part.tags))}\r\n' if part.tags else ""
    file = f'{opening}"file"; filename="{part.filename}"\r\nContent-Type: {part.mime}\r\n\r\n'
    return f"{'' if is_first else chr(13) + chr(10)}{tags}{file}".encode()
