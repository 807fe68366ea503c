"""Codec of requests and replies: GET fields as a query string, POST fields as JSON. Standard library only."""

import functools
import types
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl, urlencode

QUERY_FIELDS_MAX = 32

_SCALARS = frozenset({str, int, float, bool, types.NoneType})

T = TypeVar("T")


class MalformedError(ValueError):
    """The message does not match its type. The text names the position."""


def encode(message: Any) -> dict[str, Any]:
    """Convert a protocol dataclass to JSON values."""
    return {name: _to_json(getattr(message, name)) for name, _, _ in _field_specs(type(message))}  # type: ignore[arg-type]  # as in `decode`


def _to_json(value: Any) -> Any:
    if type(value) in _SCALARS:
        return value
    if is_dataclass(value):
        return encode(value)
    if isinstance(value, tuple):
        return [_to_json(entry) for entry in value]
    return value


@functools.cache
def _field_specs(kind: type[Any]) -> tuple[tuple[str, Any, frozenset[type]], ...]:
    """Return name, type and accepted scalar types of each field.

    Cached: resolving type hints costs far more than decoding a row, and a list has many rows.
    """
    hints = get_type_hints(kind)
    return tuple((entry.name, hints[entry.name], _scalar_types(hints[entry.name])) for entry in fields(kind))


def _scalar_types(hint: Any) -> frozenset[type]:
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return frozenset(each for each in options if each in _SCALARS)


def decode(kind: type[T], data: Any, where: str = "") -> T:
    """Convert JSON values to a `kind`. Raises MalformedError. Unknown keys are ignored, so that keys can be added."""
    if not isinstance(data, dict):
        raise MalformedError(f"{where or kind.__name__}: expected an object")
    values = {
        name: value if type(value := data[name]) in scalar_types else _decode_value(hint, value, f"{where}{name}")
        for name, hint, scalar_types in _field_specs(kind)  # type: ignore[arg-type]  # every class is hashable
        if name in data
    }
    try:
        return kind(**values)
    except TypeError:
        required = [entry.name for entry in fields(kind) if entry.default is MISSING]  # type: ignore[arg-type]  # as above
        missing = [name for name in required if name not in data]
        raise MalformedError(f"{where or kind.__name__}: missing {', '.join(missing)}") from None


def _decode_value(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        (hint,) = (argument for argument in arguments if argument is not types.NoneType)
        return _decode_value(hint, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_decode_value(arguments[0], entry, f"{where}[{at}]") for at, entry in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {str(key): _decode_value(arguments[1], entry, f"{where}.{key}") for key, entry in value.items()}
    if is_dataclass(hint):
        return decode(hint, value, f"{where}.")  # type: ignore[arg-type]  # a dataclass type, checked above
    if hint is float and type(value) is int:
        return float(value)
    if hint in (str, int, float, bool) and type(value) is hint:
        return value
    raise MalformedError(f"{where}: expected {getattr(hint, '__name__', hint)}, not {str(value)[:40]!r}")


def encode_query(request: Any) -> str:
    """Encode the fields of a GET request as a query string, without the fields at their default."""
    given = {
        entry.name: _to_query_value(getattr(request, entry.name))
        for entry in fields(request)
        if getattr(request, entry.name) != entry.default
    }
    return urlencode(given, errors="surrogateescape")


def _to_query_value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def decode_query(kind: type[T], text: str) -> T:
    """Decode a query string, the inverse of `encode_query`. Raises MalformedError."""
    try:
        given = dict(parse_qsl(text, errors="surrogateescape", keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX))
    except ValueError as error:
        raise MalformedError(f"invalid query: {error}") from None
    hints = {name: hint for name, hint, _ in _field_specs(kind)}  # type: ignore[arg-type]  # as in `decode`
    values: dict[str, Any] = {}
    for name, value in given.items():
        hint = hints.get(name)
        if hint is None:
            continue
        expected = next((a for a in get_args(hint) if a is not types.NoneType), hint)
        try:
            values[name] = value == "true" if expected is bool else expected(value)
        except ValueError:
            raise MalformedError(f"{name}: expected {expected.__name__}, not {value[:40]!r}") from None
    return decode(kind, values)
