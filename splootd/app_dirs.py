"""Configuration, state and runtime directories of a profile; `config.Paths` names the files in them.

The command line imports this module to find the socket, so it must import quickly.
"""
# ruff: noqa: PTH109, PTH111, PTH118 - importing pathlib takes longer than the fastest commands

import os
import sys

from splootd.errors import ConfigError

SOCKET_NAME = "splootd.sock"
SOCKET_PATH_BYTES_MAX = 103  # sun_path has 108 bytes on Linux and 104 on macOS, including the terminating NUL

PROFILE_PATTERN = "[a-z0-9](-?[a-z0-9]){0,31}"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def find_socket(environ: "Mapping[str, str]") -> str:
    """Return the socket path of the control API for this user and profile."""
    return os.path.join(find_app_dirs(environ)[2], SOCKET_NAME)


def find_app_dirs(environ: "Mapping[str, str]") -> tuple[str, str, str]:
    """Return the folders for configuration, state and sockets: in SPLOOT_HOME if set, else in the system's locations.

    SPLOOT_PROFILE selects one of several profiles, each with its own folders and its own daemon.
    """
    config, state, runtime = _base_dirs(environ)
    profile = environ.get("SPLOOT_PROFILE", "")
    if profile:
        below = os.path.join("profiles", validate_profile(profile))
        config, state, runtime = (os.path.join(folder, below) for folder in (config, state, runtime))
    return config, state, _shorten_runtime_dir(runtime)


def validate_profile(name: str) -> str:
    """Return `name`, which becomes part of paths and service names. Raises ConfigError."""
    import re  # noqa: PLC0415 - most users have no profile

    if not re.fullmatch(PROFILE_PATTERN, name):
        raise ConfigError(
            f"{name[:40]!r} is not a valid profile name", "use up to 32 lowercase letters and digits, joined by -"
        )
    return name


def _base_dirs(environ: "Mapping[str, str]") -> tuple[str, str, str]:
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


def _shorten_runtime_dir(runtime: str) -> str:
    """Return `runtime`, or a short replacement in /tmp when the socket path would exceed the system's limit.

    `bind` fails on a path that does not fit into `sun_path`, and some systems truncate it silently.
    """
    if len(os.fsencode(os.path.join(runtime, SOCKET_NAME))) <= SOCKET_PATH_BYTES_MAX:
        return runtime
    from zlib import crc32  # noqa: PLC0415 - few paths are that long

    return f"/tmp/sploot-{os.getuid()}-{crc32(os.fsencode(runtime)):08x}"  # noqa: S108 - created with mode 0700
