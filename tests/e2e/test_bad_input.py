"""Bad input: each has a clear outcome and a sentence, and nothing else is delayed by it."""

import os
from collections.abc import Iterator
from pathlib import Path

import memes
import pytest
from homes import Home, home_in

pytestmark = pytest.mark.models

REFUSED_AT_ONCE = {  # when named: what the sentence says
    "empty": "is empty",
    "text": "no image",
    "fifo": "neither a file nor a folder",
    "socket": "neither a file nor a folder",
    "broken_link": "does not exist",
    "link_loop": "leads in a circle",
}
FATES = {  # when found in a folder: state, and what the reason says
    "empty": ("dead", "is empty"),
    "text": ("dead", "is not an image"),
    "over_limit": ("dead", "the server takes at most"),
    "heic": ("skipped", "image/heic"),
    "avif": ("skipped", "image/avif"),
    "mp4": ("skipped", "video/mp4"),
    "truncated": ("ready", None),
    "newline": ("ready", None),
    "non_utf8": ("ready", None),
}
NOT_FOUND = ("fifo", "socket", "broken_link", "link_loop", "partial_download", "hidden")


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of odd files, at rest long enough to be taken as they are."""
    return memes.odd(tmp_path_factory.mktemp("odd"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, odd: dict[str, Path]) -> Iterator[Home]:
    with home_in(tmp_path_factory.mktemp("home")) as home:
        folder = odd["empty"].parent
        good = memes.make(folder, count=2, seed=1)
        done = home.run("add", str(folder), "--wait", "--timeout", "100")
        assert done.returncode == 1, done.stdout + done.stderr
        states = {row["path"]: row["state"] for row in home.rows()}
        assert [states[str(meme.path)] for meme in good] == ["ready", "ready"]
        yield home


def test_each_odd_file_in_a_folder_has_its_outcome_and_its_sentence(home: Home, odd: dict[str, Path]):
    rows = {row["path"]: row for row in home.rows()}
    for name, (state, said) in FATES.items():
        if name in odd:
            row = rows[str(odd[name])]
            assert row["state"] == state, name
            assert said is None or said in row["reason"], row["reason"]
    assert not {str(odd[name]) for name in NOT_FOUND if name in odd} & set(rows)


def test_what_failed_is_listed_with_what_to_do(home: Home, odd: dict[str, Path]):
    said = home.ok("failed")
    for name in ("empty", "text", "over_limit"):
        assert odd[name].name in said
    assert "sploot retry" in said


@pytest.mark.parametrize("name", REFUSED_AT_ONCE)
def test_naming_an_odd_file_is_refused_in_a_sentence(home: Home, odd: dict[str, Path], tmp_path: Path, name: str):
    fresh = memes.odd(tmp_path / "fresh")[name]
    if name in ("empty", "text"):  # a file that is just being written is not judged yet
        os.utime(fresh, (1, 1), follow_symlinks=False)
    done = home.run("add", str(fresh))
    assert done.returncode == 1
    assert REFUSED_AT_ONCE[name] in done.stderr + done.stdout


def test_a_path_that_does_not_exist_is_said_and_the_others_are_queued(home: Home, tmp_path: Path):
    (good,) = memes.make(tmp_path / "more", count=1, seed=8)
    done = home.run("add", str(tmp_path / "nowhere.png"), str(good.path), "--wait", "--timeout", "60")
    assert done.returncode == 1
    assert "nowhere.png does not exist" in done.stderr
    assert any(row["path"] == str(good.path) and row["state"] == "ready" for row in home.rows())
