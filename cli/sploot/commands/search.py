"""`sploot search`: search the library."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace

from sploot import exit_codes, render
from sploot.client import Client
from sploot.daemon_connect import open_client
from sploot.formatting import escape_unprintable, format_count
from sploot.terminal import get_style, print_json, print_stderr
from splootd.codec import encode
from splootd.errors import RequestError
from splootd.protocol import Hit, Hits, OpenUi, Search, UiUrl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import Annotated, Argument, JsonOption, Option


def search(
    terms: Annotated[list[str], Argument(metavar="TEXT...")],
    *,
    limit: Annotated[int, Option(min=1, max=100, help="Maximum number of matches.")] = 10,
    open_nth: Annotated[int | None, Option("--open", metavar="N", help="Open match number N.")] = None,
    as_json: JsonOption = False,
) -> int:
    """Search the library for TEXT, best match first."""
    query = " ".join(terms)
    if not query.strip():
        raise RequestError("missing_argument", "the search text is missing", "sploot search TEXT...")
    client = open_client()
    reply = client.request(Search(query, limit), Hits)
    # The daemon may report a path whose file has been deleted since; such a match is shown without a path.
    hits = [hit if hit.path and os.access(hit.path, os.F_OK) else replace(hit, path=None) for hit in reply.hits]
    if as_json:
        print_json([encode(hit) for hit in hits])
    else:
        style = get_style()
        for nth, hit in enumerate(hits, 1):
            print("\n".join(render.render_hit(nth, hit, style)))
    if not hits:
        print_stderr(f"Nothing matches {escape_unprintable(query)}.")
    if reply.note:
        print_stderr(f"note: {reply.note}")
    if open_nth is not None:
        _open_hit(client, hits, open_nth)
    return exit_codes.DONE if hits else exit_codes.NOT_FOUND


def _open_hit(client: Client, hits: Sequence[Hit], nth: int) -> None:
    """Open the file of the `nth` match, or without a local file, its image in the web UI."""
    if not 1 <= nth <= len(hits):
        raise RequestError(
            "not_found",
            f"match number {nth} does not exist",
            f"the search returned {format_count(len(hits), 'match', 'matches')}",
        )
    hit = hits[nth - 1]
    import subprocess  # rarely needed, and slow to import

    location = hit.path or client.request(OpenUi(asset=hit.asset_id), UiUrl).url
    program, failure = "open" if sys.platform == "darwin" else "xdg-open", ""
    try:
        # A path is absolute and a URL starts with its scheme, so neither can be parsed as an option. xdg-open prints an
        # error for every browser that it tries, hence the discarded output.
        completed = subprocess.run(  # noqa: S603 - requested with --open
            [program, location], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False
        )
        failure = f"{program} ended with exit code {completed.returncode}" if completed.returncode else ""
    except FileNotFoundError:
        failure = f"{program} is not installed"
    if failure:
        raise RequestError("no_opener", f"the match could not be opened: {failure}", f"open it yourself: {location}")


COMMANDS = {"search": search}
