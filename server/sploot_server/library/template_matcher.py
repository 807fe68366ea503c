"""Recognizes templates in assets: new assets against all templates, and all assets against a new template."""

import asyncio
from typing import TYPE_CHECKING

from sploot_server.storage.templates import TemplatePictures, TemplateStore

if TYPE_CHECKING:
    from sploot_server.inference.template_index import TemplateIndex

ASSETS_PER_RUN = 100  # compared before the next image is read


class TemplateMatcher:
    """Compares assets with the pictures of templates. What it has compared is recorded, so it may end at any time."""

    def __init__(self, store: TemplateStore) -> None:
        self._store = store
        self._indexes: dict[TemplatePictures, TemplateIndex] = {}  # of the owners that were last compared

    async def run_once(self) -> int:
        """Compare up to ASSETS_PER_RUN assets of each owner and return their number; 0 if all have been compared."""
        current = await self._store.list_pictures()
        self._indexes = {pictures: index for pictures, index in self._indexes.items() if pictures in current}
        return sum([await self._match_owner(pictures) for pictures in current])

    async def _match_owner(self, pictures: TemplatePictures) -> int:
        assets = await self._store.list_unmatched(pictures, ASSETS_PER_RUN)
        if assets and pictures not in self._indexes:
            loaded = await self._store.load_features(pictures.owner)
            from sploot_server.inference.template_index import TemplateIndex  # noqa: PLC0415 - numpy, needed once a template is known

            self._indexes[pictures] = await asyncio.to_thread(TemplateIndex, loaded)
        for asset, features in assets:
            for template in await asyncio.to_thread(self._indexes[pictures].find_templates, features):
                await self._store.assign(asset, template)
        await asyncio.gather(*(self._store.record_matched(asset, pictures.newest) for asset, _ in assets))
        return len(assets)
