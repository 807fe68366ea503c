"""`sploot-server check` compares database and originals: SQLite with files, and PostgreSQL with S3, on real servers."""

import hashlib
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import obstore
import postgres
import pytest
import s3
from obstore.store import S3Store
from toy_library import COMMAND, ServerProcess, picture


@dataclass
class Library:
    """A running server, and a way to damage its originals behind its back."""

    server: ServerProcess
    backends: Sequence[str]
    bucket: Any = None

    def check(self, *options: str) -> tuple[int, list[list[str]]]:
        """Return the exit code and the listed differences."""
        command = [*COMMAND, "check", "--data", str(self.server.data), *self.backends, *options]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert "Traceback" not in ended.stderr, ended.stderr
        return ended.returncode, [line.split("\t") for line in ended.stdout.splitlines()]

    def upload(self, text: str) -> str:
        """Upload a picture and return its checksum."""
        with self.server.client() as client:
            sent = client.post("/api/upload", files={"file": (f"{text}.jpg", picture(text), "image/jpeg")})
            assert sent.status_code in (201, 409)
            return str(sent.json()["asset"]["checksum"])

    def write(self, checksum: str, content: bytes) -> None:
        if self.bucket is None:
            self._path(checksum).parent.mkdir(exist_ok=True)
            self._path(checksum).write_bytes(content)
        else:
            obstore.put(self.bucket, self._key(checksum), content)

    def remove(self, checksum: str) -> None:
        if self.bucket is None:
            self._path(checksum).unlink()
        else:
            obstore.delete(self.bucket, self._key(checksum))

    def _path(self, checksum: str) -> Path:
        return self.server.data / "blobs" / checksum[:2] / checksum

    def _key(self, checksum: str) -> str:
        return f"{checksum[:2]}/{checksum[2:4]}/{checksum}"


@pytest.fixture(params=["sqlite and files", "postgres and s3"])
def library(
    request: pytest.FixtureRequest, start: Callable[..., ServerProcess], monkeypatch: pytest.MonkeyPatch
) -> Library:
    if request.param == "sqlite and files":
        return Library(start(), ())
    for name, value in s3.server().items():
        monkeypatch.setenv(name, value)
    prefix = s3.new_prefix()
    backends = ("--database", postgres.new_database(), "--blobs", prefix)
    return Library(start(*backends), backends, S3Store.from_url(prefix, client_options={"allow_http": True}))


def test_a_library_without_differences_passes(library: Library) -> None:
    for number in range(5):
        library.upload(f"cat {number}")
    assert library.check() == (0, [])
    assert library.check("--hashes", "--repair") == (0, [])


def test_every_kind_of_difference_is_found_and_repaired(library: Library) -> None:
    kept, missing, short, changed = (library.upload(name) for name in ("kept", "missing", "short", "changed"))
    orphan = hashlib.sha256(b"orphan").hexdigest()
    library.write(orphan, b"orphan")
    library.remove(missing)
    library.write(short, b"x")
    library.write(changed, picture("CHANGED"))  # of the same size
    expected = [
        ["missing", missing, "missing.jpg"],
        ["damaged", short, "short.jpg"],
        ["orphaned", orphan],
    ]
    assert library.check() == (1, sorted(expected, key=lambda each: each[1]))
    expected.append(["damaged", changed, "changed.jpg"])
    found = sorted(expected, key=lambda each: each[1])
    assert library.check("--hashes") == (1, found), "a check without --repair changes nothing"
    assert library.check("--hashes", "--repair") == (0, found)
    assert library.check("--hashes") == (0, [])
    with library.server.client() as client:
        assert [each["checksum"] for each in client.get("/api/assets").json()["assets"]] == [kept]


def test_uploading_a_missing_file_again_restores_its_asset(library: Library) -> None:
    checksum = library.upload("a cat")
    with library.server.client() as client:
        [asset] = client.get("/api/assets").json()["assets"]
        client.patch(f"/api/assets/{asset['id']}", json={"favorite": True, "tags": ["cats"]})
        library.remove(checksum)
        assert library.check("--repair")[0] == 0
        assert client.get(f"/api/assets/{asset['id']}").status_code == 404
        assert library.upload("a cat") == checksum
        again = client.get(f"/api/assets/{asset['id']}").json()["asset"]
        assert (again["favorite"], [tag["name"] for tag in again["tags"]]) == (True, ["cats"])
        assert client.get(f"/api/assets/{asset['id']}/original").content == picture("a cat")
    assert library.check("--hashes") == (0, [])


def test_originals_of_deleted_assets_are_no_orphans(library: Library) -> None:
    library.upload("a cat")
    with library.server.client() as client:
        [asset] = client.get("/api/assets").json()["assets"]
        client.delete(f"/api/assets/{asset['id']}")
        assert library.check("--repair") == (0, [])


def test_a_check_of_another_store_repairs_nothing(library: Library, tmp_path: Path) -> None:
    """Compared with an empty bucket, every original would be missing, and every asset deleted."""
    if library.bucket is None:
        pytest.skip("the folder of the files is inside the library's")
    library.upload("a cat")
    wrong = (*library.backends[:3], s3.new_prefix())
    command = [*COMMAND, "check", "--repair", "--data", str(tmp_path), *wrong]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, "is not the store of this library" in ended.stderr) == (78, True)
    assert library.check() == (0, [])
