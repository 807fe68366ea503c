"""Resumable uploads at servers that share a library: one continues the upload of another, even after its crash."""

from collections.abc import Callable
from pathlib import Path

import httpx
import postgres
import pytest
import s3
from toy_library import ServerProcess
from tus_fixtures import DATA, PATH, PLAIN, SHA256

PART = {**PLAIN, "content-type": "application/offset+octet-stream"}


@pytest.fixture
def serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Callable[..., ServerProcess]
) -> Callable[..., ServerProcess]:
    """Return a function that starts servers of one library in PostgreSQL and S3, each with its own data folder."""
    environment = {
        **s3.server(),
        "SPLOOT_SERVER_DATABASE": postgres.new_database(),
        "SPLOOT_SERVER_BLOBS": s3.new_prefix(),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return lambda name, *options: start(*options, data=tmp_path / name)


def features(client: httpx.Client) -> dict[str, object]:
    found: dict[str, object] = client.get("/api/upload").json()["features"]
    return found


def test_another_server_continues_the_upload_of_a_killed_one(
    tmp_path: Path, serve: Callable[..., ServerProcess]
) -> None:
    shared = ("--upload-dir", str(tmp_path / "uploads"))
    first, second = serve("first", *shared), serve("second", *shared)
    with first.client() as here, second.client() as there:
        assert "resumable" in features(here)
        url = here.post(PATH, headers={**PLAIN, "upload-length": str(len(DATA))}).headers["location"]
        for server, start in ((here, 0), (there, 1_000), (here, 2_000)):
            answer = server.patch(url, headers={**PART, "upload-offset": str(start)}, content=DATA[start:][:1_000])
            assert answer.status_code == 204
        first.kill()
        assert there.head(url, headers=PLAIN).headers["upload-offset"] == "3000"
        last = there.patch(url, headers={**PART, "upload-offset": "3000"}, content=DATA[3_000:])
        asset = there.get(f"/api/assets/{last.headers['sploot-asset-id']}").json()["asset"]
        assert (asset["checksum"], there.get(asset["blobUrl"]).content) == (SHA256, DATA)


def test_servers_without_a_shared_upload_dir_do_not_list_the_feature(serve: Callable[..., ServerProcess]) -> None:
    with serve("alone").client() as client:
        assert "resumable" not in features(client)
        refused = client.post(PATH, headers={**PLAIN, "upload-length": str(len(DATA))})
        assert refused.status_code == 404, "an upload must not begin that another server could not continue"
