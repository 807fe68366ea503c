"""Commands that change something and say so in a sentence: retry, bump, forget, pause, resume, login and the like."""

import sys
from collections.abc import Sequence

from sploot import exits
from sploot.paths import absolute, meant
from sploot.reach import client
from sploot.terminal import complain, print_json
from sploot.text import count, safe
from splootd.errors import RequestError
from splootd.protocol import Bump, Changed, Done, Forget, Login, Logout, Pause, Request, Resume, Retry
from splootd.wire import encode

TOKEN_CHARS_MAX = 65_536


def retry(ids: Sequence[int] = (), *, reason: str | None = None, every: bool = False, as_json: bool = False) -> int:
    return _change(Retry(tuple(ids), reason, every), "back in the queue", as_json=as_json)


def bump(targets: list[str], *, as_json: bool = False) -> int:
    return _change(Bump(tuple(map(meant, targets))), "now first in line", as_json=as_json)


def forget(targets: list[str], *, as_json: bool = False) -> int:
    return _change(Forget(tuple(map(meant, targets))), "out of the queue", as_json=as_json)


def _change(request: Request, what: str, *, as_json: bool) -> int:
    changed = client().ask(request, Changed)
    if as_json:
        print_json(encode(changed))
    else:
        print(f"{count(len(changed.ids), 'file')} {what}.")
    for word in changed.not_found:
        complain(f"{safe(word)} is not in the queue, or not in a state that this command changes")
    return exits.NOT_FOUND if changed.not_found else exits.DONE


def tell(request: Request) -> int:
    """Ask for `request` and print the sentence that comes back."""
    print(client().ask(request, Done).message)
    return exits.DONE


def pause() -> int:
    return tell(Pause())


def resume() -> int:
    return tell(Resume())


def remove_folder(path: str) -> int:
    from splootd.protocol import RemoveFolder  # noqa: PLC0415 - the other commands have no time for it

    return tell(RemoveFolder(absolute(path)))


def login(*, from_stdin: bool, command: str) -> int:
    if command:
        return tell(Login(token_command=command))
    if not from_stdin and not sys.stdin.isatty():
        raise RequestError("no_token", "there is nobody to ask for a token", "use --token-stdin or --token-command")
    from getpass import getpass  # noqa: PLC0415 - as above

    token = sys.stdin.readline(TOKEN_CHARS_MAX) if from_stdin else getpass("Token (not shown): ")
    return tell(Login(token=token.strip()))


def logout() -> int:
    return tell(Logout())
