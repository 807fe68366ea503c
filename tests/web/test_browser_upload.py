"""Browser uploads are stored completely or not at all, queued as urgent, and have safe names."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from control_fixtures import ControlApi, serve_control_api
from http_probe import LIMIT_S, Browser, parse_response
from hypothesis import given
from hypothesis import strategies as st

from splootd.core.item import Priority, State
from splootd.core.limits import Limits
from splootd.core.post_upload_action import PostUploadAction
from splootd.web import browser_upload
from splootd.web.browser_upload import DEFAULT_NAME, NAME_BYTES_MAX, PART_PREFIX, SENT_FOLDER, sanitize_filename

PNG = b"\x89PNG\r\n\x1a\n"


@pytest_asyncio.fixture
async def control_api(tmp_path: Path) -> AsyncIterator[ControlApi]:
    async with serve_control_api(tmp_path) as control_api:
        yield control_api


@pytest_asyncio.fixture
async def browser(control_api: ControlApi) -> Browser:
    return await Browser.sign_in(control_api.web_ui)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Return the upload folder, and check for incomplete files afterwards."""
    folder = tmp_path / "browser-uploads"
    yield folder
    assert not list(folder.glob(f"{PART_PREFIX}*")), "an incomplete file was left"


def stored_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*") if path.is_file()}


