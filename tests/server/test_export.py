"""Nobody is locked in: a library goes out as a folder, and comes in again as it was."""

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
from sploot_server.accounts.sqlite import SqliteAccounts
from sploot_server.archive import NAME_BYTES_MAX, ArchiveError, Intake, Names, export
from sploot_server.assets.database import Database
from sploot_server.assets.jobs import SqliteJobs
from sploot_server.assets.sqlite import SqliteAssets
from sploot_server.blobs import FileBlobs
from sploot_server.config import Config
from sploot_server.jobs import EmbeddingQueue
from sploot_server.library import Library, now_ms
from sploot_server.model import Asset
from sploot_server.notify import Notifier
from sploot_server.stores import opened
from sploot_server.thumbnails import Thumbnails
from toy_library import COMMAND, FakeEmbedder, ServerProcess, picture

Start = Callable[..., ServerProcess]
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
TAGS = st.lists(st.text("abcäß🐈 ", min_size=1, max_size=12).filter(str.strip), max_size=30)
MEMES = st.dictionaries(st.text("abc", min_size=1, max_size=6), st.tuples(TEXT, TAGS, st.booleans()), max_size=8)


class Place:
    """A library in a folder, opened."""

    def __init__(self, data: Path, owner: str = "anna") -> None:
        data.mkdir(parents=True, exist_ok=True)
        self.database = Database(data / "library.db")
        self.database.open()
        blobs, news = FileBlobs(data), Notifier()
        blobs.open()
        self.queue = EmbeddingQueue(SqliteJobs(self.database), blobs, FakeEmbedder(), news, now_ms)
        self.library = Library(
            Config(data=data),
            SqliteAssets(self.database),
            blobs,
            self.queue,
            news,
            thumbnails=Thumbnails(data, idle_s=1),
        ).of(owner)

    async def add(
        self, text: str, name: str = "x.jpg", tags: list[str] | None = None, *, favorite: bool = False
    ) -> Asset:
        async with self.library.incoming() as incoming:
            incoming.write(picture(text))
            asset = (await self.library.add(incoming, filename=name, tags=[])).asset
        if tags:
            for start in range(0, len(tags), 20):
                await self.library.add_tags(asset.id, names=tags[start : start + 20], tag_ids=[])
        return await self.library.edit(asset.id, favorite=favorite, tags=None)

    async def all(self) -> list[tuple[Any, ...]]:
        """All that a person knows of a library: bytes, names, tags, marks, times, what was read."""
        while await self.queue.run_once():
            pass
        found = []
        async for content in self.library.contents():
            asset = content.asset
            if not content.hidden:
                async with self.library.local(asset) as file:
                    data = file.read_bytes()
                names = [tag.name for tag in asset.tags]
                times = (asset.created_at_ms, asset.updated_at_ms)
                found.append(
                    (asset.id, asset.checksum, asset.filename, names, asset.favorite, times, content.text, data)
                )
        return sorted(found)


@settings(max_examples=15)
@given(MEMES)
def test_what_goes_out_comes_in_the_same(memes: dict[str, tuple[str, list[str], bool]]) -> None:
    async def there_and_back(folder: Path) -> None:
        one, other = Place(folder / "one"), Place(folder / "other", "ben")
        for text, (name, tags, favorite) in memes.items():
            await one.add(text, name, tags, favorite=favorite)
        before = await one.all()
        assert await export(one.library, folder / "out") == len(memes)
        intake = Intake(other.library, folder / "out")
        await intake.run()
        assert (intake.taken, intake.known, intake.refused) == (len(memes), 0, [])
        assert await other.all() == before
        again = Intake(other.library, folder / "out")
        await again.run()
        assert (again.taken, again.known, again.refused) == (0, len(memes), [])
        assert await other.all() == before
        for place in (one, other):
            await place.database.close()

    with TemporaryDirectory() as folder:
        asyncio.run(there_and_back(Path(folder)))


@contextlib.asynccontextmanager
async def library_in(config: Config) -> AsyncIterator[Library]:
    """The library of anna, wherever the configuration has it; all is read that waits."""
    config.data.mkdir(exist_ok=True)
    async with opened(config) as stores:
        queue = EmbeddingQueue(stores.jobs, stores.blobs, FakeEmbedder(), stores.news, now_ms)
        stills = Thumbnails(config.data, idle_s=1)
        library = Library(config, stores.assets, stores.blobs, queue, stores.news, thumbnails=stills).of("anna")
        yield library
        while await queue.run_once():
            pass


