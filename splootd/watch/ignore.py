"""Ignore rules: unfinished downloads, hidden and system files, and `.splootignore` patterns."""

import os
import stat
from collections.abc import Iterable

from pathspec import GitIgnoreSpec

RULES_FILE = b".splootignore"
RULES_BYTES_MAX = 100_000  # the rest of a longer file is ignored

PARTIAL_SUFFIXES = (b".crdownload", b".part", b".download", b".tmp", b".opdownload", b".!qb")
SYSTEM_NAMES = frozenset(
    {
        b"thumbs.db",
        b"ehthumbs.db",
        b"desktop.ini",
        b"icon\r",
        b"@eadir",
        b"#recycle",
        b"$recycle.bin",
        b"system volume information",
        b"lost+found",
        b"__macosx",
    }
)


def is_ignored_name(name: bytes) -> bool:
    """Return whether `name` is a hidden file, a system file or an unfinished download."""
    folded = name.lower()
    return name.startswith(b".") or folded in SYSTEM_NAMES or folded.endswith(PARTIAL_SUFFIXES)


class IgnoreRules:
    """The `.splootignore` files of one folder tree; each applies gitignore patterns to everything below its folder.

    As in git, the last matching pattern decides, a deeper file overrides those above it, and a file inside an ignored
    folder cannot be re-included. Files above `root` have no effect.
    """

    def __init__(self, root: bytes) -> None:
        self.root = root
        self._specs: dict[bytes, GitIgnoreSpec] = {}

    def __bool__(self) -> bool:
        """Return whether any rules are loaded."""
        return bool(self._specs)

    def load_folder(self, folder: bytes) -> None:
        """Reload the rules of `folder`. Raise OSError if its rules file cannot be read."""
        self._specs.pop(folder, None)
        text = _read(folder + b"/" + RULES_FILE)
        spec = _compile(text.decode("utf-8-sig", "surrogateescape").splitlines())
        if spec:
            self._specs[folder] = spec

    def ignores(self, path: bytes, *, is_folder: bool = False) -> bool:
        """Return whether the rules exclude `path`, given that they do not exclude its folder."""
        if not self._specs:
            return False
        folder = path
        while folder != self.root and len(folder) > 1:
            folder = folder.rpartition(b"/")[0] or b"/"
            spec = self._specs.get(folder)
            if spec:
                below = os.fsdecode(path[len(folder.rstrip(b"/")) + 1 :])
                is_match = spec.check_file(below + "/" if is_folder else below).include
                if is_match is not None:
                    return is_match  # pathspec's `include` means: matched, so ignored
        return False


def _read(path: bytes) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # opening a FIFO would block forever
    except FileNotFoundError:
        return b""
    try:
        return os.read(handle, RULES_BYTES_MAX) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
    finally:
        os.close(handle)


def _compile(lines: Iterable[str]) -> GitIgnoreSpec | None:
    """Compile all lines that are valid patterns; like git, skip an invalid one."""
    # In git `a/**` matches the contents of `a`. pathspec also matches `a/` itself, and then `!a/b` has no effect.
    patterns = [line + "/*" if line.endswith("/**") else line for line in lines if _is_pattern(line)]
    return GitIgnoreSpec.from_lines(patterns) if patterns else None


def _is_pattern(line: str) -> bool:
    if not line.strip() or line.startswith("#"):
        return False
    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True
