"""The names of files are sent to servers that keep them, unless the user opts out, and to no others."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pipeline_fixtures import PipelineHarness, jpeg, open_pipeline
from scripted_sploot import FEATURES

from splootd.config import BROWSER_UPLOADS

NAME = "größe \n.jpg"
ORIGINAL = "from Tom/größe \n.jpg"


@pytest.fixture
async def pipeline(tmp_path: Path) -> AsyncIterator[PipelineHarness]:
    async with open_pipeline(tmp_path) as pipeline:
        (pipeline.folder / "from Tom").mkdir()
        yield pipeline


async def send(pipeline: PipelineHarness, features: dict[str, Any] | None, name: str = f"from Tom/{NAME}") -> Any:
    """Upload a file to a server with these features; return the request that carried it."""
    pipeline.sploot.features = features
    await pipeline.client.limits()
    pipeline.sploot.requests.clear()
    await pipeline.take(await pipeline.add(name, jpeg("a")))
    return pipeline.sploot.requests[-1]


@pytest.mark.parametrize("features", [{"fileNames": "true"}, {**FEATURES, "fileNames": "true"}])
async def test_a_form_carries_the_original_name_beside_the_short_one(
    pipeline: PipelineHarness, features: dict[str, Any]
) -> None:
    body = (await send(pipeline, features)).body
    assert f'name="originalName"\r\n\r\n{ORIGINAL}\r\n'.encode() in body
    assert b'filename="' in body


async def test_an_upload_by_path_carries_the_original_name(pipeline: PipelineHarness) -> None:
    request = await send(pipeline, {**FEATURES, "uploadByPath": 64, "fileNames": "true"})
    assert [file["filename"] for file in request.json()["files"]] == [ORIGINAL]


@pytest.mark.parametrize("features", [None, {}, FEATURES, {**FEATURES, "fileNames": "false"}])
async def test_a_server_that_does_not_announce_it_gets_no_name(
    pipeline: PipelineHarness, features: dict[str, Any] | None
) -> None:
    body = (await send(pipeline, features)).body
    assert b"originalName" not in body
    assert "größe".encode() not in body


async def test_a_user_who_opts_out_sends_no_name(pipeline: PipelineHarness) -> None:
    pipeline.client._may_send_names = False
    body = (await send(pipeline, {"fileNames": "true"})).body
    assert "größe".encode() not in body


async def test_a_file_dropped_in_the_browser_has_no_folder(pipeline: PipelineHarness) -> None:
    (pipeline.folder / BROWSER_UPLOADS).mkdir()
    body = (await send(pipeline, {"fileNames": "true"}, f"{BROWSER_UPLOADS}/a.jpg")).body
    assert b'name="originalName"\r\n\r\na.jpg\r\n' in body
