"""Handlers of `sploot templates`. The library keeps the templates; the daemon reads the pictures and signs in."""

import asyncio
from dataclasses import asdict
from pathlib import Path

from splootd import protocol
from splootd.control.context import Context
from splootd.core.item import Item
from splootd.errors import RequestError
from splootd.text import printable

PICTURE_BYTES_MAX = 20_000_000
TEXT_CHARS_MAX = 4096


async def list_templates(context: Context) -> protocol.TemplateRows:
    """List the templates of the library by name."""
    templates = await context.library_client.list_templates()
    return protocol.TemplateRows(tuple(protocol.TemplateRow(**asdict(each)) for each in templates))


async def learn_template(context: Context, request: protocol.LearnTemplate) -> protocol.MessageReply:
    """Send a picture to the library as a picture of a template."""
    picture = await asyncio.to_thread(_read, Path(request.file))
    await context.library_client.learn_template(picture, request.name, request.keywords)
    return protocol.MessageReply(f"Learned {request.name}.")


async def name_template(context: Context, request: protocol.NameTemplate, item: Item | None) -> protocol.MessageReply:
    """Name the template of an item's asset."""
    if item is None or item.asset_id is None:
        title = f"{printable(request.target, TEXT_CHARS_MAX)} is not in the library"
        raise RequestError("not_found", title, f"sploot why {printable(request.target, TEXT_CHARS_MAX)}", status=404)
    await context.library_client.name_template(item.asset_id, request.name)
    return protocol.MessageReply(f"This picture and all that share its template are named {request.name}.")


async def remove_template(context: Context, request: protocol.RemoveTemplate) -> protocol.MessageReply:
    """Remove a template by its name, in any case."""
    library, name = context.library_client, request.name.strip()
    found = [each for each in await library.list_templates() if each.name.casefold() == name.casefold()]
    if not found:
        title = f"the library has no template named {printable(name, TEXT_CHARS_MAX)}"
        raise RequestError("not_found", title, "sploot templates list", status=404)
    await library.remove_template(found[0].id)
    return protocol.MessageReply(f"Removed the template {found[0].name}. No picture was deleted.")


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            picture = file.read(PICTURE_BYTES_MAX + 1)
    except OSError as error:
        raise RequestError("unreadable", f"it cannot be read: {error.strerror}") from error
    if len(picture) > PICTURE_BYTES_MAX:
        raise RequestError("too_large", f"it is larger than {PICTURE_BYTES_MAX // 1_000_000} MB")
    return picture
