"""The database knows its blob store: real servers refuse another one, and a missing original is told as such."""

import hashlib
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx
import postgres
import pytest
import s3
from prometheus_client.parser import text_string_to_metric_families
from sploot_server.domain.entities import OriginalMissing
from toy_library import COMMAND, ServerProcess, picture

Start = Callable[..., ServerProcess]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3.server().items():
        monkeypatch.setenv(name, value)


def refused(data: Path, *options: str) -> str:
    """Start a server that must exit with 78; return the message."""
    command = [*COMMAND, "--data", str(data), "--port", "0", *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 78, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stderr


def upload(server: ServerProcess, text: str) -> str:
    """Upload a picture and return its id."""
    with server.client() as client:
        sent = client.post("/api/upload", files={"file": ("a.jpg", picture(text), "image/jpeg")})
        assert sent.status_code == 201
        return str(sent.json()["asset"]["id"])


def shared(database: str, blobs: str) -> Sequence[str]:
    return ("--database", database, "--blobs", blobs)


@pytest.mark.usefixtures("bucket")
def test_a_server_with_another_bucket_is_refused_and_the_right_one_starts(start: Start, tmp_path: Path) -> None:
    database, right, wrong = postgres.new_database(), s3.new_prefix(), s3.new_prefix()
    start(*shared(database, right), data=tmp_path / "one")
    message = refused(tmp_path / "two", *shared(database, wrong))
    assert f"--blobs {wrong} is not the store of this library" in message
    worker = [*COMMAND, "worker", *shared(database, wrong)]
    assert subprocess.run(worker, capture_output=True, timeout=60, check=False).returncode == 78
    second = start(*shared(database, right), data=tmp_path / "three")
    with second.client() as client:
        assert client.get("/api/health/ready").status_code == 200


@pytest.mark.usefixtures("bucket")
def test_a_new_database_does_not_take_over_the_bucket_of_another_library(start: Start, tmp_path: Path) -> None:
    """Two libraries in one bucket would delete each other's originals."""
    blobs = s3.new_prefix()
    start(*shared(postgres.new_database(), blobs), data=tmp_path / "one")
    message = refused(tmp_path / "two", *shared(postgres.new_database(), blobs))
    assert "holds the originals of another library" in message
    assert "Restore the database" in message


def test_servers_that_start_together_agree_on_one_store(start: Start, tmp_path: Path) -> None:
    """Each has a folder of its own, so only one of them can be the store of the library."""
    database = postgres.new_database()
    command = [*COMMAND, "--database", database, "--exit-with-stdin", "--port", "0", "--data"]
    processes = [
        subprocess.Popen([*command, str(tmp_path / name)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for name in ("one", "two", "three")
    ]
    ended = []
    for process in processes:  # a refused server exits; the accepted one when its input closes
        _, errors = process.communicate(timeout=60)
        ended.append((process.returncode, "is not the store of this library" in errors))
    assert sorted(ended) == [(0, False), (78, True), (78, True)], ended


def test_a_library_whose_disk_is_not_mounted_does_not_start(start: Start, tmp_path: Path) -> None:
    server = start()
    upload(server, "a cat")
    server.stop()
    (server.data / "blobs").rename(tmp_path / "unmounted")
    message = refused(server.data)
    assert "whether its disk is mounted" in message
    recorded = message.split("write ")[1].split()[0]
    assert recorded == (tmp_path / "unmounted" / "store-id").read_text().strip()
    (server.data / "blobs" / "store-id").write_text(recorded)  # the remedy in the message
    start(data=server.data).stop()


def test_a_new_library_beside_old_originals_starts(start: Start) -> None:
    """A person who has lost library.db keeps the folder; its originals belong to no other library."""
    server = start()
    server.stop()
    for file in server.data.glob("library.db*"):
        file.unlink()
    again = start(data=server.data)
    upload(again, "a cat")


@pytest.mark.parametrize("kind", ["files", "s3"])
def test_a_missing_original_is_404_with_a_metric_and_its_embedding_fails(
    start: Start, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: Sequence[str] = ()
    if kind == "s3":
        for name, value in s3.server().items():
            monkeypatch.setenv(name, value)
        options = ("--blobs", s3.new_prefix())
    server = start(*options)
    asset_id = upload(server, "a cat")
    remove(server, options, hashlib.sha256(picture("a cat")).hexdigest())
    with server.client() as client:
        for path in ("original", "thumbnail"):
            missing = client.get(f"/api/assets/{asset_id}/{path}")
            assert (missing.status_code, "missing from the library's store" in missing.text) == (404, True)
        assert counted(client) >= 2  # the job may have looked for it, too
        assert embedding_error(client, asset_id) == str(OriginalMissing())
    assert "Traceback" not in server.stop()


def remove(server: ServerProcess, options: Sequence[str], checksum: str) -> None:
    if options:
        import obstore  # noqa: PLC0415 - an extra
        from obstore.store import S3Store  # noqa: PLC0415

        bucket_store = S3Store.from_url(options[1], client_options={"allow_http": True})
        obstore.delete(bucket_store, f"{checksum[:2]}/{checksum[2:4]}/{checksum}")
    else:
        (server.data / "blobs" / checksum[:2] / checksum).unlink()


def counted(client: httpx.Client) -> float:
    families = text_string_to_metric_families(client.get("/metrics").text)
    [value] = [each.value for family in families for each in family.samples if "originals_missing" in each.name]
    return value


def embedding_error(client: httpx.Client, asset_id: str) -> str:
    """Return the error of the embedding, once more if the job had read the original before it was removed."""
    error = ""
    for _ in range(3):
        client.post(f"/api/assets/{asset_id}/generate-embedding", timeout=60)
        body = client.get(f"/api/assets/{asset_id}/embedding-status").json()
        error = str(body.get("error"))
        if body["status"] == "failed" and "missing" in error:
            break
    return error
