"""`sploot doctor`: run checks here and inside the daemon, and print the command that fixes each problem."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from sploot import exit_codes
from sploot.commands.service import get_service_state
from sploot.daemon_connect import open_client
from sploot.formatting import escape_unprintable
from sploot.render import Style
from sploot.server_change import describe_server_mismatch
from sploot.service.backend import get_backend
from sploot.service.unit_files import get_user_name
from sploot.terminal import get_style, print_json, print_stderr
from splootd.app_dirs import SOCKET_PATH_BYTES_MAX
from splootd.codec import encode
from splootd.config import Config, Paths
from splootd.errors import SplootError
from splootd.protocol import Finding, Findings, RunDoctor, SelfTest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import Annotated, JsonOption, Option


def doctor(
    *,
    self_test: Annotated[
        bool, Option(help="Upload a tiny image to the library and delete it there permanently.")
    ] = True,
    thorough: Annotated[
        bool, Option("--thorough", help="Read the whole queue database: about 5 s for a million files.")
    ] = False,
    bundle: Annotated[
        str | None, Option(metavar="FILE", help="Write FILE for a bug report, without secrets and file names.")
    ] = None,
    verbose: Annotated[bool, Option("--verbose", "-v", help="Print what is well, too.")] = False,
    as_json: JsonOption = False,
) -> int:
    """Check for problems and print the command that fixes each."""
    found = collect_findings(self_test=self_test, thorough=thorough)
    if as_json:
        print_json(encode(found))
    else:
        print("\n".join(render_findings(found, get_style(), verbose=verbose)))
    if bundle is not None:
        from sploot.support_bundle import write_bundle

        write_bundle(Path(bundle), found)
        print_stderr(f"Wrote {bundle}: the findings and the end of the log, without secrets and file names.")
    return exit_codes.NEEDS_USER if any(each.state == "error" for each in found.findings) else exit_codes.DONE


def collect_findings(*, self_test: bool, thorough: bool) -> Findings:
    """Run the local checks, then those of the daemon."""
    paths = Paths.from_environ(os.environ)
    local_findings = (*_check_configuration(paths), *_check_directories(paths), *_check_service())
    daemon_findings: list[Finding] = []
    try:
        client = open_client()
        daemon_findings += client.request(RunDoctor(thorough), Findings).findings
        daemon_findings += client.request(SelfTest(), Findings).findings if self_test else ()
    except SplootError as error:
        daemon_findings.append(Finding("daemon", "error", error.title, error.hint))
    if mismatch := describe_server_mismatch(paths):
        daemon_findings.append(Finding("server", "error", mismatch, "unset SPLOOT_SERVER"))
    return Findings((*local_findings, *daemon_findings))


def render_findings(found: Findings, style: Style, *, verbose: bool) -> Iterator[str]:
    """Render what is not well, each with its command, and how many checks there were; with `verbose` all of them."""
    paints = {"ok": style.good, "warning": style.warn, "error": style.bad}
    passed = [each for each in found.findings if each.state == "ok"]
    for each in found.findings:
        if verbose or each.state != "ok":
            yield f"{paints[each.state](f'{each.state:<7}')} {each.check:<13} {escape_unprintable(each.message)}"
            if each.command:
                yield f"{'':21} -> {style.bold(escape_unprintable(each.command))}"
    if len(passed) == len(found.findings):
        yield f"All {len(passed)} checks passed."
    else:
        yield f"{len(passed)} of {len(found.findings)} checks passed."


def _check_configuration(paths: Paths) -> Iterator[Finding]:
    try:
        Config.load(paths.config_file, os.environ)
    except SplootError as error:
        yield Finding("configuration", "error", f"{error.title}; {error.hint}", f"edit {paths.config_file}")
    else:
        yield Finding("configuration", "ok", f"{paths.config_file}")


def _check_directories(paths: Paths) -> Iterator[Finding]:
    """Check owner and mode of the private folders and the token file, and the length of the socket's path."""
    for path, mask in ((paths.state, 0o077), (paths.runtime, 0o077), (paths.token_file, 0o077)):
        try:
            stat = path.stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            yield Finding("directories", "error", f"{path} cannot be used: {error.strerror}", f"ls -ld {path}")
            continue
        if stat.st_uid != os.getuid():
            yield Finding(
                "directories", "error", f"{path} belongs to another user", f"sudo chown -R {get_user_name()} {path}"
            )
        elif stat.st_mode & mask:
            yield Finding("directories", "error", f"{path} is accessible to other users", f"chmod go= {path}")
    yield from _check_config_writers(paths.config_file)
    # A socket address holds about 100 bytes (sun_path), so `app_dirs` uses a short folder when the home is deep.
    length = len(os.fsencode(paths.socket))
    message = f"the path {paths.socket} has {length} of at most {SOCKET_PATH_BYTES_MAX} bytes"
    yield Finding("socket", "ok", message)


def _check_config_writers(config_file: Path) -> Iterator[Finding]:
    """Warn if other users can change the configuration: its `token_command` runs as this user."""
    folder = config_file.parent
    with contextlib.suppress(OSError):  # nothing to protect yet
        is_open = folder.stat().st_mode & 0o011  # otherwise no other user reaches the file
        for path in (folder, config_file) if is_open else (folder,):
            if path.stat().st_mode & 0o022:
                message = f"other users can write to {path}, and so set a command that the daemon runs"
                yield Finding("directories", "warning", message, f"chmod go-w {path}")


def _check_service() -> Iterator[Finding]:
    try:
        state = get_service_state(get_backend(os.environ))
    except SplootError as error:
        yield Finding("service", "warning", error.title, error.hint)
        return
    if not state["installed"]:
        yield Finding("service", "warning", "the daemon does not start at login", "sploot service install")
    elif not state["enabled"]:
        yield Finding("service", "error", f"{state['name']} is installed but not enabled", "sploot service install")
    elif not state["current"]:
        yield Finding("service", "warning", "its files were written by another version", "sploot service install")
    else:
        yield Finding("service", "ok", f"{state['kind']} starts {state['name']} at login")
    if state["installed"] and state["lingering"] is False:
        message = "the daemon stops when you log out; that may be intended"
        yield Finding("lingering", "ok", message, f"loginctl enable-linger {get_user_name()}")


COMMANDS = {"doctor": doctor}
