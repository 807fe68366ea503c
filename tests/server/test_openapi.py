"""The OpenAPI document lists exactly the routes of the server, and every response conforms to it.

SPLOOT_TEST_EXAMPLES sets the number of generated requests per operation.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis import checks
from schemathesis.specs.openapi import checks as openapi_checks
from sploot_server import __version__
from sploot_server.app import create_app
from sploot_server.config import Config
from sploot_server.domain.entities import EmbeddingState
from sploot_server.http.authentication import PAGE_PATHS
from sploot_server.http.openapi import PATH, document
from sploot_server.http.push.endpoints import SSE_PATH
from sploot_server.http.routes.batch import BUNDLE_BYTES_MAX, BUNDLE_FILES_MAX, CHECKS_MAX
from sploot_server.http.routes.embeddings import STATUS_IDS_MAX
from sploot_server.http.routes.library_view import IDS_MAX
from sploot_server.http.routes.local_import import UPLOAD_BY_PATH_FILES_MAX
from sploot_server.http.routes.search import OFFSET_MAX, QUERY_CHARS_MAX
from sploot_server.http.tus.headers import PATH as RESUMABLE
from starlette.routing import Route
from toy_library import FakeEmbedder, ServerProcess, picture

EXAMPLES = int(os.environ.get("SPLOOT_TEST_EXAMPLES", "6"))
UPLOAD_BY_PATH = "/api/upload/files"  # exists on Unix sockets only
OTHER_PROTOCOLS = (RESUMABLE, "/metrics", "/api/health/live", "/api/health/ready", "/v1/", "/static/")
"""Prefixes of paths specified elsewhere: by tus, Prometheus, the orchestrator and the page."""

schema: Any = schemathesis.openapi.from_dict(document()).exclude(path=[SSE_PATH, UPLOAD_BY_PATH])
CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
]


async def test_the_document_lists_exactly_the_routes(config: Config, embedder: FakeEmbedder) -> None:
    config.data.mkdir()
    async with create_app(replace(config, uds=config.data / "s", allows_upload_by_path=True), embedder) as app:
        served = {
            (route.path, method.lower())
            for route in app.routes
            if isinstance(route, Route) and not route.path.startswith(OTHER_PROTOCOLS) and route.path not in PAGE_PATHS
            for method in (route.methods or set()) - {"HEAD"}
        }
    methods = {"get", "post", "put", "patch", "delete"}
    named = {(path, method) for path, item in document()["paths"].items() for method in item if method in methods}
    assert named == served


def test_the_document_states_the_version_and_the_limits_of_the_code() -> None:
    schemas = document()["components"]["schemas"]
    limits = {
        (name, field): limit
        for name, schema in schemas.items()
        for field, each in schema["properties"].items()
        for key, limit in each.items()
        if name.endswith("Request") and key in {"maxItems", "maxLength", "maximum"} and field != "threshold"
    }
    assert limits == {
        ("CheckBatchRequest", "checksums"): CHECKS_MAX,
        ("ChangesRequest", "ids"): IDS_MAX,
        ("StatusesRequest", "assetIds"): STATUS_IDS_MAX,
        ("UploadByPathRequest", "files"): UPLOAD_BY_PATH_FILES_MAX,
        ("SearchRequest", "query"): QUERY_CHARS_MAX,
        ("SearchRequest", "offset"): OFFSET_MAX,
    }
    assert schemas["Embedding"]["properties"]["status"] == {"enum": list(EmbeddingState)}
    assert document()["info"]["version"] == __version__
    numbers = {
        path: [int(number) for number in re.findall(r"\d+", item["post"]["summary"])]
        for path, item in document()["paths"].items()
        if path.startswith("/api/upload/")
    }
    assert numbers == {
        "/api/upload/check": [],
        "/api/upload/check/batch": [CHECKS_MAX],
        "/api/upload/bundle": [BUNDLE_FILES_MAX, BUNDLE_BYTES_MAX],
        "/api/upload/files": [UPLOAD_BY_PATH_FILES_MAX],
    }


def test_the_document_is_valid_openapi() -> None:
    """Validate it with the schema published by the OpenAPI project."""
    assert document()["openapi"].startswith("3.1")
    schema.validate()


async def test_the_document_is_served(client: httpx.AsyncClient) -> None:
    answer = await client.get(PATH)
    assert (answer.json(), answer.headers["content-type"]) == (document(), "application/json")


@dataclass
class Served:
    url: str
    asset_id: str = ""

    def refresh(self) -> None:
        """Make sure that one asset exists, whatever the last requests did to it."""
        form = {"tags": '["a tag"]'}
        answer = httpx.post(f"{self.url}/api/upload", files={"file": ("a.jpg", picture("a cat"))}, data=form)
        self.asset_id = answer.json()["asset"]["id"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    server = ServerProcess(tmp_path_factory.mktemp("served") / "library", port=0)
    yield Served(server.address)
    server.stop()


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
def test_every_response_conforms_to_the_document(case: Any, served: Served) -> None:
    served.refresh()
    for asset_id in {case.path_parameters.get("id"), served.asset_id} if "id" in case.path_parameters else {None}:
        if asset_id is not None:
            case.path_parameters["id"] = asset_id
        case.call_and_validate(base_url=served.url, checks=CHECKS, timeout=30)
