"""OpenAPI 3.1 document of this server: `schemas.py` has the bodies, `paths.py` the operations.

It is written by hand because it specifies Sploot's contract; a document generated from the handlers would follow their
mistakes. Tests compare it with the routes, and validate responses against it.
"""

from typing import Any

from sploot_server import __version__
from sploot_server.http.openapi.paths import PATHS
from sploot_server.http.openapi.schemas import SCHEMAS

PATH = "/api/openapi.json"


def document() -> dict[str, Any]:
    """Return the document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sploot",
            "version": __version__,
            "description": "Sploot's HTTP API as implemented by `sploot-server`. HEAD is supported wherever GET is. "
            "The WebSocket /api/ws/upload-status sends embedding updates; OpenAPI cannot describe it.",
        },
        "paths": PATHS,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],  # a server without accounts requires no token
    }
