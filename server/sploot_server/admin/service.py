"""Admin commands behind `sploot-server user`, `token`, `invitation`, `link`, `export`, `check`, `backup` and others.

A command is a JSON object: the key `command` names it, and `location` is the option that selects its library in a
pasted command. It writes lines to an output while it runs and returns an exit code, both in the command's own process
and in the server's.
"""

import shlex
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sploot_server.admin.export_import import LibraryImporter, export_library
from sploot_server.auth.accounts import AccountError, AccountStore, Token, User, UserUsage
from sploot_server.auth.sessions import DAY_MS, SessionStore
from sploot_server.auth.tokens import hash_token, mint_token, parse_scopes, parse_token_id
from sploot_server.domain.byte_sizes import format_bytes
from sploot_server.domain.entities import LibraryError, new_id
from sploot_server.library.consistency_check import ConsistencyCheck, Difference
from sploot_server.library.model_change import ModelChange
from sploot_server.library.service import Library, now_ms
from sploot_server.storage.shares import ShareStore
from sploot_server.storage.sqlite.library_backup import LibraryBackup

NAME_CHARS_MAX = 100
REJECTED_SHOWN_MAX = 1_000
FINDINGS_SHOWN_MAX = 1_000

Output = Callable[[str, str], None]
"""Takes the stream, `out` or `err`, and one line."""


