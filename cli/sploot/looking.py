"""Commands that look at single files: list, failed, why, search, folders."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace

from sploot import exits, render
from sploot.client import TRIES_MAX, Client
from sploot.connection import LostError
from sploot.paths import absolute, meant
from sploot.reach import client
from sploot.terminal import complain, print_json, style
from sploot.text import safe
from splootd.errors import RequestError, SplootError
from splootd.protocol import (
    Folders,
    GetFolders,
    Hit,
    Hits,
    ItemRow,
    ListItems,
    OpenPage,
    PageAddress,
    Search,
    Story,
    Why,
)
from splootd.wire import decode, encode

FAILED_SHOWN = 100
ALL = (1 << 63) - 1


def lines(asked: ListItems) -> Iterator[str]:
    """Up to `asked.limit` items as JSON, as they come. When the daemon dies meanwhile, the next one goes on."""
    left, before = asked.limit, asked.before
    for _ in range(TRIES_MAX):
        line = ""
        try:
            with closing(client()) as asking:
                for line in asking.lines(replace(asked, lines=True, before=before, limit=left)):
                    yield line
                    left -= 1
        except LostError:
            before = json.loads(line)["id"] if line else before
        else:
            return
        if not left:
            return
    raise SplootError(f"the daemon hung up in the middle of a list, {TRIES_MAX} times", "sploot logs")


def rows(asked: ListItems) -> Iterator[ItemRow]:
    return (decode(ItemRow, json.loads(line)) for line in lines(asked))


def list_items(
    *,
    state: str | None = None,
    folder: str | None = None,
    reason: str | None = None,
    limit: int = 100,
    as_json: bool = False,
) -> int:
    paint = style()
    asked = ListItems(state, absolute(folder) if folder is not None else None, reason, None, limit)
    for line in lines(asked) if as_json else (render.item(row, paint) for row in rows(asked)):
        print(line)
    return exits.DONE


def failed(*, as_json: bool = False) -> int:
    if as_json:
        return list_items(state="dead", limit=ALL, as_json=True)
    dead = list(rows(ListItems(state="dead", limit=FAILED_SHOWN)))
    for line in render.failed(dead, style()):
        print(line)
    if dead:
        complain("Mend the files, then: sploot retry ID, or all of them: sploot retry --all")
        complain("To take one out of the queue: sploot forget ID")
    else:
        complain("Nothing has failed.")
    return exits.DONE


def why(target: str, *, as_json: bool = False) -> int:
    story = client().ask(Why(meant(target)), Story)
    if as_json:
        print_json(encode(story))
    else:
        print("\n".join(render.story(story, style())))
    return exits.DONE


def search(words: list[str], *, limit: int = 10, open_nth: int | None = None, as_json: bool = False) -> int:
    text = " ".join(words)
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
    import subprocess  # noqa: PLC0415 - rarely needed, and it takes time to import

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


def folders(*, as_json: bool = False) -> int:
    found = client().ask(GetFolders(), Folders).folders
    if as_json:
        print_json([encode(row) for row in found])
    else:
        print("\n".join(render.folders(found, style())))
    return exits.DONE
