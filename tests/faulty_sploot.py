"""A Sploot with faults, as a process: faults are random from a seed, or set by command.

    python tests/faulty_sploot.py --port 0 --seed 7 --faults chaos --journal FILE

It prints its URL. Without faults it behaves as `real_sploot.py`. While it runs, `POST /control/...` sets the fault
rates, scripts the next faults, removes assets and revokes tokens; `GET /control/token` issues a token.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import random
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fault_proxy import CHAOS, FAULTS, FaultProxy
from real_sploot import RealSploot, route_of
from scripted_sploot import Disconnect, Reply, Request
from sploot_journal import Journal, JournalSummary, read_journal

STOP_S = 10.0
HEAD_BYTES_MAX = 65_536
HUNG_UP = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)  # POLLRDHUP exists on Linux only


class FaultServer:
    """Serves a FaultProxy over HTTP/1.1 and records the number of concurrent connections."""

    def __init__(self, fault_proxy: FaultProxy) -> None:
        self._fault_proxy = fault_proxy
        self._open: set[asyncio.StreamWriter] = set()
        self._connections_max = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, Disconnect):
                while await self._handle_request(reader, writer):
                    pass
            with contextlib.suppress(OSError):
                linger = struct.pack("ii", 1, 0)  # close with a reset
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _handle_request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Handle one request. Return whether the connection stays open."""
        first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        length = int(headers.get("content-length", "0"))
        if target.startswith("/control/"):
            reply = control(self._fault_proxy, target, await reader.readexactly(length))
        else:
            route = route_of(method, target)
            if route != "unknown":  # a push client has a connection of its own
                self._count(writer)
            fault = self._fault_proxy.choose_fault(route)
            if fault == "reset inside":
                await reader.readexactly(length // 2)
            body = await reader.readexactly(0 if fault == "reset inside" else length)
            reply = await self._fault_proxy.answer(Request(route, method, target, headers, body), fault)
        writer.write(reply.encoded())
        await writer.drain()
        return reply.cut is None

    def _count(self, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        if (
            len(self._open) > self._connections_max
            and (count := sum(map(_is_open, self._open))) > self._connections_max
        ):
            self._connections_max = count
            self._fault_proxy.sploot.journal.record("connections", count=count)


def _is_open(writer: asyncio.StreamWriter) -> bool:
    """Return whether the peer is connected. The kernel knows it before the event loop does."""
    if writer.transport.is_closing():
        return False
    poll = select.poll()
    poll.register(writer.get_extra_info("socket").fileno(), HUNG_UP)
    return not poll.poll(0)


def control(fault_proxy: FaultProxy, target: str, body: bytes) -> Reply:
    """Run a command of a test."""
    value = json.loads(body) if body else None
    match target.removeprefix("/control/"):
        case "token":
            token = fault_proxy.sploot.issue(*([value] if value else []))
            return Reply(body=token.encode(), headers={"content-type": "text/plain"})
        case "faults":
            fault_proxy.rates = CHAOS if value == "chaos" else value
        case "script":
            fault_proxy.script(value["route"], value["faults"])
        case "remove":
            fault_proxy.sploot.remove(value)
        case "purge":
            fault_proxy.sploot.purge(value)
        case "revoke":
            fault_proxy.sploot.revoke()
        case "sploot":  # any of its fields
            for name, each in value.items():
                setattr(fault_proxy.sploot, name, each)
        case "fault_proxy":
            for name, each in value.items():
                setattr(fault_proxy, name, each)
        case _:
            return Reply(404, {"error": target})
    return Reply()


@dataclass
class Process:
    """The server as a child process. It keeps its port and journal across `kill` and `start`."""

    journal: Path
    options: Sequence[str] = ()
    port: int = 0
    _child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def token_command(self) -> str:
        """The command that prints a new token, as a user would configure it."""
        script = (
            f"import socket; s = socket.create_connection(('127.0.0.1', {self.port}), 5);"
            r" s.sendall(b'GET /control/token HTTP/1.1\r\n\r\n'); print(s.recv(4000).split()[-1].decode())"
        )
        return f'{sys.executable} -I -S -c "{script}"'

    def start(self) -> None:
        command = [sys.executable, __file__, "--port", str(self.port), "--journal", str(self.journal), *self.options]
        self._child = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._child.stdout is not None
        self.port = int(self._child.stdout.readline().rpartition(b":")[2])

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate(timeout=STOP_S)
            self._child = None

    def send_command(self, command: str, value: Any = None) -> bytes:
        """Send a command to the server."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=STOP_S)
        try:
            connection.request("POST", f"/control/{command}", body=json.dumps(value))
            response = connection.getresponse()
            body = response.read()
            assert response.status == 200, body
        finally:
            connection.close()
        return body

    def summary(self) -> JournalSummary:
        return JournalSummary.of(read_journal(self.journal))


@contextmanager
def running(journal: Path, *options: str) -> Iterator[Process]:
    """Run the server until the end of the block."""
    process = Process(journal, options)
    process.start()
    try:
        yield process
    finally:
        process.kill()


async def serve(fault_proxy: FaultProxy, port: int) -> None:
    """Listen on 127.0.0.1 for ever, and print the URL."""
    server = await asyncio.start_server(FaultServer(fault_proxy).serve, "127.0.0.1", port, limit=HEAD_BYTES_MAX)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    arguments = argparse.ArgumentParser(description="A Sploot that fails at random.")
    arguments.add_argument("--port", type=int, default=0, help="0 for any free port")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--journal", type=Path, help="where it stores its library and its counts")
    arguments.add_argument("--token", default="", help="a token that is always valid, besides those it issues")
    arguments.add_argument("--token-life", type=float, default=60.0, metavar="SECONDS")
    arguments.add_argument("--work", type=float, default=0.0, metavar="SECONDS", help="duration of an upload")
    arguments.add_argument("--embed", type=float, default=0.0, metavar="SECONDS", help="until an asset is searchable")
    arguments.add_argument("--faults", default="", help="`chaos`, or NAME=SHARE,... of: " + ", ".join(FAULTS))
    options = arguments.parse_args()
    chance = random.Random(options.seed)
    journal = Journal(options.journal)
    sploot = RealSploot(
        journal,
        token=options.token,
        token_life_s=options.token_life,
        work_s=options.work,
        embed_s=options.embed,
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(FaultProxy(sploot, chance, rates_of(options.faults)), options.port))


def rates_of(text: str) -> Mapping[str, float]:
    """Parse `chaos` or `name=share,name=share`."""
    if text == "chaos":
        return CHAOS
    pairs = (pair.partition("=") for pair in text.split(",") if pair)
    return {name: float(share) for name, _, share in pairs}


if __name__ == "__main__":
    main()
