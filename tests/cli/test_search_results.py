"""How a match is printed: the words on the picture first, then its file; what matches is bold."""

import pytest
from sploot.render import Style
from sploot.search_results import render_hit, render_no_match

from splootd.protocol import Hit

HIT = Hit("a", 0.8234, "/home/ann/memes/cat.png", "http://x/a", "BRACE\nYOURSELVES, heating bills", "words: brace")


@pytest.fixture(autouse=True)
def ann(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")


def test_a_match_has_its_words_first_and_then_its_file():
    assert render_hit(1, HIT) == ["  1  BRACE YOURSELVES, heating bills", "     ~/memes/cat.png"]


def test_the_words_that_match_are_bold_also_those_with_a_typo():
    hit = Hit("a", 0.8, "/m/a.png", None, "BRACE YOURSELVES, heating bills", words=("yourselfs", "bills"))
    caption, path = render_hit(1, hit, Style(is_on=True))
    assert caption == "  1  BRACE \x1b[1mYOURSELVES,\x1b[0m heating \x1b[1mbills\x1b[0m"
    assert path == "     \x1b[2m/m/a.png\x1b[0m"


def test_scores_and_links_are_shown_when_asked_for():
    assert render_hit(1, HIT, with_scores=True, link="http://x/a") == [
        "  1  BRACE YOURSELVES, heating bills",
        "     ~/memes/cat.png",
        "     http://x/a",
        "     score 0.823, words: brace",
    ]
    linked = render_hit(1, HIT, Style(is_on=True), link="http://x/a")
    assert linked[0] == "  1  \x1b]8;;http://x/a\x1b\\BRACE YOURSELVES, heating bills\x1b]8;;\x1b\\"
    assert len(linked) == 2, "a terminal shows the address by itself"


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_a_caption_fits_the_terminal(columns: int):
    wide = Hit("a", None, "/m/a.png", None, "福" * 60)
    assert len(render_hit(1, wide, columns=columns)[0].encode("utf-16-le")) // 2 <= columns
    (caption, _) = render_hit(1, wide, columns=columns)
    assert 5 + 2 * caption.count("福") + 1 <= columns


def test_a_picture_without_words_is_named_by_its_file():
    assert render_hit(2, Hit("a", 0.5, "/m/doge.png", None, None))[0] == "  2  doge.png"
    assert render_hit(12, Hit("a", None, None, None, None)) == [
        " 12  a picture without words",
        "     no local file; to view it: sploot search TEXT --open 12",
    ]


def test_escape_sequences_in_words_and_names_are_escaped():
    lines = render_hit(1, Hit("a", 0.5, "/m/\x1b[31m.png", None, "\x1b]0;x\a"), with_scores=True)
    assert all(line.isprintable() for line in lines)


def test_a_search_without_a_match_names_the_nearest():
    nearest = [Hit("a", 0.05, "/m/a.png", None, "I CAN\nHAS"), Hit("b", 0.04, "/m/b.png", None, None)]
    assert render_no_match("xyzzy", nearest) == 'Nothing close to "xyzzy". Nearest: I CAN HAS; /m/b.png.'
    assert render_no_match("xyzzy", []) == "Nothing matches xyzzy."
