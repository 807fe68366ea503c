"""`sploot search`: its output, and what it opens, copies, reveals, tags and shares."""

import stat
import urllib.request
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path

import pytest
from PIL import Image
from temp_home import Home, home_in
from toy_home import toy_home
from toy_library import END, picture

CAPTION, WORDS = "recipe says ready in thirty minutes", "recipe says reddy"
PICTURE, ANIMATION = "4xqz17.jpg", "dancing banana.gif"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home with a picture and an animation in its library, and a PATH for programs of a desktop."""
    folder = tmp_path_factory.mktemp("h")
    (folder / "bin").mkdir()
    with toy_home(folder, PATH=f"{folder}/bin:/usr/bin:/bin", DISPLAY=":9", WAYLAND_DISPLAY="") as home:
        write_pictures(home)
        home.ok("add", PICTURE, ANIMATION, "--wait", "--timeout", "60")
        yield home


def write_pictures(home: Home) -> None:
    (home.folder / PICTURE).write_bytes(picture(CAPTION) + END)
    Image.new("P", (8, 8)).save(home.folder / ANIMATION)


@pytest.fixture
def home(shared: Home) -> Iterator[Home]:
    """The shared home with its files and without programs of a desktop."""
    yield shared
    write_pictures(shared)
    for program in (shared.folder.parent / "bin").iterdir():
        program.unlink()


def fake_program(home: Home, name: str, *, exit_code: int = 0) -> tuple[Path, Path]:
    """Install a program of a desktop; return the files that record its last argument and its input."""
    argument, data = home.folder / "argument", home.folder / "input"
    program = home.folder.parent / "bin" / name
    program.write_text(
        f'#!/bin/sh\nfor last; do :; done\nprintf %s "$last" > "{argument}"\ncat > "{data}"\n'
        f"echo in vain >&2\nexit {exit_code}\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return argument, data


def test_a_match_is_its_words_and_its_file_and_a_score_only_on_request(home: Home):
    caption, path = home.ok("search", WORDS).splitlines()
    assert caption.startswith(f"  1  {CAPTION}")
    assert path == f"     ~/{PICTURE}"
    scored = home.ok("search", WORDS, "--scores").splitlines()[-1]
    assert scored.startswith("     score ")
    assert scored.endswith(", words: recipe, says, reddy")


def test_open_opens_the_local_file_or_the_image_in_the_library(home: Home):
    (opened, _), file = fake_program(home, "xdg-open"), home.folder / PICTURE
    content = file.read_bytes()
    assert home.ok("search", "--open", "1", WORDS).startswith("  1  ")
    assert opened.read_text() == str(file)

    file.unlink()
    done = home.run("search", WORDS)
    assert "no local file; to view it: sploot search TEXT --open 1" in done.stdout
    assert home.json("search", WORDS)[0]["path"] is None
    home.ok("search", WORDS, "--open")
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
    assert browser.open(opened.read_text()).read() == content

    link = home.json("search", WORDS)[0]["url"]
    assert link not in home.ok("search", WORDS)
    assert f"     {link}" in home.ok("search", WORDS, "--links").splitlines()
    assert browser.open(link).read() == content, "the browser has a session now"


def test_a_failure_to_open_prints_the_path_and_nothing_else(home: Home):
    fake_program(home, "xdg-open", exit_code=3)
    done = home.run("search", "--open", "1", WORDS)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: the match could not be opened: xdg-open ended with exit code 3",
        f"hint: open it yourself: {home.folder / PICTURE}",
    ]
    assert home.run("search", "--open", "2", WORDS).returncode == 1


def test_a_picture_is_copied_as_one_and_an_animation_as_a_file_because_it_would_stop(home: Home):
    mime, copied = fake_program(home, "xclip")
    assert home.run("search", WORDS, "--copy").stderr == f"Copied the picture: ~/{PICTURE}\n"
    assert (mime.read_text(), copied.read_bytes()) == ("image/jpeg", (home.folder / PICTURE).read_bytes())

    file = home.folder / ANIMATION
    done = home.run("search", "dancing banana", "--copy", "1")
    assert done.stderr == f"Copied the file, because it is an animation: ~/{ANIMATION}\n"
    uri = f"file://{home.folder}/dancing%20banana.gif\r\n"  # RFC 2483: its lines end with CRLF
    assert (mime.read_text(), copied.read_bytes()) == ("text/uri-list", uri.encode())

    content = file.read_bytes()
    file.unlink()
    home.ok("search", "dancing banana", "--copy")
    pasted = Path(copied.read_text().strip().removeprefix("file://"))
    assert (pasted.suffix, pasted.read_bytes()) == (".gif", content), "a copy from the library stays for the paste"


def test_a_computer_without_a_clipboard_program_says_which_one_to_install(home: Home):
    done = home.run("search", WORDS, "--copy")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: the clipboard needs the program xclip, which is not installed",
        f"hint: install the package xclip; the file is {home.folder / PICTURE}",
    ]


def test_reveal_shows_the_file_in_its_folder(home: Home):
    (shown, _) = fake_program(home, "dbus-send", exit_code=1)
    opened, _ = fake_program(home, "xdg-open")
    home.ok("search", WORDS, "--reveal")
    assert opened.read_text() == str(home.folder), "without a file manager that selects files, the folder"
    fake_program(home, "dbus-send")
    home.ok("search", WORDS, "--reveal", "1")
    assert shown.read_text() == "string:"


def test_a_search_for_nonsense_finds_nothing_and_names_the_nearest(home: Home):
    done = home.run("search", "xyzzyqwert blorp")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith('Nothing close to "xyzzyqwert blorp". Nearest: ')
    assert home.json("search", WORDS)[0]["reason"] == "words: recipe, says, reddy"


def test_a_bare_search_says_how(home: Home):
    done = home.run("search")
    assert (done.returncode, done.stderr.splitlines()) == (
        2,
        ["error: the search text is missing", 'hint: try: sploot search "never enough coffee"'],
    )


def test_tags_and_favourites_are_changed_by_the_number_of_a_match_and_select_matches(home: Home):
    home.ok("search", WORDS)
    assert home.ok("tag", "add", "Kitchen", "1") == f"{PICTURE}: tags Kitchen\n"
    assert home.ok("favourite", PICTURE) == f"{PICTURE}, a favourite: tags Kitchen\n"
    (hit,) = home.json("search", WORDS, "--tag", "kitchen", "--favourite", "--sort", "newest")
    assert (hit["tags"], hit["favorite"]) == (["Kitchen"], True)

    assert home.json("tag", "remove", "kitchen", hit["asset_id"])[0]["tags"] == []
    home.ok("favourite", "--remove", "1")
    assert home.run("search", WORDS, "--favourite").returncode == 1
    done = home.run("search", WORDS, "--tag", "garden")
    assert done.stderr.splitlines()[0] == "error: the library has no tag 'garden'"

    home.ok("search", WORDS)
    assert home.run("favourite", "2").stderr.splitlines() == [
        "error: there is no match 2",
        "hint: the last search found 1 match",
    ]
    missing = home.run("favourite", "nowhere.png")
    assert (missing.returncode, missing.stderr) == (1, "nowhere.png is not in the library\n")
    assert home.run("tag", "add", "a<b", PICTURE).stderr.startswith("error: the tag 'a<b' contains '<'")


def test_a_link_is_made_listed_and_revoked(home: Home):
    home.ok("search", WORDS)
    assert home.run("links").stderr == "You share no pictures. To share one: sploot share N|PATH|ID\n"
    done = home.run("share", "1")
    link = done.stdout.strip()
    assert link.startswith(f"{home.environ['SPLOOT_SERVER']}/s/")
    assert done.stderr == "note: the server's address is this computer's own, so the link opens only here\n"
    assert home.ok("share", PICTURE).strip() == link, "a picture has one link"
    (shared,) = home.json("links")
    assert (shared["url"], shared["name"]) == (link, PICTURE)
    assert home.ok("links").startswith(f"{link}  {PICTURE}  since 20")

    assert home.ok("share", "1", "--stop") == f"{PICTURE} is no longer shared.\n"
    assert home.json("links") == []


def test_a_local_library_says_what_sharing_needs(tmp_path: Path):
    with home_in(tmp_path / "home") as home:
        (home.folder / PICTURE).write_bytes(b"x")
        for command in (["share", PICTURE], ["share", PICTURE, "--stop"], ["links"]):
            done = home.run(*command)
            assert done.returncode == 1
            assert done.stderr.splitlines() == [
                "error: the library is on this computer only, so a link to it would open for no one else",
                "hint: to share, use a server that others can reach: sploot config set server URL",
            ]


@pytest.mark.models
def test_the_first_command_of_all_waits_for_the_library_that_it_starts(tmp_path: Path):
    with home_in(tmp_path / "h") as home:
        assert home.ok("templates", "list", "--json").strip() == "[]"
        assert home.ok("logout").strip() == "No token was saved."
