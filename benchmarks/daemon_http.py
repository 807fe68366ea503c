"""Query a running daemon on its socket, without the cost of a command."""

import contextlib
import socket
from functools import partial

from temp_home import Home


def get(home: Home, target: str) -> bytes:
    """Return the response to `GET target`, including its header."""
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.connect(str(home.folder / "sploot" / "run" / "splootd.sock"))
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: sploot\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(partial(connection.recv, 65_536), b""))
