"""`sploot model`: models with which the local library finds what pictures show, or understands their words better.

The library server fetches, tests and installs them: this command runs `sploot-server model` on the local library.
"""

from __future__ import annotations

import os
import subprocess
import sys

from sploot import exit_codes
from sploot.daemon_connect import open_client
from splootd.config import Config, Paths
from splootd.errors import RequestError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import Annotated, Argument, JsonOption, Option

EXIT_NOT_INSTALLED = 78


def add_model(
    source: Annotated[str, Argument(metavar="SOURCE")],
    *,
    yes: Annotated[bool, Option("--yes", help="Fetch it without a question.")] = False,
    sha256: Annotated[str, Option(metavar="HEX", help="SHA-256 that an archive must have.")] = "",
) -> int:
    """Add a picture model or a text encoder: a folder, an archive, a URL, or hf:OWNER/NAME[@REVISION]."""
    options = [*(["--yes"] if yes else []), *([f"--sha256={sha256}"] if sha256 else [])]
    return _change_models("add", *options, "--", source)


def list_models(*, as_json: JsonOption = False) -> int:
    """List the models, and how far the library is read with them."""
    return _run("list", *(["--json"] if as_json else []))


def remove_model(name: Annotated[str, Argument(metavar="NAME")]) -> int:
    """Remove a model and read the library without it."""
    return _change_models("remove", "--", name)


def _change_models(*arguments: str) -> int:
    code = _run(*arguments)
    if code == exit_codes.DONE:
        open_client().request_json("GET", "/v1/status")  # starts the daemon, whose server reads the library anew
    return code


def _run(action: str, *arguments: str) -> int:
    """Run `sploot-server model` with the user's terminal; its exit codes are those of this program."""
    paths = Paths.from_environ(os.environ)
    config = Config.load(paths.config_file, os.environ)
    if not config.is_local:
        raise RequestError(
            "not_local",
            f"the library is on {config.server}, which has models of its own",
            "run `sploot-server model` on that machine",
        )
    command = [sys.executable, "-P", "-m", "sploot_server", "model", action]
    code = subprocess.run([*command, "--data", paths.library, *arguments], check=False).returncode  # noqa: S603 - our own program
    return exit_codes.NEEDS_USER if code == EXIT_NOT_INSTALLED else code


COMMANDS = {"model add": add_model, "model list": list_models, "model remove": remove_model}
