"""Send desktop notifications about required actions: one per kind of action, not one per file."""

import asyncio
import html
import sys
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from splootd.errors import SplootError
from splootd.logs import get_logger
from splootd.protocol import ActionRequired

POLL_INTERVAL_S = 60.0  # polled, because some causes produce no event: a missing folder, an expired token
COMMAND_TIMEOUT_S = 10.0
TITLE = "Sploot: action required"

ActionSource = Callable[[], Awaitable[Sequence[ActionRequired]]]


class DesktopNotifier:
    """Notifies about each new required action; again if it was resolved and returns."""

    def __init__(self, get_actions: ActionSource, command: Callable[[str, str], Sequence[str]]) -> None:
        self._get_actions = get_actions
        self._command = command
        self._notified: frozenset[str] = frozenset()
        self._log = get_logger("desktop_notifications")

    async def run(self) -> None:
        """Check for new required actions until cancelled."""
        while True:
            try:
                await self.run_once()
            except SplootError as error:
                self._log.warning("cannot determine required actions", error=error.title)
            await asyncio.sleep(POLL_INTERVAL_S)

    async def run_once(self) -> Sequence[ActionRequired]:
        """Send a notification about new actions, and return them."""
        actions = await self._get_actions()
        new_actions = find_new_actions(actions, self._notified)
        self._notified = frozenset(action.command for action in actions)
        if new_actions:
            await self._notify("\n".join(_format_line(action) for action in new_actions))
        return new_actions

    async def _notify(self, body: str) -> None:
        self._log.info("sending desktop notification", body=body)
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command(TITLE, body),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError as error:
            self._log.info("cannot send desktop notification", error=error.strerror)
            return
        try:
            async with asyncio.timeout(COMMAND_TIMEOUT_S):
                await process.wait()
        except TimeoutError:
            self._log.info("desktop notification timed out")
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


def find_new_actions(actions: Sequence[ActionRequired], notified: Collection[str]) -> list[ActionRequired]:
    """Return one action per command that is not in `notified`. The counts in `what` change; the command does not."""
    new_actions: dict[str, ActionRequired] = {}
    for action in actions:
        if action.command not in notified:
            new_actions.setdefault(action.command, action)
    return list(new_actions.values())


def _format_line(action: ActionRequired) -> str:
    return f"{action.what[:1].upper()}{action.what[1:]}. Run: {action.command}"


def is_enabled(setting: str, environ: Mapping[str, str]) -> bool:
    """Return whether notifications are on: `yes`, `no`, or `auto` for yes if the environment has a desktop."""
    has_desktop = sys.platform == "darwin" or bool(environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY"))
    return setting == "yes" or (setting == "auto" and has_desktop)


def notification_command(platform: str) -> Callable[[str, str], Sequence[str]]:
    """Return a function that builds the command line for a title and body, for this platform.

    Neither text is ever parsed as an option or a script: a file name may contain both.
    """
    return _osascript_command if platform == "darwin" else _notify_send_command


def _notify_send_command(title: str, body: str) -> Sequence[str]:
    # Notification servers render the body as markup, so an unescaped `<` would hide the rest.
    return ("notify-send", "--app-name=Sploot", "--", title, html.escape(body, quote=False))


def _osascript_command(title: str, body: str) -> Sequence[str]:
    script = ("on run argv", "display notification (item 2 of argv) with title (item 1 of argv)", "end run")
    return ("osascript", *(argument for line in script for argument in ("-e", line)), title, body)
