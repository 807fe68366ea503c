"""The backup of docs/how-to/backup.md, with its own commands, of a library in PostgreSQL and S3."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import obstore
import postgres
import pytest
import s3
from obstore.store import S3Store
from toy_library import COMMAND, ServerProcess, picture

PAGE = Path(__file__).parent.parent.parent / "docs" / "how-to" / "backup.md"
COMMANDS = [line.strip() for line in PAGE.read_text().splitlines() if line.startswith("    pg_")]


def run(command: str, folder: Path, database: str) -> None:
    environment = {**os.environ, "SPLOOT_SERVER_DATABASE": database, "PATH": f"{postgres.tools()}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-euc", command], cwd=folder, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def copy_objects(source: str, target: str) -> None:
    stores = [S3Store.from_url(url, client_options={"allow_http": True}) for url in (source, target)]
    for page in obstore.list(stores[0]):
        for each in page:
            obstore.put(stores[1], each["path"], bytes(obstore.get(stores[0], each["path"]).bytes()))


def test_a_library_is_backed_up_while_it_runs_and_restored(
    start: Callable[..., ServerProcess], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.server().items():
        monkeypatch.setenv(name, value)
    dump, restore = COMMANDS
    old, new = postgres.new_database(), postgres.new_database()
    bucket, copied = s3.new_prefix(), s3.new_prefix()
    server = start("--database", old, "--blobs", bucket, data=tmp_path / "old")

    def upload(text: str) -> None:
        with server.client() as client:
            files = {"file": (f"{text}.jpg", picture(text), "image/jpeg")}
            assert client.post("/api/upload", files=files).status_code == 201

    for number in range(3):
        upload(f"cat {number}")
    run(dump, tmp_path, old)
    upload("between")  # bytes without a row in the copy
    copy_objects(bucket, copied)
    server.kill()

    run(restore, tmp_path, new)
    backends = ("--database", new, "--blobs", copied)
    restored = start(*backends, data=tmp_path / "new")
    with restored.client() as client:
        assets = client.get("/api/assets").json()["assets"]
        assert sorted(each["filename"] for each in assets) == ["cat 0.jpg", "cat 1.jpg", "cat 2.jpg"]
        for each in assets:
            assert client.get(f"/api/assets/{each['id']}/original").content == picture(each["filename"][:-4])
    check = [*COMMAND, "check", "--hashes", "--data", str(tmp_path / "new"), *backends]
    ended = subprocess.run(check, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, [line.split("\t")[0] for line in ended.stdout.splitlines()]) == (1, ["orphaned"])
