"""Templates: well-known pictures with names, learned from files or from memes, and recognized in all memes."""

import asyncio
import hashlib
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from sploot_server.domain.embedding import Embedder, UnreadableImage
from sploot_server.domain.entities import InvalidInput, NotFound, Template, TemplateSummary, new_id
from sploot_server.domain.file_names import UNPRINTABLE
from sploot_server.domain.template_features import FEATURE_BYTES, TEMPLATE_FEATURES_MIN
from sploot_server.library.service import Library, now_ms
from sploot_server.storage.templates import TemplatePicture, TemplateStore

NAME_CHARS_MAX = 100
KEYWORDS_MAX = 50


class Templates:
    """The use cases of templates. `wake_matcher` is called when there is something new to look for."""

    def __init__(
        self, store: TemplateStore, library: Library, embedder: Embedder, wake_matcher: Callable[[], None]
    ) -> None:
        self._store = store
        self._library = library
        self._embedder = embedder
        self._wake_matcher = wake_matcher

    async def learn(self, data: bytes, name: str, keywords: Sequence[str], *, owner: str) -> Template:
        """Learn a template from a picture of it. Raises InvalidInput or TooLarge."""
        self._library.check_size(len(data))
        self._library.detect_type(data)
        with tempfile.NamedTemporaryFile(prefix="sploot-template-") as file:
            await asyncio.to_thread(_write, file.name, data)
            template, _ = await self._add(
                Path(file.name), name, keywords, hashlib.sha256(data).hexdigest(), owner=owner
            )
        return template

    async def name_asset(self, asset_id: str, name: str, keywords: Sequence[str], *, owner: str) -> Template:
        """Name the template of a meme, and with it all memes that share it. Raises InvalidInput or NotFound."""
        asset = await self._library.for_owner(owner).get(asset_id)
        async with self._library.local_file(asset) as path:
            template, row = await self._add(path, name, keywords, asset.checksum, owner=owner)
        asset_row = await self._store.get_asset_row(asset_id, owner)
        if asset_row is not None:
            await self._store.assign(asset_row, row)
        return template

    async def list(self, *, owner: str) -> Sequence[TemplateSummary]:
        return await self._store.list(owner)

    async def remove(self, template_id: str, *, owner: str) -> None:
        if not await self._store.remove(template_id, owner):
            raise NotFound

    async def _add(
        self, path: Path, name: str, keywords: Sequence[str], checksum: str, *, owner: str
    ) -> tuple[Template, int]:
        template = Template(new_id(), _clean(name), [word for word in map(_clean, keywords) if word])
        if not template.name or len(template.name) > NAME_CHARS_MAX:
            raise InvalidInput(f"The name of a template must have 1 to {NAME_CHARS_MAX} characters")
        if len(template.keywords) > KEYWORDS_MAX or any(len(word) > NAME_CHARS_MAX for word in template.keywords):
            raise InvalidInput(f"A template may have {KEYWORDS_MAX} keywords of {NAME_CHARS_MAX} characters")
        try:
            features = await self._embedder.describe_picture(path)
        except UnreadableImage as error:
            raise InvalidInput(str(error)) from error
        if len(features[0]) < TEMPLATE_FEATURES_MIN * FEATURE_BYTES:
            raise InvalidInput("The picture shows too little besides letters to be recognized as a template")
        row = await self._store.add_picture(owner, template, TemplatePicture(checksum, *features), now_ms=now_ms())
        self._wake_matcher()
        known = {each.template.name.casefold(): each.template for each in await self._store.list(owner)}
        return known.get(template.name.casefold(), template), row


def _write(name: str, data: bytes) -> None:
    Path(name).write_bytes(data)


def _clean(text: str) -> str:
    return " ".join(UNPRINTABLE.sub(" ", text).split())
