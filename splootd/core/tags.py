"""The tags that a Sploot accepts. A refused tag refuses the whole file, so tags are checked before they are queued."""

import re
from collections.abc import Iterable

TAGS_MAX = 20  # per upload
TAG_CHARS_MAX = 50
_UNSAFE = re.compile(r"[<>]|&[lg]t;|javascript:|on\w+=", re.IGNORECASE)


def clean_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """Return the trimmed tags without repetitions. Raises ValueError with a message for the user."""
    cleaned = tuple(dict.fromkeys(tag.strip() for tag in tags))
    if len(cleaned) > TAGS_MAX:
        raise ValueError(f"{len(cleaned)} tags are too many; the library accepts at most {TAGS_MAX}")
    for tag in cleaned:
        if problem := _find_problem(tag):
            raise ValueError(f"the tag {tag[:TAG_CHARS_MAX]!r} {problem}")
    return cleaned


def _find_problem(tag: str) -> str | None:
    if not tag:
        return "is empty"
    if len(tag) > TAG_CHARS_MAX:
        return f"is longer than {TAG_CHARS_MAX} characters"
    if unsafe := _UNSAFE.search(tag):
        return f"contains {unsafe[0]!r}, which the library refuses"
    return None if tag.isprintable() else "contains a control character"
