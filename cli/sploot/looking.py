"""Commands that look at single files: list, failed, why, search, folders."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

from sploot import exits, render
from sploot.client import Client
from sploot.paths import target
from sploot.reach import client
from sploot.terminal import complain, print_json, style
from sploot.text import safe
from splootd.errors import RequestError
from splootd.protocol import (
    PAGE_MAX,
    Folders,
    GetFolders,
    Hit,
    Hits,
    ItemRow,
    Items,
    ListItems,
    OpenPage,
    PageAddress,
    Search,
    Story,
    Why,
)
from splootd.wire import encode

FAILED_SHOWN = 100


def rows(asking: Client, asked: ListItems) -> Iterator[ItemRow]:
    """Up to `asked.limit` items, fetched page by page as they are looked at."""
    left, before = asked.limit, asked.before
    while left > 0:
        page = asking.ask(replace(asked, before=before, limit=min(left, PAGE_MAX)), Items)
        yield from page.items
        left, before = left - len(page.items), page.before
        if before is None:
            return


def list_items(asked: ListItems, *, as_json: bool) -> int:
    paint = style()
    for row in rows(client(), asked):
        if as_json:
            print_json(encode(row))
        else:
            print(render.item(row, paint))
    return exits.DONE


def failed(*, as_json: bool) -> int:
    limit = PAGE_MAX**2 if as_json else FAILED_SHOWN
    found = rows(client(), ListItems(state="dead", limit=limit))
    if as_json:
        for row in found:
            print_json(encode(row))
        return exits.DONE
    dead = list(found)
    for line in render.failed(dead, style()):
        print(line)
    if dead:
        complain("Mend the files, then: sploot retry ID, or all of them: sploot retry --all")
        complain("To take one out of the queue: sploot forget ID")
    else:
        complain("Nothing has failed.")
    return exits.DONE


def why(name: str, *, as_json: bool) -> int:
    story = client().ask(Why(target(name)), Story)
    if as_json:
        print_json(encode(story))
    else:
        print("\n".join(render.story(story, style())))
    return exits.DONE


def search(text: str, *, limit: int, open_nth: int | None, as_json: bool) -> int:
    if not text.strip():
        raise RequestError("nothing_named", "say what to search for", "sploot search TEXT...")
    asking = client()
    found = asking.ask(Search(text, limit), Hits)
    hits = [hit if hit.path and os.access(hit.path, os.F_OK) else replace(hit, path=None) for hit in found.hits]
    if as_json:
        print_json([encode(hit) for hit in hits])
    else:
        paint = style()
        for nth, hit in enumerate(hits, 1):
            print("\n".join(render.hit(nth, hit, paint)))
    if not hits:
        complain(f"Nothing matches {safe(text)}.")
    if found.note:
        complain(f"note: {found.note}")
    if open_nth is not None:
        _show(asking, hits, open_nth)
    return exits.DONE if hits else exits.NOT_FOUND


def _show(asking: Client, hits: Sequence[Hit], nth: int) -> None:
    """Open the file of the `nth` match, or where there is none here, its picture on the page."""
    if not 1 <= nth <= len(hits):
        raise RequestError("not_found", f"there is no match number {nth}", f"{len(hits)} were found")
    hit = hits[nth - 1]
    where = hit.path or asking.ask(OpenPage(asset=hit.asset_id), PageAddress).url
    program, refusal = "open" if sys.platform == "darwin" else "xdg-open", ""
    try:
        # A path is absolute and an address has a scheme, so neither can be taken for an option. What such a program
        # tries in vain, it says at length.
        opened = subprocess.run([program, where], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)  # noqa: S603 - the user asked for it
        refusal = f"{program} ended with exit code {opened.returncode}" if opened.returncode else ""
    except FileNotFoundError:
        refusal = f"{program} is not installed"
    if refusal:
        raise RequestError("no_opener", f"nothing here opens it: {refusal}", f"open it yourself: {where}")


def folders(*, as_json: bool) -> int:
    found = client().ask(GetFolders(), Folders).folders
    if as_json:
        print_json([encode(row) for row in found])
    else:
        print("\n".join(render.folders(found, style())))
    return exits.DONE
