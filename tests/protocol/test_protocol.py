"""Requests and replies survive the encoding, including file names of arbitrary bytes."""

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
from splootd.codec import MalformedError, decode, decode_query, encode, encode_query

REPLIES: tuple[type[Any], ...] = (
    protocol.Status,
    protocol.AddReply,
    protocol.Progress,
    protocol.Items,
    protocol.Explanation,
    protocol.ChangeReply,
    protocol.Folders,
    protocol.Hits,
    protocol.EditedAssets,
    protocol.SharedAssets,
    protocol.UndoReply,
    protocol.Findings,
    protocol.MessageReply,
    protocol.Settings,
    protocol.FolderNames,
    protocol.Problem,
)

names = st.binary(max_size=30).map(os.fsdecode)
"""Text decoded from file names of arbitrary bytes."""

st.register_type_strategy(str, names)
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def all_filled(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for dataclass values with every field filled."""
    hints = get_type_hints(kind)
    return st.builds(kind, **{entry.name: st.from_type(hints[entry.name]) for entry in fields(kind)})


def of_any(kinds: tuple[type[Any], ...]) -> st.SearchStrategy[Any]:
    return st.sampled_from(kinds).flatmap(all_filled)


def with_keys_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for objects with the keys of a message and arbitrary values."""
    return st.dictionaries(st.sampled_from([entry.name for entry in fields(kind)] or ["x"]), json_values)


@given(of_any(protocol.REQUESTS + REPLIES))
def test_any_message_survives_json(message: Any):
    assert decode(type(message), json.loads(json.dumps(encode(message)))) == message


@given(of_any(tuple(kind for kind in protocol.REQUESTS if kind.method == "GET")))
def test_any_request_survives_a_query_string(request_: Any):
    text = encode_query(request_)
    assert text.isascii()
    assert decode_query(type(request_), text) == request_


@given(st.sampled_from(protocol.REQUESTS + REPLIES).flatmap(lambda kind: st.tuples(st.just(kind), with_keys_of(kind))))
def test_an_invalid_message_raises_malformed_error_only(case: tuple[type[Any], Any]):
    kind, data = case
    with suppress(MalformedError):
        message = decode(kind, data)
        assert decode(kind, encode(message)) == message


@given(st.sampled_from(protocol.REQUESTS), json_values)
def test_any_json_is_a_request_or_malformed(kind: type[Any], data: Any):
    with suppress(MalformedError):
        assert isinstance(decode(kind, data), kind)


@given(st.sampled_from(protocol.REQUESTS), st.text(st.characters(max_codepoint=127)))
def test_any_query_is_a_request_or_malformed(kind: type[Any], text: str):
    with suppress(MalformedError):
        assert isinstance(decode_query(kind, text), kind)


def test_unknown_keys_are_ignored():
    assert decode(protocol.MessageReply, {"message": "done", "since_2": 1}) == protocol.MessageReply("done")


def test_the_error_names_a_missing_key():
    with pytest.raises(MalformedError, match="missing paths"):
        decode(protocol.Add, {})


def test_the_error_names_the_position_of_a_wrong_type():
    with pytest.raises(MalformedError, match=r"paths\[1\]: expected str, not '7'"):
        decode(protocol.Add, {"paths": ["/a", 7]})


def test_every_request_has_its_own_route():
    routes = [(kind.method, kind.path) for kind in protocol.REQUESTS]
    assert len(set(routes)) == len(routes)
    assert {method for method, _ in routes} == {"GET", "POST"}


def test_changes_never_use_get():
    read_requests = {"GetStatus", "GetProgress", "ListItems", "GetExplanation", "GetFolders", "Search", "GetEvents"}
    read_requests |= {"GetMetrics", "GetReport", "GetBottleneck", "RunDoctor", "GetShareLinks"}
    read_requests |= {"GetSettings", "FindFolders", "GetTemplates"}
    assert {kind.__name__ for kind in protocol.REQUESTS if kind.method == "GET"} == read_requests


def test_query_fields_are_single_values():
    for kind in protocol.REQUESTS:
        if kind.method == "GET":
            assert not any("tuple" in str(hint) for hint in get_type_hints(kind).values()), kind


def test_repr_hides_the_token():
    assert "secret" not in repr(protocol.Login(token="secret"))


def test_requests_without_arguments_have_no_required_fields():
    for kind in (protocol.GetStatus, protocol.Pause, protocol.Resume, protocol.Shutdown, protocol.Logout):
        assert not [entry for entry in fields(kind) if entry.default is MISSING]
        assert decode(kind, {}) == kind()


def test_every_message_is_exported_from_its_module():
    folder = Path(protocol.__file__).parent
    defined = {
        module.stem: re.findall(r"^class (\w+)", module.read_text("utf-8"), re.MULTILINE)
        for module in folder.glob("*.py")
        if module.stem not in ("__init__", "registry")
    }
    listed = {
        module: sorted(names.split()) for module, names in protocol.NAMES_BY_MODULE.items() if module != "registry"
    }
    assert listed == {module: sorted(names) for module, names in defined.items()}
    assert all(getattr(protocol, name).__name__ == name for names in defined.values() for name in names)
