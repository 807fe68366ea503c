"""Commands that change something and say so in a sentence: retry, bump, forget, pause, resume, login and the like."""

import getpass
import sys

from sploot import exits
from sploot.paths import absolute, target
from sploot.reach import client
from sploot.terminal import complain, print_json
from sploot.text import count, safe
from splootd.errors import RequestError
from splootd.protocol import Bump, Changed, Done, Forget, Login, Logout, Pause, RemoveFolder, Request, Resume, Retry
from splootd.wire import encode

TOKEN_CHARS_MAX = 65_536


def retry(ids: list[int], *, reason: str | None, every: bool, as_json: bool) -> int:
    return _change(Retry(tuple(ids), reason, every), "back in the queue", as_json=as_json)


def bump(words: list[str], *, as_json: bool) -> int:
    return _change(Bump(tuple(target(word) for word in words)), "now first in line", as_json=as_json)


def forget(words: list[str], *, as_json: bool) -> int:
    return _change(Forget(tuple(target(word) for word in words)), "out of the queue", as_json=as_json)


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
    return tell(RemoveFolder(absolute(path)))


def login(*, from_stdin: bool, command: str) -> int:
    if command:
        return tell(Login(token_command=command))
    if not from_stdin and not sys.stdin.isatty():
        raise RequestError("no_token", "there is nobody to ask for a token", "use --token-stdin or --token-command")
    token = sys.stdin.readline(TOKEN_CHARS_MAX) if from_stdin else getpass.getpass("Token (not shown): ")
    return tell(Login(token=token.strip()))


def logout() -> int:
    return tell(Logout())
