"""The statements of `queries.sql`, by name."""

import re
from collections.abc import Mapping
from importlib.resources import files

# `-- name: claim`, one comment line of meaning, then the statement up to the semicolon that ends a line.
_QUERY = re.compile(r"^-- name: (\w+)\n-- ([^\n]+)\n(.+?);$", re.MULTILINE | re.DOTALL)


def load(text: str) -> dict[str, str]:
    """Return the statements of `text` by name. Raises ValueError for a repeated name or an incomplete statement."""
    queries: dict[str, str] = {}
    for name, _meaning, statement in _QUERY.findall(text):
        if name in queries:
            raise ValueError(f"two statements are called {name}")
        queries[name] = statement
    if len(queries) != text.count("-- name:"):
        raise ValueError("a statement lacks its comment of meaning or its semicolon")
    return queries


SQL: Mapping[str, str] = load(files(__package__).joinpath("queries.sql").read_text("utf-8"))
