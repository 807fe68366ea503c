"""`sploot search` with a local server: its output, and what `--open` opens."""

import shutil
import stat
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path

import pytest
from temp_home import Home, home_in

MEME = Path(__file__).parents[2] / "examples" / "memes" / "meme-7-0005.gif"
WORDS = "horoscope adventure bus"


@pytest.fixture
def home(tmp_path: Path):
    """A home with one meme in its library and a PATH for a fake xdg-open."""
    programs = tmp_path / "bin"
    programs.mkdir()
    with home_in(tmp_path / "home", PATH=f"{programs}:/usr/bin:/bin") as home:
        shutil.copy(MEME, home.folder / MEME.name)
        home.ok("add", str(home.folder / MEME.name), "--wait", "--timeout", "100")
        yield home


def fake_xdg_open(home: Home, *, exit_code: int = 0) -> Path:
    """Install a fake xdg-open; return the file that records its last argument."""
    opened = home.folder / "opened"
    program = Path(home.environ["PATH"].partition(":")[0]) / "xdg-open"
    program.write_text(f'#!/bin/sh\nprintf %s "$1" > "{opened}"\necho in vain >&2\nexit {exit_code}\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return opened


def test_open_opens_the_local_file_or_the_image_in_the_library(home: Home):
    opened, file = fake_xdg_open(home), home.folder / MEME.name
    assert home.ok("search", "--open", "1", WORDS).startswith("  1  ")
    assert opened.read_text() == str(file)

    file.unlink()
    done = home.run("search", WORDS)
    assert "no local file; to view it: sploot search TEXT --open 1" in done.stdout
    assert home.json("search", WORDS)[0]["path"] is None
    home.ok("search", "--open", "1", WORDS)
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    assert browser.open(opened.read_text()).read() == MEME.read_bytes()

    link = home.json("search", WORDS)[0]["url"]
    assert link in home.ok("search", WORDS)
    assert browser.open(link).read() == MEME.read_bytes(), "the browser has a session now"


def test_a_failure_to_open_prints_the_path_and_nothing_else(home: Home):
    fake_xdg_open(home, exit_code=3)
    done = home.run("search", "--open", "1", WORDS)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: the match could not be opened: xdg-open ended with exit code 3",
        f"hint: open it yourself: {home.folder / MEME.name}",
    ]
    assert home.run("search", "--open", "2", WORDS).returncode == 1
