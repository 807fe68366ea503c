"""Sends a change to the daemon and prints the result."""

from sploot import exit_codes
from sploot.daemon_connect import open_client
from sploot.formatting import escape_unprintable, format_count
from sploot.terminal import print_json, print_stderr
from splootd.codec import encode
from splootd.protocol import ChangeReply, MessageReply, Request


def request_change(request: Request, result: str, *, as_json: bool) -> int:
    """Change items and print how many changed; `result` completes the sentence `3 files ...`."""
    changed = open_client().request(request, ChangeReply)
    if as_json:
        print_json(encode(changed))
    else:
        print(f"{format_count(len(changed.ids), 'file')} {result}.")
    if changed.left_counts:
        codes = ", ".join(f"{count} {code}" for code, count in changed.left_counts.items())
        left = format_count(sum(changed.left_counts.values()), "file")
        print_stderr(f"Not retried: {left} that must change first ({codes}). What to change: sploot failed")
    for target in changed.not_found:
        print_stderr(f"{escape_unprintable(target)} is not in the queue, or its state does not allow this command")
    return exit_codes.NOT_FOUND if changed.not_found else exit_codes.DONE


def request_and_print(request: Request) -> int:
    """Send `request` and print the message in the reply."""
    print(open_client().request(request, MessageReply).message)
    return exit_codes.DONE
