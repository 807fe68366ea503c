"""The OpenAPI 3.1 document of this server. A test holds it against the routes, and property-based ones the answers.

Written by hand, since half of it is Sploot's contract, which is not ours to derive: `schemas.py` is what travels,
`paths.py` is what can be asked.
"""

from typing import Any

from sploot_server import __version__
from sploot_server.openapi.paths import PATHS
from sploot_server.openapi.schemas import SCHEMAS

PATH = "/api/openapi.json"


def document() -> dict[str, Any]:
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sploot",
            "version": __version__,
            "description": "Sploot's HTTP API as `sploot-server` speaks it. What GET answers, HEAD answers without a "
            "body. News come over the WebSocket /api/ws/upload-status, which OpenAPI cannot describe.",
        },
        "paths": PATHS,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],  # a server without accounts asks for none
    }
