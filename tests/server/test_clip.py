"""CLIP models of users, tested with tiny real graphs that distinguish red, green and blue."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from sploot_server.inference.clip import ClipImageEncoder, ClipTextEncoder
from sploot_server.inference.clip_manifest import ClipManifest
from sploot_server.inference.model_folder import check_model
from sploot_server.inference.model_manifest import ModelUnusable
from tiny_models import COLOURS, MANIFEST, save_model
from toy_library import ServerProcess


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Create a model that maps images to their mean colour and texts to the mean of the colours they name."""
    folder = save_model(tmp_path / "model")
    # The first session of a process sets a processor flag of its thread (onnx_options.py), so it gets a thread here.
    with ThreadPoolExecutor(1) as executor:
        executor.submit(ClipImageEncoder, folder).result()
    return folder


def plain(path: Path, colour: tuple[int, int, int]) -> None:
    Image.new("RGB", (80, 60), colour).save(path)


def test_texts_and_images_share_a_space(model: Path) -> None:
    image_encoder, text_encoder = ClipImageEncoder(model), ClipTextEncoder(model)
    images = {
        name: np.frombuffer(image_encoder.embed(Image.new("RGB", (90, 30), rgb)), "<f4")
        for name, rgb in COLOURS.items()
    }
    for name in COLOURS:
        query = np.frombuffer(text_encoder.embed(f"a {name} picture"), "<f4")
        assert np.linalg.norm(query) == pytest.approx(1, abs=1e-5)
        assert max(images, key=lambda each: float(images[each] @ query)) == name


def test_a_text_longer_than_the_context_is_truncated(model: Path) -> None:
    assert ClipTextEncoder(model).embed("red " * 50) == ClipTextEncoder(model).embed("red " * 8)


@pytest.fixture
def library(model: Path, tmp_path: Path) -> Iterator[httpx.Client]:
    server = ServerProcess(tmp_path / "library", "--model", str(model))
    with server.client() as client:
        client.timeout = httpx.Timeout(60)
        yield client
    server.stop()


def wait_until_ready(client: httpx.Client, asset_id: str) -> None:
    while client.post(f"/api/assets/{asset_id}/generate-embedding").status_code == 202:
        pass  # each call waits for ten seconds; the test times out after two minutes


@pytest.mark.models
def test_an_image_without_text_is_found_by_its_image_vector(library: httpx.Client, tmp_path: Path) -> None:
    ids = {}
    for name, colour in COLOURS.items():
        plain(tmp_path / f"{name}.png", colour)
        sent = library.post("/api/upload", files={"file": ("a.png", (tmp_path / f"{name}.png").read_bytes())})
        ids[name] = sent.json()["asset"]["id"]
        wait_until_ready(library, ids[name])
    assert "colours-" in library.get(f"/api/assets/{ids['red']}").json()["asset"]["embedding"]["modelName"]
    for name, asset_id in ids.items():
        best = library.post("/api/search", json={"query": name}).json()["results"][0]
        assert best["id"] == asset_id
        assert best["why"]["picture"] > 0.5


def test_all_errors_of_a_manifest_are_reported(model: Path) -> None:
    invalid = {
        **MANIFEST,
        "dim": 0,
        "normalise": "yes",
        "image": {**MANIFEST["image"], "size": [224], "std": ["a", 1, 1]},
    }
    (model / "manifest.json").write_text(json.dumps(invalid))
    with pytest.raises(ModelUnusable) as error:
        ClipManifest.read(model)
    for sentence in (
        "dim must be a whole number from 1 to 16384.",
        "normalise must be true or false.",
        "image.size must be 2 whole numbers from 1 to 4096.",
        "image.std must be 3 numbers.",
    ):
        assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            {"dim": 4},
            "visual.onnx returns 3 numbers, but the manifest declares 4. textual.onnx returns 3 numbers",
        ),
        ({"normalise": False}, "set normalise to true"),
        ({"image": {**MANIFEST["image"], "input": "x"}}, "visual.onnx has no input x; it has pixels."),
        ({"text": {**MANIFEST["text"], "output": "y"}}, "textual.onnx has no output y; it has colour."),
        ({"image": {**MANIFEST["image"], "size": [8, 8]}}, "The model does not run"),
        ({"cosines": [0.5, 0.5]}, "cosines must be two numbers, the lower one first."),
    ],
)
def test_a_manifest_that_does_not_match_the_graphs_is_refused(
    model: Path, changed: dict[str, Any], sentence: str
) -> None:
    (model / "manifest.json").write_text(json.dumps({**MANIFEST, **changed}))
    with pytest.raises(ModelUnusable) as error:
        check_model(model)
    assert sentence in str(error.value)


@pytest.mark.parametrize("name", ["visual.onnx", "textual.onnx", "tokenizer.json", "manifest.json"])
def test_damaged_and_missing_files_are_named(model: Path, name: str) -> None:
    (model / name).write_bytes(b"nonsense")
    with pytest.raises(ModelUnusable, match=name if name != "manifest.json" else "The manifest must be an object"):
        check_model(model)
    (model / name).unlink()
    with pytest.raises(ModelUnusable, match=f"has no {name}."):
        check_model(model)


def test_the_server_does_not_start_with_a_missing_model(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sploot_server", "--data", str(tmp_path / "l"), "--model", str(tmp_path / "none")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (ended.returncode, ended.stdout) == (78, "")
    assert "has no manifest.json, no visual.onnx, no textual.onnx, no tokenizer.json." in ended.stderr


def test_replacing_a_file_changes_the_revision(model: Path) -> None:
    before = ClipManifest.read(model).revision
    assert ClipManifest.read(model).revision == before
    os.utime(model / "visual.onnx", (1, 1))
    assert ClipManifest.read(model).revision != before
