"""How requests and replies travel: GET sends fields as a query, POST as a JSON body. Standard library only."""

import functools
import types
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints
from urllib.parse import parse_qsl, urlencode

QUERY_FIELDS_MAX = 32

T = TypeVar("T")


class MalformedError(ValueError):
    """A message that is not what was agreed; its text says where."""


def encode(message: Any) -> dict[str, Any]:
    """A dataclass of this module as what JSON can hold."""
    return {entry.name: _plain(getattr(message, entry.name)) for entry in fields(message)}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return encode(value)
    if isinstance(value, tuple):
        return [_plain(entry) for entry in value]
    return value


@functools.cache
def _hints(kind: type[Any]) -> dict[str, Any]:
    """The types of a dataclass's fields: working them out costs more than using them."""
    return get_type_hints(kind)


def decode(kind: type[T], data: Any, where: str = "") -> T:
    """`data` from JSON as a `kind`; MalformedError if it is none. Unknown keys are left aside: keys are only added."""
    if not isinstance(data, dict):
        raise MalformedError(f"{where or kind.__name__}: an object is expected")
    hints = _hints(kind)  # type: ignore[arg-type]  # a class is hashable, whatever its instances are
    values = {
        entry.name: _typed(hints[entry.name], data[entry.name], f"{where}{entry.name}")
        for entry in fields(kind)  # type: ignore[arg-type]  # every kind that is asked for is a dataclass
        if entry.name in data
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
    hints = _hints(kind)  # type: ignore[arg-type]  # a class is hashable, whatever its instances are
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
