"""The page's modules by themselves: their types, their pure parts, their size, and the words they share with us."""

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from packages_of_npm import npm_package

import splootd
from splootd import protocol

HERE = Path(__file__).parent
STATIC = Path(splootd.__file__).parent / "page" / "static"
MODULES = sorted(STATIC.glob("*.js"))
LINES_MAX = 300
OPTIONS = [
    "--noEmit",
    "--allowJs",
    "--checkJs",
    "--strict",
    "--noUncheckedIndexedAccess",
    "--exactOptionalPropertyTypes",
    "--noUnusedLocals",
    "--noImplicitReturns",
    "--target",
    "es2022",
    "--module",
    "nodenext",
    "--moduleResolution",
    "nodenext",
    "--lib",
    "es2023,dom,dom.iterable",
]


def node() -> str:
    path = shutil.which("node")
    if path is None:
        pytest.skip("no node: apt-get install nodejs")
    return path


def test_the_modules_keep_to_their_types():
    compiler = npm_package("typescript", "5.9.3") / "bin" / "tsc"
    command = [node(), str(compiler), *OPTIONS, *(str(each) for each in MODULES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout


def test_the_pure_modules_keep_their_promises():
    tests = [str(each) for each in sorted(HERE.glob("*.test.mjs"))]
    done = subprocess.run([node(), "--test", *tests], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_a_module_fits_in_the_head(module: Path):
    assert len(module.read_text("utf-8").splitlines()) <= LINES_MAX


@pytest.mark.parametrize("file", sorted(STATIC.iterdir()), ids=lambda file: file.name)
def test_nothing_is_fetched_from_elsewhere_and_nothing_stands_inline(file: Path):
    text = file.read_text("utf-8")
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(", text)
    if file.suffix == ".html":
        assert not re.search(r"\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)|<style", text)


def test_what_the_page_knows_of_an_answer_is_what_the_daemon_says():
    """Names of fields that the modules declare, against the daemon's own."""
    text = (STATIC / "protocol.js").read_text("utf-8")
    declared = re.findall(r"@typedef \{object\} (\w+)\n((?: \* @property .*\n)+)", text)
    assert len(declared) > 15
    for name, properties in declared:
        known = {field.name for field in dataclasses.fields(getattr(protocol, name))}
        assert set(re.findall(r"@property \{[^}]*\} (\w+)", properties)) <= known, name
