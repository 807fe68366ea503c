"""Resumable uploads with tus 1.0.0: each rule of the protocol, and the extensions of the server."""

import asyncio
import email.utils
import hashlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from sploot_server.config import Config
from sploot_server.domain.sniff import SNIFF_BYTES
from sploot_server.http.tus import handlers
from tus_fixtures import DATA, PATH, PLAIN, SHA256, begin, checksum, hyphenate, metadata, offset_of, patch, pieces


async def test_the_limits_and_options_list_the_supported_extensions(client: httpx.AsyncClient) -> None:
    limits = (await client.get("/api/upload")).json()
    assert limits["features"]["resumable"] == {"protocol": "tus 1.0.0", "path": PATH}
    answer = await client.options(PATH)
    assert answer.status_code == 204
    assert {name: value for name, value in answer.headers.items() if name.startswith("tus-")} == {
        "tus-resumable": "1.0.0",
        "tus-version": "1.0.0",
        "tus-extension": "creation,creation-with-upload,checksum,expiration,termination",
        "tus-max-size": str(limits["limits"]["maxFileSize"]),
        "tus-checksum-algorithm": "sha256,sha1",
    }


def test_servers_with_a_shared_library_support_resuming_only_with_a_shared_upload_dir(tmp_path: Path) -> None:
    """Another server may receive the next request."""
    shared = "postgresql://host/library"
    configs = [
        Config(data=tmp_path),
        Config(data=tmp_path, database=shared),
        Config(data=tmp_path, database=shared, upload_dir=tmp_path / "uploads"),
    ]
    assert [config.supports_resumable_uploads for config in configs] == [True, False, True]


async def test_a_file_in_parts_becomes_an_asset_like_any_other(client: httpx.AsyncClient) -> None:
    given = metadata(filename="größe.jpg", filetype="text/plain", tags='["cat", "x"]')
    url = await begin(client, upload_metadata=given)
    for start, end in ((0, 1), (1, 1_000), (1_000, 4_096)):
        answer = await patch(client, url, start, DATA[start:end])
        assert (answer.status_code, answer.headers["upload-offset"], answer.content) == (204, str(end), b"")
        assert "sploot-asset-id" not in answer.headers
    head = await client.head(url, headers=PLAIN)
    assert (head.headers["upload-offset"], head.headers["upload-length"]) == ("4096", str(len(DATA)))
    assert (head.headers["cache-control"], head.headers["upload-metadata"]) == ("no-store", given)
    last = await patch(client, url, 4_096, DATA[4_096:], accept="*/*")
    assert (last.status_code, last.headers["upload-offset"]) == (204, str(len(DATA)))
    asset = (await client.get(f"/api/assets/{last.headers['sploot-asset-id']}")).json()["asset"]
    assert (asset["filename"], asset["mime"], asset["size"]) == ("größe.jpg", "image/jpeg", len(DATA))
    assert (asset["checksum"], sorted(tag["name"] for tag in asset["tags"])) == (SHA256, ["cat", "x"])
    assert (await client.get(asset["blobUrl"])).content == DATA


async def test_the_last_response_has_the_body_of_an_upload_if_the_client_accepts_json(
    client: httpx.AsyncClient,
) -> None:
    url = await begin(client)
    last = await patch(client, url, 0, DATA, accept="application/json")
    assert (last.status_code, last.json()["isDuplicate"]) == (200, False)
    assert last.json()["asset"]["checksum"] == SHA256
    form = await client.post("/api/upload", files={"file": ("a.jpg", DATA)})
    assert (form.status_code, form.json()["asset"]["id"]) == (409, last.json()["asset"]["id"])


async def test_content_already_in_the_library_is_a_duplicate(client: httpx.AsyncClient) -> None:
    form = (await client.post("/api/upload", files={"file": ("a.jpg", DATA)})).json()
    last = await patch(client, await begin(client), 0, DATA)
    assert (last.headers["sploot-asset-id"], last.headers["sploot-duplicate"]) == (form["asset"]["id"], "true")


async def test_the_outcome_of_a_complete_upload_can_be_queried_again(client: httpx.AsyncClient) -> None:
    url = await begin(client)
    first = await patch(client, url, 0, DATA, accept="application/json")
    again = await patch(client, url, len(DATA), b"", accept="application/json")
    for answer in (first, again):
        assert (answer.status_code, answer.json()["isDuplicate"]) == (200, False)
        assert answer.json()["asset"]["id"] == answer.headers["sploot-asset-id"] == first.json()["asset"]["id"]
    head = await client.head(url, headers=PLAIN)
    assert (head.headers["upload-offset"], head.headers["upload-length"]) == (str(len(DATA)),) * 2
    assert (head.headers["sploot-asset-id"], head.headers["sploot-duplicate"]) == (first.json()["asset"]["id"], "false")
    late = await patch(client, url, 0, DATA)
    assert (late.status_code, late.headers["upload-offset"]) == (409, str(len(DATA)))
    await client.delete(f"/api/assets/{first.json()['asset']['id']}")
    assert (await patch(client, url, len(DATA), b"")).status_code == 410


