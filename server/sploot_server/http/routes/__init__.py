"""Routes of the HTTP API: one module per resource, each with a class whose `routes` method lists its endpoints.

Every response is JSON, errors included, except images, the event stream and the metrics.
"""

from starlette.routing import BaseRoute

from sploot_server.config import Config
from sploot_server.http.routes.assets import AssetRoutes
from sploot_server.http.routes.batch import BatchRoutes
from sploot_server.http.routes.embeddings import EmbeddingRoutes
from sploot_server.http.routes.health import HealthRoutes
from sploot_server.http.routes.images import ImageRoutes
from sploot_server.http.routes.openapi import OpenApiRoutes
from sploot_server.http.routes.search import SearchRoutes
from sploot_server.http.routes.shares import ShareRoutes
from sploot_server.http.routes.uploads import UploadRoutes
from sploot_server.library.search import Search
from sploot_server.library.service import Library
from sploot_server.storage.shares import ShareStore


def build_routes(config: Config, library: Library, search: Search, shares: ShareStore) -> list[BaseRoute]:
    """Return the routes of Sploot's API except the push channel, resumable uploads and probes."""
    return [
        *OpenApiRoutes().routes(),
        *HealthRoutes(library).routes(),
        *UploadRoutes(config, library).routes(),
        *BatchRoutes(library).routes(),
        *EmbeddingRoutes(library).routes(),  # before assets: the first match wins, and `batch` is not an asset id
        *AssetRoutes(library).routes(),
        *ImageRoutes(library).routes(),
        *SearchRoutes(search).routes(),
        *ShareRoutes(library, shares).routes(),
    ]
