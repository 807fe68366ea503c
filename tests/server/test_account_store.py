"""The contract of AccountStore, and of AssetStore with several owners: the same tests for SQLite and PostgreSQL."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import postgres
import pytest
from sploot_server.auth.accounts import AccountStore, Scope, Token, User
from sploot_server.domain.entities import NewAsset, new_id
from sploot_server.storage.assets import AssetStore
from sploot_server.storage.postgres.assets import PostgresAssets
from sploot_server.storage.postgres.database import PostgresDatabase
from sploot_server.storage.sqlite.assets import SqliteAssets
from sploot_server.storage.sqlite.database import Database

ANNA = User("u", "Änna", 1)
TOKEN = Token("i", "u", "laptop", b"\0" * 32, frozenset({Scope.READ, Scope.ADMIN}), 5, 9)


@dataclass
class Stores:
    accounts: AccountStore
    assets: AssetStore


@contextlib.asynccontextmanager
async def sqlite(folder: Path) -> AsyncIterator[Stores]:
    database = Database(folder / "library.db")
    database.open()
    yield Stores(AccountStore(database), SqliteAssets(database))
    await database.close()


@contextlib.asynccontextmanager
async def in_postgres(folder: Path) -> AsyncIterator[Stores]:
    database = PostgresDatabase(await postgres.empty_database())
    await database.open()
    yield Stores(AccountStore(database), PostgresAssets(database))
    await database.close()


@pytest.fixture(params=[sqlite, in_postgres], ids=["sqlite", "postgres"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    async with request.param(tmp_path) as stores:
        yield stores


def new(content: str, *tags: str) -> NewAsset:
    return NewAsset(new_id(), hashlib.sha256(content.encode()).hexdigest(), "x.jpg", "image/jpeg", 9, tags)


async def test_user_names_are_unique_and_case_insensitive(stores: Stores) -> None:
    assert await stores.accounts.add_user(ANNA)
    assert not await stores.accounts.add_user(User("v", "äNNA", 2))
    assert await stores.accounts.get_user("ÄNNA") == ANNA
    assert await stores.accounts.get_user("ben") is None


async def test_removing_a_user_removes_their_tokens(stores: Stores) -> None:
    await stores.accounts.add_user(ANNA)
    await stores.accounts.add_token(TOKEN)
    assert await stores.accounts.get_token("i") == TOKEN
    assert (await stores.accounts.list_tokens(), await stores.accounts.has_users()) == ([TOKEN], True)
    await stores.accounts.remove_user("u")
    assert (await stores.accounts.list_users(), await stores.accounts.list_tokens()) == ([], [])
    assert not await stores.accounts.has_users()


async def test_the_first_revocation_counts(stores: Stores) -> None:
    await stores.accounts.add_user(ANNA)
    await stores.accounts.add_token(TOKEN)
    await stores.accounts.record_token_use("i", now_ms=6)
    assert await stores.accounts.revoke_token("i", now_ms=7)
    assert await stores.accounts.revoke_token("i", now_ms=8)
    assert not await stores.accounts.revoke_token("unknown", now_ms=8)
    assert await stores.accounts.get_token("i") == replace(TOKEN, last_used_at_ms=6, revoked_at_ms=7)


async def test_adopted_assets_keep_their_tags(stores: Stores) -> None:
    await stores.assets.add(new("a", "cat"), now_ms=1)
    deleted = await stores.assets.add(new("b"), now_ms=1)
    await stores.assets.delete(deleted.asset.id, now_ms=2)
    await stores.accounts.add_user(ANNA)
    assert await stores.accounts.adopt_unowned_assets("u") == 2
    assert [await stores.accounts.count_assets(owner) for owner in ("u", "")] == [2, 0]
    assert [count.tag.name for count in await stores.assets.for_owner("u").list_tags()] == ["cat"]


async def test_an_imported_asset_is_unchanged_except_for_an_id_that_is_taken(stores: Stores) -> None:
    exported = replace(new("a", "cat"), favorite=True, created_at_ms=5, updated_at_ms=6)
    asset = (await stores.assets.add(exported, now_ms=99)).asset
    assert (asset.id, asset.favorite, asset.created_at_ms, asset.updated_at_ms) == (exported.id, True, 5, 6)
    other = (await stores.assets.for_owner("ben").add(exported, now_ms=99)).asset
    assert other.id != asset.id
    assert (other.favorite, [tag.name for tag in other.tags]) == (True, ["cat"])


async def test_list_after_returns_all_assets_of_one_owner_once_deleted_ones_included(stores: Stores) -> None:
    added = [(await stores.assets.add(new(each), now_ms=1)).asset for each in "abcde"]
    await stores.assets.for_owner("ben").add(new("a"), now_ms=1)
    await stores.assets.delete(added[2].id, now_ms=2)
    listed, row = [], 0
    while page := await stores.assets.list_after(row, 2):
        listed += page
        row = page[-1][0]
    assert [asset.id for _, asset in listed] == [asset.id for asset in added]
    assert [asset.deleted_at_ms is not None for _, asset in listed] == [False, False, True, False, False]
