"""Sploot behind a bad network on a bad day: a server program whose faults come by chance, from a seed, or by command.

    python tests/faulty_sploot.py --port 0 --seed 7 --faults chaos --journal FILE

It prints its address. What it answers without faults is `real_sploot.py`. While it runs, `POST /control/...` switches
its faults, scripts the next ones, removes pictures and ends sessions; `GET /control/token` issues a token.
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

from bad_luck import CHAOS, FAULTS, Faulty
from real_sploot import RealSploot, route_of
from scripted import Drop, Reply, Request
from sploot_journal import Books, Journal, read_journal

STOP_S = 10.0
HEAD_BYTES_MAX = 65_536
HUNG_UP = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)  # the last one is Linux' own


class Lines:
    """Serves HTTP/1.1 for a Faulty on a socket, and counts the lines that are open at once."""

    def __init__(self, faulty: Faulty) -> None:
        self._faulty = faulty
        self._open: set[asyncio.StreamWriter] = set()
        self._lines_max = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, Drop):
                while await self._one(reader, writer):
                    pass
            with contextlib.suppress(OSError):
                linger = struct.pack("ii", 1, 0)  # the line ends with a reset
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        finally:
            self._open.discard(writer)
            writer.transport.abort()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; whether the line stays open."""
        first, *rest = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
        length = int(headers.get("content-length", "0"))
        if target.startswith("/control/"):
            reply = control(self._faulty, target, await reader.readexactly(length))
        else:
            route = route_of(method, target)
            if route != "unknown":  # whoever looks for a push channel does so on a line of its own
                self._count(writer)
            fault = self._faulty.chosen(route)
            if fault == "reset inside":
                await reader.readexactly(length // 2)
            body = await reader.readexactly(0 if fault == "reset inside" else length)
            reply = await self._faulty.answer(Request(route, method, target, headers, body), fault)
        writer.write(reply.encoded())
        await writer.drain()
        return reply.cut is None

    def _count(self, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        if len(self._open) > self._lines_max and (lines := sum(map(_is_open, self._open))) > self._lines_max:
            self._lines_max = lines
            self._faulty.sploot.journal.note("lines", lines=lines)


def _is_open(writer: asyncio.StreamWriter) -> bool:
    """Whether the other end is still there. The kernel knows before the loop does."""
    if writer.transport.is_closing():
        return False
    poll = select.poll()
    poll.register(writer.get_extra_info("socket").fileno(), HUNG_UP)
    return not poll.poll(0)


def control(faulty: Faulty, target: str, body: bytes) -> Reply:
    """What a test commands while the server runs."""
    value = json.loads(body) if body else None
    match target.removeprefix("/control/"):
        case "token":
            return Reply(body=faulty.sploot.issue().encode(), headers={"content-type": "text/plain"})
        case "faults":
            faulty.rates = CHAOS if value == "chaos" else value
        case "script":
            faulty.script(value["route"], value["faults"])
        case "remove":
            faulty.sploot.remove(value)
        case "revoke":
            faulty.sploot.revoke()
        case "sploot":  # any of its fields
            for name, each in value.items():
                setattr(faulty.sploot, name, each)
        case "faulty":
            for name, each in value.items():
                setattr(faulty, name, each)
        case _:
            return Reply(404, {"error": target})
    return Reply()


@dataclass
class Process:
    """The program as a child. It keeps its port and its journal over `kill` and `start`."""

    journal: Path
    options: Sequence[str] = ()
    port: int = 0
    _child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def token_command(self) -> str:
        """What prints a fresh token, as a user would configure it."""
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

    def tell(self, what: str, value: Any = None) -> bytes:
        """Give it a command."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=STOP_S)
        try:
            line.request("POST", f"/control/{what}", body=json.dumps(value))
            answer = line.getresponse()
            body = answer.read()
            assert answer.status == 200, body
        finally:
            line.close()
        return body

    def books(self) -> Books:
        return Books.of(read_journal(self.journal))


@contextmanager
def running(journal: Path, *options: str) -> Iterator[Process]:
    """The program, until the end of the block."""
    process = Process(journal, options)
    process.start()
    try:
        yield process
    finally:
        process.kill()


async def serve(faulty: Faulty, port: int) -> None:
    """Listen on 127.0.0.1 for ever, and print the address."""
    server = await asyncio.start_server(Lines(faulty).serve, "127.0.0.1", port, limit=HEAD_BYTES_MAX)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    async with server:
        await server.serve_forever()


def main() -> None:
    arguments = argparse.ArgumentParser(description="A Sploot that fails at random.")
    arguments.add_argument("--port", type=int, default=0, help="0 for any that is free")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--journal", type=Path, help="where it keeps its library and its books")
    arguments.add_argument("--token", default="", help="one that is always good; others it issues itself")
    arguments.add_argument("--token-life", type=float, default=60.0, metavar="SECONDS")
    arguments.add_argument("--work", type=float, default=0.0, metavar="SECONDS", help="that an upload takes")
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
        asyncio.run(serve(Faulty(sploot, chance, rates_of(options.faults)), options.port))


def rates_of(text: str) -> Mapping[str, float]:
    """`chaos`, or what `name=share,name=share` says."""
    if text == "chaos":
        return CHAOS
    pairs = (pair.partition("=") for pair in text.split(",") if pair)
    return {name: float(share) for name, _, share in pairs}


if __name__ == "__main__":
    main()
