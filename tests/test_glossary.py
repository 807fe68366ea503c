"""The glossary holds: retired words do not return, in names, in prose or in messages."""

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text()
PROGRAMS = ("splootd", "cli", "server", "web")

RETIRED = frozenset(
    {
        "aftercare",
        "bell",
        "bells",
        "bury",
        "buried",
        "chronicle",
        "courtesy",
        "errand",
        "errands",
        "fates",
        "foretold",
        "gathering",
        "handover",
        "handovers",
        "holdup",
        "intake",
        "kin",
        "lookout",
        "mishap",
        "mood",
        "obituary",
        "pardon",
        "pardoned",
        "parcel",
        "patrol",
        "rehearse",
        "rehearsal",
        "revive",
        "revived",
        "scout",
        "shelf",
        "sleeper",
        "stirring",
        "tally",
        "timekeeper",
        "topview",
        "unsaid",
        "unoffered",
        "upheaval",
        "upheavals",
        "verdict",
        "vanish",
        "vanished",
        "whereabouts",
    }
)
"""Parts of a name, or words of a sentence, that had a standard term each; the glossary has it."""
RETIRED_IN_NAMES = frozenset({"boot", "lanes"})
RETIRED_IN_PROSE = frozenset({"whoever", "nobody", "somebody", "everybody", "lanes"})
DATA_MODULES = frozenset({"stop_words.py", "generic_queries.py"})
"""Word lists and sentences that the search compares with, not prose."""
PERSONS = re.compile(r"\b(he|his|him|she|her|hers)\b", re.IGNORECASE)

WORD = re.compile(r"[A-Za-z]+")
PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
JS_TOKEN = re.compile(r"[A-Za-z_$][\w$]*")


def python_files() -> list[Path]:
    files = [file for program in PROGRAMS for file in sorted((ROOT / program).rglob("*.py"))]
    return [file for file in files if file.name not in DATA_MODULES]


def other_files() -> list[Path]:
    """What people read beside Python: pages, SQL, scripts of the web UI, unit templates."""
    patterns = ("*.js", "*.css", "*.html", "*.sql", "*.in")
    below = (ROOT / folder for folder in (*PROGRAMS, "systemd", "launchd"))
    found = [file for folder in below for pattern in patterns for file in sorted(folder.rglob(pattern))]
    pages = [page for page in sorted((ROOT / "docs").rglob("*.md")) if page.name != "glossary.md"]
    return [*found, *pages, *sorted(ROOT.glob("*.md"))]


def tokens(file: Path) -> Iterator[tuple[int, str, str]]:
    """The line, the kind (`name` or `prose`) and the text of every name, string and comment in a Python file."""
    for token in tokenize.generate_tokens(io.StringIO(file.read_text("utf-8")).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], "name", token.string
        elif token.type in (tokenize.STRING, tokenize.COMMENT):
            yield token.start[0], "prose", token.string


def parts(name: str) -> set[str]:
    """`LeasedItem_of` -> leased, item, of."""
    return {part.lower() for part in PART.findall(name)}


def words(text: str) -> set[str]:
    return {word.lower() for word in WORD.findall(text)}


def relative(file: Path) -> str:
    return str(file.relative_to(ROOT))


@pytest.mark.parametrize("file", python_files(), ids=relative)
def test_no_retired_word_returns_to_a_module(file: Path) -> None:
    found = []
    for line, kind, text in tokens(file):
        retired = (
            parts(text) & (RETIRED | RETIRED_IN_NAMES) if kind == "name" else words(text) & (RETIRED | RETIRED_IN_PROSE)
        )
        if retired or (kind == "prose" and PERSONS.search(text)):
            found.append((line, sorted(retired) or text[:60]))
    assert not found


@pytest.mark.parametrize("file", other_files(), ids=relative)
def test_no_retired_word_returns_to_a_page_or_script(file: Path) -> None:
    lines = file.read_text("utf-8").splitlines()
    found = [
        (number, sorted(words(line) & (RETIRED | RETIRED_IN_PROSE)) or line[:60])
        for number, line in enumerate(lines, 1)
        if words(line) & (RETIRED | RETIRED_IN_PROSE) or PERSONS.search(line)
    ]
    assert not found


def test_the_name_of_a_file_has_no_retired_word() -> None:
    files = [file for program in (*PROGRAMS, "tests", "benchmarks") for file in (ROOT / program).rglob("*.*")]
    assert not [relative(file) for file in files if parts(file.stem) & RETIRED]


def test_every_state_of_the_server_stands_in_the_glossary() -> None:
    from splootd.metrics.families import SERVER_STATES  # noqa: PLC0415 - only this test needs the code

    section = GLOSSARY.partition("## States of the server")[2].partition("\n## ")[0]
    assert re.findall(r"^\| (\w+) \|", section, re.MULTILINE)[1:] == list(SERVER_STATES)


def test_every_state_stands_in_the_glossary_with_its_label() -> None:
    from splootd.core.item import State  # noqa: PLC0415 - only this test needs the code

    assert re.findall(r"^\| `(\w+)` \|", GLOSSARY, re.MULTILINE) == [str(state) for state in State]


def test_a_word_has_one_row() -> None:
    rows = [line.split("|")[2].strip() for line in GLOSSARY.splitlines() if re.match(r"\| [a-z]", line)]
    terms = [row for row in rows if row not in ("word", "label")]
    assert len(set(terms)) == len(terms) >= 50
