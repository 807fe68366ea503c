"""Commands about what is kept: files that were put away come back, the queue is copied."""

from collections.abc import Sequence

from sploot import exits
from sploot.changing import tell
from sploot.paths import absolute
from sploot.reach import client
from sploot.terminal import complain, print_json
from sploot.text import place, safe
from splootd.protocol import Backup, Undo, Undone
from splootd.wire import encode


def undo(ids: Sequence[int] = (), *, last: bool = False, as_json: bool = False) -> int:
    undone = client().ask(Undo(tuple(ids), last), Undone)
    if as_json:
        print_json(encode(undone))
    left = [each for each in undone.paths if each.outcome != "back"]
    for each in undone.paths:
        if each in left:
            complain(safe(each.detail or f"{each.path}: {each.outcome}"))
        elif not as_json:
            print(f"{place(each.path)} is back.")
    return exits.NOT_FOUND if left else exits.DONE


def backup(file: str) -> int:
    return tell(Backup(absolute(file)))
