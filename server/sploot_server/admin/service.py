"""Admin commands behind `sploot-server user`, `token`, `export` and `import`.

A command is a JSON object whose key `command` names it. It writes lines to an output while it runs and returns an exit
code, both in the command's own process and in the server's.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sploot_server.admin.export_import import LibraryImporter, export_library
from sploot_server.auth.accounts import AccountError, AccountStore, Token, User
from sploot_server.auth.tokens import hash_token, mint_token, parse_scopes
from sploot_server.domain.entities import LibraryError, new_id
from sploot_server.library.service import Library, now_ms

NAME_CHARS_MAX = 100
DAY_MS = 86_400_000
REJECTED_SHOWN_MAX = 1_000

Output = Callable[[str, str], None]
"""Takes the stream, `out` or `err`, and one line."""


class AdminService:
    """Runs admin commands on the accounts and the library."""

    def __init__(self, accounts: AccountStore, library: Library) -> None:
        self._accounts = accounts
        self._library = library
        self._handlers = {
            "user add": self._add_user,
            "user list": self._list_users,
            "user remove": self._remove_user,
            "token create": self._create_token,
            "token list": self._list_tokens,
            "token revoke": self._revoke_token,
            "export": self._export,
            "import": self._import,
        }

    async def run(self, command: Mapping[str, Any], output: Output) -> int:
        """Run a command and return its exit code: 0, or 1 if a part of it failed."""
        try:
            return await self._handlers[command["command"]](command, output) or 0
        except (AccountError, LibraryError, OSError) as error:
            output("err", str(error))
            return 1

    async def _add_user(self, command: Mapping[str, Any], output: Output) -> None:
        name = command["name"].strip()
        if not name or len(name) > NAME_CHARS_MAX or not name.isprintable():
            raise AccountError(f"A user name must have 1 to {NAME_CHARS_MAX} characters and no line breaks.")
        user = User(new_id(), name, now_ms())
        if not await self._accounts.add_user(user):
            raise AccountError(f"User {name} exists already.")
        orphans = await self._accounts.count_assets("")
        if command["adopt"]:
            orphans = await self._accounts.adopt_unowned_assets(user.id)
            output("err", f"{name} now owns {_format_file_count(orphans)} added without accounts.")
        elif orphans:
            output("err", f"{_format_file_count(orphans)} added without accounts have no owner; --adopt assigns them.")
        output("err", f"Added user {name}. Create a token with `sploot-server token create {name}`.")

    async def _list_users(self, command: Mapping[str, Any], output: Output) -> None:
        for user in await self._accounts.list_users():
            count = await self._accounts.count_assets(user.id)
            output("out", f"{user.name}\t{_format_date(user.created_at_ms)}\t{_format_file_count(count)}")

    async def _remove_user(self, command: Mapping[str, Any], output: Output) -> None:
        user = await self._get_user(command["name"])
        count = await self._accounts.count_assets(user.id)
        if count and not command["with_pictures"]:
            raise AccountError(
                f"{user.name} owns {_format_file_count(count)}. Export them first, or delete them with --with-pictures."
            )
        user_library = self._library.for_owner(user.id)
        async for content in user_library.iter_assets():
            await user_library.purge(content.asset.id)
        await self._accounts.remove_user(user.id)
        output("err", f"Removed user {user.name}.")

    async def _create_token(self, command: Mapping[str, Any], output: Output) -> None:
        user = await self._get_user(command["name"])
        text, token_id = mint_token()
        days = command["days"]
        token = Token(
            id=token_id,
            user_id=user.id,
            name=command["label"],
            digest=hash_token(text),
            scopes=parse_scopes(command["scopes"].split(",")),
            created_at_ms=now_ms(),
            expires_at_ms=None if days is None else now_ms() + days * DAY_MS,
        )
        await self._accounts.add_token(token)
        output("err", "This token is shown only once. Sign in with it: `sploot login --token-stdin`.")
        output("out", text)

    async def _list_tokens(self, command: Mapping[str, Any], output: Output) -> None:
        names = {user.id: user.name for user in await self._accounts.list_users()}
        for token in await self._accounts.list_tokens():
            used = "never used" if token.last_used_at_ms is None else f"used {_format_date(token.last_used_at_ms)}"
            fields = [token.id, names.get(token.user_id, "?"), token.name, ",".join(sorted(token.scopes))]
            output(
                "out",
                "\t".join([*fields, f"created {_format_date(token.created_at_ms)}", used, _format_validity(token)]),
            )

    async def _revoke_token(self, command: Mapping[str, Any], output: Output) -> None:
        token_id = command["id"].removeprefix("sploot_").partition("_")[0]
        if not await self._accounts.revoke_token(token_id, now_ms=now_ms()):
            raise AccountError(f"Token {token_id} does not exist; `sploot-server token list` lists all tokens.")
        output("err", f"Revoked token {token_id}.")

    async def _export(self, command: Mapping[str, Any], output: Output) -> None:
        count = await export_library(await self._library_for(command["user"]), Path(command["folder"]))
        output("err", f"Exported {_format_file_count(count)} to {command['folder']}.")

    async def _import(self, command: Mapping[str, Any], output: Output) -> int:
        importer = LibraryImporter(await self._library_for(command["user"]), Path(command["folder"]))
        await importer.run()
        for message in importer.rejected[:REJECTED_SHOWN_MAX]:
            output("err", f"Not imported: {message}")
        output(
            "err",
            f"Imported {_format_file_count(importer.imported)}; {importer.already_present} already in the library; "
            f"{len(importer.rejected)} not imported.",
        )
        return 1 if importer.rejected else 0

    async def _library_for(self, name: str | None) -> Library:
        if name is not None:
            return self._library.for_owner((await self._get_user(name)).id)
        if await self._accounts.list_users() and not await self._accounts.count_assets(""):
            raise AccountError("This library has accounts; choose the owner with --user.")
        return self._library

    async def _get_user(self, name: str) -> User:
        user = await self._accounts.get_user(name)
        if user is None:
            raise AccountError(f"User {name} does not exist; `sploot-server user list` lists all users.")
        return user


def _format_file_count(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"


def _format_date(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d")


def _format_validity(token: Token) -> str:
    if token.revoked_at_ms is not None:
        return f"revoked {_format_date(token.revoked_at_ms)}"
    if token.expires_at_ms is None:
        return "valid"
    return f"{'valid until' if token.is_valid(now_ms()) else 'expired'} {_format_date(token.expires_at_ms)}"
