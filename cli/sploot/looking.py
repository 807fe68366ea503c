"""Commands that look at single files: list, failed, why, search, folders."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

from sploot import exits, render
from sploot.client import Client
from sploot.paths import target
from sploot.reach import client
from sploot.terminal import complain, print_json, style
from sploot.text import safe
from splootd.errors import RequestError
from splootd.protocol import PAGE_MAX, Folders, GetFolders, Hit, Hits, ItemRow, Items, ListItems, Search, Story, Why
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
    found = client().ask(Search(text, limit), Hits)
    if as_json:
        print_json([encode(hit) for hit in found.hits])
    else:
        paint = style()
        for hit in found.hits:
            print("\n".join(render.hit(hit, paint)))
    if not found.hits:
        complain(f"Nothing matches {safe(text)}.")
    if found.note:
        complain(f"note: {found.note}")
    if open_nth is not None:
        show_file(found.hits, open_nth)
    return exits.DONE if found.hits else exits.NOT_FOUND


def show_file(hits: tuple[Hit, ...], nth: int) -> None:
    """Open the `nth` match with whatever the desktop opens such files with."""
    if not 1 <= nth <= len(hits):
        raise RequestError("not_found", f"there is no match number {nth}", f"{len(hits)} were found")
    hit = hits[nth - 1]
    where = hit.path or hit.url
    if where is None:
        raise RequestError(
            "no_opener", f"there is no local file of match number {nth}", "see it on the page: sploot ui"
        )
    program = "open" if sys.platform == "darwin" else "xdg-open"
    try:
        # A path is absolute and a link has a scheme, so neither can be taken for an option.
        subprocess.run([program, where], check=True)  # noqa: S603 - the user asked for it
    except FileNotFoundError:
        raise RequestError("no_opener", f"{program} is not installed", f"open it yourself: {where}") from None
    except subprocess.CalledProcessError as error:
        raise RequestError("no_opener", f"{program} ended with exit code {error.returncode}") from None


def folders(*, as_json: bool) -> int:
    found = client().ask(GetFolders(), Folders).folders
    if as_json:
        print_json([encode(row) for row in found])
    else:
        print("\n".join(render.folders(found, style())))
    return exits.DONE
