"""The sentences that a person can meet are collected in tests/messages.txt, so that they can be read aloud."""

import re

import messages
import pytest

LINES = [line for line in messages.collect().splitlines() if line and not line.startswith("# ")]


def test_the_collected_messages_are_those_of_the_code():
    """If they are not: read the new ones aloud, mend them, and run `python tests/messages.py`."""
    assert messages.FILE.read_text("utf-8") == messages.collect()


@pytest.mark.parametrize("line", LINES)
def test_a_message_is_plain(line: str):
    assert not re.search(r"\b(whoever|nobody|somebody|begun anew|dead letters?)\b", line, re.IGNORECASE)
    assert ".;" not in line
    assert "breaker" not in line
    assert not re.search(r"  |\s[,.;](?!\.)", line.replace("{...}", "x"))
