"""The HTTP client of the command line, with torn, invalid and incompatible responses."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sploot.commands.list as list_command
from sploot import connection as connection_module
from sploot.client import ATTEMPTS_MAX, Client
from sploot.connection import Connection, ConnectionLostError, NoDaemonError, connect_if_running
from sploot.version_order import is_older

from splootd.control.server import bind
from splootd.errors import RequestError, SplootError
from splootd.protocol import GetEvents, ListItems, MessageReply, Pause

TIMEOUT_S = 20
HEAD = b"HTTP/1.1 200 OK\r\nSploot-Version: 0.1.0\r\nSploot-Api: 1.0\r\n"
DONE = HEAD + b"Content-Length: 19\r\n\r\n" + b'{"message": "done"}'


@contextmanager
def scripted_daemon(path: Path, *responses: bytes) -> Iterator[list[bytes]]:
    """A server with one connection per scripted response. Yields the requests that it received."""
    listener, requests = bind(path), list[bytes]()
    listener.settimeout(TIMEOUT_S)

    def response() -> None:
        for each in responses:
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(TIMEOUT_S)
                requests.append(peer.recv(65_536))
                peer.sendall(each)

    thread = threading.Thread(target=response)
    thread.start()
    yield requests
    thread.join(TIMEOUT_S)
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
def test_a_lost_response_is_retried_with_the_same_key(tmp_path: Path, torn: bytes):
    path = tmp_path / "s.sock"
    with scripted_daemon(path, torn, DONE) as requests, client_of(path) as client:
        assert client.request(Pause(), MessageReply) == MessageReply("done")
    assert len(requests) == 2
    assert key_of(requests[0]) == key_of(requests[1])


def test_repeatedly_lost_responses_are_an_error(tmp_path: Path):
    path = tmp_path / "s.sock"
    with (
        scripted_daemon(path, *[b""] * ATTEMPTS_MAX),
        client_of(path) as client,
        pytest.raises(SplootError, match="closed the connection"),
    ):
        client.request(Pause(), MessageReply)


def test_a_problem_becomes_an_error_with_its_code(tmp_path: Path):
    path = tmp_path / "s.sock"
    body = b'{"code": "no_way", "title": "this cannot be", "status": 400, "hint": "do that"}'
    response = HEAD.replace(b"200 OK", b"400 Bad Request") + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with scripted_daemon(path, response), client_of(path) as client, pytest.raises(RequestError) as caught:
        client.request(Pause(), MessageReply)
    assert (caught.value.code, caught.value.title, caught.value.hint) == ("no_way", "this cannot be", "do that")


@pytest.mark.parametrize("body", [b"not json", b"[]", b'{"other": 1}'])
def test_an_invalid_reply_is_an_error(tmp_path: Path, body: bytes):
    path = tmp_path / "s.sock"
    response = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    with scripted_daemon(path, response), client_of(path) as client, pytest.raises(SplootError, match="invalid reply"):
        client.request(Pause(), MessageReply)


def test_another_version_is_a_warning_and_another_api_an_error(tmp_path: Path):
    path, warnings = tmp_path / "s.sock", list[str]()
    with scripted_daemon(path, DONE.replace(b"0.1.0", b"9.9.9")), client_of(path, warnings.append) as client:
        client.request(Pause(), MessageReply)
    assert "the daemon is version 9.9.9" in warnings[0]
    with (
        scripted_daemon(path, DONE.replace(b"Api: 1.0", b"Api: 2.0")),
        client_of(path) as client,
        pytest.raises(SplootError, match="version") as caught,
    ):
        client.request(Pause(), MessageReply)
    assert "sploot daemon restart" in (caught.value.hint or "")


def test_an_older_daemon_is_replaced_and_the_request_retried_with_the_same_key(tmp_path: Path):
    path, replaced = tmp_path / "s.sock", list[str]()

    def replace(version: str) -> bool:
        replaced.append(version)
        return True

    with scripted_daemon(path, DONE.replace(b"0.1.0", b"0.0.9"), DONE) as requests:
        client = Client(lambda: Connection(path), print, replace)
        assert client.request(Pause(), MessageReply) == MessageReply("done")
        client.close()
    assert replaced == ["0.0.9"]
    assert key_of(requests[0]) == key_of(requests[1])


def test_an_older_daemon_that_cannot_be_replaced_is_a_warning(tmp_path: Path):
    path, warnings = tmp_path / "s.sock", list[str]()
    with scripted_daemon(path, DONE.replace(b"0.1.0", b"0.0.9")), client_of(path, warnings.append) as client:
        assert client.request(Pause(), MessageReply) == MessageReply("done")
    assert "the daemon is version 0.0.9" in warnings[0]


@pytest.mark.parametrize(("version", "than"), [("0.1.0", "0.1.1"), ("0.9.0", "0.10.0"), ("1.0", "1.0.1")])
def test_versions_are_compared_as_numbers(version: str, than: str):
    assert is_older(version, than)
    assert not is_older(than, version)
    assert not is_older("unknown", than)


def test_a_socket_folder_of_another_user_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "run" / "s.sock"
    listener = bind(path)
    owner = path.parent.stat().st_uid
    monkeypatch.setattr(connection_module, "TRUSTED_UIDS", frozenset({owner + 1}))
    with pytest.raises(NoDaemonError, match="belongs to another user"):
        connect_if_running(path)
    listener.close()


def test_a_stream_is_parsed_however_it_is_split(tmp_path: Path):
    """A chunk may arrive in any number of segments, and an event may span several chunks."""
    listener = bind(tmp_path / "s.sock")
    connection = Connection(tmp_path / "s.sock")
    listener.setblocking(True)
    peer, _ = listener.accept()
    body = b'event: item\ndata: {"seq": 1}\n\n: life\n\nevent: item\ndata: {"seq": 2}\n\n'
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:13], body[13:40], body[40:]))
    response = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    peer.sendall(response[:60])
    assert connection.send_request(GetEvents(), "").status == 200
    events = connection.read_events(lambda: 0.0)
    got: list[Any] = []
    for number in range(60, len(response), 7):
        got.append(next(events))
        peer.sendall(response[number : number + 7])
    got += list(events)
    seen: Sequence[Any] = [event for event in got if event is not None]
    assert seen == [("item", {"seq": 1}), ("item", {"seq": 2})]
    for each in (peer, listener):
        each.close()
    connection.close()


def test_a_closed_connection_raises_connection_lost(tmp_path: Path) -> None:
    """A retry reconnects, so a request on a closed connection must raise ConnectionLostError, not OSError."""
    with bind(tmp_path / "run" / "splootd.sock"):
        connection = Connection(tmp_path / "run" / "splootd.sock")
    connection.close()
    with pytest.raises(ConnectionLostError):
        connection.send_request(Pause(), "key")


def chunked(*chunks: bytes, has_end: bool = True) -> bytes:
    body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n" * has_end


def test_lines_are_complete_however_they_are_split(tmp_path: Path):
    path = tmp_path / "s.sock"
    with scripted_daemon(path, chunked(b'{"id": 3}\n{"i', b'd": 2}\n', b'{"id": 1}\n')), client_of(path) as client:
        assert list(client.stream_lines(ListItems(lines=True))) == ['{"id": 3}', '{"id": 2}', '{"id": 1}']


def test_an_interrupted_list_continues_after_its_last_complete_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "s.sock"
    monkeypatch.setattr(list_command, "open_client", lambda: Client(lambda: Connection(path), print))
    torn = (chunked(b'{"id": 3}\n{"id": 2}\n{"i', has_end=False), chunked(has_end=False))
    with scripted_daemon(path, *torn, chunked(b'{"id": 1}\n')) as requests:
        lines = list(list_command.stream_json_lines(ListItems(limit=5)))
    assert lines == ['{"id": 3}', '{"id": 2}', '{"id": 1}']
    assert [b"limit=5&" in each or b"before=2&limit=3&" in each for each in requests] == [True] * 3
    with (
        scripted_daemon(path, *[chunked(has_end=False)] * ATTEMPTS_MAX),
        pytest.raises(SplootError, match="closed the connection"),
    ):
        list(list_command.stream_json_lines(ListItems(limit=5)))