async def test_a_library_moves_to_postgresql_and_a_bucket_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All exports are alike, byte for byte: nobody is locked in on either side."""
    for name, value in s3.server().items():
        monkeypatch.setenv(name, value)
    here = Config(data=tmp_path / "here")
    there = Config(data=tmp_path / "there", database=await postgres.empty_database(), blobs=s3.new_place())
    back = Config(data=tmp_path / "back")
    async with library_in(here) as library:
        for text, tags in (("a cat", ["Cat", "ünï"]), ("two dogs", []), ("gone", ["x"])):
            async with library.incoming() as incoming:
                incoming.write(picture(text * 9000))
                asset = (await library.add(incoming, filename=f"{text}.jpg", tags=tags)).asset
            await library.edit(asset.id, favorite=text == "a cat", tags=None)
        await library.delete(asset.id)
    folders = [tmp_path / name for name in ("1", "2", "3")]
    for number, config in enumerate((here, there, back)):
        if number > 0:
            async with library_in(config) as library:
                intake = Intake(library, folders[number - 1])
                await intake.run()
                assert (intake.taken, intake.known, intake.refused) == (2, 0, [])
        async with library_in(config) as library:
            assert await export(library, folders[number]) == 2
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
def test_names_are_safe_and_differ_on_every_system(wanted: list[tuple[str, int]]) -> None:
    names = Names()
    given_names = [names.name(name, f"{number:064x}") for number, (name, _) in enumerate(wanted)]
    assert len({unicodedata.normalize("NFKC", name).casefold() for name in given_names}) == len(wanted)
    for name in given_names:
        assert len(name.encode()) <= NAME_BYTES_MAX
        assert not set(name) & set('<>:"/\\|?*\0\r\n')
        assert name not in ("", ".", "..")
        assert not name.startswith(".")


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..\\x", "CON", "nul.jpg", "a\r\nb.jpg", "..", ""])
def test_a_name_leads_nowhere(name: str) -> None:
    safe = Names().name(name, "0" * 64)
    assert Path(safe).name == safe
    assert safe.split(".")[0].upper() not in ("CON", "NUL")


@pytest.fixture
async def exported(tmp_path: Path) -> Path:
    place = Place(tmp_path / "one")
    await place.add("cat", "cat.jpg", ["pets"])
    await place.add("dog", "cat.jpg")
    hidden = await place.add("gone")
    await place.library.delete(hidden.id)
    assert await export(place.library, tmp_path / "out") == 2
    await place.database.close()
    return tmp_path / "out"


def change(folder: Path, **fields: object) -> None:
    index = json.loads((folder / "library.json").read_text())
    index["assets"][0].update(fields)
    (folder / "library.json").write_text(json.dumps(index))


async def taken(folder: Path, data: Path) -> Intake:
    place = Place(data)
    intake = Intake(place.library, folder)
    try:
        await intake.run()
    finally:
        await place.database.close()
    return intake


async def test_originals_lie_under_their_own_names(exported: Path) -> None:
    names = sorted(file.name for file in (exported / "originals").iterdir())
    assert names[1] == "cat.jpg"
    assert names[0].startswith("cat-")
    index = json.loads((exported / "library.json").read_text())
    assert [each["tags"] for each in index["assets"]] == [["pets"], []]


async def test_an_export_that_broke_off_is_finished_by_the_next(exported: Path, tmp_path: Path) -> None:
    (exported / "library.json").rename(exported / "library.json.part")
    (exported / "originals" / "cat.jpg").write_bytes(b"half")
    place = Place(tmp_path / "one")
    assert await export(place.library, exported) == 2
    await place.database.close()
    assert (await taken(exported, tmp_path / "two")).refused == []


async def test_a_folder_with_other_things_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("x")
    place = Place(tmp_path / "one")
    with pytest.raises(ArchiveError, match="holds no export"):
        await export(place.library, tmp_path / "mine")
    await place.database.close()
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["diary.txt"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"file": "../library.json"}, "its file is missing or wrong"),
        ({"file": "/etc/passwd"}, "its file is missing or wrong"),
        ({"file": ".."}, "its file is missing or wrong"),
        ({"file": "nowhere.jpg"}, "No such file"),
        ({"checksum": "0" * 64}, "not those that were exported"),
        ({"id": "x' OR 1"}, "its id is missing or wrong"),
        ({"tags": ["<script>"]}, "special characters"),
        ({"favorite": 1}, "its favorite is missing or wrong"),
        ({"createdAtMs": -1}, "its createdAtMs is missing or wrong"),
        ({"filename": "\ud800"}, "not Unicode"),
    ],
)
async def test_what_cannot_be_taken_is_told_and_the_rest_is_taken(
    exported: Path, tmp_path: Path, fields: dict[str, object], reason: str
) -> None:
    change(exported, **fields)
    intake = await taken(exported, tmp_path / "two")
    assert (intake.taken, len(intake.refused)) == (1, 1)
    assert reason in intake.refused[0]


async def test_a_link_in_the_place_of_an_original_is_not_followed(exported: Path, tmp_path: Path) -> None:
    file = exported / "originals" / "cat.jpg"
    file.rename(tmp_path / "secret.jpg")
    file.symlink_to(tmp_path / "secret.jpg")
    assert (await taken(exported, tmp_path / "two")).taken == 1


@pytest.mark.parametrize(
    "index", ["", "[]", "{}", '{"format": "sploot-library", "version": 9, "assets": []}', "[" * 9999]
)
async def test_a_folder_that_is_no_export_is_refused_in_a_sentence(exported: Path, tmp_path: Path, index: str) -> None:
    (exported / "library.json").write_text(index)
    with pytest.raises(ArchiveError, match=r"library\.json"):
        await taken(exported, tmp_path / "two")


async def test_an_id_that_somebody_has_is_not_taken_from_him(exported: Path, tmp_path: Path) -> None:
    await taken(exported, tmp_path / "two")
    place = Place(tmp_path / "two", "ben")
    intake = Intake(place.library, exported)
    await intake.run()
    assert intake.taken == 2
    assert len(await place.all()) == 2
    assert await SqliteAccounts(place.database).asset_count("anna") == 2
    await place.database.close()


def test_a_running_server_exports_and_imports_itself(start: Start, tmp_path: Path) -> None:
    server = start()
    with server.client() as client:
        client.post("/api/upload", files={"file": ("a.jpg", picture("a"), "image/jpeg")})
    command = [*COMMAND, "export", str(tmp_path / "out"), "--data", str(server.data)]
    assert subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0
    assert (tmp_path / "out" / "originals" / "a.jpg").read_bytes() == picture("a")
    command = [*COMMAND, "import", str(tmp_path / "out"), "--data", str(tmp_path / "other")]
    took = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (took.returncode, "Took 1 picture;" in took.stderr) == (0, True)
    command = [*COMMAND, "import", str(tmp_path / "out"), "--data", str(server.data)]
    assert "1 were there" in subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stderr
