"""The bodies of uploads: one file, or a bundle of small ones, as they go out under the limit on bandwidth."""

import base64
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from splootd.remote.multipart import Frame, Part, frame
from splootd.remote.throttle import Throttle
from splootd.work.files import SEND_BYTES, Content

Body = bytes | Callable[[], AsyncIterator[bytes]]  # a function gives the body afresh for each try
Sent = Callable[[int], None]  # hears how many bytes of a file have gone out


@dataclass(frozen=True, slots=True)
class Enclosed:
    """A file in a form."""

    content: Content
    tags: Sequence[str]
    sent: Sent


@dataclass(frozen=True, slots=True)
class Form:
    """What stands in one request. `size` is that of the files alone."""

    headers: Mapping[str, str]
    body: Body
    size: int


def named(file: Enclosed) -> dict[str, Any]:
    """A file that is not sent: where it is, and how to tell that it is still the same."""
    content = file.content
    return {
        "path": base64.b64encode(content.path).decode(),
        "size": content.size,
        "checksum": content.sha256.hex(),
        "filename": content.name,
        "tags": list(file.tags),
    }


async def form_of(files: Sequence[Enclosed], throttle: Throttle) -> Form:
    """One form for all of `files`. As a whole no larger than one piece, it goes out at once, when it may."""
    parts = [Part(each.content.name, each.content.mime, each.tags) for each in files]
    framed = frame(parts)
    size = sum(each.content.size for each in files)
    headers = {"content-type": framed.content_type, "content-length": str(framed.size + size)}
    held = [each.content.data for each in files if each.content.data is not None]
    if len(held) == len(files) and size <= SEND_BYTES:
        await throttle.passed(size)
        pieces = [piece for pair in zip(framed.before, held, strict=True) for piece in pair]
        return Form(headers, b"".join((*pieces, framed.after)), size)
    return Form(headers, _streamed(framed, files, throttle), size)


def _streamed(framed: Frame, files: Sequence[Enclosed], throttle: Throttle) -> Callable[[], AsyncIterator[bytes]]:
    async def body() -> AsyncIterator[bytes]:
        for before, file in zip(framed.before, files, strict=True):
            gone = 0
            yield before
            async for piece in file.content.pieces():
                async for part in throttle.parts(piece):
                    yield part
                    gone += len(part)
                    file.sent(gone)
        yield framed.after

    return body
