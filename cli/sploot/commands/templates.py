"""`sploot templates`: learn well-known pictures with names, and name those of memes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from sploot import exit_codes
from sploot.commands.change_request import request_and_print
from sploot.daemon_connect import open_client
from sploot.formatting import escape_unprintable, format_count, format_path
from sploot.paths import absolute, parse_target
from sploot.terminal import print_json, print_stderr
from splootd.codec import encode
from splootd.errors import RequestError
from splootd.protocol import (
    GetTemplates,
    LearnTemplate,
    MessageReply,
    NameTemplate,
    RemoveTemplate,
    TemplateRows,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sploot.typer_options import Annotated, Argument, JsonOption

PICTURE_SUFFIXES = frozenset({".gif", ".jpeg", ".jpg", ".png", ".webp"})
DESCRIPTION = "config.yml"


def list_templates(*, as_json: JsonOption = False) -> int:
    """List the templates, and how many pictures show each."""
    rows = open_client().request(GetTemplates(), TemplateRows).templates
    if as_json:
        print_json([encode(row) for row in rows])
        return exit_codes.DONE
    for row in rows:
        keywords = f" ({', '.join(row.keywords)})" if row.keywords else ""
        print(escape_unprintable(f"{row.name}{keywords}: shown by {format_count(row.assets, 'picture')}"))
    if not rows:
        print("No templates yet. To learn a folder of named pictures: sploot templates learn DIR")
    return exit_codes.DONE


def learn(folder: Annotated[str, Argument(metavar="DIR")]) -> int:
    """Learn the pictures of a folder, named by their files or folders, or by a config.yml beside them."""
    directory = Path(absolute(folder))
    if not directory.is_dir():
        raise RequestError("not_found", f"{format_path(str(directory))} is not a folder", "sploot templates learn DIR")
    pictures = list(_find_pictures(directory))
    if not pictures:
        raise RequestError("not_found", f"{format_path(str(directory))} holds no pictures")
    client, learned, rejected = open_client(), 0, 0
    for request in pictures:
        try:
            client.request(request, MessageReply)
            learned += 1
        except RequestError as error:
            if error.code not in ("rejected", "unreadable", "too_large"):
                raise
            rejected += 1
            print_stderr(f"{format_path(request.file)}: {escape_unprintable(str(error))}")
    print(f"Learned {format_count(learned, 'picture')}.")
    return exit_codes.NOT_FOUND if rejected else exit_codes.DONE


def remove(name: Annotated[str, Argument(metavar="NAME")]) -> int:
    """Forget a template; the pictures that show it stay."""
    return request_and_print(RemoveTemplate(name))


def name_picture(
    target: Annotated[str, Argument(metavar="PATH|ID")], name: Annotated[str, Argument(metavar="NAME")]
) -> int:
    """Name the template of a file, and so of all files that share it."""
    return request_and_print(NameTemplate(parse_target(target), name))


def _find_pictures(directory: Path) -> Iterator[LearnTemplate]:
    """Yield the pictures below a folder. A picture is named by its file, or by its folder below `directory`."""
    for parent, folders, files in os.walk(directory):
        folders.sort()
        folder = Path(parent)
        named, keywords = _read_description(folder / DESCRIPTION) if DESCRIPTION in files else ("", ())
        for file in sorted(files):
            path = folder / file
            if path.suffix.lower() in PICTURE_SUFFIXES:
                own = path.stem if folder == directory else folder.name
                yield LearnTemplate(str(path), named or own.replace("-", " ").replace("_", " "), keywords)


def _read_description(path: Path) -> tuple[str, tuple[str, ...]]:
    """Return the name and the keywords in a `config.yml`; empty ones if it has none."""
    try:
        import yaml  # slow to import, and part of the library server
    except ImportError as error:
        raise RequestError(
            "missing_package", f"PyYAML, which reads {path}, is missing", "pip install pyyaml"
        ) from error
    try:
        described = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RequestError("unreadable", f"{format_path(str(path))} cannot be read as YAML", "correct it") from error
    fields = described if isinstance(described, dict) else {}
    keywords = fields.get("keywords")
    return str(fields.get("name") or ""), tuple(map(str, keywords if isinstance(keywords, list) else ()))


COMMANDS = {
    "templates list": list_templates,
    "templates learn": learn,
    "templates remove": remove,
    "templates name": name_picture,
}
