"""`sploot` without a command: the status, and what to type next."""

from __future__ import annotations

from sploot.commands.status import status
from sploot.terminal import get_style

NEXT_COMMANDS = {
    "sploot add FOLDER": "upload the images in a folder, and watch it",
    "sploot search TEXT": "find images by their words or their meaning",
    "sploot --help": "list all commands",
}


def show_overview() -> int:
    """Show the status and three commands. Return the exit code."""
    code = status()
    width = max(map(len, NEXT_COMMANDS))
    style = get_style()
    print("\nNext:")
    for command, description in NEXT_COMMANDS.items():
        print(f"  {style.bold(command)}{'':<{width - len(command)}}  {description}")
    return code
