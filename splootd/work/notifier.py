"""Tells the desktop what only the user can mend: once for each kind of trouble, never once for each file."""

import asyncio
import html
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from splootd.errors import SplootError
from splootd.logs import logger
from splootd.protocol import Need

LOOK_INTERVAL_S = 60.0  # of what can go wrong, much rings no bell: a folder away, a token that ran out
ANSWER_S = 10.0
TITLE = "Sploot needs you"

Needs = Callable[[], Awaitable[Sequence[Need]]]


class Notifier:
    """Trouble that has gone and comes back is told again."""

    def __init__(self, needs: Needs, command: Callable[[str, str], Sequence[str]]) -> None:
        self._needs = needs
        self._command = command
        self._told: frozenset[str] = frozenset()
        self._log = logger("notifier")

    async def run(self) -> None:
        while True:
            try:
                await self.run_once()
            except SplootError as error:
                self._log.warning("needs unknown", error=error.title)
            await asyncio.sleep(LOOK_INTERVAL_S)

    async def run_once(self) -> Sequence[Need]:
        """Tell what is new, and return it."""
        needs = await self._needs()
        fresh = news_of(needs, self._told)
        self._told = frozenset(need.command for need in needs)
        if fresh:
            await self._tell("\n".join(f"{need.what}: {need.command}" for need in fresh))
        return fresh

    async def _tell(self, words: str) -> None:
        self._log.info("told the desktop", words=words)
        try:
            teller = await asyncio.create_subprocess_exec(
                *self._command(TITLE, words),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError as error:
            self._log.info("the desktop cannot be told", error=error.strerror)
            return
        try:
            async with asyncio.timeout(ANSWER_S):
                await teller.wait()
        except TimeoutError:
            self._log.info("the desktop does not answer")
        finally:
            if teller.returncode is None:
                teller.kill()
                await teller.wait()


def news_of(needs: Sequence[Need], told: Collection[str]) -> list[Need]:
    """Those of a kind that has not been told yet. The command that helps is the kind, however many files there are."""
    fresh: dict[str, Need] = {}
    for need in needs:
        if need.command not in told:
            fresh.setdefault(need.command, need)
    return list(fresh.values())


def is_wanted(wish: str, environ: Mapping[str, str]) -> bool:
    """Whether the desktop is to be told: `yes`, `no`, or `auto` for where there is one."""
    has_desktop = sys.platform == "darwin" or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))
    return wish == "yes" or (wish == "auto" and has_desktop)


def command_of(platform: str) -> Callable[[str, str], Sequence[str]]:
    """The command line that shows a title and words on this platform. Neither is ever read as an option or a script."""
    return _on_macos if platform == "darwin" else _on_freedesktop


def _on_freedesktop(title: str, words: str) -> Sequence[str]:
    return ("notify-send", "--app-name=Sploot", "--", title, html.escape(words, quote=False))  # it reads markup


def _on_macos(title: str, words: str) -> Sequence[str]:
    script = ("on run argv", "display notification (item 2 of argv) with title (item 1 of argv)", "end run")
    return ("osascript", *(word for line in script for word in ("-e", line)), title, words)
