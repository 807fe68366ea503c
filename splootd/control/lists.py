"""Answers that are lists of items: a page, or as many as are wanted, one after the other."""

import json
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from splootd import protocol
from splootd.control import views
from splootd.control.parts import Parts
from splootd.core.fault import Fault
from splootd.core.item import State
from splootd.errors import RequestError
from splootd.store.listing import Filter, Page

Words = TypeVar("Words", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Lines:
    """JSON values, each on a line of its own."""

    pieces: AsyncIterator[bytes]


async def items(parts: Parts, request: protocol.ListItems) -> protocol.Items | Lines:
    """Raises RequestError for what cannot be listed."""
    folders = await folder_paths(parts)
    if request.text is not None and len(request.text) > protocol.TEXT_CHARS_MAX:
        raise RequestError("bad_text", f"a text to look for has at most {protocol.TEXT_CHARS_MAX} characters")
    if request.lines and request.after is not None:
        raise RequestError("bad_list", "lines go on from `before`, never from `after`")
    wanted = Filter(
        state=None if request.state is None else one_of(State, request.state, "state"),
        folder_id=None if request.folder is None else _folder_id(folders, request.folder),
        fault=None if request.reason is None else one_of(Fault, request.reason, "reason"),
        text=request.text,
    )
    page = await _page(parts, wanted, request)
    if request.lines:
        return Lines(_lines(parts, wanted, request, page, folders))
    rows = views.item_rows(page.items, folders)
    return protocol.Items(rows, None, page.next) if request.after is not None else protocol.Items(rows, page.next)


async def folder_paths(parts: Parts) -> dict[int, str]:
    """The watched folders' paths by id."""
    return {folder.id: os.fsdecode(folder.path) for folder in await parts.arrivals.folders()}


def one_of(words: type[Words], word: str, what: str) -> Words:
    try:
        return words(word)
    except ValueError:
        raise RequestError(
            f"bad_{what}", f"there is no {what} {word[:40]!r}", f"there are: {', '.join(words)}"
        ) from None


async def _page(parts: Parts, wanted: Filter, request: protocol.ListItems) -> Page:
    limit = min(max(request.limit, 1), protocol.PAGE_MAX)
    if request.after is not None:
        return await parts.listing.page_after(wanted, after=request.after, limit=limit)
    return await parts.listing.page(wanted, before=request.before, limit=limit)


async def _lines(
    parts: Parts, wanted: Filter, request: protocol.ListItems, page: Page, folders: Mapping[int, str]
) -> AsyncIterator[bytes]:
    """The rows of `page` and of those that follow it. Each is read when the one before has been taken."""
    left = request.limit
    while True:
        rows = (json.dumps(views.item_values(item, folders)) for item in page.items)
        yield "".join(f"{row}\n" for row in rows).encode("ascii")
        left -= len(page.items)
        if page.next is None or left <= 0:
            return
        page = await _page(parts, wanted, replace(request, before=page.next, limit=left))


def _folder_id(folders: Mapping[int, str], path: str) -> int:
    for number, known in folders.items():
        if known == path:
            return number
    raise RequestError("not_found", f"{path[:4096]} is not watched", "sploot folders", status=404)
