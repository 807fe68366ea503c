"""Hands files to the desktop: opens them, shows them in their folder, copies them to the clipboard."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from splootd.config import Paths
from splootd.errors import RequestError

IS_MAC = sys.platform == "darwin"
_MAC_TYPES = {"image/png": "PNGf", "image/jpeg": "JPEG"}  # the classes of pictures in AppleScript
_HEADS = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpeg"), (b"RIFF", "webp"), (b"GIF8", "gif"))
URI_LIST = "text/uri-list"  # a file as file managers and chats paste it


def open_location(location: str) -> None:
    """Open a file or a URL with the user's program for it. RequestError if there is none."""
    # A path is absolute and a URL starts with its scheme, so neither can be parsed as an option.
    if failure := _run(["open" if IS_MAC else "xdg-open", location]):
        raise RequestError("no_opener", f"the match could not be opened: {failure}", f"open it yourself: {location}")


def reveal_file(path: str) -> None:
    """Show a file in the file manager. RequestError if none is there."""
    if IS_MAC:
        failure = _run(["open", "-R", path])
    else:
        # https://www.freedesktop.org/wiki/Specifications/file-manager-interface/: it selects the file. Not every
        # desktop has it, but each opens a folder.
        show = "org.freedesktop.FileManager1.ShowItems"
        call = ["dbus-send", "--session", "--print-reply", "--dest=org.freedesktop.FileManager1"]
        failure = _run([*call, "/org/freedesktop/FileManager1", show, f"array:string:{_file_url(path)}", "string:"])
        failure = failure and _run(["xdg-open", os.path.dirname(path)])  # noqa: PTH120 - the path is a string
    if failure:
        raise RequestError("no_opener", f"the folder could not be opened: {failure}", f"the file is {path}")


def copy_picture(path: str) -> str:
    """Copy a picture to the clipboard; return what was copied. An animation is copied as a file, else it would stop.

    RequestError if no clipboard is there.
    """
    mime, is_animation = _sniff(path)
    if IS_MAC:
        failure = _run(_mac_copy_command(path, mime))
    else:
        data = f"{_file_url(path)}\r\n".encode() if mime == URI_LIST else Path(path).read_bytes()
        failure = _run(_find_copy_command(mime, path), data)
    if failure:
        raise RequestError("no_clipboard", f"the picture could not be copied: {failure}", f"the file is {path}")
    if mime != URI_LIST:
        return "the picture"
    return "the file, because it is an animation" if is_animation else "the file"


def fetch_copy(save: Callable[[str], object]) -> str:
    """Return the path of a copy that `save` writes. It stays for the paste of a file, until the next copy."""
    folder = Paths.from_environ(os.environ).state / "copied"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700, parents=True)
    file = folder / "picture"
    save(str(file))
    with file.open("rb") as opened:
        kind = _find_kind(opened.read(4))
    return str(file.rename(file.with_suffix(f".{kind}" if kind else "")))


def _find_copy_command(mime: str, path: str) -> list[str]:
    """Return the command that copies its input. RequestError names what is missing."""
    if os.environ.get("WAYLAND_DISPLAY"):
        command, package = ["wl-copy", "--type", mime], "wl-clipboard"
    elif os.environ.get("DISPLAY"):
        command, package = ["xclip", "-selection", "clipboard", "-t", mime], "xclip"
    else:
        title = "there is no clipboard: no desktop session is running here"
        raise RequestError("no_clipboard", title, f"the file is {path}")
    if shutil.which(command[0]) is None:
        title = f"the clipboard needs the program {command[0]}, which is not installed"
        raise RequestError("no_clipboard", title, f"install the package {package}; the file is {path}")
    return command


def _mac_copy_command(path: str, mime: str) -> list[str]:
    source = "POSIX file (item 1 of arguments)"
    kind = _MAC_TYPES.get(mime)
    picture = source if kind is None else f"read ({source}) as «class {kind}»"
    return ["osascript", "-e", f"on run arguments\nset the clipboard to ({picture})\nend run", path]


def _sniff(path: str) -> tuple[str, bool]:
    """Return the type as which a picture is copied, and whether it is an animation.

    A WebP is an animation if its chunk VP8X says so (its container specification, `Extended File Format`).
    """
    with Path(path).open("rb") as opened:
        head = opened.read(32)
    if head.startswith(b"GIF8") or (head[8:16] == b"WEBPVP8X" and bool(head[20] & 0x02)):
        return URI_LIST, True
    kind = _find_kind(head)
    return (f"image/{kind}" if kind else URI_LIST), False


def _find_kind(head: bytes) -> str:
    return next((kind for start, kind in _HEADS if head.startswith(start)), "")


def _file_url(path: str) -> str:
    return f"file://{quote(os.fsencode(path))}"


def _run(command: Sequence[str], data: bytes = b"") -> str:
    """Run a program of the desktop; return why it failed, or an empty string.

    Its output is discarded: xdg-open prints an error for every browser that it tries, and clipboard programs stay in
    the background with the streams that they were given.
    """
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        completed = subprocess.run(command, input=data, check=False, **quiet)  # type: ignore[call-overload] # noqa: S603 - requested
    except FileNotFoundError:
        return f"{command[0]} is not installed"
    return f"{command[0]} ended with exit code {completed.returncode}" if completed.returncode else ""