async def test_a_chunk_at_another_offset_gets_409_and_changes_nothing(client: httpx.AsyncClient) -> None:
    url = await begin(client)
    await patch(client, url, 0, DATA[:1_000])
    for wrong in (0, 999, 1_001, len(DATA)):
        answer = await patch(client, url, wrong, b"x")
        assert (answer.status_code, answer.headers["upload-offset"]) == (409, "1000")
    assert await offset_of(client, url) == 1_000
    assert (await patch(client, url, 1_000, DATA[1_000:])).headers["sploot-duplicate"] == "false"


@pytest.mark.parametrize("algorithm", ["sha256", "sha1"])
async def test_a_chunk_with_another_checksum_is_discarded(client: httpx.AsyncClient, algorithm: str) -> None:
    url = await begin(client)
    await patch(client, url, 0, DATA[:1_000], upload_checksum=checksum(DATA[:1_000], algorithm))
    damaged = await patch(client, url, 1_000, b"y" * 3_000, upload_checksum=checksum(DATA[1_000:4_000], algorithm))
    assert damaged.status_code == 460
    assert await offset_of(client, url) == 1_000
    right = await patch(client, url, 1_000, DATA[1_000:], upload_checksum=checksum(DATA[1_000:], algorithm))
    assert right.headers["sploot-duplicate"] == "false"


async def test_a_file_that_does_not_match_its_checksum_is_discarded(client: httpx.AsyncClient) -> None:
    url = await begin(client, upload_metadata=metadata(checksum=hashlib.sha256(b"other").hexdigest()))
    assert (await patch(client, url, 0, DATA)).status_code == 460
    assert (await client.head(url, headers=PLAIN)).status_code == 404
    assert (await client.get("/api/assets")).json()["pagination"]["total"] == 0
    url = await begin(client, upload_metadata=metadata(checksum=SHA256))
    assert (await patch(client, url, 0, DATA)).status_code == 204


async def test_an_unsupported_type_is_rejected_with_the_first_chunk(client: httpx.AsyncClient) -> None:
    url = await begin(client, length=1_000_000)
    answer = await patch(client, url, 0, b"%PDF-1.7".ljust(SNIFF_BYTES, b"\0"))
    assert answer.status_code == 400
    assert "File type not supported" in answer.json()["error"]
    assert (await patch(client, url, 0, b"x")).status_code == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 400),
        ({"upload_length": "-1"}, 400),
        ({"upload_length": "0"}, 400),
        ({"upload_length": "many"}, 400),
        ({"upload_length": "9" * 30}, 400),
        ({"upload_defer_length": "1"}, 400),
        ({"upload_length": str(10 * 1024 * 1024 + 1)}, 413),
        ({"upload_length": "9", "upload_metadata": "filename ü"}, 400),
        ({"upload_length": "9", "upload_metadata": "filename YQ==,filename YQ=="}, 400),
        ({"upload_length": "9", "upload_metadata": metadata(checksum="abc")}, 400),
        ({"upload_length": "9", "upload_metadata": metadata(tags='["<script>"]')}, 400),
        ({"upload_length": "9", "upload_metadata": metadata(filename="x" * 20_000)}, 413),
        ({"upload_length": "9", "tus_resumable": "0.2.2"}, 412),
    ],
)
async def test_an_invalid_creation_is_rejected(client: httpx.AsyncClient, headers: dict[str, str], status: int) -> None:
    raw = [(name.encode(), value.encode()) for name, value in hyphenate({**PLAIN, **hyphenate(headers)}).items()]
    answer = await client.post(PATH, headers=raw)
    assert (answer.status_code, answer.headers["tus-resumable"]) == (status, "1.0.0")
    assert answer.json()["error"]
    assert ("tus-version" in answer.headers) == (status == 412)


async def test_each_rejected_chunk_gets_the_status_of_the_protocol(client: httpx.AsyncClient) -> None:
    url = await begin(client)
    too_long = len(DATA) + 1
    answers = [
        await patch(client, url, 0, DATA, tus_resumable="2.0.0"),
        await patch(client, url, 0, DATA, content_type="application/octet-stream"),
        await patch(client, url, 0, bytes(too_long)),
        await patch(client, url, 0, pieces(DATA, b"x")),
        await patch(client, url, 0, DATA, upload_offset="-1"),
        await patch(client, url, 0, DATA, upload_checksum="crc32 AAAA"),
        await patch(client, url, 0, DATA, upload_checksum="sha256 ?"),
        await patch(client, f"{PATH}/{'0' * 32}", 0, DATA),
        await patch(client, f"{PATH}/..%2f..%2flibrary.db", 0, DATA),
        await client.put(url, headers=PLAIN),
        await client.post(url, headers=PLAIN),
    ]
    assert [answer.status_code for answer in answers] == [412, 415, 413, 413, 400, 400, 400, 404, 404, 405, 405]
    assert await offset_of(client, url) == 0


