"""A real server of a team, with a database and members, for cases that attack it."""

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import postgres
from sploot_server.auth.accounts import Scope, Token, User
from sploot_server.auth.tokens import hash_token, mint_token
from sploot_server.config import Config
from sploot_server.storage_backends import open_stores
from toy_library import COMMAND, ServerProcess

LIMIT_S = 60.0


@dataclass
class TeamServer:
    """A running server with accounts, on a port of this machine."""

    process: ServerProcess
    tokens: dict[str, str]
    backend: Sequence[str]

    @property
    def port(self) -> int:
        return int(self.process.address.rpartition(":")[2])

    def member(self, name: str) -> httpx.Client:
        """Return a client with the token of a member."""
        headers = {"authorization": f"Bearer {self.tokens[name]}"}
        return httpx.Client(base_url=self.process.address, headers=headers, timeout=LIMIT_S, verify=False)

    def stranger(self) -> httpx.Client:
        return httpx.Client(base_url=self.process.address, timeout=LIMIT_S, verify=False)

    def admin(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run an admin command of the server's operator."""
        command = [*COMMAND, *words, "--data", str(self.process.data), *self.backend]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=LIMIT_S)

    def connect(self, data: bytes = b"") -> socket.socket:
        """Open a connection and send `data`."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=LIMIT_S)
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
        return connection


async def add_member(data: Path, database: str | None, name: str) -> str:
    """Add a user with this name as id, and return a token with all scopes."""
    text, token_id = mint_token()
    async with open_stores(Config(data=data, database=database)) as stores:
        await stores.accounts.add_user(User(name, name, 0))
        await stores.accounts.add_token(Token(token_id, name, "", hash_token(text), frozenset(Scope), 0))
    return text


@contextlib.contextmanager
def team_server(
    data: Path, *options: str, kind: str = "sqlite", members: Sequence[str] = ("anna", "ben"), accounts: bool = True
) -> Iterator[TeamServer]:
    """Run a server on a new database, `sqlite` or `postgres`, for these members."""
    database = postgres.new_database() if kind == "postgres" else None
    data.mkdir()
    tokens = {name: asyncio.run(add_member(data, database, name)) for name in members}
    backend = () if database is None else ("--database", database)
    required = ["--accounts"] if accounts else []
    process = ServerProcess(data, *required, *backend, *options, port=0)
    try:
        yield TeamServer(process, tokens, backend)
    finally:
        process.kill()


def descriptors(pid: int) -> int:
    """Return the number of open descriptors of a process."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
