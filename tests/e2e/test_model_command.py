"""`sploot model` in an empty home, with the real daemon, library server and tiny real models."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from model_hub import run_hub
from temp_home import Home, home_in
from tiny_models import save_export


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    with (
        run_hub(save_export(tmp_path / "r")) as hub,
        home_in(tmp_path / "h", HF_ENDPOINT=hub.url, NO_PROXY="*") as home,
    ):
        yield home


@pytest.mark.models
def test_a_model_of_a_hub_is_added_to_the_local_library_and_removed(home: Home):
    assert home.json("model", "list") == []
    refused = home.run("model", "add", "hf:owner/name", stdin=b"")
    assert refused.returncode == 1
    assert "licence   mit" in refused.stderr
    home.ok("model", "add", "hf:owner/name", "--yes")
    while [row["state"] for row in home.json("model", "list")] != ["in use"]:
        time.sleep(0.1)  # the daemon starts its server, which finds the model
    home.ok("model", "remove", "name")
    while home.json("model", "list"):
        time.sleep(0.1)
    assert not list(home.library.rglob("*.onnx"))


def test_a_remote_library_has_its_models_on_its_own_machine(home: Home):
    home.environ["SPLOOT_SERVER"] = "https://sploot.example"
    done = home.run("model", "list")
    assert done.returncode == 1
    assert "run `sploot-server model` on that machine" in done.stderr
