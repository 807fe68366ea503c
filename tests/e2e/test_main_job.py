"""The main job: a folder of memes becomes a searchable library, without any configuration."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import memes
import pytest
from temp_home import Home, home_in

pytestmark = pytest.mark.models
COUNT = 24


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> list[memes.Meme]:
    return memes.make(tmp_path_factory.mktemp("collection") / "memes", count=COUNT, seed=7, sizes="small")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, collection: list[memes.Meme]) -> Iterator[Home]:
    """A home in which the collection is uploaded and searchable."""
    with home_in(tmp_path_factory.mktemp("home")) as home:
        done = home.run("add", str(collection[0].path.parent), "--wait", "--timeout", "110")
        assert done.returncode == 0, done.stdout + done.stderr
        yield home


def test_every_meme_is_ready_and_the_counts_add_up(home: Home):
    items = home.json("status")["items"]
    assert items["ready"] == COUNT
    assert items["total"] == COUNT == sum(number for state, number in items.items() if state != "total")


def test_the_library_holds_each_original_once_byte_for_byte(home: Home, collection: list[memes.Meme]):
    expected = sorted(hashlib.sha256(meme.path.read_bytes()).hexdigest() for meme in collection)
    stored = sorted(hashlib.sha256(file.read_bytes()).hexdigest() for file in home.originals())
    assert stored == expected


def test_a_meme_is_found_by_its_caption(home: Home, collection: list[memes.Meme]):
    for meme in collection[:5]:
        hits = home.json("search", meme.caption)
        assert hits[0]["path"] == str(meme.path), meme.caption


def test_a_meme_is_found_by_its_meaning(home: Home, collection: list[memes.Meme]):
    queries = [meme for meme in collection if meme.paraphrase]
    found = sum(
        str(meme.path) in home.run("search", str(meme.paraphrase), "--limit", "5", "--json").stdout for meme in queries
    )
    assert found >= 0.6 * len(queries), f"{found} of {len(queries)} paraphrases"


def test_adding_the_folder_again_uploads_nothing(home: Home, collection: list[memes.Meme]):
    before = {row["id"]: row["updated_at"] for row in home.rows()}
    assert home.run("add", str(collection[0].path.parent), "--wait").returncode == 0
    assert {row["id"]: row["updated_at"] for row in home.rows()} == before


def test_a_new_file_in_the_folder_is_uploaded_automatically(home: Home, collection: list[memes.Meme]):
    folder = collection[0].path.parent
    fresh = folder / "dropped.png"
    fresh.write_bytes(memes.make(folder.parent / "more", count=1, seed=99)[0].path.read_bytes())
    rows = home.json("list")
    while not any(row["path"] == str(fresh) for row in rows):
        home.ok("status", "--json")
        rows = home.json("list")
    assert home.run("add", str(fresh), "--wait", "--timeout", "60").returncode == 0
    assert home.json("list", "--limit", "1")[0]["state"] == "ready"


def test_a_copy_under_another_name_is_a_duplicate_and_uploads_nothing(
    home: Home, collection: list[memes.Meme], tmp_path: Path
):
    copy = tmp_path / "copy.jpg"
    copy.write_bytes(collection[0].path.read_bytes())
    assert home.run("add", str(copy), "--wait", "--timeout", "60").returncode == 0
    (row,) = [row for row in home.rows() if row["path"] == str(copy)]
    assert (row["state"], row["duplicate"]) == ("ready", True)


def test_why_explains_the_state_of_one_file(home: Home, collection: list[memes.Meme]):
    output = home.ok("why", str(collection[0].path))
    assert "Ready" in output
    assert collection[0].path.name in output
