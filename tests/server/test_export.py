"""Export and import: an exported library is imported again without a loss."""

import asyncio
import contextlib
import json
import subprocess
import unicodedata
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import postgres
import pytest
import s3
from hypothesis import given, settings
from hypothesis import strategies as st
from sploot_server.admin.export_import import (
    NAME_BYTES_MAX,
    ArchiveError,
    FilenameAllocator,
    LibraryImporter,
    export_library,
)
from sploot_server.auth.accounts import AccountStore
from sploot_server.config import Config
from sploot_server.domain.entities import Asset
from sploot_server.library.embedding_jobs import EmbeddingQueue
from sploot_server.library.service import Library, now_ms
from sploot_server.library.thumbnails import Thumbnails
from sploot_server.pubsub.broker import Broker
from sploot_server.storage.blobs.files import FileBlobs
from sploot_server.storage.sqlite.assets import SqliteAssets
from sploot_server.storage.sqlite.database import Database
from sploot_server.storage.sqlite.jobs import SqliteJobs
from sploot_server.storage_backends import open_stores
from toy_library import COMMAND, FakeEmbedder, ServerProcess, picture

Start = Callable[..., ServerProcess]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
TAGS = st.lists(st.text("abcäß🐈 ", min_size=1, max_size=12).filter(str.strip), max_size=30)
MEMES = st.dictionaries(st.text("abc", min_size=1, max_size=6), st.tuples(TEXT, TAGS, st.booleans()), max_size=8)


class OpenLibrary:
    """An opened library in a folder."""

    def __init__(self, data: Path, owner: str = "anna") -> None:
        data.mkdir(parents=True, exist_ok=True)
        self.database = Database(data / "library.db")
        self.database.open()
        blobs, broker = FileBlobs(data), Broker()
        blobs.open()
        self.queue = EmbeddingQueue(SqliteJobs(self.database), blobs, FakeEmbedder(), broker, now_ms)
        self.library = Library(
            Config(data=data),
            SqliteAssets(self.database),
            blobs,
            self.queue,
            broker,
            thumbnails=Thumbnails(data, idle_s=1),
        ).for_owner(owner)

    async def add(
        self, text: str, name: str = "x.jpg", tags: list[str] | None = None, *, favorite: bool = False
    ) -> Asset:
        async with self.library.open_upload() as sink:
            sink.write(picture(text))
            asset = (await self.library.add(sink, filename=name, tags=[])).asset
        if tags:
            for start in range(0, len(tags), 20):
                await self.library.add_tags(asset.id, names=tags[start : start + 20], tag_ids=[])
        return await self.library.edit(asset.id, favorite=favorite, tags=None)

    async def all(self) -> list[tuple[Any, ...]]:
        """Return all data of the library: bytes, names, tags, favourites, times and recognised text."""
        while await self.queue.run_once():
            pass
        found = []
        async for asset in self.library.iter_assets():
            if asset.deleted_at_ms is None:
                async with self.library.local_file(asset) as file:
                    data = file.read_bytes()
                names = [tag.name for tag in asset.tags]
                times = (asset.created_at_ms, asset.updated_at_ms)
                found.append((asset.id, asset.checksum, asset.filename, names, asset.favorite, times, asset.text, data))
        return sorted(found)


@settings(max_examples=15)
@given(MEMES)
def test_an_import_restores_what_was_exported(memes: dict[str, tuple[str, list[str], bool]]) -> None:
    async def export_and_import(folder: Path) -> None:
        one, other = OpenLibrary(folder / "one"), OpenLibrary(folder / "other", "ben")
        for text, (name, tags, favorite) in memes.items():
            await one.add(text, name, tags, favorite=favorite)
        before = await one.all()
        assert await export_library(one.library, folder / "out") == len(memes)
        importer = LibraryImporter(other.library, folder / "out")
        await importer.run()
        assert (importer.imported, importer.already_present, importer.rejected) == (len(memes), 0, [])
        assert await other.all() == before
        again = LibraryImporter(other.library, folder / "out")
        await again.run()
        assert (again.imported, again.already_present, again.rejected) == (0, len(memes), [])
        assert await other.all() == before
        for opened in (one, other):
            await opened.database.close()

    with TemporaryDirectory() as folder:
        asyncio.run(export_and_import(Path(folder)))


