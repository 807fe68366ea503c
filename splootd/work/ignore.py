"""Which names in a folder are never looked at: downloads under way, hidden and system files, `.splootignore` rules."""

import os
import stat
from collections.abc import Iterable

from pathspec import GitIgnoreSpec

RULES_FILE = b".splootignore"
RULES_BYTES_MAX = 100_000  # what stands behind that is not read

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
    """Whether a file or folder called `name` is hidden, the system's own, or a download under way."""
    folded = name.lower()
    return name.startswith(b".") or folded in SYSTEM_NAMES or folded.endswith(PARTIAL_SUFFIXES)


class Rules:
    """The `.splootignore` files of one tree of folders, each with gitignore's rules for everything below its folder.

    As in git, the last pattern that matches decides, a deeper file overrules those above it, and nothing inside an
    ignored folder can be taken back in. Nothing above `root` counts.
    """

    def __init__(self, root: bytes) -> None:
        self._root = root
        self._specs: dict[bytes, GitIgnoreSpec] = {}

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._specs)

    def enter(self, folder: bytes) -> None:
        """Read the rules of `folder` afresh. OSError when it has some that cannot be read."""
        self._specs.pop(folder, None)
        text = _read(folder + b"/" + RULES_FILE)
        spec = _compile(text.decode("utf-8-sig", "surrogateescape").splitlines())
        if spec:
            self._specs[folder] = spec

    def ignores(self, path: bytes, *, is_folder: bool = False) -> bool:
        """Whether the rules leave out `path`, given that they let its folder be entered."""
        if not self._specs:
            return False
        folder = path
        while folder != self._root and len(folder) > 1:
            folder = folder.rpartition(b"/")[0] or b"/"
            spec = self._specs.get(folder)
            if spec:
                below = os.fsdecode(path[len(folder.rstrip(b"/")) + 1 :])
                included = spec.check_file(below + "/" if is_folder else below).include
                if included is not None:
                    return included  # in gitignore's sense: matched by the list of what to leave out
        return False


def _read(path: bytes) -> bytes:
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO of that name must not hold us up
    except FileNotFoundError:
        return b""
    try:
        return os.read(handle, RULES_BYTES_MAX) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
    finally:
        os.close(handle)


def _compile(lines: Iterable[str]) -> GitIgnoreSpec | None:
    """The spec of all lines that are patterns; as in git, one that is none matches nothing and spoils nothing."""
    # `a/**` means what is in `a`. pathspec takes it for `a/` too, which would keep us from what `!a/b` takes back.
    good = [line + "/*" if line.endswith("/**") else line for line in lines if _is_pattern(line)]
    return GitIgnoreSpec.from_lines(good) if good else None


def _is_pattern(line: str) -> bool:
    if not line.strip() or line.startswith("#"):
        return False
    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True
