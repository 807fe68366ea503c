"""An upload at servers that share a library: begun at one, gone on with at another, even if the first one dies."""

from collections.abc import Callable
from pathlib import Path

import httpx
import postgres
import pytest
import s3
from toy_library import ServerProcess
from tuskit import DATA, PATH, PLAIN, SHA256

PART = {**PLAIN, "content-type": "application/offset+octet-stream"}


@pytest.fixture
def serve(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Callable[..., ServerProcess]
) -> Callable[..., ServerProcess]:
    """Starts servers of one library in PostgreSQL and a bucket, each with a folder of its own."""
    environment = {
        **s3.server(),
        "SPLOOT_SERVER_DATABASE": postgres.new_database(),
        "SPLOOT_SERVER_BLOBS": s3.new_place(),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return lambda name, *options: start(*options, data=tmp_path / name)


def features(client: httpx.Client) -> dict[str, object]:
    found: dict[str, object] = client.get("/api/upload").json()["features"]
    return found


def test_an_upload_goes_on_at_another_server_when_the_first_has_died(
    tmp_path: Path, serve: Callable[..., ServerProcess]
) -> None:
    shared = ("--partials", str(tmp_path / "partials"))
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


def test_servers_that_share_no_folder_do_not_offer_it(serve: Callable[..., ServerProcess]) -> None:
    with serve("alone").client() as client:
        assert "resumable" not in features(client)