async def test_post_with_a_method_override_is_supported(client: httpx.AsyncClient) -> None:
    url = await begin(client)
    answer = await client.post(
        url,
        headers={
            **PLAIN,
            "x-http-method-override": "PATCH",
            "content-type": "application/offset+octet-stream",
            "upload-offset": "0",
        },
        content=DATA,
    )
    assert answer.headers["sploot-duplicate"] == "false"


async def test_a_method_override_on_a_safe_method_is_ignored(client: httpx.AsyncClient) -> None:
    url = await begin(client)
    for method in ("HEAD", "OPTIONS"):
        await client.request(method, url, headers={**PLAIN, "x-http-method-override": "DELETE"})
    assert await offset_of(client, url) == 0


async def test_the_creation_may_contain_the_first_chunk(client: httpx.AsyncClient) -> None:
    headers = {**PLAIN, "upload-length": str(len(DATA)), "content-type": "application/offset+octet-stream"}
    begun = await client.post(PATH, headers=headers, content=DATA[:500])
    assert (begun.status_code, begun.headers["upload-offset"]) == (201, "500")
    assert (await patch(client, begun.headers["location"], 500, DATA[500:])).headers["sploot-duplicate"] == "false"
    whole = await client.post(PATH, headers=headers, content=DATA)
    assert (whole.status_code, whole.headers["sploot-duplicate"]) == (201, "true")


async def test_a_rejected_creation_leaves_no_files(client: httpx.AsyncClient, config: Config) -> None:
    headers = {**PLAIN, "upload-length": "9", "content-type": "application/offset+octet-stream"}
    for content, announced in ((b"no picture", checksum(b"no picture")), (DATA[:9], checksum(b"other"))):
        begun = await client.post(PATH, headers={**headers, "upload-checksum": announced}, content=content)
        assert begun.status_code in (413, 460)
    assert list((config.data / "partial").iterdir()) == []


async def test_a_terminated_upload_is_removed(client: httpx.AsyncClient, config: Config) -> None:
    url = await begin(client)
    await patch(client, url, 0, DATA[:1_000])
    answer = await client.delete(url, headers=PLAIN)
    assert (answer.status_code, answer.headers["tus-resumable"]) == (204, "1.0.0")
    assert (await client.head(url, headers=PLAIN)).status_code == 404
    assert (await client.delete(url, headers=PLAIN)).status_code == 404
    assert list((config.data / "partial").iterdir()) == []


async def test_each_response_has_the_expiry_of_the_upload(client: httpx.AsyncClient) -> None:
    begun = await client.post(PATH, headers={**PLAIN, "upload-length": str(len(DATA))})
    part = await patch(client, begun.headers["location"], 0, DATA[:9])
    for answer in (begun, part, await client.head(begun.headers["location"], headers=PLAIN)):
        expires = email.utils.parsedate_to_datetime(answer.headers["upload-expires"]).timestamp()
        assert 6 * 86_400 < expires - time.time() < 8 * 86_400


async def test_concurrent_requests_to_one_upload_exclude_each_other(client: httpx.AsyncClient) -> None:
    url = await begin(client)
    begun, may_continue = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield DATA[:1_000]
        begun.set()
        await may_continue.wait()
        yield DATA[1_000:2_000]

    first = asyncio.create_task(patch(client, url, 0, slow()))
    await begun.wait()
    second = asyncio.create_task(patch(client, url, 0, DATA))
    assert await offset_of(client, url) == 0
    may_continue.set()
    assert ((await first).status_code, (await second).status_code) == (204, 409)
    assert await offset_of(client, url) == 2_000


async def test_a_large_chunk_without_a_checksum_is_committed_in_steps(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash of the server loses only the bytes after the last step."""
    monkeypatch.setattr(handlers, "COMMIT_BYTES", 1_000)
    url = await begin(client)
    seen: list[int] = []

    async def body() -> AsyncIterator[bytes]:
        for start in range(0, len(DATA), 900):
            yield DATA[start : start + 900]
            seen.append(await offset_of(client, url))

    assert (await patch(client, url, 0, body())).headers["sploot-duplicate"] == "false"
    assert seen[:4] == [0, 1_800, 1_800, 3_600]
