"""`sploot search`: search the library."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from sploot import exit_codes
from sploot.client import Client
from sploot.daemon_connect import open_client
from sploot.formatting import escape_unprintable, format_count, format_path
from sploot.search_results import render_hit, render_no_match
from sploot.terminal import get_columns, get_style, print_json, print_stderr
from splootd.codec import encode
from splootd.errors import RequestError
from splootd.protocol import Hit, Hits, MessageReply, OpenUi, SaveImage, Search, UiUrl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import Annotated, Argument, JsonOption, Option, complete_sort

PREVIEW_PX = 512


def search(
    terms: Annotated[list[str] | None, Argument(metavar="TEXT...")] = None,
    *,
    limit: Annotated[int, Option(min=1, max=100, help="Maximum number of matches.")] = 10,
    tag: Annotated[str | None, Option(metavar="TAG", help="Only pictures with this tag.")] = None,
    favourite: Annotated[bool, Option("--favourite", help="Only favourites.")] = False,
    sort: Annotated[
        str, Option(metavar="best|newest|oldest", autocompletion=complete_sort, help="Order of the matches.")
    ] = "best",
    open_nth: Annotated[
        int | None, Option("--open", metavar="[N]", help="Open match number N, or the best one.")
    ] = None,
    copy_nth: Annotated[
        int | None, Option("--copy", metavar="[N]", help="Copy match number N, or the best one, to the clipboard.")
    ] = None,
    reveal_nth: Annotated[
        int | None, Option("--reveal", metavar="[N]", help="Show match number N, or the best one, in its folder.")
    ] = None,
    preview: Annotated[bool, Option("--preview", help="Show the pictures, where the terminal can.")] = False,
    scores: Annotated[bool, Option("--scores", help="Show the score of each match, and why it matches.")] = False,
    links: Annotated[bool, Option("--links", help="Link each match to its picture.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Search the library for TEXT: words on the picture, also with typos, or what it means."""
    query = " ".join(terms or ())
    if not query.strip():
        raise RequestError("missing_argument", "the search text is missing", 'try: sploot search "never enough coffee"')
    client, protocol = open_client(), None
    if preview and not as_json:
        from sploot.terminal_pictures import find_protocol

        protocol = find_protocol()
    reply = client.request(Search(query, limit, tag, favourite, sort), Hits)
    # The daemon may report a path whose file has been deleted since; such a match is shown without a path.
    hits = [hit if hit.path and os.access(hit.path, os.F_OK) else replace(hit, path=None) for hit in reply.hits]
    _remember(hits)
    if as_json:
        print_json([encode(hit) for hit in hits])
    else:
        style, columns = get_style(), get_columns()
        for nth, hit in enumerate(hits, 1):
            link = _link_of(hit) if links else None
            print("\n".join(render_hit(nth, hit, style, columns=columns, with_scores=scores, link=link)))
            if protocol is not None:
                _show_picture(client, hit, protocol)
    if not hits:
        print_stderr(render_no_match(query, reply.nearest))
    if reply.note:
        print_stderr(f"note: {reply.note}")
    if hits:
        for chosen, act in ((open_nth, _open), (copy_nth, _copy), (reveal_nth, _reveal)):
            if chosen is not None:
                act(client, _pick(hits, chosen))
    return exit_codes.DONE if hits else exit_codes.NOT_FOUND


def _remember(hits: Sequence[Hit]) -> None:
    """Let later commands name these matches by their numbers."""
    from sploot.asset_targets import save_matches

    save_matches(hit.asset_id for hit in hits)


def _link_of(hit: Hit) -> str | None:
    """Return the URL of a match in a browser, else that of its file."""
    if hit.url is not None or hit.path is None:
        return hit.url
    from urllib.parse import quote

    return f"file://{quote(os.fsencode(hit.path))}"


def _pick(hits: Sequence[Hit], nth: int) -> Hit:
    if not 1 <= nth <= len(hits):
        raise RequestError(
            "not_found",
            f"match number {nth} does not exist",
            f"the search returned {format_count(len(hits), 'match', 'matches')}",
        )
    return hits[nth - 1]


def _open(client: Client, hit: Hit) -> None:
    """Open the file of a match, or without a local file, its image in the web UI."""
    from sploot.desktop import open_location

    open_location(hit.path or client.request(OpenUi(asset=hit.asset_id), UiUrl).url)


def _copy(client: Client, hit: Hit) -> None:
    from sploot.desktop import copy_picture, fetch_copy

    path = hit.path or fetch_copy(lambda file: client.request(SaveImage(hit.asset_id, file), MessageReply))
    print_stderr(f"Copied {copy_picture(path)}: {format_path(path)}")


def _reveal(client: Client, hit: Hit) -> None:
    from sploot.desktop import reveal_file

    if hit.path is None:
        hint = "to view it: sploot search TEXT --open N"
        raise RequestError("not_found", "the match has no file on this computer", hint)
    reveal_file(hit.path)


def _show_picture(client: Client, hit: Hit, protocol: str) -> None:
    """Print the picture of a match; one that cannot be shown is no reason to stop."""
    from tempfile import TemporaryDirectory

    from sploot.terminal_pictures import render_picture

    try:
        with TemporaryDirectory(prefix="sploot-") as folder:
            file = hit.path or f"{folder}/picture"
            if hit.path is None:
                client.request(SaveImage(hit.asset_id, file, PREVIEW_PX), MessageReply)
            print(render_picture(file, protocol))
    except RequestError as error:
        print(f"     {escape_unprintable(error.title)}")


COMMANDS = {"search": search}
