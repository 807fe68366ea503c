import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.watch.ignore import IgnoreRules, is_ignored_name


@pytest.mark.parametrize(
    "name",
    [
        b"cat.png.crdownload",
        b"cat.png.part",
        b"cat.png.download",
        b"cat.png.tmp",
        b"cat.png.opdownload",
        b"cat.png.!qB",
        b"CAT.PNG.PART",
        b".hidden.png",
        b".DS_Store",
        b".git",
        b"Thumbs.db",
        b"desktop.ini",
        b"Icon\r",
        b"@eaDir",
        b"$RECYCLE.BIN",
        b"lost+found",
    ],
)
def test_unfinished_downloads_and_system_files_are_ignored(name: bytes) -> None:
    assert is_ignored_name(name)


@pytest.mark.parametrize(
    "name", [b"cat.png", b"part.png", b"a.part.png", b"no suffix", b"caf\xe9.png", b"two\nlines.gif"]
)
def test_other_names_are_not(name: bytes) -> None:
    assert not is_ignored_name(name)


def rules_of(root: Path, files: dict[str, str]) -> IgnoreRules:
    """Return the rules of a tree with these `.splootignore` files, with every folder loaded."""
    for name, text in files.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / ".splootignore").write_text(text)
    rules = IgnoreRules(os.fsencode(root))
    for folder, _, _ in os.walk(root):
        rules.load_folder(os.fsencode(folder))
    return rules


def ignored(rules: IgnoreRules, root: Path, path: str) -> bool:
    return rules.ignores(os.fsencode(root / path.rstrip("/")), is_folder=path.endswith("/"))


def test_a_file_of_rules_holds_below_its_folder_only(tmp_path: Path) -> None:
    rules = rules_of(tmp_path, {"a": "*.gif\n"})
    assert ignored(rules, tmp_path, "a/x.gif")
    assert ignored(rules, tmp_path, "a/b/x.gif")
    assert not ignored(rules, tmp_path, "x.gif")


def test_a_deeper_file_overrules_the_ones_above_it(tmp_path: Path) -> None:
    rules = rules_of(tmp_path, {".": "*.gif\n", "a": "!good.gif\n"})
    assert ignored(rules, tmp_path, "a/bad.gif")
    assert not ignored(rules, tmp_path, "a/good.gif")


def test_nothing_above_the_root_counts(tmp_path: Path) -> None:
    (tmp_path / ".splootignore").write_text("*\n")
    root = tmp_path / "memes"
    root.mkdir()
    assert not ignored(rules_of(root, {}), root, "x.png")


def test_a_line_that_is_no_pattern_spoils_nothing(tmp_path: Path) -> None:
    rules = rules_of(tmp_path, {".": "\ufeff*.gif\n!\n# comment\n\n///\n*.webp\n"})
    assert ignored(rules, tmp_path, "a.gif")
    assert ignored(rules, tmp_path, "a.webp")
    assert not ignored(rules, tmp_path, "a.png")


def test_names_that_are_not_utf8_are_matched(tmp_path: Path) -> None:
    rules = rules_of(tmp_path, {".": "private*\n"})
    root = os.fsencode(tmp_path)
    assert rules.ignores(root + b"/private\xff.png")
    assert not rules.ignores(root + b"/\xff.png")


def test_rules_are_reloaded_with_their_folder(tmp_path: Path) -> None:
    rules = rules_of(tmp_path, {".": "*.gif\n"})
    (tmp_path / ".splootignore").unlink()
    rules.load_folder(os.fsencode(tmp_path))
    assert not ignored(rules, tmp_path, "a.gif")


def test_a_fifo_in_place_of_the_rules_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".splootignore")
    assert not ignored(rules_of(tmp_path, {}), tmp_path, "a.gif")


NAMES = ("a", "b", "ab", "a.gif", "b.png")
PATTERNS = ("a", "/a", "a/", "*.gif", "!a.gif", "b*", "a/b", "**/b", "a/**", "!b", "/a/*", "!/a/b.png", "[ab]", "?b")
PATHS = tuple(
    "/".join(parts)
    for parts in (*((one,) for one in NAMES), *((one, two) for one in ("a", "b", "ab") for two in NAMES))
)


@pytest.mark.skipif(shutil.which("git") is None, reason="git is what the rules are compared with")
@given(outer=st.lists(st.sampled_from(PATTERNS), max_size=4), inner=st.lists(st.sampled_from(PATTERNS), max_size=3))
def test_rules_mean_what_they_mean_to_git(
    tmp_path_factory: pytest.TempPathFactory, outer: list[str], inner: list[str]
) -> None:
    root = tmp_path_factory.mktemp("tree")
    for folder in ("a", "b", "ab"):
        (root / folder).mkdir()
    for name, patterns in ((".", outer), ("a", inner)):
        for file in (".splootignore", ".gitignore"):
            (root / name / file).write_text("\n".join(patterns) + "\n")
    rules = IgnoreRules(os.fsencode(root))
    rules.load_folder(os.fsencode(root))
    rules.load_folder(os.fsencode(root / "a"))
    paths = [path for path in PATHS if (root / path).parent.is_dir()]
    assert {path for path in paths if ignored_in_a_scan(rules, root, path)} == ignored_by_git(root, paths)


def ignored_in_a_scan(rules: IgnoreRules, root: Path, path: str) -> bool:
    """Apply the rules as a scan does, which never enters an ignored folder."""
    folder, _, _ = path.rpartition("/")
    if folder and ignored(rules, root, folder + "/"):
        return True
    return ignored(rules, root, path + "/" if (root / path).is_dir() else path)


def ignored_by_git(root: Path, paths: list[str]) -> set[str]:
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    completed = subprocess.run(
        ["git", "-c", "core.excludesFile=", "check-ignore", "--no-index", "--stdin"],
        cwd=root,
        input="\n".join(paths),
        capture_output=True,
        text=True,
        check=False,
    )
    return set(completed.stdout.split("\n")) - {""}
