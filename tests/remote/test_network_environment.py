"""Proxies and certificates of the environment: each that cannot work is named, and only delays requests."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from pipeline_fixtures import JumpClock
from scripted_sploot import ScriptedSploot

from splootd.credentials import Credentials
from splootd.errors import Unreachable
from splootd.remote.client import SplootClient
from splootd.remote.network_environment import find_proxy

DEAD = "http://127.0.0.1:9"
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir")


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def server() -> AsyncIterator[str]:
    async with ScriptedSploot().serve() as url:
        yield url


async def ask(url: str, folder: Path) -> SplootClient:
    """Send one request and return the closed client. Raises the error of the request."""
    client = SplootClient(url, credentials=Credentials(folder / "token", JumpClock()), connections=4)
    try:
        await client.health()
    finally:
        await client.close()
    return client


@pytest.mark.parametrize(
    ("variable", "url", "message"),
    [
        (
            "http_proxy=http://127.0.0.1:9",
            "http://a.example",
            r"the proxy http://127.0.0.1:9 \(http_proxy\) refuses the connection",
        ),
        ("HTTPS_PROXY=http://127.0.0.1:9", "https://a.example", r"the proxy .* \(HTTPS_PROXY\) refuses the connection"),
        ("all_proxy=127.0.0.1:9", "http://a.example", r"the proxy http://127.0.0.1:9 \(all_proxy\) refuses"),
        ("ALL_PROXY=socks5://127.0.0.1:9", "http://a.example", r"SOCKS proxy.*unset ALL_PROXY.*'sploot\[socks\]'"),
        ("http_proxy=ftp://127.0.0.1:9", "http://a.example", r"correct or unset http_proxy; then: sploot daemon"),
        ("http_proxy=http://[x", "http://a.example", r"correct or unset http_proxy"),
        ("http_proxy=http://127.0.0.1:99999", "http://a.example", r"correct or unset http_proxy"),
        ("SSL_CERT_FILE=/gone.pem", "https://a.example", r"/gone.pem \(SSL_CERT_FILE\) cannot be loaded: No such"),
    ],
)
async def test_a_proxy_or_certificate_file_that_cannot_work_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str, url: str, message: str
) -> None:
    monkeypatch.setenv(*variable.split("="))
    with pytest.raises(Unreachable, match=message):
        await ask(url, tmp_path)


async def test_a_certificate_file_without_certificates_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty.pem").write_text("none")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "empty.pem"))
    with pytest.raises(Unreachable, match=r"empty.pem \(SSL_CERT_FILE\) cannot be loaded"):
        await ask("https://a.example", tmp_path)


@pytest.mark.parametrize("exempt", ["127.0.0.1", "*", "a.example, 127.0.0.1"])
@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "ftp://127.0.0.1:9", DEAD])
async def test_no_proxy_is_honoured_before_the_proxy_is_looked_at(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: str, exempt: str, proxy: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    monkeypatch.setenv("NO_PROXY", exempt)
    assert (await ask(server, tmp_path)).proxy is None


@contextlib.asynccontextmanager
async def proxy_that_answers(answer: bytes) -> AsyncIterator[str]:
    """Answer each request, of any method, instead of passing it on."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 " + answer)
        writer.close()

    async with await asyncio.start_server(act, "127.0.0.1", 0) as listener:
        yield f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"


async def test_requests_go_through_a_proxy_that_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The host does not exist, so nothing can have been sent past the proxy."""
    json = b"200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    async with proxy_that_answers(json) as proxy_url:
        monkeypatch.setenv("http_proxy", proxy_url)
        client = await ask("http://host.invalid", tmp_path)
    assert str(client.proxy) == f"{proxy_url} (http_proxy)"


async def test_a_proxy_that_refuses_to_connect_is_blamed_and_not_the_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with proxy_that_answers(b"403 Forbidden\r\ncontent-length: 0\r\n\r\n") as proxy_url:
        monkeypatch.setenv("https_proxy", proxy_url)
        with pytest.raises(Unreachable, match=rf"the proxy {proxy_url} \(https_proxy\).*403"):
            await ask("https://host.invalid", tmp_path)


def test_the_text_of_a_proxy_hides_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://me:s3cret@proxy.example:3128/")
    assert str(find_proxy("https://a.example")) == "http://proxy.example:3128 (https_proxy)"


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "http://[::1]:99999"])
async def test_any_fault_of_connecting_means_that_nothing_was_sent(tmp_path: Path, url: str) -> None:
    with pytest.raises(Unreachable):
        await ask(url, tmp_path)


async def test_a_host_name_that_cannot_be_resolved_is_called_that(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"host.invalid cannot be reached: its name cannot be resolved \("):
        await ask("http://host.invalid", tmp_path)
