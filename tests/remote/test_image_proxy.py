"""The image proxy: images on other hosts are fetched only from public addresses and only if they are images."""

import asyncio
import contextlib
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pipeline_fixtures import JumpClock
from scripted_sploot import HTML, SIGNED_OUT, Reply, ScriptedSploot, reply_with

from splootd.credentials import Credentials
from splootd.errors import ConnectionLost, RequestError, Unauthenticated, Unreachable
from splootd.remote import image_proxy
from splootd.remote.client import SplootClient
from splootd.remote.image_proxy import ImageProxy, is_public_address

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
    """An image host: sends `response` to every request, and records the request heads."""

    response: bytes
    heads: list[bytes] = field(default_factory=list)

    @contextlib.asynccontextmanager
    async def serve(self, tls: ssl.SSLContext) -> AsyncIterator[int]:
        """Listen with TLS and yield the port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        async with server:
            yield server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.response)
            await writer.drain()
        writer.close()


def http(body: bytes, status: str = "200 OK", **headers: str) -> bytes:
    fields = {"Content-Type": "image/png", "Content-Length": str(len(body))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + body


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Create a key and a certificate for HOST."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=sploot", "-addext", f"subjectAltName=DNS:{HOST}", "-keyout", str(key), "-out"]
    subprocess.run([*command, str(certificate)], check=True, capture_output=True)
    return key, certificate


@pytest.fixture
async def sploot() -> ScriptedSploot:
    return ScriptedSploot()


@pytest.fixture
async def client(tmp_path: Path, sploot: ScriptedSploot) -> AsyncIterator[SplootClient]:
    async with sploot.serve() as url:
        client = SplootClient(url, credentials=Credentials(tmp_path / "token", JumpClock(), token=TOKEN), connections=4)
        yield client
        await client.close()


def resolving(*found: str) -> Callable[[str], "asyncio.Future[Sequence[str]]"]:
    def resolve(_: str) -> "asyncio.Future[Sequence[str]]":
        future: asyncio.Future[Sequence[str]] = asyncio.get_running_loop().create_future()
        future.set_result(found)
        return future

    return resolve


async def fetch(proxy: ImageProxy, url: str) -> tuple[str, bytes]:
    async with asyncio.timeout(LIMIT_S), proxy.open_image(url) as image:
        return image.mime, b"".join([piece async for piece in image.pieces])


@contextlib.asynccontextmanager
async def serve_host(
    client: SplootClient, response: bytes, signed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[ImageProxy, str, Host]]:
    """Serve images on HOST, which is this machine; its port replaces 443."""
    key, certificate = signed
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(certificate, key)
    host = Host(response)
    async with host.serve(theirs) as port:
        monkeypatch.setattr(image_proxy, "HTTPS_PORT", port)
        monkeypatch.setattr(image_proxy, "is_public_address", lambda address: address == "127.0.0.1")
        trusting = ssl.create_default_context(cafile=certificate)
        yield (
            ImageProxy(client, "https://sploot.example", resolver=resolving("127.0.0.1"), ssl_context=trusting),
            f"https://{HOST}:{port}/a.png",
            host,
        )


@needs_openssl
async def test_an_image_on_another_host_is_fetched_without_the_token(
    client: SplootClient, signed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve_host(client, http(PNG), signed, monkeypatch) as (proxy, url, host):
        assert await fetch(proxy, url) == ("image/png", PNG)
    (head,) = host.heads
    assert f"host: {HOST}\r\n".encode() in head.lower()
    assert TOKEN.encode() not in head
    assert b"authorization" not in head.lower()
    assert b"cookie" not in head.lower()


@needs_openssl
@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (http(b"<html>not yours</html>"), "not an image"),
        (http(SVG, Content_Type="image/svg+xml"), "not an image"),
        (http(b""), "not an image"),
        (http(b"\x1aE\xdf\xa3" + b"film" * 300), "not an image"),
        (http(PNG, "302 Found", Location="http://169.254.169.254/"), "responded with 302"),
        (http(PNG, "500 Oh"), "responded with 500"),
        (http(PNG, "404 Not Found"), "responded with 404"),
        (http(PNG, Content_Encoding="gzip"), "compressed"),
        (http(PNG, Content_Length="999999999999"), "too large"),
    ],
)
async def test_a_response_of_another_host_is_an_image_or_an_error(
    client: SplootClient, signed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, response: bytes, reason: str
) -> None:
    async with serve_host(client, response, signed, monkeypatch) as (proxy, url, host):
        with pytest.raises(RequestError, match=reason):
            await fetch(proxy, url)
        assert len(host.heads) == 1


@needs_openssl
async def test_an_endless_image_is_cut_off(
    client: SplootClient, signed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_proxy, "IMAGE_BYTES_MAX", 4_000)
    endless = http(PNG).replace(b"Content-Length: %d\r\n" % len(PNG), b"")
    async with serve_host(client, endless, signed, monkeypatch) as (proxy, url, _):
        with pytest.raises(RequestError, match="too large"):
            await fetch(proxy, url)


@needs_openssl
async def test_the_certificate_of_another_host_is_verified(
    client: SplootClient, signed: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve_host(client, http(PNG), signed, monkeypatch) as (proxy, url, host):
        with pytest.raises((ConnectionLost, Unreachable)):
            await fetch(proxy, url.replace(HOST, "other.example"))
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
async def test_only_plain_https_urls_are_fetched(client: SplootClient, url: str) -> None:
    proxy = ImageProxy(client, "https://sploot.example", resolver=resolving("127.0.0.1"))
    with pytest.raises(RequestError, match="cannot be shown"):
        await fetch(proxy, url)


@pytest.mark.parametrize("found", [(), ("127.0.0.1",), ("93.184.216.34", "10.0.0.1"), ("::1",), ("fe80::1%eth0",)])
async def test_a_name_that_resolves_to_a_private_address_is_rejected(
    client: SplootClient, found: tuple[str, ...]
) -> None:
    proxy = ImageProxy(client, "https://sploot.example", resolver=resolving(*found))
    with pytest.raises(RequestError, match=r"blobs\.example is not a public host"):
        await fetch(proxy, "https://blobs.example/a.png")


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "169.254.169.254", "0x7f000001", "2130706433", "localhost"])
async def test_this_machine_is_rejected_by_any_name(client: SplootClient, host: str) -> None:
    with pytest.raises((RequestError, Unreachable, ConnectionLost)):
        await fetch(ImageProxy(client, "https://sploot.example"), f"https://{host}/a.png")


@pytest.mark.parametrize("address", ["93.184.216.34", "1.1.1.1", "2606:4700::1111"])
def test_global_addresses_are_public(address: str) -> None:
    assert is_public_address(address)


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
        *("::10.0.0.1", "::ffff:0:10.0.0.1", "64:ff9b:1::a00:1", "fec0::1"),
    ],
)
def test_all_other_addresses_are_not_public(address: str) -> None:
    assert not is_public_address(address)


# Images on the server itself.


async def test_any_path_is_quoted(client: SplootClient, sploot: ScriptedSploot) -> None:
    sploot.always["asset"] = reply_with(200, PNG, {"content-type": "image/png"})
    for path in ("/api/assets/a b", "/api/assets/a\r\nx: y", "/api/assets/ä?q=\x00"):
        assert await fetch(ImageProxy(client, client._upload_pool.base_url), path) == ("image/png", PNG)
    assert [request.target for request in sploot.requests] == [
        "/api/assets/a%20b",
        "/api/assets/ax:%20y",
        "/api/assets/%C3%A4?q=%00",
    ]


async def test_an_image_on_the_server_is_fetched_with_the_token(client: SplootClient, sploot: ScriptedSploot) -> None:
    sploot.script("asset", reply_with(200, PNG, {"content-type": "image/png", "etag": '"x"'}))
    base = client._upload_pool.base_url
    async with ImageProxy(client, base).open_image(f"{base}/api/assets/a/original?v=1") as image:
        assert (image.mime, image.size, image.etag) == ("image/png", len(PNG), '"x"')
        assert b"".join([piece async for piece in image.pieces]) == PNG
    (request,) = sploot.requests
    assert (request.target, request.headers["authorization"]) == ("/api/assets/a/original?v=1", f"Bearer {TOKEN}")


async def test_a_video_that_browsers_play_is_fetched(client: SplootClient, sploot: ScriptedSploot) -> None:
    mp4 = b"\0\0\0\x18ftypisom\0\0\x02\0isommp42"
    base = client._upload_pool.base_url
    sploot.script("asset", reply_with(200, mp4, {"content-type": "text/html"}))
    assert await fetch(ImageProxy(client, base), f"{base}/api/assets/a/original") == ("video/mp4", mp4)


async def test_a_part_is_read_only_of_what_browsers_can_show(client: SplootClient, sploot: ScriptedSploot) -> None:
    base = client._upload_pool.base_url
    sploot.script("asset", reply_with(206, b"<html>", {"content-range": "bytes 0-5/6"}))
    with pytest.raises(RequestError, match="not an image"):
        await ImageProxy(client, base).read_part(f"{base}/api/assets/a/original", 3, None)
    assert await ImageProxy(client, base).read_part("https://elsewhere.example/a.mp4", 3, None) is None


async def test_the_scheme_is_ignored_for_a_server_behind_a_tls_proxy(
    client: SplootClient, sploot: ScriptedSploot
) -> None:
    sploot.script("asset", reply_with(200, PNG, {"content-type": "image/png"}))
    base = client._upload_pool.base_url.replace("http:", "https:")
    assert await fetch(ImageProxy(client, base), base.replace("https:", "http:") + "/api/assets/a/original") == (
        "image/png",
        PNG,
    )


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(200, b"<html>", HTML), RequestError),
        (Reply(404, {"error": "Asset not found"}), RequestError),
        (Reply(404, b"<html>", {**HTML, **SIGNED_OUT}), Unauthenticated),
        (Reply(200, PNG, {"content-length": str(len(PNG) + 1)}, cut=len(PNG)), ConnectionLost),
    ],
)
async def test_a_response_of_the_server_is_an_image_or_an_error(
    client: SplootClient, sploot: ScriptedSploot, reply: Reply, error: type[Exception]
) -> None:
    async def act(_: object) -> Reply:
        return reply

    sploot.script("asset", act)
    base = client._upload_pool.base_url
    with pytest.raises(error):
        await fetch(ImageProxy(client, base), f"{base}/api/assets/a/original")


async def test_a_thumbnail_is_fetched_from_the_server(client: SplootClient, sploot: ScriptedSploot) -> None:
    sploot.script("asset", reply_with(200, PNG, {"content-type": "image/webp"}))
    image = await ImageProxy(client, client._upload_pool.base_url).thumbnail("a/b", 128)
    assert image.mime == "image/png"
    assert sploot.requests[0].target == "/api/assets/a%2Fb/thumbnail?size=128"
    assert b"".join([piece async for piece in image.pieces]) == PNG


async def test_a_host_that_cannot_be_resolved_is_called_that(client: SplootClient) -> None:
    with pytest.raises(Unreachable, match="the image host cannot be reached: its name cannot be resolved"):
        await fetch(ImageProxy(client, "https://sploot.example"), "https://host.invalid/a.png")
