"""Files dropped on the page: taken whole or not at all, queued before all others, and never under a name of a path."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from controlled import House, controlled
from doorway import LIMIT_S, Browser, parsed
from hypothesis import given
from hypothesis import strategies as st

from splootd.core.after import After
from splootd.core.item import Priority, State
from splootd.page import drop
from splootd.page.drop import NAME_BYTES_MAX, PART, SENT, UNNAMED, cleaned
from splootd.remote.answers import Limits

PNG = b"\x89PNG\r\n\x1a\n"


@pytest_asyncio.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with controlled(tmp_path) as house:
        yield house


@pytest_asyncio.fixture
async def browser(house: House) -> Browser:
    return await Browser.let_in(house.page)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where copies lie."""
    folder = tmp_path / "dropped"
    yield folder
    assert not list(folder.glob(f"{PART}*")), "a half copy was left"


def copies(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*") if path.is_file()}


async def until(condition: Callable[[], bool]) -> None:
    """A folder and a hand-made connection ring no bell."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0)


async def test_what_is_dropped_is_queued_before_all_others_and_moved_away_later(
    house: House, browser: Browser, folder: Path
):
    reply = await browser.change("PUT", "/v1/drop?name=cat.png", PNG + b"cat")
    assert (reply.status, reply.json) == (200, {"name": "cat.png", "outcome": "queued", "id": 1, "reason": None})
    assert copies(folder) == {"cat.png": PNG + b"cat"}
    (item,) = await house.parts.listing.items(limit=10)
    assert (item.path, item.priority, item.state) == (os.fsencode(folder / "cat.png"), Priority.URGENT, State.PENDING)
    assert item.next_at is None or item.next_at <= house.parts.clock.now(), "it has come to rest: it need not settle"
    origin = await house.parts.arrivals.origin(1, None)
    assert origin.after == After(os.fsencode(folder / SENT))


async def test_copies_are_the_users_alone(browser: Browser, folder: Path):
    await browser.change("PUT", "/v1/drop?name=cat.png", PNG)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder, folder / SENT, folder / "cat.png")]
    assert modes == [0o700, 0o700, 0o400]


async def test_files_of_one_name_are_kept_apart(browser: Browser, folder: Path):
    contents = [PNG + bytes([number]) * 9 for number in range(6)]
    drops = (browser.change("PUT", "/v1/drop?name=cat.png", content) for content in contents)
    replies = await asyncio.gather(*drops)
    assert {reply.json["outcome"] for reply in replies} == {"queued"}
    assert len({reply.json["id"] for reply in replies}) == len(contents)
    kept = copies(folder)
    assert set(kept) == {"cat.png", *(f"cat ({number}).png" for number in range(2, 7))}
    assert sorted(kept.values()) == contents
    assert {reply.json["name"]: content for reply, content in zip(replies, contents, strict=True)} == kept


async def test_the_same_drop_under_the_same_key_is_taken_once(browser: Browser, folder: Path):
    first = await browser.change("PUT", "/v1/drop?name=cat.png", PNG + b"cat", Idempotency_Key="k")
    again = await browser.change("PUT", "/v1/drop?name=cat.png", PNG + b"cat", Idempotency_Key="k")
    assert again.json == first.json
    assert list(copies(folder)) == ["cat.png"]


@pytest.mark.parametrize(("content", "outcome"), [(b"no picture", "not_an_image"), (b"", "empty")])
async def test_what_is_no_picture_is_not_kept(
    house: House, browser: Browser, folder: Path, content: bytes, outcome: str
):
    reply = await browser.change("PUT", "/v1/drop?name=a.png", content)
    assert (reply.status, reply.json["outcome"], reply.json["id"]) == (200, outcome, None)
    assert reply.json["reason"].startswith("a.png is ")
    assert copies(folder) == {}
    assert await house.parts.listing.items(limit=10) == []


@pytest.mark.parametrize("told", [True, False])
async def test_what_is_too_large_is_refused(
    house: House, browser: Browser, folder: Path, told: bool, monkeypatch: pytest.MonkeyPatch
):
    house.library.last_limits = Limits(1_000, frozenset({"image/png"}))
    content = PNG + b"x" * 2_000
    if told:
        reply = await browser.change("PUT", "/v1/drop?name=a.png", content)
    else:
        head = (
            f"PUT /v1/drop?name=a.png HTTP/1.1\r\nHost: 127.0.0.1:{browser.port}\r\nCookie: {browser.cookie}\r\n"
            f"Origin: {browser.origin}\r\nX-Sploot-Page: 1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        reply = parsed(await browser.raw(head.encode() + b"%x\r\n" % len(content) + content + b"\r\n0\r\n\r\n"))
    assert (reply.status, reply.json["code"]) == (413, "too_large")
    assert copies(folder) == {}


async def test_what_waits_is_bounded(house: House, browser: Browser, folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(drop, "DROP_BYTES_MAX", 1_000)
    monkeypatch.setattr(drop, "FOLDER_BYTES_MAX", 1_500)
    assert (await browser.change("PUT", "/v1/drop?name=a.png", PNG + b"x" * 792)).status == 200
    reply = await browser.change("PUT", "/v1/drop?name=b.png", PNG)
    assert (reply.status, reply.json["code"]) == (507, "no_room")
    (folder / "a.png").rename(folder / SENT / "a.png")  # it was sent: what is kept for undo makes room
    assert (await browser.change("PUT", "/v1/drop?name=b.png", PNG)).status == 200
    assert list((folder / SENT).iterdir()) == []


async def test_a_disk_without_room_is_said_so(browser: Browser, folder: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(drop, "_finished", full)
    reply = await browser.change("PUT", "/v1/drop?name=a.png", PNG)
    assert (reply.status, reply.json["code"]) == (507, "no_room")
    assert reply.json["title"] == "a.png was not taken: No space left on device"
    assert copies(folder) == {}


async def test_who_hangs_up_in_the_middle_leaves_nothing(house: House, browser: Browser, folder: Path):
    _, writer = await asyncio.open_connection("127.0.0.1", browser.port)
    writer.write(
        f"PUT /v1/drop?name=a.png HTTP/1.1\r\nHost: 127.0.0.1:{browser.port}\r\nCookie: {browser.cookie}\r\n"
        f"Origin: {browser.origin}\r\nX-Sploot-Page: 1\r\nContent-Length: 100\r\n\r\n".encode()
        + PNG
    )
    await until(lambda: any(folder.glob(f"{PART}*")))
    writer.close()
    await until(lambda: not copies(folder))
    assert await house.parts.listing.items(limit=10) == []


async def test_after_a_crash_halves_are_gone_and_wholes_are_queued_once(tmp_path: Path, folder: Path):
    async with controlled(tmp_path) as house:
        browser = await Browser.let_in(house.page)
        await browser.change("PUT", "/v1/drop?name=queued.png", PNG + b"queued")
    (tmp_path / "memes").rmdir()
    (folder / f"{PART}0011").write_bytes(PNG)
    (folder / "whole.png").write_bytes(PNG + b"whole")
    (folder / "text.png").write_text("no picture")
    os.utime(folder / "text.png", (1, 1))
    async with controlled(tmp_path) as house:
        browser = await Browser.let_in(house.page)
        await browser.change("PUT", "/v1/drop?name=new.png", PNG + b"new")  # waits until the rest is settled
        items = await house.parts.listing.items(limit=10)
    names = ["queued.png", "whole.png", "new.png"]
    assert [Path(os.fsdecode(item.path)).name for item in reversed(items)] == names
    assert {item.priority for item in items} == {Priority.URGENT}
    assert set(copies(folder)) == set(names)
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in names} == {0o400}


async def test_what_was_sent_is_kept_for_a_day(tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / SENT).mkdir(parents=True)
    (folder / SENT / "a.png").write_bytes(PNG)
    changed_at = (folder / SENT / "a.png").stat().st_ctime
    assert drop._swept(folder, changed_at - 1) == len(PNG)
    assert (folder / SENT / "a.png").exists()
    assert drop._swept(folder, changed_at + 1) == 0
    assert not (folder / SENT / "a.png").exists()


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("cat.png", "cat.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\memes\\cat.png", "cat.png"),
        ("/", UNNAMED),
        ("..", UNNAMED),
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
def test_a_name_is_cleaned(name: str, kept: str):
    assert cleaned(name) == kept


@given(st.text())
def test_no_name_is_a_path_or_hidden_or_too_long(name: str):
    kept = cleaned(name)
    assert kept
    assert "/" not in kept
    assert not kept.startswith(".")
    assert kept.isprintable()
    assert len(os.fsencode(kept)) <= NAME_BYTES_MAX
