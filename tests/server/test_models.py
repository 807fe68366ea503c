"""`sploot-server model`: real commands against a hub on loopback, with tiny real models."""

import asyncio
import hashlib
import io
import json
import os
import subprocess
import tarfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from model_hub import COMMIT, Hub, run_hub
from PIL import Image, ImageDraw, ImageFont
from sploot_server.admin.socket import SOCKET_NAME, serve_admin_socket
from sploot_server.app import create_app
from sploot_server.config import Config
from sploot_server.inference.model_manifest import ModelUnusable
from sploot_server.models import archive
from sploot_server.models.archive import unpack
from sploot_server.models.download import download
from sploot_server.models.installed_models import InstalledModels, read_model
from sploot_server.models.model_source import HubRepository, ModelFile, model_name, parse_source
from tiny_models import COLOURS, save_export, save_model, save_text_encoder
from toy_library import COMMAND, ServerProcess

GRAPH = "onnx/vision_model_quantized.onnx"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with run_hub(save_export(tmp_path / "repository")) as hub:
        yield hub


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "library"


def run(*words: str, data: Path, hub: Hub | None = None) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "HF_ENDPOINT": hub.url if hub else "http://127.0.0.1:9", "NO_PROXY": "*"}
    command = [*COMMAND, "model", *words, "--data", str(data)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=110, check=False, env=environ, stdin=subprocess.DEVNULL
    )


def listed(data: Path) -> list[dict[str, Any]]:
    done = run("list", "--json", data=data)
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def test_size_licence_and_checksums_are_shown_and_nothing_is_fetched_without_consent(hub: Hub, data: Path) -> None:
    done = run("add", "hf:owner/name", data=data, hub=hub)
    assert done.returncode == 1
    graph = (hub.folder / GRAPH).read_bytes()
    assert hashlib.sha256(graph).hexdigest() in done.stderr
    assert f"revision  {COMMIT}" in done.stderr
    assert "licence   mit" in done.stderr
    assert "--yes" in done.stderr
    assert [path for path, _ in hub.requests] == ["/api/models/owner/name/revision/main?blobs=true"]
    assert not list(data.rglob("*.onnx"))


def test_a_repository_is_fetched_at_the_commit_of_its_branch_and_listed(hub: Hub, data: Path) -> None:
    done = run("add", "hf:owner/name@main", "--yes", data=data, hub=hub)
    assert done.returncode == 0, done.stderr
    fetched = [path for path, _ in hub.requests if "/resolve/" in path]
    assert fetched
    assert all(path.startswith(f"/owner/name/resolve/{COMMIT}/") for path in fetched)
    [row] = listed(data)
    assert (row["name"], row["licence"], row["revision"]) == ("name", "mit", COMMIT)
    assert not list((data / "models" / "incoming").iterdir())


def test_an_interrupted_download_continues_where_it_stopped(hub: Hub, tmp_path: Path) -> None:
    content = (hub.folder / GRAPH).read_bytes()
    file = ModelFile("graph", f"{hub.url}/files/{GRAPH}", len(content), hashlib.sha256(content).hexdigest())
    hub.break_after_bytes[GRAPH] = 100
    arrived: list[int] = []
    download(file, tmp_path / "graph", arrived.append)
    assert (tmp_path / "graph").read_bytes() == content
    assert [wanted for _, wanted in hub.requests] == ["", "bytes=100-"]
    assert (arrived[0], arrived[-1]) == (100, len(content))


def test_a_file_that_changed_during_an_interruption_is_fetched_whole(hub: Hub, tmp_path: Path) -> None:
    content = (hub.folder / GRAPH).read_bytes()
    file = ModelFile("graph", f"{hub.url}/files/{GRAPH}", len(content), hashlib.sha256(content).hexdigest())
    (tmp_path / "graph.part").write_bytes(b"x" * 100)
    (tmp_path / "graph.etag").write_text('"of another version"')
    download(file, tmp_path / "graph", lambda _: None)
    assert (tmp_path / "graph").read_bytes() == content
    assert [wanted for _, wanted in hub.requests] == ["bytes=100-"]