class AdminService:
    """Runs admin commands on the accounts and the library."""

    def __init__(
        self,
        accounts: AccountStore,
        sessions: SessionStore,
        library: Library,
        check: ConsistencyCheck,
        shares: ShareStore,
        *,
        backup: LibraryBackup | None,
        model_change: ModelChange | None = None,
    ) -> None:
        self._consistency_check = check
        self._shares = shares
        self._backup = backup
        self._accounts = accounts
        self._sessions = sessions
        self._library = library
        self._model_change = model_change
        self._handlers = {
            "user add": self._add_user,
            "user invite": self._invite_user,
            "user sign-out": self._sign_out_user,
            "user list": self._list_users,
            "user quota": self._set_quota,
            "user admin": self._set_admin,
            "user remove": self._remove_user,
            "token create": self._create_token,
            "token list": self._list_tokens,
            "token revoke": self._revoke_token,
            "invitation list": self._list_invitations,
            "invitation revoke": self._revoke_invitation,
            "link list": self._list_links,
            "link revoke": self._revoke_link,
            "export": self._export,
            "import": self._import,
            "check": self._check,
            "backup": self._back_up,
            "model changed": self._change_model,
            "model progress": self._report_model_progress,
        }

    def catch_up(self) -> None:
        """Look for what commands changed while no socket listened: they cannot have told this process."""
        if self._model_change is not None:
            self._model_change.wake()

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
        output("err", f"Added user {name}. Create a token with `{_line(command, 'token', 'create', name)}`.")

    async def _invite_user(self, command: Mapping[str, Any], output: Output) -> None:
        if await self._accounts.get_user(command["name"].strip()) is None:
            await self._add_user({**command, "adopt": False}, output)
        user = await self._get_user({**command, "name": command["name"].strip()})
        now, ttl_ms = now_ms(), command["days"] * DAY_MS
        secret = await self._sessions.invite(user.id, now_ms=now, ttl_ms=ttl_ms)
        output("err", f"This link signs in one browser of {user.name}, once, until {_format_time(now + ttl_ms)}:")
        output("out", f"{command['url'].rstrip('/')}/#invitation={secret}")

    async def _sign_out_user(self, command: Mapping[str, Any], output: Output) -> None:
        user = await self._get_user(command)
        count = await self._sessions.end(user.id)
        output("err", f"Signed {user.name} out of {count} browser{'' if count == 1 else 's'}. Tokens are still valid.")

    async def _list_users(self, command: Mapping[str, Any], output: Output) -> None:
        output("out", "NAME\tADDED\tFILES\tBYTES\tADMIN")
        for usage in await self._accounts.list_usage():
            fields = [usage.user.name, _format_time(usage.user.created_at_ms), _format_file_count(usage.asset_count)]
            output("out", "\t".join([*fields, _format_usage(usage), "yes" if usage.user.is_admin else "-"]))

    async def _set_quota(self, command: Mapping[str, Any], output: Output) -> None:
        user = await self._get_user(command)
        quota_bytes = command["quota_bytes"]
        await self._accounts.set_quota(user.id, quota_bytes)
        limit = "has no quota" if quota_bytes is None else f"may store {format_bytes(quota_bytes)}"
        output("err", f"{user.name} now {limit}.")

    async def _set_admin(self, command: Mapping[str, Any], output: Output) -> None:
        user = await self._get_user(command)
        await self._accounts.set_admin(user.id, is_admin=not command["revoke"])
        output("err", f"{user.name} is {'no longer ' if command['revoke'] else ''}an admin of the page.")

    async def _remove_user(self, command: Mapping[str, Any], output: Output) -> None:
        user = await self._get_user(command)
        count = await self._accounts.count_assets(user.id)
        if count and not command["with_pictures"]:
            raise AccountError(
                f"{user.name} owns {_format_file_count(count)}. Export them first, or delete them with --with-pictures."
            )
        user_library = self._library.for_owner(user.id)
        async for asset in user_library.iter_assets():
            await user_library.purge(asset.id)
        await self._accounts.remove_user(user.id)
        output("err", f"Removed user {user.name}.")

    async def _create_token(self, command: Mapping[str, Any], output: Output) -> None:
        user = await self._get_user(command)
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
        output("out", text)

    async def _list_tokens(self, command: Mapping[str, Any], output: Output) -> None:
        names = {user.id: user.name for user in await self._accounts.list_users()}
        output("out", "ID\tUSER\tLABEL\tSCOPES\tCREATED\tLAST USED\tVALIDITY")
        invalid = 0
        for token in await self._accounts.list_tokens():
            if not token.is_valid(now_ms()) and not command["all"]:
                invalid += 1
                continue
            used = "never" if token.last_used_at_ms is None else _format_time(token.last_used_at_ms)
            fields = [token.id, names.get(token.user_id, "?"), token.name, ",".join(sorted(token.scopes))]
            output("out", "\t".join([*fields, _format_time(token.created_at_ms), used, _format_validity(token)]))
        if invalid:
            output(
                "err", f"{invalid} revoked or expired; `{_line(command, 'token', 'list', '--all')}` lists them, too."
            )

    async def _revoke_token(self, command: Mapping[str, Any], output: Output) -> None:
        token_id = command["id"].removeprefix("sploot_").partition("_")[0]
        if not await self._accounts.revoke_token(token_id, now_ms=now_ms()):
            raise AccountError(
                f"Token {token_id} does not exist; `{_line(command, 'token', 'list')}` lists all tokens."
            )
        output("err", f"Revoked token {token_id}.")

    async def _list_invitations(self, command: Mapping[str, Any], output: Output) -> None:
        output("out", "ID\tUSER\tCREATED\tEXPIRES")
        for each in await self._sessions.list_invitations(now_ms=now_ms()):
            times = [_format_time(each.created_at_ms), _format_time(each.expires_at_ms)]
            output("out", "\t".join([each.id, each.user_name, *times]))

    async def _revoke_invitation(self, command: Mapping[str, Any], output: Output) -> None:
        text = command["id"].rpartition("#invitation=")[2]
        invitation_id = parse_token_id(text) or text
        if not await self._sessions.revoke_invitation(invitation_id):
            listing = _line(command, "invitation", "list")
            raise AccountError(f"Invitation {invitation_id} was used or never existed; `{listing}` lists the others.")
        output("err", f"Revoked invitation {invitation_id}.")

    async def _list_links(self, command: Mapping[str, Any], output: Output) -> None:
        output("out", "LINK\tUSER\tFILE\tCREATED")
        for owner_name, link in await self._shares.list_all():
            fields = [f"/s/{link.slug}", owner_name, link.asset.filename, _format_time(link.created_at_ms)]
            output("out", "\t".join(fields))

    async def _revoke_link(self, command: Mapping[str, Any], output: Output) -> None:
        slug = command["link"].rstrip("/").rpartition("/")[2]
        if not await self._shares.revoke_slug(slug):
            raise AccountError(f"Link {slug} does not exist; `{_line(command, 'link', 'list')}` lists all links.")
        output("err", f"Revoked link {slug}. Browsers and proxies may show the picture for one more minute.")

    async def _export(self, command: Mapping[str, Any], output: Output) -> None:
        count = await export_library(await self._library_for(command), Path(command["folder"]))
        output("err", f"Exported {_format_file_count(count)} to {command['folder']}.")

    async def _import(self, command: Mapping[str, Any], output: Output) -> int:
        importer = LibraryImporter(await self._library_for(command), Path(command["folder"]))
        await importer.run()
        for message in importer.rejected[:REJECTED_SHOWN_MAX]:
            output("err", f"Not imported: {message}")
        output(
            "err",
            f"Imported {_format_file_count(importer.imported)}; {importer.already_present} already in the library; "
            f"{len(importer.rejected)} not imported.",
        )
        return 1 if importer.rejected else 0

    async def _check(self, command: Mapping[str, Any], output: Output) -> int:
        counts: Counter[Difference] = Counter()
        async for finding in self._consistency_check.run(hashes=command["hashes"], repair=command["repair"]):
            counts[finding.difference] += 1
            if counts.total() <= FINDINGS_SHOWN_MAX:
                output("out", "\t".join([finding.difference, finding.checksum, *finding.filenames]))
        if not counts:
            output("err", "The database and the originals agree.")
            return 0
        found = ", ".join(f"{count} {difference}" for difference, count in counts.items())
        if command["repair"]:
            output("err", f"Repaired: {found}. Upload the missing and damaged files again to restore them.")
            return 0
        output("err", f"Found: {found}. Restore the originals from a backup, then run again, or add --repair.")
        return 1

    async def _back_up(self, command: Mapping[str, Any], output: Output) -> int:
        if self._backup is None:
            raise AccountError(
                "`backup` copies a library in one folder. Copy one in PostgreSQL or S3 with the tools of these: "
                "docs/how-to/backup.md."
            )
        copied = await self._backup.run(Path(command["folder"]))
        folder = shlex.quote(command["folder"])
        output("err", f"Backed up {_format_file_count(copied.count)} ({format_bytes(copied.size_bytes)}) to {folder}.")
        if copied.missing_count:
            output("err", f"{_format_file_count(copied.missing_count)} had no original: `{_line(command, 'check')}`.")
            return 1
        output("err", f"Restore with `sploot-server restore {folder} --data NEW_FOLDER`.")
        return 0

    async def _change_model(self, command: Mapping[str, Any], output: Output) -> None:
        if self._model_change is None:
            output("err", "This server was started with --model DIR or --database; restart it with the other model.")
        else:
            self._model_change.wake()

    async def _report_model_progress(self, command: Mapping[str, Any], output: Output) -> None:
        if self._model_change is not None:
            output("out", "{} {}".format(*self._model_change.progress))

    async def _library_for(self, command: Mapping[str, Any]) -> Library:
        if command["name"] is not None:
            return self._library.for_owner((await self._get_user(command)).id)
        if await self._accounts.list_users() and not await self._accounts.count_assets(""):
            raise AccountError("This library has accounts; choose the owner with --user.")
        return self._library

    async def _get_user(self, command: Mapping[str, Any]) -> User:
        user = await self._accounts.get_user(command["name"])
        if user is None:
            listing = _line(command, "user", "list")
            raise AccountError(f"User {command['name']} does not exist; `{listing}` lists all users.")
        return user


def _line(command: Mapping[str, Any], *words: str) -> str:
    """Return a command line that can be pasted: for the same library as `command`."""
    return shlex.join(["sploot-server", *words]) + str(command["location"])


def _format_file_count(count: int) -> str:
    return f"{count} file{'' if count == 1 else 's'}"


def _format_usage(usage: UserUsage) -> str:
    limit = usage.user.quota_bytes
    return format_bytes(usage.size_bytes) + ("" if limit is None else f" of {format_bytes(limit)}")


def _format_time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _format_validity(token: Token) -> str:
    if token.revoked_at_ms is not None:
        return f"revoked {_format_time(token.revoked_at_ms)}"
    if token.expires_at_ms is None:
        return "valid"
    return f"{'valid until' if token.is_valid(now_ms()) else 'expired'} {_format_time(token.expires_at_ms)}"