async def until(condition: Callable[[], bool]) -> None:
    """Poll a condition that has no signal: files in a folder and raw connections."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0)


async def test_an_upload_is_queued_as_urgent_with_a_move_afterwards(
    control_api: ControlApi, browser: Browser, folder: Path
):
    reply = await browser.change("PUT", "/v1/upload?name=cat.png", PNG + b"cat")
    assert (reply.status, reply.json) == (200, {"name": "cat.png", "outcome": "queued", "id": 1, "detail": None})
    assert stored_files(folder) == {"cat.png": PNG + b"cat"}
    (item,) = await control_api.context.read_queries.items(limit=10)
    assert (item.path, item.priority, item.state) == (os.fsencode(folder / "cat.png"), Priority.URGENT, State.PENDING)
    assert item.next_at is None or item.next_at <= control_api.context.clock.now(), "a complete file need not settle"
    source = await control_api.context.import_store.get_source(1, None)
    assert source.after_upload == PostUploadAction(os.fsencode(folder / SENT_FOLDER))


async def test_stored_files_are_private(browser: Browser, folder: Path):
    await browser.change("PUT", "/v1/upload?name=cat.png", PNG)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / SENT_FOLDER, folder / "cat.png")]
    assert modes == [0o700, 0o700, 0o400]


async def test_files_with_the_same_name_get_numbers(browser: Browser, folder: Path):
    contents = [PNG + bytes([number]) * 9 for number in range(6)]
    uploads = (browser.change("PUT", "/v1/upload?name=cat.png", content) for content in contents)
    replies = await asyncio.gather(*uploads)
    assert {reply.json["outcome"] for reply in replies} == {"queued"}
    assert len({reply.json["id"] for reply in replies}) == len(contents)
    kept = stored_files(folder)
    assert set(kept) == {"cat.png", *(f"cat ({number}).png" for number in range(2, 7))}
    assert sorted(kept.values()) == contents
    assert {reply.json["name"]: content for reply, content in zip(replies, contents, strict=True)} == kept


async def test_a_repeated_upload_with_one_key_is_stored_once(browser: Browser, folder: Path):
    first = await browser.change("PUT", "/v1/upload?name=cat.png", PNG + b"cat", Idempotency_Key="k")
    again = await browser.change("PUT", "/v1/upload?name=cat.png", PNG + b"cat", Idempotency_Key="k")
    assert again.json == first.json
    assert list(stored_files(folder)) == ["cat.png"]


@pytest.mark.parametrize(("content", "outcome"), [(b"not an image", "not_an_image"), (b"", "empty")])
async def test_a_file_that_is_not_an_image_is_deleted(
    control_api: ControlApi, browser: Browser, folder: Path, content: bytes, outcome: str
):
    reply = await browser.change("PUT", "/v1/upload?name=a.png", content)
    assert (reply.status, reply.json["outcome"], reply.json["id"]) == (200, outcome, None)
    assert reply.json["detail"].startswith("a.png is ")
    assert stored_files(folder) == {}
    assert await control_api.context.read_queries.items(limit=10) == []


@pytest.mark.parametrize("has_length", [True, False])
async def test_a_file_that_is_too_large_is_rejected(
    control_api: ControlApi, browser: Browser, folder: Path, has_length: bool, monkeypatch: pytest.MonkeyPatch
):
    control_api.library.last_limits = Limits(1_000, frozenset({"image/png"}))
    content = PNG + b"x" * 2_000
    if has_length:
        reply = await browser.change("PUT", "/v1/upload?name=a.png", content)
    else:
        head = (
            f"PUT /v1/upload?name=a.png HTTP/1.1\r\nHost: 127.0.0.1:{browser.port}\r\nCookie: {browser.cookie}\r\n"
            f"Origin: {browser.origin}\r\nX-Sploot-UI: 1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        reply = parse_response(await browser.raw(head.encode() + b"%x\r\n" % len(content) + content + b"\r\n0\r\n\r\n"))
    assert (reply.status, reply.json["code"]) == (413, "too_large")
    assert stored_files(folder) == {}


async def test_the_upload_folder_is_bounded(
    control_api: ControlApi, browser: Browser, folder: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(browser_upload, "UPLOAD_BYTES_MAX", 1_000)
    monkeypatch.setattr(browser_upload, "FOLDER_BYTES_MAX", 1_500)
    assert (await browser.change("PUT", "/v1/upload?name=a.png", PNG + b"x" * 792)).status == 200
    reply = await browser.change("PUT", "/v1/upload?name=b.png", PNG)
    assert (reply.status, reply.json["code"]) == (507, "insufficient_storage")
    (folder / "a.png").rename(folder / SENT_FOLDER / "a.png")  # uploaded files are pruned first
    assert (await browser.change("PUT", "/v1/upload?name=b.png", PNG)).status == 200
    assert list((folder / SENT_FOLDER).iterdir()) == []


async def test_a_full_disk_is_reported(browser: Browser, folder: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(browser_upload, "_sync_to_disk", full)
    reply = await browser.change("PUT", "/v1/upload?name=a.png", PNG)
    assert (reply.status, reply.json["code"]) == (507, "insufficient_storage")
    assert reply.json["title"] == "a.png could not be saved: No space left on device"
    assert stored_files(folder) == {}


async def test_an_interrupted_upload_leaves_no_file(control_api: ControlApi, browser: Browser, folder: Path):
    _, writer = await asyncio.open_connection("127.0.0.1", browser.port)
    writer.write(
        f"PUT /v1/upload?name=a.png HTTP/1.1\r\nHost: 127.0.0.1:{browser.port}\r\nCookie: {browser.cookie}\r\n"
        f"Origin: {browser.origin}\r\nX-Sploot-UI: 1\r\nContent-Length: 100\r\n\r\n".encode()
        + PNG
    )
    await until(lambda: any(folder.glob(f"{PART_PREFIX}*")))
    writer.close()
    await until(lambda: not stored_files(folder))
    assert await control_api.context.read_queries.items(limit=10) == []


async def test_after_a_crash_incomplete_files_are_deleted_and_complete_ones_queued(tmp_path: Path, folder: Path):
    async with serve_control_api(tmp_path) as control_api:
        browser = await Browser.sign_in(control_api.web_ui)
        await browser.change("PUT", "/v1/upload?name=queued.png", PNG + b"queued")
    (tmp_path / "memes").rmdir()
    (folder / f"{PART_PREFIX}0011").write_bytes(PNG)
    (folder / "complete.png").write_bytes(PNG + b"complete")
    (folder / "text.png").write_text("not an image")
    os.utime(folder / "text.png", (1, 1))
    async with serve_control_api(tmp_path) as control_api:
        browser = await Browser.sign_in(control_api.web_ui)
        await browser.change("PUT", "/v1/upload?name=new.png", PNG + b"new")  # waits for the recovery
        items = await control_api.context.read_queries.items(limit=10)
    names = ["queued.png", "complete.png", "new.png"]
    assert [Path(os.fsdecode(item.path)).name for item in reversed(items)] == names
    assert {item.priority for item in items} == {Priority.URGENT}
    assert set(stored_files(folder)) == set(names)
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in names} == {0o400}


async def test_uploaded_files_are_kept_for_a_day(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / SENT_FOLDER).mkdir(parents=True)
    (folder / SENT_FOLDER / "a.png").write_bytes(PNG)
    changed_at = (folder / SENT_FOLDER / "a.png").stat().st_ctime
    assert browser_upload._delete_expired(folder, changed_at - 1) == len(PNG)
    assert (folder / SENT_FOLDER / "a.png").exists()
    assert browser_upload._delete_expired(folder, changed_at + 1) == 0
    assert not (folder / SENT_FOLDER / "a.png").exists()


@pytest.mark.parametrize(
    ("name", "sanitized"),
    [
        ("cat.png", "cat.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\memes\\cat.png", "cat.png"),
        ("/", DEFAULT_NAME),
        ("..", DEFAULT_NAME),
        (".hidden.png", "hidden.png"),
        ("a\0b\n\x1b[2Jc.png", "ab[2Jc.png"),
        ("gpj.\u202ecat.png", "gpj.cat.png"),
        ("cafe\u0301.png", "café.png"),
        ("שלום.png", "שלום.png"),
        ("  spaces  .png ", "spaces  .png"),
        ("x" * 300 + ".png", "x" * 196 + ".png"),
        ("é" * 300, "é" * 100),
    ],
)
def test_a_file_name_is_sanitized(name: str, sanitized: str):
    assert sanitize_filename(name) == sanitized


@given(st.text())
def test_a_sanitized_name_is_never_a_path_hidden_or_too_long(name: str):
    kept = sanitize_filename(name)
    assert kept
    assert "/" not in kept
    assert not kept.startswith(".")
    assert kept.isprintable()
    assert len(os.fsencode(kept)) <= NAME_BYTES_MAX
