"""Each account of a server has items and a ledger of its own."""

from store_fixtures import Store

from splootd.store.accounts import open_account

URL = "https://accounts.test"


async def test_an_account_that_signs_in_later_names_the_items_that_were_queued_before(store: Store) -> None:
    unnamed, nobody = await open_account(store.database, URL)
    assert nobody is None
    assert await open_account(store.database, URL, "anna") == (unnamed, "anna")
    assert await open_account(store.database, URL) == (unnamed, "anna")


async def test_two_accounts_of_a_server_share_nothing_and_each_gets_its_own_back(store: Store) -> None:
    anna, _ = await open_account(store.database, URL, "anna")
    ben, _ = await open_account(store.database, URL, "ben")
    assert anna != ben
    assert await open_account(store.database, URL) == (ben, "ben")
    assert await open_account(store.database, URL, "anna") == (anna, "anna")
    assert await open_account(store.database, URL) == (anna, "anna")
    assert await open_account(store.database, "https://other.test") != (anna, "anna")
