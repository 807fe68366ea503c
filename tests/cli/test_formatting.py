"""Formatting of numbers, durations and file names."""

import os
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sploot.formatting import (
    count_cells,
    escape_unprintable,
    fold,
    format_count,
    format_duration,
    format_path,
    format_size,
    shorten,
)


@given(st.binary(max_size=40).map(os.fsdecode))
def test_no_file_name_can_send_escape_sequences_or_break_a_line(name: str):
    shown = escape_unprintable(name)
    assert shown.isprintable() or "\u200d" in shown or "\u202f" in shown
    assert not any(ord(char) < 32 or 0x7F <= ord(char) < 0xA0 for char in shown)
    shown.encode()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("cat.png", "cat.png"),
        ("котик 猫.png", "котик 猫.png"),
        ("a\nb.png", r"a\nb.png"),
        ("\x1b[31mred.png", r"\x1b[31mred.png"),
        (os.fsdecode(b"caf\xe9.png"), r"caf\xe9.png"),
        ("gnp.\u202egnp", r"gnp.\u202egnp"),
        ("Screenshot 3.04.05\u202fPM.png", "Screenshot 3.04.05\u202fPM.png"),
    ],
)
def test_safe_names_are_unchanged(name: str, shown: str):
    assert escape_unprintable(name) == shown


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (14_200_000, "14.2 MB"),
        (999_600, "1.0 MB"),
        (123_456_789, "123 MB"),
        (5e15, "5000 TB"),
    ],
)
def test_sizes_have_three_digits_and_a_unit(number: float, shown: str):
    assert format_size(number) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (59.6, "1 min"),
        (61, "1 min 1 s"),
        (3600, "1 h"),
        (3 * 86_400 + 4 * 3600 + 59, "3 d 4 h"),
        (86_400 + 30, "1 d"),
        (-5, "0 s"),
    ],
)
def test_durations_have_their_two_largest_units(seconds: float, shown: str):
    assert format_duration(seconds) == shown


def test_one_file_two_files_a_thousand_files():
    assert [format_count(number, "file") for number in (0, 1, 2, 1000)] == [
        "0 files",
        "1 file",
        "2 files",
        "1,000 files",
    ]
    assert format_count(2, "try", "tries") == "2 tries"


def test_the_home_folder_becomes_a_tilde(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/ann")
    assert format_path("/home/ann/memes/a.png") == "~/memes/a.png"
    assert format_path("/home/ann") == "~"
    assert format_path("/home/anna/a.png") == "/home/anna/a.png"


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_a_line_is_folded_between_words_and_its_rows_are_indented(columns: int):
    line = "name = value   from the file, and \x1b[1mwords in bold that need a second row\x1b[0m, too"
    rows = fold(line, columns, indent=4)
    assert all(count_cells(re.sub("\x1b\\[[0-9;]*m", "", each)) <= columns for each in rows)
    assert all(each.startswith("    ") and each[4] != " " for each in rows[1:])
    assert " ".join(" ".join(rows).split()) == " ".join(line.split())
    assert fold(line, None, indent=4) == [line]
    assert fold("    already indented", None, indent=4) == ["    already indented"]
    assert fold("    already indented", 18, indent=4) == ["    already", "    indented"]


def test_a_long_text_is_shortened_to_its_cells():
    assert shorten("a caption", 5) == "a ca…"
    assert count_cells(shorten("福" * 9, 6)) == 5
    assert shorten("a caption", None) == "a caption"
