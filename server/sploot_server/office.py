"""What the owner of a server asks of it by `sploot-server user`, `token`, `export` and `import`.

An errand is a JSON object; `do` names it. It says lines as it goes and ends with an exit code, the same whether it runs
in the command's own process or in the server's.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sploot_server.accounts import AccountError, AccountStore, Token, User
from sploot_server.accounts.tokens import digest_of, minted, scopes_of
from sploot_server.archive import Intake, export
from sploot_server.assets.sqlite import new_id
from sploot_server.library import Library, now_ms
from sploot_server.model import LibraryError

NAME_CHARS_MAX = 100
DAY_MS = 86_400_000
REFUSED_SHOWN_MAX = 1_000

Say = Callable[[str, str], None]
"""The stream, `out` or `err`, and a line for it."""


class Office:
    def __init__(self, accounts: AccountStore, library: Library) -> None:
        self._accounts = accounts
        self._library = library
        self._errands = {
            "user add": self._add_user,
            "user list": self._list_users,
            "user remove": self._remove_user,
            "token create": self._create_token,
            "token list": self._list_tokens,
            "token revoke": self._revoke_token,
            "export": self._export,
            "import": self._import,
        }

    async def run(self, errand: Mapping[str, Any], say: Say) -> int:
        """The exit code: 0, or 1 if not all of it could be done."""
        try:
            return await self._errands[errand["do"]](errand, say) or 0
        except (AccountError, LibraryError, OSError) as error:
            say("err", str(error))
            return 1

    async def _add_user(self, errand: Mapping[str, Any], say: Say) -> None:
        name = errand["name"].strip()
        if not name or len(name) > NAME_CHARS_MAX or not name.isprintable():
            raise AccountError(f"A name has 1 to {NAME_CHARS_MAX} characters, and no line breaks.")
        user = User(new_id(), name, now_ms())
        if not await self._accounts.add_user(user):
            raise AccountError(f"There is a user {name} already.")
        orphans = await self._accounts.asset_count("")
        if errand["adopt"]:
            orphans = await self._accounts.adopt(user.id)
            say("err", f"{name} has taken over {_pictures(orphans)}.")
        elif orphans:
            say("err", f"{_pictures(orphans)} added without accounts stay as they are; --adopt gives them to a user.")
        say("err", f"Added {name}. `sploot-server token create {name}` makes a token.")

    async def _list_users(self, errand: Mapping[str, Any], say: Say) -> None:
        for user in await self._accounts.users():
            say(
                "out",
                f"{user.name}\t{_day(user.created_at_ms)}\t{_pictures(await self._accounts.asset_count(user.id))}",
            )

    async def _remove_user(self, errand: Mapping[str, Any], say: Say) -> None:
        user = await self._user(errand["name"])
        count = await self._accounts.asset_count(user.id)
        if count and not errand["with_pictures"]:
            raise AccountError(f"{user.name} has {_pictures(count)}; export them first, or add --with-pictures.")
        his = self._library.of(user.id)
        async for content in his.contents():
            await his.purge(content.asset.id)
        await self._accounts.remove_user(user.id)
        say("err", f"Removed {user.name}.")

    async def _create_token(self, errand: Mapping[str, Any], say: Say) -> None:
        user = await self._user(errand["name"])
        text, token_id = minted()
        days = errand["days"]
        made = Token(
            id=token_id,
            user_id=user.id,
            name=errand["label"],
            digest=digest_of(text),
            scopes=scopes_of(errand["scopes"].split(",")),
            created_at_ms=now_ms(),
            expires_at_ms=None if days is None else now_ms() + days * DAY_MS,
        )
        await self._accounts.add_token(made)
        say("err", "This token is shown once; `sploot login --token-stdin` takes it.")
        say("out", text)

    async def _list_tokens(self, errand: Mapping[str, Any], say: Say) -> None:
        names = {user.id: user.name for user in await self._accounts.users()}
        for token in await self._accounts.tokens():
            used = "never used" if token.last_used_at_ms is None else f"used {_day(token.last_used_at_ms)}"
            fields = [token.id, names.get(token.user_id, "?"), token.name, ",".join(sorted(token.scopes))]
            say("out", "\t".join([*fields, f"made {_day(token.created_at_ms)}", used, _validity(token)]))

    async def _revoke_token(self, errand: Mapping[str, Any], say: Say) -> None:
        token_id = errand["id"].removeprefix("sploot_").partition("_")[0]
        if not await self._accounts.revoke(token_id, now_ms=now_ms()):
            raise AccountError(f"There is no token {token_id}; `sploot-server token list` shows all.")
        say("err", f"Revoked {token_id}.")

    async def _export(self, errand: Mapping[str, Any], say: Say) -> None:
        count = await export(await self._library_of(errand["user"]), Path(errand["folder"]))
        say("err", f"Exported {_pictures(count)} to {errand['folder']}.")

    async def _import(self, errand: Mapping[str, Any], say: Say) -> int:
        intake = Intake(await self._library_of(errand["user"]), Path(errand["folder"]))
        await intake.run()
        for sentence in intake.refused[:REFUSED_SHOWN_MAX]:
            say("err", f"Not taken: {sentence}")
        say("err", f"Took {_pictures(intake.taken)}; {intake.known} were there; {len(intake.refused)} not taken.")
        return 1 if intake.refused else 0

    async def _library_of(self, name: str | None) -> Library:
        if name is not None:
            return self._library.of((await self._user(name)).id)
        if await self._accounts.users() and not await self._accounts.asset_count(""):
            raise AccountError("This library has accounts; --user says whose pictures are meant.")
        return self._library

    async def _user(self, name: str) -> User:
        user = await self._accounts.user(name)
        if user is None:
            raise AccountError(f"There is no user {name}; `sploot-server user list` shows all.")
        return user


def _pictures(count: int) -> str:
    return f"{count} picture{'' if count == 1 else 's'}"


def _day(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d")


def _validity(token: Token) -> str:
    if token.revoked_at_ms is not None:
        return f"revoked {_day(token.revoked_at_ms)}"
    if token.expires_at_ms is None:
        return "valid"
    return f"{'valid until' if token.is_valid(now_ms()) else 'expired'} {_day(token.expires_at_ms)}"
