"""How requests and replies travel: GET sends fields as a query, POST as a JSON body. Standard library only."""

import functools
import types
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl, urlencode

QUERY_FIELDS_MAX = 32

_SCALARS = frozenset({str, int, float, bool, types.NoneType})

T = TypeVar("T")


class MalformedError(ValueError):
    """A message that is not what was agreed; its text says where."""


def encode(message: Any) -> dict[str, Any]:
    """A dataclass of this module as what JSON can hold."""
    return {name: _plain(getattr(message, name)) for name, _, _ in _entries(type(message))}  # type: ignore[arg-type]  # as in `decode`


def _plain(value: Any) -> Any:
    if type(value) in _SCALARS:
        return value
    if is_dataclass(value):
        return encode(value)
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return value


@functools.cache
def _entries(kind: type[Any]) -> tuple[tuple[str, Any, frozenset[type]], ...]:
    """The fields of a dataclass: name, type, and the types of values that need no closer look.

    Working them out costs more than using them, and a list has very many rows.
    """
    hints = get_type_hints(kind)
    return tuple((entry.name, hints[entry.name], _fitting(hints[entry.name])) for entry in fields(kind))


def _fitting(hint: Any) -> frozenset[type]:
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return frozenset(each for each in options if each in _SCALARS)


def decode(kind: type[T], data: Any, where: str = "") -> T:
    """`data` from JSON as a `kind`; MalformedError if it is none. Unknown keys are left aside: keys are only added."""
    if not isinstance(data, dict):
        raise MalformedError(f"{where or kind.__name__}: an object is expected")
    values = {
        name: value if type(value := data[name]) in fitting else _typed(hint, value, f"{where}{name}")
        for name, hint, fitting in _entries(kind)  # type: ignore[arg-type]  # a class is hashable, whatever it is of
        if name in data
    }
    try:
        return kind(**values)
    except TypeError:
        required = [entry.name for entry in fields(kind) if entry.default is MISSING]  # type: ignore[arg-type]  # as above
        missing = [name for name in required if name not in data]
        raise MalformedError(f"{where or kind.__name__}: missing {', '.join(missing)}") from None


def _typed(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        (hint,) = (argument for argument in arguments if argument is not types.NoneType)
        return _typed(hint, value, where)
    if origin is tuple and isinstance(value, list):
        return tuple(_typed(arguments[0], entry, f"{where}[{at}]") for at, entry in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {str(key): _typed(arguments[1], entry, f"{where}.{key}") for key, entry in value.items()}
    if is_dataclass(hint):
        return decode(hint, value, f"{where}.")  # type: ignore[arg-type]  # a dataclass type, as just seen
    if hint is float and type(value) is int:
        return float(value)
    if hint in (str, int, float, bool) and type(value) is hint:
        return value
    raise MalformedError(f"{where}: {getattr(hint, '__name__', hint)} is expected, not {str(value)[:40]!r}")


def query(request: Any) -> str:
    """The fields of a GET request as a query string; what stands at its default is left out."""
    given = {
        entry.name: _word(getattr(request, entry.name))
        for entry in fields(request)
        if getattr(request, entry.name) != entry.default
    }
    return urlencode(given, errors="surrogateescape")


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def decode_query(kind: type[T], text: str) -> T:
    """The inverse of `query`; MalformedError when a value is not of its type."""
    try:
        given = dict(parse_qsl(text, errors="surrogateescape", keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX))
    except ValueError as error:
        raise MalformedError(f"the query cannot be read: {error}") from None
    hints = {name: hint for name, hint, _ in _entries(kind)}  # type: ignore[arg-type]  # as in `decode`
    values: dict[str, Any] = {}
    for name, word in given.items():
        hint = hints.get(name)
        if hint is None:
            continue
        wanted = next((a for a in get_args(hint) if a is not types.NoneType), hint)
        try:
            values[name] = word == "true" if wanted is bool else wanted(word)
        except ValueError:
            raise MalformedError(f"{name}: {wanted.__name__} is expected, not {word[:40]!r}") from None
    return decode(kind, values)
