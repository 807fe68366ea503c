"""What is behind the door beside the queue: the library, and a place for files that are dropped on the page."""

from pathlib import Path

from starlette.routing import BaseRoute

from splootd.control.endpoints import Endpoints
from splootd.control.parts import Parts
from splootd.page.drop import Drop
from splootd.page.library import LibraryPages
from splootd.remote.pictures import Pictures
from splootd.remote.shelf import Shelf

LIBRARY = "http://library"  # as the embedded one calls itself


def contents(parts: Parts, endpoints: Endpoints, dropped: Path) -> tuple[Drop, list[BaseRoute]]:
    """The worker that takes what is dropped, and the routes of all of it. `dropped` has no links in it."""
    is_local = parts.config.is_local
    pictures = Pictures(parts.server, LIBRARY if is_local else parts.config.server)
    library = LibraryPages(Shelf(parts.server), pictures, parts.listing, endpoints, dropped=dropped, is_local=is_local)
    drop = Drop(dropped, parts.intake, parts.server, endpoints, clock=parts.clock, settle_s=parts.config.settle_s)
    return drop, [*library.routes(), *drop.routes()]