@pytest.mark.parametrize("name", [GRAPH, "config.json"])
def test_a_file_that_differs_from_the_checksum_of_the_hub_is_not_installed(hub: Hub, data: Path, name: str) -> None:
    content = (hub.folder / name).read_bytes()
    hub.replaced[name] = content[:-1] + bytes([content[-1] ^ 1])
    done = run("add", "hf:owner/name", "--yes", data=data, hub=hub)
    assert done.returncode == 1
    assert "Nothing was installed." in done.stderr
    assert ("SHA-256" if name == GRAPH else "git id") in done.stderr.splitlines()[-1]
    assert listed(data) == []


def test_a_file_longer_than_described_is_cut_off(hub: Hub, tmp_path: Path) -> None:
    file = ModelFile("graph", f"{hub.url}/files/{GRAPH}", 10)
    with pytest.raises(ModelUnusable, match="larger than the 10 bytes"):
        download(file, tmp_path / "graph", lambda _: None)


def test_what_cannot_be_fetched_is_a_sentence(hub: Hub, data: Path) -> None:
    for source, sentence in (
        ("hf:owner/none", "answered 404: it has no such model or file."),
        ("hf:owner", "write hf:OWNER/NAME or hf:OWNER/NAME@REVISION."),
        ("ftp://host/model.zip", "it must start with https:// or http://."),
        ("nowhere", "does not exist."),
    ):
        done = run("add", source, "--yes", data=data, hub=hub)
        assert done.returncode == 1
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
    assert "cannot be reached" in run("add", "hf:owner/name", "--yes", data=data).stderr


def test_a_repository_without_a_picture_model_is_refused_before_anything_is_fetched(hub: Hub, data: Path) -> None:
    (hub.folder / "onnx" / "text_model.onnx").unlink()
    (hub.folder / "onnx" / "text_model_quantized.onnx").unlink()
    done = run("add", "hf:owner/name", "--yes", data=data, hub=hub)
    assert done.returncode == 1
    assert "it has no onnx/text_model.onnx" in done.stderr
    assert len(hub.requests) == 1


def test_a_text_encoder_of_a_hub_is_fetched_in_8_bits_and_stands_beside_a_picture_model(
    hub: Hub, data: Path, tmp_path: Path
) -> None:
    hub.folder = save_text_encoder(tmp_path / "encoder", ("elephant contract",))
    graph = "onnx/model_quint8_avx2.onnx"
    content = (hub.folder / graph).read_bytes()
    checksum = hashlib.sha256(content).hexdigest()
    assert f"SHA-256 {checksum}" in run("add", "hf:owner/name", data=data, hub=hub).stderr
    hub.replaced[graph] = content[:-1] + bytes([content[-1] ^ 1])
    assert "Nothing was installed." in run("add", "hf:owner/name", "--yes", data=data, hub=hub).stderr
    hub.replaced.clear()
    assert run("add", str(save_model(tmp_path / "colours")), "--yes", data=data).returncode == 0
    done = run("add", "hf:owner/name", "--yes", data=data, hub=hub)
    assert done.returncode == 0, done.stderr
    assert "name, text encoder from hf:owner/name" in done.stderr
    picture, text = listed(data)
    assert (picture["name"], picture["kind"]) == ("colours", "picture model")
    assert (text["name"], text["kind"], text["licence"], text["revision"]) == ("name", "text encoder", "mit", COMMIT)
    assert text["sha256"]["model.onnx"] == checksum
    assert f"  model.onnx\tSHA-256 {checksum}\n" in run("list", data=data).stdout
    assert "it has colours and name." in run("remove", "other", data=data).stderr


def zip_folder(folder: Path, target: Path) -> Path:
    with zipfile.ZipFile(target, "w") as zipped:
        for file in folder.iterdir():
            zipped.write(file, f"{folder.name}/{file.name}")
    return target


def test_a_folder_and_archives_are_installed_and_the_last_one_is_wanted(hub: Hub, data: Path, tmp_path: Path) -> None:
    folder = save_model(tmp_path / "colours")
    zipped = zip_folder(folder, hub.folder / "zipped.zip")
    with tarfile.open(tmp_path / "tarred.tar.gz", "w:gz") as tar:
        tar.add(folder, "colours")
    for source, name in (
        (str(folder), "colours"),
        (f"{hub.url}/files/zipped.zip#sha256={hashlib.sha256(zipped.read_bytes()).hexdigest()}", "zipped"),
        (str(tmp_path / "tarred.tar.gz"), "tarred"),
    ):
        done = run("add", source, "--yes", data=data)
        assert done.returncode == 0, done.stderr
        assert [(row["name"], row["state"]) for row in listed(data)] == [(name, "being read")]


