"""Paths as the user writes them, and as the daemon takes them: absolute, resolved in the caller's own folder."""
# ruff: noqa: PTH109, PTH111 - pathlib takes longer to import than the fastest commands take

import os


def absolute(path: str) -> str:
    """`path` from the root on, with `~` expanded. Links and `..` stay: the daemon resolves them where the files are."""
    given = os.path.expanduser(path)
    given = given if given.startswith("/") else f"{os.getcwd()}/{given}"
    return "/" + "/".join(part for part in given.split("/") if part not in ("", "."))


def after_word(word: str) -> str:
    """What is to become of files, with its folder from the root on. The daemon knows which words there are."""
    kind, colon, folder = word.partition(":")
    return f"{kind}:{absolute(folder)}" if colon and folder else word


def meant(word: str) -> str:
    """What a command means by `word`: an id, unless there is a file of that name."""
    return word if word.isdecimal() and not os.path.lexists(word) else absolute(word)
