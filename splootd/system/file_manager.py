"""Show a file in the file manager of the desktop."""

import asyncio
import sys
from collections.abc import Sequence
from pathlib import PurePosixPath
from urllib.parse import quote_from_bytes

from splootd.errors import RequestError

START_S_MAX = 10.0
FILE_MANAGER = "org.freedesktop.FileManager1"


def reveal_commands(path: bytes, *, platform: str) -> Sequence[Sequence[str | bytes]]:
    """Return the commands that show a file, in the order in which to try them. `path` is absolute.

    The D-Bus call selects the file; file managers without it only open the folder.
    """
    if platform == "darwin":
        return [["open", "-R", path]]
    url = f"file://{quote_from_bytes(path)}"  # a comma, which would separate two URLs, is quoted
    destination = [f"--dest={FILE_MANAGER}", f"/{FILE_MANAGER.replace('.', '/')}", f"{FILE_MANAGER}.ShowItems"]
    call = ["dbus-send", "--session", "--print-reply", *destination, f"array:string:{url}", "string:"]
    return [call, ["xdg-open", path.rpartition(b"/")[0] or b"/"]]


async def reveal(path: bytes, *, platform: str = sys.platform) -> None:
    """Show a file in the file manager. Raises RequestError if no file manager can be started."""
    for command in reveal_commands(path, platform=platform):
        if await _succeeds(command):
            return
    folder = PurePosixPath(path.decode(errors="replace")).parent
    raise RequestError(
        "no_file_manager", f"no file manager can be opened on this machine; the folder is {folder}", status=503
    )


async def _succeeds(command: Sequence[str | bytes]) -> bool:
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return False
    try:
        async with asyncio.timeout(START_S_MAX):
            return await process.wait() == 0
    except TimeoutError:  # xdg-open may run as long as the file manager
        return True