def test_an_archive_with_another_checksum_is_not_installed(hub: Hub, data: Path, tmp_path: Path) -> None:
    zipped = zip_folder(save_model(tmp_path / "colours"), hub.folder / "zipped.zip")
    for source in (str(zipped), f"{hub.url}/files/zipped.zip"):
        done = run("add", source, "--yes", "--sha256", "0" * 64, data=data)
        assert done.returncode == 1
        assert "its SHA-256 is" in done.stderr
    assert listed(data) == []


def tar_with(member: tarfile.TarInfo, target: Path) -> Path:
    with tarfile.open(target, "w") as tar:
        tar.addfile(member, io.BytesIO(b"x" * member.size))
    return target


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", "folder/../../escaped", "..\\escaped", "C:escaped"])
def test_no_member_of_an_archive_leaves_its_folder(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr(name, b"x")
    member = tarfile.TarInfo(name)
    member.size = 1
    for file in (tmp_path / "a.zip", tar_with(member, tmp_path / "a.tar")):
        with pytest.raises(ModelUnusable, match="would leave its folder"):
            unpack(file, tmp_path / "target" / "below")
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_in_an_archive_are_refused(kind: bytes, tmp_path: Path) -> None:
    member = tarfile.TarInfo("visual.onnx")
    member.type, member.linkname = kind, "/etc/passwd"
    with pytest.raises(ModelUnusable, match=r"not a plain file|damaged"):
        unpack(tar_with(member, tmp_path / "a.tar"), tmp_path / "target")


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "UNPACKED_BYTES_MAX", 1_000_000)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("visual.onnx", b"\0" * 2_000_000)
    assert (tmp_path / "bomb.zip").stat().st_size < 10_000
    with pytest.raises(ModelUnusable, match="larger than 1000000 bytes when unpacked"):
        unpack(tmp_path / "bomb.zip", tmp_path / "target")
    assert sum(file.stat().st_size for file in (tmp_path / "target").iterdir()) <= 1_000_000


def test_damaged_archives_are_named(tmp_path: Path) -> None:
    whole = zip_folder(save_model(tmp_path / "colours"), tmp_path / "whole.zip").read_bytes()
    (tmp_path / "damaged.zip").write_bytes(whole[:50] + b"\xff" * 20 + whole[70:])
    (tmp_path / "text.zip").write_text("no archive")
    for name in ("damaged.zip", "text.zip"):
        with pytest.raises(ModelUnusable, match=name):
            unpack(tmp_path / name, tmp_path / f"{name}.target")


def test_sources_are_told_apart() -> None:
    assert parse_source("hf:Owner/clip-vit@v1.0") == HubRepository("Owner/clip-vit", "v1.0")
    assert parse_source("hf:Owner/clip-vit") == HubRepository("Owner/clip-vit", "main")
    assert parse_source("https://host/a.zip") == "https://host/a.zip"
    for text in ("hf:../../etc", "hf:a/..", "hf:a/b@../c", "file:///etc/passwd"):
        with pytest.raises(ModelUnusable):
            parse_source(text)
    assert model_name("https://host/Mobile CLIP_s0.tar.gz?x=1") == "mobile-clip-s0"


def wait_until_ready(client: httpx.Client, asset_id: str) -> None:
    while client.post(f"/api/assets/{asset_id}/generate-embedding").status_code == 202:
        pass  # each call waits for ten seconds, until the test times out


def add_pictures(client: httpx.Client) -> dict[str, str]:
    ids = {}
    for name, colour in COLOURS.items():
        content = io.BytesIO()
        Image.new("RGB", (80, 60), colour).save(content, "PNG")
        ids[name] = client.post("/api/upload", files={"file": ("a.png", content.getvalue())}).json()["asset"]["id"]
        wait_until_ready(client, ids[name])
    return ids


def model_of(client: httpx.Client, asset_id: str) -> str:
    return str(client.get(f"/api/assets/{asset_id}").json()["asset"]["embedding"]["modelName"])


def wait_until_in_use(data: Path, *names: str) -> None:
    """Wait until the server has recorded that it uses these models."""
    models = InstalledModels(data)
    while (folders := models.in_use()) != models.wanted() or sorted(read_model(each).name for each in folders) != [
        *names
    ]:
        time.sleep(0.1)


