"""The identity of a blob store: a random id in its object `store-id`, and in the database of its library.

A server that was given another bucket, or an empty folder because a disk is not mounted, would look healthy: it would
take uploads that no other server finds, and lack the originals of all earlier ones. The ids tell it before it listens.
"""

import secrets

from sploot_server.config import ConfigError
from sploot_server.storage.assets import AssetStore
from sploot_server.storage.blobs.files import STORE_ID, BlobStore
from sploot_server.storage.rows import SqlDatabase

IDENTITY_LOCK = "0" * 64  # a checksum that no content has


class BlobIdentity:
    """Compares the id in the database with the id in the store.

    `location` names the store in messages. A store is `is_shared` if other libraries could use it, too.
    """

    def __init__(
        self, database: SqlDatabase, assets: AssetStore, blobs: BlobStore, *, location: str, is_shared: bool
    ) -> None:
        self._database = database
        self._assets = assets
        self._blobs = blobs
        self._location = location
        self._is_shared = is_shared

    async def verify(self) -> None:
        """Give a new library its store. Raises ConfigError if the store is not the library's, or BackendUnavailable."""
        async with self._assets.content_lock(IDENTITY_LOCK):  # servers that start together must agree on one id
            recorded, found = await self._recorded_id(), await self._blobs.read_id()
            if recorded is None:
                await self._claim(found)
            elif found is None:
                raise ConfigError(
                    f"{self._location} is not the store of this library: it has no {STORE_ID}. Check the address, and "
                    f"whether its disk is mounted. If it is the right store, write {recorded} into its {STORE_ID}."
                )
            elif found != recorded:
                raise ConfigError(
                    f"{self._location} is the store {found}, but the originals of this library are in the store "
                    f"{recorded}. Check the address of the store and of the database."
                )

    async def _claim(self, found: str | None) -> None:
        if found is not None and self._is_shared:
            raise ConfigError(
                f"{self._location} holds the originals of another library: it is the store {found}, and the database "
                f"is new. Restore the database of that library, or choose an empty store."
            )
        # Store before database: an id in the database alone would refuse the store after a crash in between.
        store_id = found or secrets.token_hex(8)
        if found is None:
            await self._blobs.write_id(store_id)
        await self._database.execute("INSERT INTO blob_store (id) VALUES ($1)", values=[store_id])

    async def _recorded_id(self) -> str | None:
        rows = await self._database.fetch("SELECT id FROM blob_store")
        return rows[0]["id"] if rows else None
