"""Handler of `sploot list`: a page of items, or a stream of newline-delimited JSON."""

import json
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TypeVar

from splootd import protocol
from splootd.control import serializers
from splootd.control.context import Context
from splootd.core.error_code import ErrorCode
from splootd.core.item import State
from splootd.errors import RequestError
from splootd.store.read_queries import ItemFilter, Page

EnumT = TypeVar("EnumT", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class JsonLines:
    """Newline-delimited JSON."""

    chunks: AsyncIterator[bytes]


async def list_items(context: Context, request: protocol.ListItems) -> protocol.Items | JsonLines:
    """Return a page or a stream of items. Raises RequestError for an invalid filter."""
    folders = await folder_paths(context)
    if request.text is not None and len(request.text) > protocol.TEXT_CHARS_MAX:
        raise RequestError("bad_text", f"`text` is longer than {protocol.TEXT_CHARS_MAX} characters")
    if request.lines and request.after is not None:
        raise RequestError("bad_list", "`lines` cannot be combined with `after`", "use `before`")
    item_filter = ItemFilter(
        state=None if request.state is None else parse_enum(State, request.state, "state"),
        folder_id=None if request.folder is None else _find_folder_id(folders, request.folder),
        error_code=None if request.error_code is None else parse_enum(ErrorCode, request.error_code, "error_code"),
        text=request.text,
    )
    page = await _load_page(context, item_filter, request)
    if request.lines:
        return JsonLines(_stream_rows(context, item_filter, request, page, folders))
    rows = serializers.to_item_rows(page.items, folders)
    return protocol.Items(rows, None, page.next) if request.after is not None else protocol.Items(rows, page.next)


async def folder_paths(context: Context) -> dict[int, str]:
    """Return the paths of the watched folders by id."""
    return {folder.id: os.fsdecode(folder.path) for folder in await context.folder_store.folders()}


def parse_enum(enum_type: type[EnumT], value: str, name: str) -> EnumT:
    try:
        return enum_type(value)
    except ValueError:
        label = name.replace("_", " ")
        title = f"unknown {label} {value[:40]!r}"
        raise RequestError(f"bad_{name}", title, f"use one of: {', '.join(enum_type)}") from None


async def _load_page(context: Context, item_filter: ItemFilter, request: protocol.ListItems) -> Page:
    limit = min(max(request.limit, 1), protocol.PAGE_MAX)
    if request.after is not None:
        return await context.read_queries.page_after(item_filter, after=request.after, limit=limit)
    return await context.read_queries.page(item_filter, before=request.before, limit=limit)


async def _stream_rows(
    context: Context, item_filter: ItemFilter, request: protocol.ListItems, page: Page, folders: Mapping[int, str]
) -> AsyncIterator[bytes]:
    """Stream the rows of `page` and the following pages. Each page is read after the one before was consumed."""
    left = request.limit
    while True:
        rows = (json.dumps(serializers.item_to_dict(item, folders)) for item in page.items)
        yield "".join(f"{row}\n" for row in rows).encode("ascii")
        left -= len(page.items)
        if page.next is None or left <= 0:
            return
        page = await _load_page(context, item_filter, replace(request, before=page.next, limit=left))


def _find_folder_id(folders: Mapping[int, str], path: str) -> int:
    for folder_id, known in folders.items():
        if known == path:
            return folder_id
    raise RequestError("not_found", f"{path[:4096]} is not watched", "sploot folders", status=404)
