"""The command line's own HTTP client: what it makes of torn, broken and foreign answers."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sploot import connection as line
from sploot import looking
from sploot.client import TRIES_MAX, Client, is_older
from sploot.connection import Connection, LostError, NoDaemonError, running

from splootd.control.door import bind
from splootd.errors import RequestError, SplootError
from splootd.protocol import Done, GetEvents, ListItems, Pause

LIMIT_S = 20
HEAD = b"HTTP/1.1 200 OK\r\nSploot-Version: 0.1.0\r\nSploot-Api: 1.0\r\n"
DONE = HEAD + b"Content-Length: 19\r\n\r\n" + b'{"message": "done"}'


@contextmanager
def answering(path: Path, *answers: bytes) -> Iterator[list[bytes]]:
    """A daemon of a few words: one connection for each of `answers`, closed after it. Yields what it was asked."""
    listener, asked = bind(path), list[bytes]()
    listener.settimeout(LIMIT_S)

    def answer() -> None:
        for each in answers:
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(LIMIT_S)
                asked.append(peer.recv(65_536))
                peer.sendall(each)

    thread = threading.Thread(target=answer)
    thread.start()
    yield asked
    thread.join(LIMIT_S)
    listener.close()


@contextmanager
def client_of(path: Path, warn: Callable[[str], None] = print) -> Iterator[Client]:
    client = Client(lambda: Connection(path), warn)
    try:
        yield client
    finally:
        client.close()


def key_of(message: bytes) -> bytes:
    (line,) = [line for line in message.split(b"\r\n") if line.startswith(b"Idempotency-Key: ")]
    return line


@pytest.mark.parametrize("torn", [b"", DONE[:20], DONE[:-5]])
def test_a_lost_answer_is_asked_for_again_under_the_same_key(tmp_path: Path, torn: bytes):
    path = tmp_path / "s.sock"
    with answering(path, torn, DONE) as asked, client_of(path) as client:
        assert client.ask(Pause(), Done) == Done("done")
    assert len(asked) == 2
    assert key_of(asked[0]) == key_of(asked[1])


def test_an_answer_that_is_lost_again_and_again_is_an_error(tmp_path: Path):
    path = tmp_path / "s.sock"
    with answering(path, *[b""] * TRIES_MAX), client_of(path) as client, pytest.raises(SplootError, match="hung up"):
        client.ask(Pause(), Done)


def test_a_problem_becomes_an_error_with_its_code(tmp_path: Path):
    path = tmp_path / "s.sock"
    body = b'{"code": "no_way", "title": "this cannot be", "status": 400, "hint": "do that"}'
    answer = HEAD.replace(b"200 OK", b"400 Bad Request") + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with answering(path, answer), client_of(path) as client, pytest.raises(RequestError) as caught:
        client.ask(Pause(), Done)
    assert (caught.value.code, caught.value.title, caught.value.hint) == ("no_way", "this cannot be", "do that")


@pytest.mark.parametrize("body", [b"not json", b"[]", b'{"other": 1}'])
def test_an_answer_that_nobody_agreed_on_is_said(tmp_path: Path, body: bytes):
    path = tmp_path / "s.sock"
    answer = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with answering(path, answer), client_of(path) as client, pytest.raises(SplootError, match="cannot be understood"):
        client.ask(Pause(), Done)


def test_another_version_is_noted_and_another_language_refused(tmp_path: Path):
    path, said = tmp_path / "s.sock", list[str]()
    with answering(path, DONE.replace(b"0.1.0", b"9.9.9")), client_of(path, said.append) as client:
        client.ask(Pause(), Done)
    assert "the daemon is version 9.9.9" in said[0]
    with (
        answering(path, DONE.replace(b"Api: 1.0", b"Api: 2.0")),
        client_of(path) as client,
        pytest.raises(SplootError, match="version") as caught,
    ):
        client.ask(Pause(), Done)
    assert "sploot daemon restart" in (caught.value.hint or "")


def test_an_older_daemon_is_replaced_and_the_next_one_asked_under_the_same_key(tmp_path: Path):
    path, replaced = tmp_path / "s.sock", list[str]()

    def replace(version: str) -> bool:
        replaced.append(version)
        return True

    with answering(path, DONE.replace(b"0.1.0", b"0.0.9"), DONE) as asked:
        client = Client(lambda: Connection(path), print, replace)
        assert client.ask(Pause(), Done) == Done("done")
        client.close()
    assert replaced == ["0.0.9"]
    assert key_of(asked[0]) == key_of(asked[1])


def test_an_older_daemon_that_cannot_be_replaced_is_noted(tmp_path: Path):
    path, said = tmp_path / "s.sock", list[str]()
    with answering(path, DONE.replace(b"0.1.0", b"0.0.9")), client_of(path, said.append) as client:
        assert client.ask(Pause(), Done) == Done("done")
    assert "the daemon is version 0.0.9" in said[0]


@pytest.mark.parametrize(("version", "than"), [("0.1.0", "0.1.1"), ("0.9.0", "0.10.0"), ("1.0", "1.0.1")])
def test_versions_are_compared_as_numbers(version: str, than: str):
    assert is_older(version, than)
    assert not is_older(than, version)
    assert not is_older("unknown", than)


def test_a_folder_of_somebody_else_is_not_spoken_into(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "run" / "s.sock"
    listener = bind(path)
    owner = path.parent.stat().st_uid
    monkeypatch.setattr(line, "MAY_LISTEN", frozenset({owner + 1}))
    with pytest.raises(NoDaemonError, match="belongs to somebody else"):
        running(path)
    listener.close()


def test_a_stream_is_read_however_it_is_torn(tmp_path: Path):
    """A chunk may arrive in any number of pieces, and an event may be spread over chunks."""
    listener = bind(tmp_path / "s.sock")
    connection = Connection(tmp_path / "s.sock")
    listener.setblocking(True)
    peer, _ = listener.accept()
    body = b'event: item\ndata: {"seq": 1}\n\n: life\n\nevent: item\ndata: {"seq": 2}\n\n'
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:13], body[13:40], body[40:]))
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    peer.sendall(answer[:60])
    assert connection.send(GetEvents(), "").status == 200
    events = connection.events(lambda: 0.0)
    got: list[Any] = []
    for number in range(60, len(answer), 7):
        got.append(next(events))
        peer.sendall(answer[number : number + 7])
    got += list(events)
    seen: Sequence[Any] = [event for event in got if event is not None]
    assert seen == [("item", {"seq": 1}), ("item", {"seq": 2})]
    for each in (peer, listener):
        each.close()
    connection.close()


def test_a_line_that_was_given_up_is_lost_and_not_a_fault(tmp_path: Path) -> None:
    """Whoever asks again reconnects: a daemon that is back must not be met with a closed descriptor."""
    with bind(tmp_path / "run" / "splootd.sock"):
        connection = Connection(tmp_path / "run" / "splootd.sock")
    connection.close()
    with pytest.raises(LostError):
        connection.send(Pause(), "key")


def chunked(*pieces: bytes, has_end: bool = True) -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n" * has_end


def test_lines_are_whole_however_they_were_cut(tmp_path: Path):
    path = tmp_path / "s.sock"
    with answering(path, chunked(b'{"id": 3}\n{"i', b'd": 2}\n', b'{"id": 1}\n')), client_of(path) as client:
        assert list(client.lines(ListItems(lines=True))) == ['{"id": 3}', '{"id": 2}', '{"id": 1}']


def test_a_list_that_breaks_off_goes_on_after_its_last_whole_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "s.sock"
    monkeypatch.setattr(looking, "client", lambda: Client(lambda: Connection(path), print))
    torn = (chunked(b'{"id": 3}\n{"id": 2}\n{"i', has_end=False), chunked(has_end=False))
    with answering(path, *torn, chunked(b'{"id": 1}\n')) as asked:
        lines = list(looking.lines(ListItems(limit=5)))
    assert lines == ['{"id": 3}', '{"id": 2}', '{"id": 1}']
    assert [b"limit=5&" in each or b"before=2&limit=3&" in each for each in asked] == [True] * 3
    with answering(path, *[chunked(has_end=False)] * TRIES_MAX), pytest.raises(SplootError, match="hung up"):
        list(looking.lines(ListItems(limit=5)))
