"""The JavaScript modules of the web UI: types, unit tests, size limit, and field names shared with the daemon."""

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from packages_of_npm import npm_package
from sploot_web import ROOT

from splootd import protocol

HERE = Path(__file__).parent
FILES = sorted(file for file in ROOT.rglob("*") if file.suffix in (".html", ".css", ".js", ".svg"))
MODULES = [file for file in FILES if file.suffix == ".js"]
IMPORTED_FOLDERS = {
    "ui": {"ui"},
    "library": {"library", "ui"},
    "daemon": {"daemon", "library", "ui"},
    "server": {"server", "library", "ui"},
}
LINES_MAX = 400
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


def test_the_modules_pass_the_type_checker():
    compiler = npm_package("typescript", "5.9.3") / "bin" / "tsc"
    command = [node(), str(compiler), *OPTIONS, *(str(each) for each in MODULES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout


def test_the_unit_tests_of_the_modules_pass():
    tests = [str(each) for each in sorted(HERE.glob("*.test.mjs"))]
    done = subprocess.run([node(), "--test", *tests], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_a_module_is_not_too_long(module: Path):
    assert len(module.read_text("utf-8").splitlines()) <= LINES_MAX


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_a_module_imports_from_its_own_folder_and_those_below(module: Path):
    targets = re.findall(r"""(?:from |import\()"(\.[^"]+)""", module.read_text("utf-8"))
    folders = {(module.parent / target).resolve().relative_to(ROOT).parts[0] for target in targets}
    assert folders <= IMPORTED_FOLDERS[module.parent.name]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_file_loads_from_other_hosts_or_contains_inline_code(file: Path):
    text = file.read_text("utf-8")
    # Addresses in `.example` are text: no such host can exist (RFC 2606).
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg|\w+\.example\b)", text)
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|\beval\(", text)
    if file.suffix == ".html":
        assert not re.search(r"\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)|<style", text)


def test_the_fields_declared_in_javascript_exist_in_the_protocol():
    """Compare the JSDoc types in protocol.js with the dataclasses of `splootd.protocol`."""
    text = (ROOT / "daemon" / "protocol.js").read_text("utf-8")
    declared = re.findall(r"@typedef \{object\} (\w+)\n((?: \* @property .*\n)+)", text)
    assert len(declared) > 15
    for name, properties in declared:
        known = {field.name for field in dataclasses.fields(getattr(protocol, name))}
        assert set(re.findall(r"@property \{[^}]*\} (\w+)", properties)) <= known, name
