"""`sploot`: the way in and the only way out. Every error ends here, as a sentence and an exit code.

Nothing heavy is imported on this page: what is typed most is answered without the rest.
"""

import os
import sys

from sploot import exits, plain
from splootd.errors import ConfigError, RequestError, SplootError

_NEED_USER = frozenset({"signed_out", "configuration"})
_WRONG_USAGE = frozenset({"malformed", "too_many", "nothing_named", "no_token"})


def main() -> int:
    """Run the command that the arguments name; the exit code."""
    _prepare_streams()
    try:
        code = _run(sys.argv[1:])
        sys.stdout.flush()
    except SplootError as error:
        from sploot.terminal import tell_error  # noqa: PLC0415 - errors are rare

        tell_error(error.title, error.hint)
        code = exit_code(error)
    except KeyboardInterrupt:
        code = exits.INTERRUPTED
    except BrokenPipeError:
        # Whoever read has had enough. What is still buffered must not be complained about at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = exits.PIPE
    except Exception as error:  # noqa: BLE001 - nobody but a developer has any use for a traceback
        code = _unexpected(error)
    return code


def _prepare_streams() -> None:
    """Let nothing that is printed fail: not a name that the locale cannot say, nor a stream that was closed before."""
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: PTH123, SIM115 - open to the end, and pathlib takes time to import
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or open(os.devnull, "w")  # noqa: PTH123, SIM115 - as above
        stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, stream)


def _run(arguments: list[str]) -> int:
    command = plain.read(arguments)
    if command is not None:
        return command()
    from sploot.parsing import run  # noqa: PLC0415 - it takes longer to import than most commands take

    return run(arguments)


def exit_code(error: SplootError) -> int:
    """The exit code that scripts see for `error`."""
    if isinstance(error, ConfigError):
        return exits.NEEDS_USER
    if not isinstance(error, RequestError) or error.code == "not_started":
        return exits.NO_DAEMON
    if error.code in _NEED_USER:
        return exits.NEEDS_USER
    if error.code in _WRONG_USAGE or error.code.startswith("bad_"):
        return exits.USAGE
    return exits.INTERNAL if error.code == "internal" else exits.NOT_FOUND


def _unexpected(error: Exception) -> int:
    from sploot.terminal import tell_error  # noqa: PLC0415 - errors are rare
    from splootd.config import Paths  # noqa: PLC0415 - as above

    log = Paths.find(os.environ).log
    tell_error(f"sploot met a fault of its own: {type(error).__name__}: {error}", f"the daemon's log is {log}")
    return exits.INTERNAL
