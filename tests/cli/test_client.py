"""The command line's own HTTP client."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sploot.client import Connection

from splootd.control import bind
from splootd.protocol import GetEvents


def test_the_client_reads_a_stream_whose_pieces_are_torn(tmp_path: Path):
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
