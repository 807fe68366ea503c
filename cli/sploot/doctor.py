"""`sploot doctor`: is all well, here and inside the daemon, and if not, which command mends it."""

import os
from collections.abc import Iterator
from pathlib import Path

from sploot import exits, login
from sploot.reach import client
from sploot.render import Style
from sploot.service import state_of
from sploot.systemd import user_name
from sploot.terminal import complain, print_json, style
from sploot.text import safe
from splootd.config import Config, Paths
from splootd.errors import SplootError
from splootd.places import SOCKET_PATH_BYTES_MAX
from splootd.protocol import Examine, Finding, Findings, SelfTest
from splootd.wire import encode


def doctor(*, self_test: bool = True, thorough: bool = False, as_json: bool = False, bundle: str | None = None) -> int:
    """Show what was found, and keep it in `bundle` for a report; 4 when something needs the user."""
    found = findings(self_test=self_test, thorough=thorough)
    if as_json:
        print_json(encode(found))
    else:
        print("\n".join(lines(found, style())))
    if bundle is not None:
        from sploot.bundle import write  # noqa: PLC0415 - rarely asked for

        write(Path(bundle), found)
        complain(f"{bundle} holds all of this and the end of the log, without secrets and file names.")
    return exits.NEEDS_USER if any(each.state == "bad" for each in found.findings) else exits.DONE


def findings(*, self_test: bool, thorough: bool) -> Findings:
    """First what can be seen from here, then what the daemon sees."""
    paths = Paths.find(os.environ)
    here = (*_configuration(paths), *_places(paths), *_service())
    inside: list[Finding] = []
    try:
        asking = client()
        inside += asking.ask(Examine(thorough), Findings).findings
        inside += asking.ask(SelfTest(), Findings).findings if self_test else ()
    except SplootError as error:
        inside.append(Finding("daemon", "bad", error.title, error.hint))
    return Findings((*here, *inside))


def lines(found: Findings, style: Style) -> Iterator[str]:
    paints = {"ok": style.good, "note": style.warn, "bad": style.bad}
    for each in found.findings:
        yield f"{paints[each.state](f'{each.state:<5}')} {each.check:<13} {safe(each.says)}"
        if each.command:
            yield f"{'':19} -> {style.bold(safe(each.command))}"


def _configuration(paths: Paths) -> Iterator[Finding]:
    try:
        Config.load(paths.config_file, os.environ)
    except SplootError as error:
        yield Finding("configuration", "bad", f"{error.title}; {error.hint}", f"edit {paths.config_file}")
    else:
        yield Finding("configuration", "ok", f"{paths.config_file}")


def _places(paths: Paths) -> Iterator[Finding]:
    """The folders that must be private, the token that must be more so, and a path that systems keep short."""
    for place, mask in ((paths.state, 0o077), (paths.runtime, 0o077), (paths.token_file, 0o077)):
        try:
            seen = place.stat()
        except FileNotFoundError:
            continue
        except OSError as error:
            yield Finding("places", "bad", f"{place} cannot be used: {error.strerror}", f"ls -ld {place}")
            continue
        if seen.st_uid != os.getuid():
            yield Finding("places", "bad", f"{place} belongs to somebody else", f"sudo chown -R {user_name()} {place}")
        elif seen.st_mode & mask:
            yield Finding("places", "bad", f"{place} is open to others", f"chmod go= {place}")
    length = len(os.fsencode(paths.socket))
    says = f"{paths.socket} has {length} of the {SOCKET_PATH_BYTES_MAX} bytes that a socket's path may have"
    yield Finding("socket", "ok", says)


def _service() -> Iterator[Finding]:
    try:
        state = state_of(login.service_of(os.environ))
    except SplootError as error:
        yield Finding("service", "note", error.title, error.hint)
        return
    if not state["installed"]:
        yield Finding("service", "note", "the daemon is not started at login", "sploot service install")
    elif not state["enabled"]:
        yield Finding("service", "bad", f"{state['name']} is written but not enabled", "sploot service install")
    elif not state["current"]:
        yield Finding("service", "note", "its files are not what this version writes", "sploot service install")
    else:
        yield Finding("service", "ok", f"{state['kind']} starts {state['name']} at login")
    if state["installed"] and state["lingering"] is False:
        says = "the daemon ends when you log out; that may be what you want"
        yield Finding("lingering", "ok", says, f"loginctl enable-linger {user_name()}")