def add_caption(client: httpx.Client, words: str) -> str:
    content, picture = io.BytesIO(), Image.new("RGB", (600, 200), "white")
    ImageDraw.Draw(picture).text((30, 60), words, "black", ImageFont.load_default(60))
    picture.save(content, "PNG")
    response = client.post("/api/upload", files={"file": ("b.png", content.getvalue())})
    asset_id: str = response.json()["asset"]["id"]
    wait_until_ready(client, asset_id)
    return asset_id


def meaning(client: httpx.Client, query: str, asset_id: str) -> float:
    """Return how near the meaning of a picture's words is to a query."""
    [found] = [
        each for each in client.post("/api/search", json={"query": query}).json()["results"] if each["id"] == asset_id
    ]
    return float(found["why"]["meaning"])


@pytest.mark.models
@pytest.mark.timeout(400)  # it starts eight low-priority workers
def test_a_running_server_reads_its_library_with_new_models_and_without_them_again(
    hub: Hub, data: Path, tmp_path: Path
) -> None:
    server = ServerProcess(data)
    try:
        with server.client() as client:
            client.timeout = httpx.Timeout(60)
            ids = add_pictures(client)
            captioned = add_caption(client, "read the contract")
            before, far = model_of(client, captioned), meaning(client, "elephant", captioned)
            done = run("add", "hf:owner/name", "--yes", data=data, hub=hub)
            assert done.returncode == 0, done.stderr
            assert "Searches work meanwhile." in done.stderr
            assert client.post("/api/search", json={"query": "red"}).status_code == 200
            wait_until_in_use(data, "name")
            assert [row["state"] for row in listed(data)] == ["in use"]
            for name, asset_id in ids.items():
                wait_until_ready(client, asset_id)
                assert "name-" in model_of(client, asset_id)
                results = client.post("/api/search", json={"query": name}).json()["results"]
                assert results[0]["why"]["picture"] == 1.0
                assert asset_id in [each["id"] for each in results if each["why"]["picture"] == 1.0]
            encoder = save_text_encoder(tmp_path / "encoder", ("elephant contract",))
            assert run("add", str(encoder), "--yes", data=data).returncode == 0
            wait_until_in_use(data, "encoder", "name")
            assert [(row["kind"], row["state"]) for row in listed(data)] == [
                ("text encoder", "in use"),
                ("picture model", "in use"),
            ]
            wait_until_ready(client, captioned)
            assert meaning(client, "elephant", captioned) > far + 0.3
            for name in ("name", "encoder"):
                assert run("remove", name, data=data).returncode == 0
            wait_until_in_use(data)
            assert listed(data) == []
            wait_until_ready(client, captioned)
            assert model_of(client, captioned) == before
            assert meaning(client, "elephant", captioned) == pytest.approx(far)
    finally:
        server.stop()
    assert not list(data.rglob("*.onnx"))


@pytest.mark.models
def test_a_stopped_server_uses_its_model_from_the_next_start_on(data: Path, tmp_path: Path) -> None:
    assert run("add", str(save_model(tmp_path / "colours")), "--yes", data=data).returncode == 0
    for _ in range(2):
        server = ServerProcess(data)
        try:
            wait_until_in_use(data, "colours")
        finally:
            server.stop()


@pytest.mark.models
async def test_a_model_added_while_the_server_starts_is_used(config: Config, tmp_path: Path) -> None:
    colours, changed = save_model(tmp_path / "colours"), asyncio.Event()
    config.data.mkdir()
    async with create_app(config, on_reading=lambda done, total: changed.set()) as app:
        done = await asyncio.to_thread(run, "add", str(colours), "--yes", data=config.data)
        assert "when its server starts" in done.stderr  # no socket listens yet
        async with serve_admin_socket(config.data / SOCKET_NAME, app.state.admin_service):
            await changed.wait()
            assert (await asyncio.to_thread(listed, config.data))[0]["state"] == "in use"


def test_removing_an_unknown_model_names_the_installed_one(data: Path, tmp_path: Path) -> None:
    assert "it has none" in run("remove", "colours", data=data).stderr
    assert run("add", str(save_model(tmp_path / "colours")), "--yes", data=data).returncode == 0
    done = run("remove", "other", data=data)
    assert done.returncode == 1
    assert "it has colours." in done.stderr
