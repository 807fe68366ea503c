"""Entry point of `sploot`: runs a command and turns every error into one sentence and an exit code.

Nothing heavy is imported at module level, so that the most frequent commands start quickly.
"""

import os
import sys

from sploot import exit_codes, fast_path
from splootd.errors import ConfigError, RequestError, SplootError

COMPLETION_VARIABLE = "_SPLOOT_COMPLETE"  # set by a shell that asks Typer for completions

NUMBER_OPTIONS = ("--open", "--copy", "--reveal")

_NEEDS_USER_CODES = frozenset({"signed_out", "configuration"})
_USAGE_CODES = frozenset({"malformed", "too_many", "missing_argument", "no_token"})


def main() -> int:
    """Run the command given in `sys.argv` and return its exit code."""
    _prepare_streams()
    try:
        code = _run(sys.argv[1:])
        sys.stdout.flush()
    except SplootError as error:
        from sploot.terminal import print_error  # noqa: PLC0415 - errors are rare

        print_error(error.title, error.hint)
        code = exit_code_for(error)
    except KeyboardInterrupt:
        code = exit_codes.INTERRUPTED
    except BrokenPipeError:
        # The reader closed the pipe. The interpreter flushes stdout once more at exit and would report the same error
        # again, so the descriptor is pointed at /dev/null first.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = exit_codes.BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - a traceback helps only a developer
        code = _report_internal_error(error)
    return code


def _prepare_streams() -> None:
    """Keep printing from failing on a name that the locale cannot encode or on a stream that was closed before."""
    # `sploot <&- >&-` starts Python with sys.stdin and sys.stdout set to None; every print would then raise.
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: PTH123, SIM115 - open until exit; importing pathlib is slow
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or open(os.devnull, "w")  # noqa: PTH123, SIM115 - as above
        stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, stream)


def _run(arguments: list[str]) -> int:
    if not arguments and COMPLETION_VARIABLE not in os.environ:
        from sploot.overview import show_overview  # noqa: PLC0415 - only used without a command

        return show_overview()
    arguments = _expand_alias(arguments)
    run_command = fast_path.parse(arguments)
    if run_command is not None:
        return run_command()
    from sploot.typer_runner import run  # noqa: PLC0415 - Typer takes longer to import than most commands take to run

    return run(arguments)


def _expand_alias(arguments: list[str]) -> list[str]:
    """Return the arguments with `help [COMMAND]`, `version` and `-V` as the options of that meaning."""
    match arguments:
        case ["help", *command]:
            return [*command, "--help"]
        case ["version" | "-V"]:
            return ["--version"]
        case _:
            return _number_options(arguments)


def _number_options(words: list[str]) -> list[str]:
    """Return the words with 1 as the number of the NUMBER_OPTIONS of `sploot search` that have none."""
    followers = [*words[1:], ""]
    return [
        f"{word}=1" if word in NUMBER_OPTIONS and not follower.isdecimal() else word
        for word, follower in zip(words, followers, strict=False)
    ]


def exit_code_for(error: SplootError) -> int:
    """Return the documented exit code for `error`."""
    if isinstance(error, ConfigError):
        return exit_codes.NEEDS_USER
    if not isinstance(error, RequestError) or error.code == "not_started":
        return exit_codes.NO_DAEMON
    if error.code in _NEEDS_USER_CODES:
        return exit_codes.NEEDS_USER
    if error.code in _USAGE_CODES or error.code.startswith("bad_"):
        return exit_codes.USAGE
    return exit_codes.INTERNAL_ERROR if error.code == "internal" else exit_codes.NOT_FOUND


def _report_internal_error(error: Exception) -> int:
    from sploot.terminal import print_error  # noqa: PLC0415 - errors are rare
    from splootd.config import Paths  # noqa: PLC0415 - as above

    log = Paths.from_environ(os.environ).log
    print_error(f"internal error in sploot: {type(error).__name__}: {error}", f"see the daemon's log: {log}")
    return exit_codes.INTERNAL_ERROR
