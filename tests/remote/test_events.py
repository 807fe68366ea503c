"""Server-sent events as the HTML standard has them (9.2.6), however the bytes are cut, and within bounds."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.errors import BadAnswer
from splootd.remote.events import EVENT_BYTES_MAX, Event, Parser

OF_SPLOOT = (
    b'event: connected\ndata: {"type":"connected"}\nretry: 5000\n\n'
    b'event: embedding-update\ndata: {"assetId":"c1"}\n\n:heartbeat 1795374527501\n\n'
)


def parsed(text: bytes) -> list[tuple[str, str, str]]:
    return [(event.kind, event.data, event.last_id) for event in Parser().feed(text)]


def test_a_stream_of_sploot_is_understood() -> None:
    assert parsed(OF_SPLOOT) == [
        ("connected", '{"type":"connected"}', ""),
        ("embedding-update", '{"assetId":"c1"}', ""),
    ]


@pytest.mark.parametrize(
    ("text", "events"),
    [
        (b"data: a\ndata: b\n\n", [("message", "a\nb", "")]),
        (b"data:a\n\ndata:  b\n\n", [("message", "a", ""), ("message", " b", "")]),
        (b"data\n\n", [("message", "", "")]),
        (b"id: 7\ndata: a\n\ndata: b\n\n", [("message", "a", "7"), ("message", "b", "7")]),
        (b"id: 7\ndata: a\n\nid\ndata: b\n\n", [("message", "a", "7"), ("message", "b", "")]),
        (b"id: 7\n\ndata: a\n\n", [("message", "a", "7")]),
        (b"id: 7\0\ndata: a\n\n", [("message", "a", "")]),
        (b"event: x\n\ndata: a\n\n", [("message", "a", "")]),
        (b"event: x\rdata: a\r\rdata: b\r\n\r\n", [("x", "a", ""), ("message", "b", "")]),
        (b": comment\nunknown: field\ndata: a\n\n", [("message", "a", "")]),
        (b"data: \xff\n\n", [("message", "\ufffd", "")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("message", "a", "")]),
        (b"data: unfinished", []),
    ],
)
def test_each_rule_of_the_standard_holds(text: bytes, events: list[tuple[str, str, str]]) -> None:
    assert parsed(text) == events


fields = st.sampled_from([b"data: a", b"data:b", b"id: 1", b"id", b"event: x", b":c", b"retry: 5", b"", b"data"])
breaks = st.sampled_from([b"\n", b"\r", b"\r\n"])


@given(st.lists(st.tuples(fields, breaks), max_size=40), st.lists(st.integers(0, 400), max_size=20))
def test_it_makes_no_difference_how_the_bytes_are_cut(lines: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    text = b"".join(field + end for field, end in lines)
    whole = Parser().feed(text)
    parser, events = Parser(), list[Event]()
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    for start, end in itertools.pairwise(edges):
        events += parser.feed(text[start:end])
    assert events == whole


@pytest.mark.parametrize("line", [b"data: 0123456789\n", b"x" * 100])
def test_an_event_that_does_not_end_is_refused(line: bytes) -> None:
    parser = Parser()
    parser.feed(line * (EVENT_BYTES_MAX // 2 // len(line)))
    with pytest.raises(BadAnswer, match="does not end"):
        parser.feed(line * (EVENT_BYTES_MAX // len(line)))


def test_a_parser_goes_on_with_the_id_of_the_last_connection() -> None:
    (event,) = Parser("7").feed(b"data: a\n\n")
    assert event.last_id == "7"
