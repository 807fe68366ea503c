"""The README is short, names only what exists, and quotes its figures from the programs that print them."""

import re
from pathlib import Path

import typer
from sploot.typer_app import build_app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
FIGURES = (ROOT / "benchmarks" / "README.md").read_text()
LINES_MAX = 120
LINK = re.compile(r"\]\(([^)#:]+)\)")
PROGRAM = re.compile(r"([a-z_]+\.py)")


def rows(text: str) -> list[list[str]]:
    """Return the cells of all table rows."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def test_it_is_read_in_a_minute() -> None:
    assert len(README.splitlines()) <= LINES_MAX


def test_its_links_lead_to_files() -> None:
    for target in LINK.findall(README):
        assert (ROOT / target).exists(), target


def test_no_command_is_mentioned_that_does_not_exist() -> None:
    code = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL) + re.findall(r"`([^`\n]+)`", README)
    mentioned = {word for text in code for word in re.findall(r"\bsploot ([a-z]+)", text)}
    assert mentioned
    assert mentioned <= set(getattr(typer.main.get_command(build_app()), "commands", {}))


def test_its_figures_are_those_of_the_benchmarks() -> None:
    figures = {(row[0], row[1]) for row in rows(FIGURES)}
    shown = [(row[0], row[1]) for row in rows(README[README.index("## Figures") :]) if len(row) == 2]
    assert len(shown) > 4
    assert set(shown) <= figures


def test_each_figure_names_a_program_that_exists() -> None:
    named = set(PROGRAM.findall(FIGURES))
    assert named
    for name in named:
        assert (ROOT / "benchmarks" / name).is_file(), name


def test_the_guarantee_is_the_promise_of_the_documents() -> None:
    (guarantee,) = re.findall(r"^\*Once .*?\*$", README, re.MULTILINE | re.DOTALL)
    assert guarantee.replace("\n", " ") in (ROOT / "docs" / "trust.md").read_text().replace("\n", " ")
