"""Where a profile keeps its things, as plain paths: `config.Paths` has names for all of them.

The command line reads this to find the socket, so it imports nothing that takes time.
"""
# ruff: noqa: PTH109, PTH111, PTH118 - pathlib takes longer to import than the fastest commands take

import os
import sys

from splootd.errors import ConfigError

SOCKET = "splootd.sock"
SOCKET_PATH_BYTES_MAX = 103  # sun_path holds 108 bytes on Linux and 104 on macOS, the closing NUL included

PROFILE = "[a-z0-9](-?[a-z0-9]){0,31}"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def socket_of(environ: "Mapping[str, str]") -> str:
    """The socket of the control API for this user and profile."""
    return os.path.join(places(environ)[2], SOCKET)


def places(environ: "Mapping[str, str]") -> tuple[str, str, str]:
    """The folders for configuration, state and sockets: under SPLOOT_HOME if set, else where the system keeps such.

    SPLOOT_PROFILE names one of several sets of places side by side, each with a daemon of its own.
    """
    config, state, runtime = _folders(environ)
    profile = environ.get("SPLOOT_PROFILE", "")
    if profile:
        below = os.path.join("profiles", checked_profile(profile))
        config, state, runtime = (os.path.join(folder, below) for folder in (config, state, runtime))
    return config, state, _short(runtime)


def checked_profile(name: str) -> str:
    """`name`, which becomes part of paths and of the names of services; ConfigError when it will not do."""
    import re  # noqa: PLC0415 - most have one daemon

    if not re.fullmatch(PROFILE, name):
        raise ConfigError(
            f"{name[:40]!r} cannot be the name of a profile", "take up to 32 small letters, digits, and - between them"
        )
    return name


def _folders(environ: "Mapping[str, str]") -> tuple[str, str, str]:
    join = os.path.join
    if environ.get("SPLOOT_HOME"):
        home = join(os.getcwd(), environ["SPLOOT_HOME"])
        return home, join(home, "state"), join(home, "run")
    user = os.path.expanduser(environ.get("HOME") or "~")
    if sys.platform == "darwin":
        support = join(user, "Library", "Application Support", "sploot")
        return support, join(support, "state"), join(user, "Library", "Caches", "sploot")
    config = join(environ.get("XDG_CONFIG_HOME") or join(user, ".config"), "sploot")
    state = join(environ.get("XDG_STATE_HOME") or join(user, ".local", "state"), "sploot")
    runtime = environ.get("XDG_RUNTIME_DIR")
    return config, state, join(runtime, "sploot") if runtime else join(state, "run")


def _short(runtime: str) -> str:
    """`runtime`, or a stand-in of fixed length where a socket's path in it would be too long for the system."""
    if len(os.fsencode(os.path.join(runtime, SOCKET))) <= SOCKET_PATH_BYTES_MAX:
        return runtime
    from zlib import crc32  # noqa: PLC0415 - few homes lie so deep

    return f"/tmp/sploot-{os.getuid()}-{crc32(os.fsencode(runtime)):08x}"  # noqa: S108 - made 0700 and checked