@contextlib.asynccontextmanager
async def library_in(config: Config) -> AsyncIterator[Library]:
    """Open the library of anna in the configured backends; run all waiting embedding jobs at the end."""
    config.data.mkdir(exist_ok=True)
    async with open_stores(config) as stores:
        queue = EmbeddingQueue(stores.jobs, stores.blobs, FakeEmbedder(), stores.broker, now_ms)
        thumbnails = Thumbnails(config.data, idle_s=1)
        library = Library(config, stores.assets, stores.blobs, queue, stores.broker, thumbnails=thumbnails).for_owner(
            "anna"
        )
        yield library
        while await queue.run_once():
            pass


async def test_a_library_moves_to_postgresql_and_a_bucket_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All three exports are equal, byte for byte."""
    for name, value in s3.server().items():
        monkeypatch.setenv(name, value)
    here = Config(data=tmp_path / "here")
    there = Config(data=tmp_path / "there", database=await postgres.empty_database(), blobs=s3.new_prefix())
    back = Config(data=tmp_path / "back")
    async with library_in(here) as library:
        for text, tags in (("a cat", ["Cat", "ünï"]), ("two dogs", []), ("missing", ["x"])):
            async with library.open_upload() as sink:
                sink.write(picture(text * 9000))
                asset = (await library.add(sink, filename=f"{text}.jpg", tags=tags)).asset
            await library.edit(asset.id, favorite=text == "a cat", tags=None)
        await library.delete(asset.id)
    folders = [tmp_path / name for name in ("1", "2", "3")]
    for number, config in enumerate((here, there, back)):
        if number > 0:
            async with library_in(config) as library:
                importer = LibraryImporter(library, folders[number - 1])
                await importer.run()
                assert (importer.imported, importer.already_present, importer.rejected) == (2, 0, [])
        async with library_in(config) as library:
            assert await export_library(library, folders[number]) == 2
    written = [
        {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        for folder in folders
    ]
    assert len(written[0]) == 3
    assert written[0] == written[1] == written[2]
    first, second = json.loads(written[0]["library.json"])["assets"]
    assert (first["tags"], first["favorite"], first["embedding"]["status"]) == (["Cat", "ünï"], True, "ready")
    assert (second["tags"], second["favorite"]) == ([], False)


@given(st.lists(st.tuples(TEXT, st.integers(0, 3)), max_size=12))
def test_names_are_safe_and_distinct_on_every_system(wanted: list[tuple[str, int]]) -> None:
    names = FilenameAllocator()
    given_names = [names.allocate(name, f"{number:064x}") for number, (name, _) in enumerate(wanted)]
    assert len({unicodedata.normalize("NFKC", name).casefold() for name in given_names}) == len(wanted)
    for name in given_names:
        assert len(name.encode()) <= NAME_BYTES_MAX
        assert not set(name) & set('<>:"/\\|?*\0\r\n')
        assert name not in ("", ".", "..")
        assert not name.startswith(".")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..\\x", "CON", "nul.jpg", "a\r\nb.jpg", "..", ""])
def test_a_name_never_leaves_the_folder(name: str) -> None:
    safe = FilenameAllocator().allocate(name, "0" * 64)
    assert Path(safe).name == safe
    assert safe.split(".")[0].upper() not in ("CON", "NUL")


@pytest.fixture
async def exported(tmp_path: Path) -> Path:
    opened = OpenLibrary(tmp_path / "one")
    await opened.add("cat", "cat.jpg", ["pets"])
    await opened.add("dog", "cat.jpg")
    hidden = await opened.add("missing")
    await opened.library.delete(hidden.id)
    assert await export_library(opened.library, tmp_path / "out") == 2
    await opened.database.close()
    return tmp_path / "out"


def change(folder: Path, **fields: object) -> None:
    index = json.loads((folder / "library.json").read_text())
    index["assets"][0].update(fields)
    (folder / "library.json").write_text(json.dumps(index))


async def imported(folder: Path, data: Path) -> LibraryImporter:
    opened = OpenLibrary(data)
    importer = LibraryImporter(opened.library, folder)
    try:
        await importer.run()
    finally:
        await opened.database.close()
    return importer


async def test_originals_have_their_file_names(exported: Path) -> None:
    names = sorted(file.name for file in (exported / "originals").iterdir())
    assert names[1] == "cat.jpg"
    assert names[0].startswith("cat-")
    index = json.loads((exported / "library.json").read_text())
    assert [each["tags"] for each in index["assets"]] == [["pets"], []]


async def test_an_interrupted_export_is_finished_by_the_next_one(exported: Path, tmp_path: Path) -> None:
    (exported / "library.json").rename(exported / "library.json.part")
    (exported / "originals" / "cat.jpg").write_bytes(b"half")
    opened = OpenLibrary(tmp_path / "one")
    assert await export_library(opened.library, exported) == 2
    await opened.database.close()
    assert (await imported(exported, tmp_path / "two")).rejected == []


async def test_a_folder_with_other_files_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("x")
    opened = OpenLibrary(tmp_path / "one")
    with pytest.raises(ArchiveError, match="is not an export"):
        await export_library(opened.library, tmp_path / "mine")
    await opened.database.close()
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["diary.txt"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"file": "../library.json"}, "file is missing or invalid"),
        ({"file": "/etc/passwd"}, "file is missing or invalid"),
        ({"file": ".."}, "file is missing or invalid"),
        ({"file": "nowhere.jpg"}, "No such file"),
        ({"checksum": "0" * 64}, "does not match the exported checksum"),
        ({"id": "x' OR 1"}, "id is missing or invalid"),
        ({"tags": ["<script>"]}, "special characters"),
        ({"favorite": 1}, "favorite is missing or invalid"),
        ({"createdAtMs": -1}, "createdAtMs is missing or invalid"),
        ({"filename": "\ud800"}, "not valid Unicode"),
    ],
)
async def test_an_invalid_record_is_reported_and_the_others_are_imported(
    exported: Path, tmp_path: Path, fields: dict[str, object], message: str
) -> None:
    change(exported, **fields)
    importer = await imported(exported, tmp_path / "two")
    assert (importer.imported, len(importer.rejected)) == (1, 1)
    assert message in importer.rejected[0]


async def test_a_symbolic_link_instead_of_an_original_is_not_followed(exported: Path, tmp_path: Path) -> None:
    file = exported / "originals" / "cat.jpg"
    file.rename(tmp_path / "secret.jpg")
    file.symlink_to(tmp_path / "secret.jpg")
    assert (await imported(exported, tmp_path / "two")).imported == 1


@pytest.mark.parametrize(
    "index", ["", "[]", "{}", '{"format": "sploot-library", "version": 9, "assets": []}', "[" * 9999]
)
async def test_a_folder_that_is_not_an_export_is_rejected_with_a_message(
    exported: Path, tmp_path: Path, index: str
) -> None:
    (exported / "library.json").write_text(index)
    with pytest.raises(ArchiveError, match=r"library\.json"):
        await imported(exported, tmp_path / "two")


async def test_an_import_does_not_take_over_assets_of_another_user(exported: Path, tmp_path: Path) -> None:
    await imported(exported, tmp_path / "two")
    opened = OpenLibrary(tmp_path / "two", "ben")
    importer = LibraryImporter(opened.library, exported)
    await importer.run()
    assert importer.imported == 2
    assert len(await opened.all()) == 2
    assert await AccountStore(opened.database).count_assets("anna") == 2
    await opened.database.close()


def test_a_running_server_executes_export_and_import(start: Start, tmp_path: Path) -> None:
    server = start()
    with server.client() as client:
        client.post("/api/upload", files={"file": ("a.jpg", picture("a"), "image/jpeg")})
    command = [*COMMAND, "export", str(tmp_path / "out"), "--data", str(server.data)]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    assert (tmp_path / "out" / "originals" / "a.jpg").read_bytes() == picture("a")
    command = [*COMMAND, "import", str(tmp_path / "out"), "--data", str(tmp_path / "other")]
    completed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (completed.returncode, "Imported 1 file;" in completed.stderr) == (0, True)
    command = [*COMMAND, "import", str(tmp_path / "out"), "--data", str(server.data)]
    assert (
        "1 already in the library"
        in subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stderr
    )
