"""The documents: every command in them is run, page by page, and the reference is what the code says."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import postgres
import pytest
import s3
import typer.main
from redis_server import RedisServer
from sploot import exit_codes
from sploot.typer_app import build_app
from temp_home import Home

from splootd import daemon

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(page.relative_to(DOCS) for page in DOCS.rglob("*.md"))
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#:]+)\)")
MEMES = 6
RAN = "::ran::"  # what a page's script prints after each of its blocks
PAGE_S_MAX = 100
KINDS = {"sh", "text", "mermaid", "toml", "yaml"}  # only `sh` is run; `text` is what the block before it prints


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall((DOCS / page).read_text())


RUN = [page for page in PAGES if any(kind == "sh" for kind, _ in blocks(page))]


@pytest.fixture
def home() -> Iterator[Home]:
    """A user's home with a folder of memes, the programs on the path, and a daemon that ends with the test.

    Its path is short, as those of homes are: the socket of the daemon is in it.
    """
    with tempfile.TemporaryDirectory(prefix="home-", ignore_cleanup_errors=True) as name:
        yield from _home(Path(name).resolve())


def _home(folder: Path) -> Iterator[Home]:
    memes = folder / "Downloads" / "memes"
    memes.mkdir(parents=True)
    for picture in sorted((ROOT / "examples" / "memes").glob("meme-*"))[:MEMES]:
        shutil.copy(picture, memes)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    home = Home(folder, {"PATH": path, "SPLOOT_HOME": ""})
    yield home
    home.run("daemon", "stop")


@pytest.fixture
def backends(page: Path, tmp_path: Path) -> Iterator[Mapping[str, str]]:
    """Real stores, by the variables that the page about many machines says to set."""
    if page.name != "many-servers.md":
        yield {}
        return
    redis = RedisServer(tmp_path)
    yield {
        **s3.server(),
        "SPLOOT_SERVER_DATABASE": postgres.new_database(),
        "SPLOOT_SERVER_BLOBS": s3.new_prefix(),
        "SPLOOT_SERVER_EVENTS": redis.url,
    }
    redis.kill()


@pytest.mark.models
@pytest.mark.parametrize("page", RUN, ids=str)
def test_what_a_page_says_to_type_works_and_prints_what_the_page_says(
    page: Path, home: Home, backends: Mapping[str, str]
) -> None:
    typed = [text for kind, text in blocks(page) if kind == "sh"]
    script = "set -eu\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n" + "".join(
        f"{text}echo {RAN}\n" for text in typed
    )
    done = subprocess.run(
        ["bash", "-c", script],
        env={**home.variables(), **backends},
        cwd=home.folder,
        capture_output=True,
        text=True,
        timeout=PAGE_S_MAX,
        check=False,
    )
    printed = done.stdout.split(f"{RAN}\n")
    assert done.returncode == 0, f"block {len(printed)} of {page}: {done.stdout[-800:]}{done.stderr[-800:]}"
    for number, expected in expectations(page):
        for line in expected.splitlines():
            pattern = r"\s+".join(re.escape(part).replace(r"\.\.\.", ".*") for part in line.split())
            assert re.search(rf"^\s*{pattern}\s*$", printed[number], re.MULTILINE), (
                f"{line!r} is not in:\n{printed[number]}"
            )


def expectations(page: Path) -> Iterator[tuple[int, str]]:
    """What a page says that its `sh` blocks print: the number of each, and the text."""
    number = -1
    for kind, text in blocks(page):
        number += kind == "sh"
        if kind == "text":
            yield number, text


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_a_page_links_to_what_there_is_and_has_no_block_that_nobody_knows(page: Path) -> None:
    text = (DOCS / page).read_text()
    for target in LINK.findall(text):
        assert ((DOCS / page).parent / target).exists(), f"{page} links to {target}"
    assert {kind for kind, _ in blocks(page)} <= KINDS


@pytest.fixture(scope="module")
def reference() -> Any:
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_is_what_the_code_says(reference: Any) -> None:
    """If it is not: python docs/reference.py."""
    assert {page.name: page.read_text() for page in (DOCS / "reference").glob("*.md")} == reference.pages()


def test_the_reference_explains_every_exit_code(reference: Any) -> None:
    codes = {value for name, value in vars(exit_codes).items() if name.isupper()}
    codes |= {daemon.EXIT_ALREADY_RUNNING, daemon.EXIT_CONFIG}
    assert [int(code) for code, _ in reference.EXIT_CODES] == sorted(codes)


def test_the_reference_explains_every_command_with_all_its_options() -> None:
    text = (DOCS / "reference" / "commands.md").read_text()
    sections = {part.split("`")[1]: part for part in text.split("\n## ")[1:]}
    for name, command in _commands(typer.main.get_command(build_app()), "sploot"):
        arguments = [each.metavar or each.name.upper() for each in command.params if each.param_type_name == "argument"]
        section = sections.pop(" ".join([name, *arguments]))
        for option in command.params:
            assert option.param_type_name == "argument" or option.hidden or all(each in section for each in option.opts)
    assert not sections


def _commands(group: Any, name: str) -> Iterator[tuple[str, Any]]:
    for word, command in group.commands.items():
        yield f"{name} {word}", command
        if hasattr(command, "commands"):
            yield from _commands(command, f"{name} {word}")
