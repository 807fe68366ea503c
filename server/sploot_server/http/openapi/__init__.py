"""OpenAPI 3.1 document of this server, kept by hand in `openapi.yaml`.

It specifies Sploot's contract; a document generated from the handlers would follow their mistakes. Tests compare it
with the routes, and validate responses against it.
"""

from functools import cache
from pathlib import Path
from typing import Any

PATH = "/api/openapi.json"


@cache
def document() -> dict[str, Any]:
    """Return the document."""
    import yaml  # noqa: PLC0415 - for this one request

    document: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("openapi.yaml").read_bytes())
    return document
