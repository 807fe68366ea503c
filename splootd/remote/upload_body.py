"""Build the request bodies of uploads, for one file or a bundle of small ones, under the bandwidth limit."""

import base64
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from splootd.file_reader import SEND_BYTES, Content
from splootd.remote.bandwidth_limiter import BandwidthLimiter
from splootd.remote.multipart import Frame, PartHeaders, build_frame

BodyFactory = Callable[[], AsyncGenerator[bytes, None]]  # returns the body from the start, for each attempt
RequestBody = bytes | BodyFactory
ProgressCallback = Callable[[int, int], None]  # receives the index of a file and the number of its bytes sent


@dataclass(frozen=True, slots=True)
class FormPart:
    """A file of a form."""

    content: Content
    tags: Sequence[str]


@dataclass(frozen=True, slots=True)
class Form:
    """The headers and body of one request. `size` is the size of the files without the frame."""

    headers: Mapping[str, str]
    body: RequestBody
    size: int


def describe_path(file: FormPart, *, with_names: bool) -> dict[str, Any]:
    """Describe a file for an upload by path: its path, and what the server needs to detect a change of it.

    The path is base64, because a Linux path is bytes and need not be valid UTF-8.
    """
    content = file.content
    return {
        "path": base64.b64encode(content.path).decode(),
        "size": content.size,
        "checksum": content.sha256.hex(),
        "filename": content.original_name if with_names else content.name,
        "tags": list(file.tags),
    }


async def build_form(
    files: Sequence[FormPart],
    bandwidth_limiter: BandwidthLimiter,
    *,
    on_progress: ProgressCallback,
    with_names: bool = False,
) -> Form:
    """Build one form with all of `files`. A form of small buffered files is one piece of bytes, sent in one write.

    `with_names` adds the original names, which no server but the library server reads.
    """
    parts = [
        PartHeaders(each.content.name, each.content.mime, each.tags, each.content.original_name if with_names else None)
        for each in files
    ]
    framed = build_frame(parts)
    size = sum(each.content.size for each in files)
    headers = {"content-type": framed.content_type, "content-length": str(framed.size + size)}
    buffered = [each.content.data for each in files if each.content.data is not None]
    if len(buffered) == len(files) and size <= SEND_BYTES:
        await bandwidth_limiter.acquire(size)
        pieces = [piece for pair in zip(framed.before, buffered, strict=True) for piece in pair]
        return Form(headers, b"".join((*pieces, framed.after)), size)
    return Form(headers, _stream_form(framed, files, bandwidth_limiter, on_progress), size)


def _stream_form(
    framed: Frame, files: Sequence[FormPart], bandwidth_limiter: BandwidthLimiter, on_progress: ProgressCallback
) -> BodyFactory:
    async def body() -> AsyncGenerator[bytes, None]:
        for index, (before, file) in enumerate(zip(framed.before, files, strict=True)):
            sent_bytes = 0
            yield before
            async for piece in file.content.iter_bytes():
                async for part in bandwidth_limiter.iter_throttled(piece):
                    yield part
                    sent_bytes += len(part)
                    on_progress(index, sent_bytes)
        yield framed.after

    return body
