"""Bad input files: each has a clear outcome and message, and none delays the others."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import memes
import pytest
from temp_home import Home, home_in

pytestmark = pytest.mark.models

REJECTED_IMMEDIATELY = {  # given on the command line: the message
    "empty": "is empty",
    "text": "is not an image",
    "fifo": "neither a file nor a folder",
    "socket": "neither a file nor a folder",
    "broken_link": "does not exist",
    "link_loop": "symlink loop",
}
OUTCOMES = {  # found in a folder: the state and the error message
    "empty": ("failed", "is empty"),
    "text": ("failed", "is not an image"),
    "over_limit": ("failed", "the server accepts at most"),
    "heic": ("failed", "in a form that this version cannot read"),
    "avif": ("failed", "in a form that this version cannot read"),
    "mp4": ("failed", "The video is damaged") if find_spec("av") else ("skipped", "pip install 'sploot[video]'"),
    "truncated": ("ready", None),
    "newline": ("ready", None),
    "non_utf8": ("ready", None),
}
NOT_FOUND = ("fifo", "socket", "broken_link", "link_loop", "partial_download", "hidden")


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of odd files, old enough to be settled."""
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


def test_each_odd_file_in_a_folder_has_its_outcome_and_message(home: Home, odd: dict[str, Path]):
    rows = {row["path"]: row for row in home.rows()}
    for name, (state, message) in OUTCOMES.items():
        if name in odd:
            row = rows[str(odd[name])]
            assert row["state"] == state, name
            assert message is None or message in row["error_message"], row["error_message"]
    assert not {str(odd[name]) for name in NOT_FOUND if name in odd} & set(rows)


def test_failed_files_are_listed_with_a_hint(home: Home, odd: dict[str, Path]):
    message = home.ok("failed")
    for name in ("empty", "text", "over_limit"):
        assert odd[name].name in message
    assert "sploot retry" in message
    done = home.run("retry", "--all")
    assert "Not retried: 3 files that must change first (" in done.stderr
    assert "1 too_large" in done.stderr


@pytest.mark.parametrize("name", REJECTED_IMMEDIATELY)
def test_an_odd_file_on_the_command_line_is_rejected_with_a_message(
    home: Home, odd: dict[str, Path], tmp_path: Path, name: str
):
    fresh = memes.odd(tmp_path / "fresh")[name]
    if name in ("empty", "text"):  # a new file is not checked before it has settled
        os.utime(fresh, (1, 1), follow_symlinks=False)
    done = home.run("add", str(fresh))
    assert done.returncode == 1
    assert REJECTED_IMMEDIATELY[name] in done.stderr + done.stdout


def test_a_missing_path_is_reported_and_the_others_are_queued(home: Home, tmp_path: Path):
    (good,) = memes.make(tmp_path / "more", count=1, seed=8)
    done = home.run("add", str(tmp_path / "nowhere.png"), str(good.path), "--wait", "--timeout", "60")
    assert done.returncode == 1
    assert "nowhere.png does not exist" in done.stderr
    assert any(row["path"] == str(good.path) and row["state"] == "ready" for row in home.rows())
