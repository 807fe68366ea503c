"""Turns command-line arguments into absolute paths, relative to the caller's working directory."""
# ruff: noqa: PTH109, PTH111 - pathlib takes longer to import than the fastest commands take to run

import os


def absolute(path: str) -> str:
    """Return the absolute path, with `~` expanded.

    Symbolic links and `..` stay: removing `..` as text is wrong after a link, so the daemon resolves both.
    """
    given = os.path.expanduser(path)
    given = given if given.startswith("/") else f"{os.getcwd()}/{given}"
    return "/" + "/".join(part for part in given.split("/") if part not in ("", "."))


def parse_action(argument: str) -> str:
    """Return the action of --after-upload with an absolute folder. The daemon validates it."""
    kind, colon, folder = argument.partition(":")
    return f"{kind}:{absolute(folder)}" if colon and folder else argument


def parse_target(argument: str) -> str:
    """Return an item id, or an absolute path if a file of that name exists or the argument is not a number."""
    return argument if argument.isdecimal() and not os.path.lexists(argument) else absolute(argument)
