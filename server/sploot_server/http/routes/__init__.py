"""Routes of the HTTP API and the page: one module per resource; the `routes` method of its class lists its endpoints.

Every response is JSON, errors included, except images, the event stream and the metrics.
"""

from starlette.routing import BaseRoute

from sploot_server.config import Config
from sploot_server.http.routes.assets import AssetRoutes
from sploot_server.http.routes.batch import BatchRoutes
from sploot_server.http.routes.curation import CurationRoutes
from sploot_server.http.routes.embeddings import EmbeddingRoutes
from sploot_server.http.routes.health import HealthRoutes
from sploot_server.http.routes.images import ImageRoutes
from sploot_server.http.routes.library_view import LibraryViewRoutes
from sploot_server.http.routes.openapi import OpenApiRoutes
from sploot_server.http.routes.page import PageRoutes
from sploot_server.http.routes.search import SearchRoutes
from sploot_server.http.routes.shares import ShareRoutes
from sploot_server.http.routes.templates import TemplateRoutes
from sploot_server.http.routes.uploads import UploadRoutes
from sploot_server.library.curation import Curation
from sploot_server.library.search import Search
from sploot_server.library.service import Library
from sploot_server.library.templates import Templates
from sploot_server.storage.shares import ShareStore


def build_routes(
    config: Config, library: Library, search: Search, shares: ShareStore, *, curation: Curation, templates: Templates
) -> list[BaseRoute]:
    """Return the routes of the API and the page except the push channel, resumable uploads, probes and sessions."""
    images, curations = ImageRoutes(library), CurationRoutes(curation)
    share_links, template_routes = ShareRoutes(library, shares), TemplateRoutes(templates, library)
    library_view = LibraryViewRoutes(
        *(library, search, curation),
        curations=curations,
        images=images,
        shares=share_links,
        templates=template_routes,
    )
    return [
        *OpenApiRoutes().routes(),
        *HealthRoutes(library).routes(),
        *UploadRoutes(config, library).routes(),
        *BatchRoutes(library).routes(),
        *EmbeddingRoutes(library).routes(),  # before assets: the first match wins, and `batch` is not an asset id
        *curations.routes(),
        *AssetRoutes(library).routes(),
        *images.routes(),
        *SearchRoutes(search).routes(),
        *share_links.routes(),
        *PageRoutes().routes(),
        *template_routes.routes(),
        *library_view.routes(),
    ]
