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
class Frame:
    """What stands around the file's bytes."""

    content_type: str
    before: bytes
    after: bytes

    @property
    def size(self) -> int:
        return len(self.before) + len(self.after)


def frame(*, filename: str, mime: str, tags: Sequence[str], boundary: str | None = None) -> Frame:
    """The form's frame for one file. Tags travel as one part holding a JSON array, or not at all."""
    line = boundary or secrets.token_hex(BOUNDARY_BYTES)
    opening = f"--{line}\r\nContent-Disposition: form-data; name="
    before = f'{opening}"tags"\r\n\r\n{json.dumps(list(tags))}\r\n' if tags else ""
    before += f'{opening}"file"; filename="{filename}"\r\nContent-Type: {mime}\r\n\r\n'
    return Frame(f"multipart/form-data; boundary={line}", before.encode(), f"\r\n--{line}--\r\n".encode())
