"""What every AccountStore must hold, and what an AssetStore owes to accounts: one exam for SQLite and PostgreSQL."""

import contextlib
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import postgres
import pytest
from sploot_server.accounts import AccountStore, Scope, Token, User
from sploot_server.accounts.postgres import PostgresAccounts
from sploot_server.accounts.sqlite import SqliteAccounts
from sploot_server.assets import AssetStore
from sploot_server.assets.database import Database
from sploot_server.assets.postgres.assets import PostgresAssets
from sploot_server.assets.postgres.database import PostgresDatabase
from sploot_server.assets.sqlite import SqliteAssets, new_id
from sploot_server.model import NewAsset

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
    yield Stores(SqliteAccounts(database), SqliteAssets(database))
    await database.close()


@contextlib.asynccontextmanager
async def in_postgres(folder: Path) -> AsyncIterator[Stores]:
    database = PostgresDatabase(await postgres.empty_database())
    await database.open()
    yield Stores(PostgresAccounts(database), PostgresAssets(database))
    await database.close()


@pytest.fixture(params=[sqlite, in_postgres], ids=["sqlite", "postgres"])
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stores]:
    async with request.param(tmp_path) as stores:
        yield stores


def new(content: str, *tags: str) -> NewAsset:
    return NewAsset(new_id(), hashlib.sha256(content.encode()).hexdigest(), "x.jpg", "image/jpeg", 9, tags)


async def test_a_name_is_one_users_whatever_its_case(stores: Stores) -> None:
    assert await stores.accounts.add_user(ANNA)
    assert not await stores.accounts.add_user(User("v", "äNNA", 2))
    assert await stores.accounts.user("ÄNNA") == ANNA
    assert await stores.accounts.user("ben") is None


async def test_removing_a_user_removes_his_tokens(stores: Stores) -> None:
    await stores.accounts.add_user(ANNA)
    await stores.accounts.add_token(TOKEN)
    assert await stores.accounts.token("i") == TOKEN
    assert (await stores.accounts.tokens(), await stores.accounts.has_tokens()) == ([TOKEN], True)
    await stores.accounts.remove_user("u")
    assert (await stores.accounts.users(), await stores.accounts.tokens()) == ([], [])
    assert not await stores.accounts.has_tokens()


async def test_the_first_revocation_counts(stores: Stores) -> None:
    await stores.accounts.add_user(ANNA)
    await stores.accounts.add_token(TOKEN)
    await stores.accounts.used("i", now_ms=6)
    assert await stores.accounts.revoke("i", now_ms=7)
    assert await stores.accounts.revoke("i", now_ms=8)
    assert not await stores.accounts.revoke("nobodys", now_ms=8)
    assert await stores.accounts.token("i") == replace(TOKEN, last_used_at_ms=6, revoked_at_ms=7)


async def test_adopted_assets_come_with_their_tags(stores: Stores) -> None:
    await stores.assets.add(new("a", "cat"), now_ms=1)
    hidden = await stores.assets.add(new("b"), now_ms=1)
    await stores.assets.delete(hidden.asset.id, now_ms=2)
    await stores.accounts.add_user(ANNA)
    assert await stores.accounts.adopt("u") == 2
    assert [await stores.accounts.asset_count(owner) for owner in ("u", "")] == [2, 0]
    assert [count.tag.name for count in await stores.assets.of("u").tags()] == ["cat"]


async def test_an_exported_asset_comes_back_as_it_was_but_for_an_id_that_is_taken(stores: Stores) -> None:
    exported = replace(new("a", "cat"), favorite=True, created_at_ms=5, updated_at_ms=6)
    asset = (await stores.assets.add(exported, now_ms=99)).asset
    assert (asset.id, asset.favorite, asset.created_at_ms, asset.updated_at_ms) == (exported.id, True, 5, 6)
    other = (await stores.assets.of("ben").add(exported, now_ms=99)).asset
    assert other.id != asset.id
    assert (other.favorite, [tag.name for tag in other.tags]) == (True, ["cat"])


async def test_all_contents_of_one_owner_are_met_once_hidden_ones_too(stores: Stores) -> None:
    added = [(await stores.assets.add(new(each), now_ms=1)).asset for each in "abcde"]
    await stores.assets.of("ben").add(new("a"), now_ms=1)
    await stores.assets.delete(added[2].id, now_ms=2)
    met, row = [], 0
    while page := await stores.assets.contents_after(row, 2):
        met += page
        row = page[-1].row
    assert [content.asset.id for content in met] == [asset.id for asset in added]
    assert [content.hidden for content in met] == [False, False, True, False, False]
