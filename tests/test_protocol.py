"""Daemon and command line mean the same by what they say to each other, whatever the file names are like."""

import json
import os
import re
from contextlib import suppress
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from splootd import protocol
from splootd.wire import MalformedError, decode, decode_query, encode, query

REPLIES: tuple[type[Any], ...] = (
    protocol.Status,
    protocol.Added,
    protocol.Progress,
    protocol.Items,
    protocol.Story,
    protocol.Changed,
    protocol.Folders,
    protocol.Hits,
    protocol.Undone,
    protocol.Findings,
    protocol.Done,
    protocol.Problem,
)

names = st.binary(max_size=30).map(os.fsdecode)
"""Text as it comes from file names: any bytes at all."""

st.register_type_strategy(str, names)
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def all_filled(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Any value of a dataclass, with no field left at its default."""
    hints = get_type_hints(kind)
    return st.builds(kind, **{entry.name: st.from_type(hints[entry.name]) for entry in fields(kind)})


def of_any(kinds: tuple[type[Any], ...]) -> st.SearchStrategy[Any]:
    return st.sampled_from(kinds).flatmap(all_filled)


def with_keys_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Objects that look like a message until one looks closer."""
    return st.dictionaries(st.sampled_from([entry.name for entry in fields(kind)] or ["x"]), json_values)


@given(of_any(protocol.REQUESTS + REPLIES))
def test_what_is_sent_as_json_is_what_arrives(message: Any):
    assert decode(type(message), json.loads(json.dumps(encode(message)))) == message


@given(of_any(tuple(kind for kind in protocol.REQUESTS if kind.method == "GET")))
def test_what_is_asked_in_a_query_is_what_arrives(request_: Any):
    text = query(request_)
    assert text.isascii()
    assert decode_query(type(request_), text) == request_


@given(st.sampled_from(protocol.REQUESTS + REPLIES).flatmap(lambda kind: st.tuples(st.just(kind), with_keys_of(kind))))
def test_a_message_that_is_not_what_was_agreed_is_malformed_and_nothing_else(case: tuple[type[Any], Any]):
    kind, data = case
    with suppress(MalformedError):
        message = decode(kind, data)
        assert decode(kind, encode(message)) == message


@given(st.sampled_from(protocol.REQUESTS), json_values)
def test_any_json_at_all_is_a_request_or_malformed(kind: type[Any], data: Any):
    with suppress(MalformedError):
        assert isinstance(decode(kind, data), kind)


@given(st.sampled_from(protocol.REQUESTS), st.text(st.characters(max_codepoint=127)))
def test_any_query_at_all_is_a_request_or_malformed(kind: type[Any], text: str):
    with suppress(MalformedError):
        assert isinstance(decode_query(kind, text), kind)


def test_keys_of_a_newer_version_are_left_aside():
    assert decode(protocol.Done, {"message": "done", "since_2": 1}) == protocol.Done("done")


def test_a_missing_key_is_named():
    with pytest.raises(MalformedError, match="missing paths"):
        decode(protocol.Add, {})


def test_a_wrong_type_is_named_with_its_place():
    with pytest.raises(MalformedError, match=r"paths\[1\]: str is expected, not '7'"):
        decode(protocol.Add, {"paths": ["/a", 7]})


def test_every_request_has_an_address_of_its_own():
    addresses = [(kind.method, kind.path) for kind in protocol.REQUESTS]
    assert len(set(addresses)) == len(addresses)
    assert {method for method, _ in addresses} == {"GET", "POST"}


def test_what_changes_something_is_never_a_get():
    looks = {"GetStatus", "GetProgress", "ListItems", "Why", "GetFolders", "Search", "GetEvents"}
    looks |= {"GetMetrics", "GetReport", "WhySlow", "Examine"}
    assert {kind.__name__ for kind in protocol.REQUESTS if kind.method == "GET"} == looks


def test_a_query_holds_single_values_only():
    for kind in protocol.REQUESTS:
        if kind.method == "GET":
            assert not any("tuple" in str(hint) for hint in get_type_hints(kind).values()), kind


def test_a_token_is_not_shown():
    assert "secret" not in repr(protocol.Login(token="secret"))


def test_nothing_is_required_of_a_command_that_has_no_arguments():
    for kind in (protocol.GetStatus, protocol.Pause, protocol.Resume, protocol.Shutdown, protocol.Logout):
        assert not [entry for entry in fields(kind) if entry.default is MISSING]
        assert decode(kind, {}) == kind()


def test_every_message_is_found_by_its_name_and_its_page_is_known():
    folder = Path(protocol.__file__).parent
    written = {
        page.stem: re.findall(r"^class (\w+)", page.read_text("utf-8"), re.MULTILINE)
        for page in folder.glob("*.py")
        if page.stem not in ("__init__", "requests")
    }
    listed = {page: sorted(names.split()) for page, names in protocol.PAGES.items() if page != "requests"}
    assert listed == {page: sorted(names) for page, names in written.items()}
    assert all(getattr(protocol, name).__name__ == name for names in written.values() for name in names)
