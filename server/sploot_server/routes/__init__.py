"""Sploot's HTTP API on the library: requests in, JSON out. Every answer but a picture is JSON, errors too.

One module for each kind of thing that is asked; each has a class whose `routes` is its table of contents.
"""

from starlette.routing import BaseRoute

from sploot_server.assets import ShareStore
from sploot_server.config import Config
from sploot_server.library import Library
from sploot_server.routes.assets import Assets
from sploot_server.routes.bundles import Bundles
from sploot_server.routes.description import Description
from sploot_server.routes.embeddings import Embeddings
from sploot_server.routes.health import Health
from sploot_server.routes.pictures import Pictures
from sploot_server.routes.searches import Searches
from sploot_server.routes.shares import Shares
from sploot_server.routes.uploads import Uploads
from sploot_server.search import Search


def api(config: Config, library: Library, search: Search, shares: ShareStore) -> list[BaseRoute]:
    """All of it but the live channel, which is `live.py`'s."""
    return [
        *Description().routes(),
        *Health(library).routes(),
        *Uploads(config, library).routes(),
        *Bundles(library).routes(),
        *Embeddings(library).routes(),  # before assets: `/api/assets/batch` is no asset
        *Assets(library).routes(),
        *Pictures(library).routes(),
        *Searches(search).routes(),
        *Shares(library, shares).routes(),
    ]
