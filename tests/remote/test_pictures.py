"""Pictures on another host: what a server names there is fetched with care, or not at all."""

import asyncio
import contextlib
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from scripted import HTML, SIGNED_OUT, Reply, Scripted, replying
from walkkit import JumpClock

from splootd.credentials import Credentials
from splootd.errors import BrokenOff, RequestError, SignedOut, Unreachable
from splootd.remote import pictures
from splootd.remote.api import Server
from splootd.remote.pictures import Pictures, is_public

LIMIT_S = 20
HOST = "blobs.example"
PNG = b"\x89PNG\r\n\x1a\n" + b"p" * 5_000
SVG = b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>"
TOKEN = "good"

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="no openssl to make a certificate with: apt install openssl"
)


@dataclass
class Host:
    """A host of pictures: says `answer` to whoever asks, and remembers what it was asked."""

    answer: bytes
    heads: list[bytes] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def serving(self, tls: ssl.SSLContext) -> AsyncIterator[int]:
        """Gives the port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        async with server:
            yield server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer)
            await writer.drain()
        writer.close()


def http(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    told = {"Content-Type": "image/png", "Content-Length": str(len(body))}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in told.items()), "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A key and a certificate for HOST."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=sploot", "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", str(key), "-out"]
    subprocess.run([*command, str(certificate)], check=True, capture_output=True)
    return key, certificate


@pytest.fixture
async def sploot() -> Scripted:
    return Scripted()


@pytest.fixture
async def server(tmp_path: Path, sploot: Scripted) -> AsyncIterator[Server]:
    async with sploot.serving() as url:
        server = Server(url, credentials=Credentials(tmp_path / "token", JumpClock(), token=TOKEN), connections=4)
        yield server
        await server.close()


def resolving(*found: str) -> Callable[[str], "asyncio.Future[Sequence[str]]"]:
    def resolve(_: str) -> "asyncio.Future[Sequence[str]]":
        answer: asyncio.Future[Sequence[str]] = asyncio.get_running_loop().create_future()
        answer.set_result(found)
        return answer

    return resolve


async def fetched(of: Pictures, url: str) -> tuple[str, bytes]:
    async with asyncio.timeout(LIMIT_S), of.opened(url) as picture:
        return picture.mime, b"".join([piece async for piece in picture.pieces])


@contextlib.asynccontextmanager
async def elsewhere(
    server: Server, answer: bytes, signed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Pictures, str, Host]]:
    """Pictures on HOST, which really is this machine; its port stands for 443."""
    key, certificate = signed
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(certificate, key)
    host = Host(answer)
    async with host.serving(theirs) as port:
        monkeypatch.setattr(pictures, "HTTPS_PORT", port)
        monkeypatch.setattr(pictures, "is_public", lambda address: address == "127.0.0.1")
        trusting = ssl.create_default_context(cafile=certificate)
        yield (
            Pictures(server, "https://sploot.example", resolve=resolving("127.0.0.1"), verify=trusting),
            f"https://{HOST}:{port}/a.png",
            host,
        )


@needs_openssl
async def test_a_picture_on_another_host_comes_without_the_token_being_told(
    server: Server, signed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with elsewhere(server, http(PNG), signed, monkeypatch) as (of, url, host):
        assert await fetched(of, url) == ("image/png", PNG)
    (head,) = host.heads
    assert f"host: {HOST}\r\n".encode() in head.lower()
    assert TOKEN.encode() not in head
    assert b"authorization" not in head.lower()
    assert b"cookie" not in head.lower()


@needs_openssl
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (http(b"<html>not yours</html>"), "not those of a picture"),
        (http(SVG, Content_Type="image/svg+xml"), "not those of a picture"),
        (http(b""), "not those of a picture"),
        (http(b"\x1aE\xdf\xa3" + b"film" * 300), "not those of a picture"),
        (http(PNG, "302 Found", Location="http://169.254.169.254/"), "answered with 302"),
        (http(PNG, "500 Oh"), "answered with 500"),
        (http(PNG, "404 Not Found"), "answered with 404"),
        (http(PNG, Content_Encoding="gzip"), "compressed"),
        (http(PNG, Content_Length="999999999999"), "too large"),
    ],
)
async def test_what_another_host_answers_is_a_picture_or_nothing(
    server: Server, signed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, answer: bytes, why: str
) -> None:
    async with elsewhere(server, answer, signed, monkeypatch) as (of, url, host):
        with pytest.raises(RequestError, match=why):
            await fetched(of, url)
        assert len(host.heads) == 1


@needs_openssl
async def test_a_picture_without_an_end_is_cut_off(
    server: Server, signed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "PICTURE_BYTES_MAX", 4_000)
    endless = http(PNG).replace(b"Content-Length: %d\r\n" % len(PNG), b"")
    async with elsewhere(server, endless, signed, monkeypatch) as (of, url, _):
        with pytest.raises(RequestError, match="too large"):
            await fetched(of, url)


@needs_openssl
async def test_another_host_has_to_prove_its_name(
    server: Server, signed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with elsewhere(server, http(PNG), signed, monkeypatch) as (of, url, host):
        with pytest.raises((BrokenOff, Unreachable)):
            await fetched(of, url.replace(HOST, "other.example"))
        assert not host.heads


@pytest.mark.parametrize(
    "url",
    [
        "http://blobs.example/a.png",
        "https://blobs.example:8443/a.png",
        "https://user:word@blobs.example/a.png",
        "ftp://blobs.example/a.png",
        "file:///etc/passwd",
        "https://",
        "//[",
        "javascript:alert(1)",
        "",
    ],
)
async def test_only_plain_https_addresses_are_asked(server: Server, url: str) -> None:
    of = Pictures(server, "https://sploot.example", resolve=resolving("127.0.0.1"))
    with pytest.raises(RequestError, match="cannot be shown"):
        await fetched(of, url)


@pytest.mark.parametrize("found", [(), ("127.0.0.1",), ("93.184.216.34", "10.0.0.1"), ("::1",), ("fe80::1%eth0",)])
async def test_a_name_that_leads_into_this_network_is_not_followed(server: Server, found: tuple[str, ...]) -> None:
    of = Pictures(server, "https://sploot.example", resolve=resolving(*found))
    with pytest.raises(RequestError, match=r"blobs\.example is not a public host"):
        await fetched(of, "https://blobs.example/a.png")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "169.254.169.254", "0x7f000001", "2130706433", "localhost"])
async def test_this_machine_by_any_name_is_no_public_host(server: Server, host: str) -> None:
    with pytest.raises((RequestError, Unreachable, BrokenOff)):
        await fetched(Pictures(server, "https://sploot.example"), f"https://{host}/a.png")


@pytest.mark.parametrize("address", ["93.184.216.34", "1.1.1.1", "2606:4700::1111"])
def test_the_open_network_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
        ),
        *("255.255.255.255", "192.0.2.1", "198.18.0.1", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1"),
        *("::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "2001:0:a00:1::", "2001:db8::1"),
    ],
)
def test_all_other_networks_are_not(address: str) -> None:
    assert not is_public(address)


# The server's own.


async def test_a_path_is_one_whatever_is_in_it(server: Server, sploot: Scripted) -> None:
    sploot.always["asset"] = replying(200, PNG, {"content-type": "image/png"})
    for path in ("/api/assets/a b", "/api/assets/a\r\nx: y", "/api/assets/ä?q=\x00"):
        assert await fetched(Pictures(server, server._uploads.base), path) == ("image/png", PNG)
    assert [request.target for request in sploot.requests] == [
        "/api/assets/a%20b",
        "/api/assets/ax:%20y",
        "/api/assets/%C3%A4?q=%00",
    ]


async def test_what_lies_on_the_server_itself_is_asked_with_the_token(server: Server, sploot: Scripted) -> None:
    sploot.script("asset", replying(200, PNG, {"content-type": "image/png", "etag": '"x"'}))
    base = server._uploads.base
    async with Pictures(server, base).opened(f"{base}/api/assets/a/original?v=1") as picture:
        assert (picture.mime, picture.size, picture.etag) == ("image/png", len(PNG), '"x"')
        assert b"".join([piece async for piece in picture.pieces]) == PNG
    (request,) = sploot.requests
    assert (request.target, request.headers["authorization"]) == ("/api/assets/a/original?v=1", f"Bearer {TOKEN}")


async def test_a_server_behind_a_proxy_may_believe_that_it_is_reached_without_tls(
    server: Server, sploot: Scripted
) -> None:
    sploot.script("asset", replying(200, PNG, {"content-type": "image/png"}))
    base = server._uploads.base.replace("http:", "https:")
    assert await fetched(Pictures(server, base), base.replace("https:", "http:") + "/api/assets/a/original") == (
        "image/png",
        PNG,
    )


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(200, b"<html>", HTML), RequestError),
        (Reply(404, {"error": "Asset not found"}), RequestError),
        (Reply(404, b"<html>", {**HTML, **SIGNED_OUT}), SignedOut),
        (Reply(200, PNG, {"content-length": str(len(PNG) + 1)}, cut=len(PNG)), BrokenOff),
    ],
)
async def test_what_the_server_answers_is_a_picture_or_an_error(
    server: Server, sploot: Scripted, reply: Reply, error: type[Exception]
) -> None:
    async def act(_: object) -> Reply:
        return reply

    sploot.script("asset", act)
    base = server._uploads.base
    with pytest.raises(error):
        await fetched(Pictures(server, base), f"{base}/api/assets/a/original")


async def test_a_thumbnail_is_the_servers(server: Server, sploot: Scripted) -> None:
    sploot.script("asset", replying(200, PNG, {"content-type": "image/webp"}))
    picture = await Pictures(server, server._uploads.base).thumbnail("a/b", 128)
    assert picture.mime == "image/png"
    assert sploot.requests[0].target == "/api/assets/a%2Fb/thumbnail?size=128"
    assert b"".join([piece async for piece in picture.pieces]) == PNG
