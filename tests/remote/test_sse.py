"""Server-sent events (HTML Living Standard, 9.2.6): in pieces of any size, with bounded buffers."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd.errors import InvalidResponse
from splootd.remote.sse import EVENT_BYTES_MAX, ServerSentEvent, SSEParser

SPLOOT_STREAM = (
    b'event: connected\ndata: {"type":"connected"}\nretry: 5000\n\n'
    b'event: embedding-update\ndata: {"assetId":"c1"}\n\n:heartbeat 1795374527501\n\n'
)


def parse(text: bytes) -> list[tuple[str, str, str]]:
    return [(event.event_type, event.data, event.last_event_id) for event in SSEParser().feed(text)]


def test_a_stream_of_sploot_is_parsed() -> None:
    assert parse(SPLOOT_STREAM) == [
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
def test_the_rules_of_the_standard(text: bytes, events: list[tuple[str, str, str]]) -> None:
    assert parse(text) == events


fields = st.sampled_from([b"data: a", b"data:b", b"id: 1", b"id", b"event: x", b":c", b"retry: 5", b"", b"data"])
breaks = st.sampled_from([b"\n", b"\r", b"\r\n"])


@given(st.lists(st.tuples(fields, breaks), max_size=40), st.lists(st.integers(0, 400), max_size=20))
def test_the_events_do_not_depend_on_the_pieces(lines: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    text = b"".join(field + end for field, end in lines)
    whole = SSEParser().feed(text)
    parser, events = SSEParser(), list[ServerSentEvent]()
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    for start, end in itertools.pairwise(edges):
        events += parser.feed(text[start:end])
    assert events == whole


@pytest.mark.parametrize("line", [b"data: 0123456789\n", b"x" * 100])
def test_an_oversized_event_is_an_error(line: bytes) -> None:
    parser = SSEParser()
    parser.feed(line * (EVENT_BYTES_MAX // 2 // len(line)))
    with pytest.raises(InvalidResponse, match="too large"):
        parser.feed(line * (EVENT_BYTES_MAX // len(line)))


def test_a_parser_starts_with_the_last_event_id_of_the_previous_connection() -> None:
    (event,) = SSEParser("7").feed(b"data: a\n\n")
    assert event.last_event_id == "7"
