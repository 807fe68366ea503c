"""Dispatch of control-API requests, and the handlers that need no module of their own."""

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Sized
from dataclasses import replace
from pathlib import Path
from typing import Protocol, assert_never

from splootd import protocol
from splootd.control import doctor, items, library, metrics, search, serializers, settings_page, templates
from splootd.control.backup import backup
from splootd.control.context import Context
from splootd.control.event_filter import EventFilter
from splootd.control.event_stream import EventStream
from splootd.control.explain import Blocker, describe_next_step
from splootd.control.live_snapshots import build_snapshot_sources
from splootd.control.presence import check_presence
from splootd.control.remedies import can_retry
from splootd.control.retry import retry_failed
from splootd.control.status import build_status, folder_rows, get_connection_state, get_server_status
from splootd.control.undo import undo
from splootd.core.error_code import ErrorCode
from splootd.core.item import Item, Priority
from splootd.core.post_upload_action import PostUploadAction
from splootd.core.tags import clean_tags
from splootd.errors import RequestError
from splootd.store.accounts import open_account
from splootd.store.recovery import RECOVERY_NOTICE
from splootd.system.file_manager import reveal
from splootd.text import printable

TARGETS_MAX = 10_000

Reply = (
    protocol.Status
    | protocol.AddReply
    | protocol.Progress
    | protocol.Items
    | protocol.Explanation
    | protocol.ChangeReply
    | protocol.MessageReply
    | protocol.Folders
    | protocol.Hits
    | protocol.EditedAssets
    | protocol.SharedAssets
    | protocol.TemplateRows
    | protocol.Report
    | protocol.Bottleneck
    | protocol.Findings
    | protocol.UndoReply
    | protocol.UiUrl
    | protocol.Settings
    | protocol.FolderNames
)
FOR_THE_LIBRARY = (
    *(protocol.Search, protocol.EditAssets, protocol.Share, protocol.GetShareLinks, protocol.SaveImage),
    *(protocol.GetTemplates, protocol.LearnTemplate, protocol.NameTemplate, protocol.RemoveTemplate),
)
"""Requests that the library answers. One of them may be the first command of all, which starts the local server."""
HandlerResult = Reply | AsyncIterator[bytes] | items.JsonLines | str


class _BulkOperation(Protocol):
    """Queue operation on many items that returns the ids of the changed ones."""

    async def __call__(self, ids: Collection[int], *, now: float) -> list[int]: ...


class RequestHandlers:
    """Handles requests with the store and the workers. `draining` is set while the daemon shuts down."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._started_at = context.clock.now()
        self.draining = False
        self.event_stream = EventStream(
            context.read_queries,
            context.metrics,
            context.event_bus,
            context.wake_signals.events,
            get_connection_state=lambda: get_connection_state(context),
            get_status=self.status,
        )

    async def handle(self, request: protocol.AnyRequest, idempotency_key: str) -> HandlerResult:  # noqa: PLR0912 - one case per request
        """Return the reply to `request`. Raises SplootError. A repeated call has the same `idempotency_key`."""
        if isinstance(request, FOR_THE_LIBRARY):
            await self._context.wait_for_local_server()
        match request:
            case protocol.GetStatus():
                return await self.status()
            case protocol.Add():
                return await self.add(request, idempotency_key)
            case protocol.GetProgress():
                return await self.progress(request)
            case protocol.ListItems():
                return await items.list_items(self._context, request)
            case protocol.GetExplanation():
                return await self.explain(request)
            case protocol.Retry():
                return await self.retry(request)
            case protocol.Bump():
                return await self.bump(request)
            case protocol.Forget():
                return await self.forget(request)
            case protocol.Pause():
                return await self.pause()
            case protocol.Resume():
                return await self.resume()
            case protocol.Undo():
                return await undo(self._context, request)
            case protocol.Backup():
                return await backup(self._context, request)
            case protocol.GetFolders():
                return protocol.Folders(await folder_rows(self._context))
            case protocol.RemoveFolder():
                return await self.remove_folder(request)
            case protocol.Search():
                return await search.search_library(self._context, request)
            case protocol.EditAssets():
                return await library.edit_assets(self._context, request)
            case protocol.Share():
                return await library.share(self._context, request)
            case protocol.GetShareLinks():
                return await library.list_share_links(self._context)
            case protocol.SaveImage():
                return await library.save_image(self._context, request)
            case protocol.GetTemplates():
                return await templates.list_templates(self._context)
            case protocol.LearnTemplate():
                return await templates.learn_template(self._context, request)
            case protocol.NameTemplate():
                versions = await self._find_versions(request.target)
                return await templates.name_template(self._context, request, versions[0] if versions else None)
            case protocol.RemoveTemplate():
                return await templates.remove_template(self._context, request)
            case protocol.Login():
                return await self.login(request)
            case protocol.Logout():
                return await self.logout()
            case protocol.Shutdown():
                return self.shutdown()
            case protocol.GetEvents():
                return await self.events(request)
            case protocol.GetMetrics():
                return await self.metrics()
            case protocol.GetReport():
                return metrics.build_report(self._context)
            case protocol.RunDoctor() | protocol.SelfTest():
                return await doctor.run_doctor(self._context, request)
            case protocol.GetBottleneck():
                return await metrics.build_bottleneck(self._context)
            case protocol.OpenUi():
                return protocol.UiUrl(
                    await self._context.web_ui.create_login_url(reset=request.reset, asset_id=request.asset)
                )
            case protocol.GetSettings():
                return settings_page.get_settings(self._context, os.environ)
            case protocol.ChangeSetting():
                return await settings_page.change_setting(self._context, request, os.environ)
            case protocol.FindFolders():
                return await asyncio.to_thread(settings_page.find_folders, request.text, Path.home())
            case protocol.Reveal():
                return await self.reveal(request)
            case _:
                assert_never(request)

    async def status(self) -> protocol.Status:
        return await build_status(self._context, self._started_at, draining=self.draining)

    async def add(self, request: protocol.Add, idempotency_key: str) -> protocol.AddReply:
        if len(request.paths) > protocol.ADD_PATHS_MAX:
            raise RequestError("too_many", f"one request adds at most {protocol.ADD_PATHS_MAX} paths")
        for path in request.paths:
            if not path.startswith("/") or "\0" in path:
                raise RequestError("bad_path", f"{path[:200]!r} is not an absolute path")
        if request.priority.upper() not in Priority.__members__:
            names = ", ".join(priority.label for priority in Priority)
            raise RequestError("bad_priority", f"unknown priority {request.priority[:40]!r}", f"use one of: {names}")
        _check_server(request.server, self._context.config.server)
        await _validate_post_upload_action(request.after_upload)
        try:
            tags = clean_tags(request.tags)
        except ValueError as error:
            raise RequestError("bad_tag", str(error), "use other words for --tag") from None
        return await self._context.importer.add(replace(request, tags=tags), idempotency_key)

    async def progress(self, request: protocol.GetProgress) -> protocol.Progress | AsyncIterator[bytes]:
        async def get_progress() -> protocol.Progress:
            return serializers.to_progress(
                request.import_id, await self._context.read_queries.progress(request.import_id)
            )

        first = await get_progress()  # also raises RequestError for an unknown import before any stream starts
        return self.event_stream.stream_progress(get_progress) if request.follow else first

    async def events(self, request: protocol.GetEvents) -> AsyncIterator[bytes]:
        """Return an event stream. Raises RequestError for an unknown item or a relative folder."""
        path = None
        if request.item is not None:
            item = await self._context.read_queries.get_item(request.item)
            if item is None:
                raise RequestError("not_found", f"item {request.item} does not exist", "sploot list", status=404)
            path = os.fsdecode(item.path)
        if request.folder is not None and not request.folder.startswith("/"):
            raise RequestError("bad_folder", f"{request.folder[:200]!r} is not an absolute path")
        sources = build_snapshot_sources(self._context, request, self.status)
        return self.event_stream.stream_events(request.since, EventFilter(request.folder, request.item, path), sources)

    async def explain(self, request: protocol.GetExplanation) -> protocol.Explanation:
        context = self._context
        versions = await self._find_versions(request.target)
        if not versions:
            raise RequestError(
                "not_found",
                f"{request.target[:4096]} is not in the queue",
                "to add a file: sploot add PATH",
                status=404,
            )
        item, admission = versions[0], context.admission
        server = get_server_status(context)
        blocker = Blocker(
            admission.is_paused, server.state, admission.retry_at, admission.suspend_reason, server.detail
        )
        attempts, presence = await context.read_queries.attempts(item.id), await check_presence(context, item)
        return protocol.Explanation(
            item=serializers.to_item_row(item, await items.folder_paths(context)),
            attempts=tuple(serializers.to_attempt_row(attempt) for attempt in attempts),
            next=describe_next_step(item, blocker, presence, context.clock.now()),
            versions=len(versions),
            can_retry=await asyncio.to_thread(can_retry, item, read_file=True),
            removed_at=serializers.format_iso_or_none(presence.removed_at),
        )

    async def reveal(self, request: protocol.Reveal) -> protocol.MessageReply:
        versions = await self._find_versions(request.target)
        if not versions:
            raise RequestError("not_found", f"{request.target[:4096]} is not in the queue", "sploot add", status=404)
        await reveal(versions[0].path)
        return protocol.MessageReply("Shown in its folder.")

    async def _find_versions(self, target: str) -> list[Item]:
        """Return the items of an id or a path, newest version first. Symbolic links in a path are resolved."""
        if target.startswith("/"):
            path = os.fsencode(target)
            found = await self._context.read_queries.items_by_path(path)
            return found or await self._context.read_queries.items_by_path(
                await asyncio.to_thread(os.path.realpath, path)
            )
        if not target.isdecimal() or len(target) > 18:
            raise RequestError("bad_target", f"{target[:200]!r} is neither an id nor an absolute path")
        item = await self._context.read_queries.get_item(int(target))
        return [] if item is None else [item]

    async def retry(self, request: protocol.Retry) -> protocol.ChangeReply:
        _check_count(request.ids)
        if not (request.ids or request.error_code or request.all):
            raise RequestError("missing_argument", "nothing to retry was given", "give ids, an error code, or --all")
        ids = await self._context.queue.requeue(
            ids=request.ids,
            error_code=None
            if request.error_code is None
            else items.parse_enum(ErrorCode, request.error_code, "error_code"),
            now=self._context.clock.now(),
        )
        left_counts: dict[str, int] = {}
        if request.all:
            retried_ids, left_counts = await retry_failed(self._context)
            ids += retried_ids
        self._context.metrics.urgent_latency.record_requests(ids, self._context.clock.now())
        missed = set(request.ids) - set(ids)
        not_found = tuple(str(each) for each in request.ids if each in missed)
        return protocol.ChangeReply(tuple(ids), not_found, left_counts)

    async def bump(self, request: protocol.Bump) -> protocol.ChangeReply:
        changed = await self._apply_to_targets(request.targets, self._context.queue.bump)
        self._context.metrics.urgent_latency.record_requests(changed.ids, self._context.clock.now())
        return changed

    async def forget(self, request: protocol.Forget) -> protocol.ChangeReply:
        return await self._apply_to_targets(request.targets, self._context.queue.forget)

    async def _apply_to_targets(self, targets: tuple[str, ...], operation: _BulkOperation) -> protocol.ChangeReply:
        _check_count(targets)
        ids = {target: items[0].id for target in targets if (items := await self._find_versions(target))}
        changed = await operation(list(ids.values()), now=self._context.clock.now())
        done = set(changed)
        return protocol.ChangeReply(tuple(changed), tuple(each for each in targets if ids.get(each) not in done))

    async def pause(self) -> protocol.MessageReply:
        await self._save_paused("yes")
        self._context.admission.pause()
        self._context.event_bus.wake()
        return protocol.MessageReply("Uploads paused. New files are still queued. Resume: sploot resume")

    async def resume(self) -> protocol.MessageReply:
        await self._save_paused("")
        # `sploot resume` also acknowledges the recovery notice: it is the command that the notice names.
        await self._context.settings_store.set(RECOVERY_NOTICE, "", now=self._context.clock.now())
        self._context.admission.resume()
        self._context.event_bus.wake()
        return protocol.MessageReply("Uploads resumed.")

    async def _save_paused(self, value: str) -> None:
        """Save the pause, so that it survives a restart. An empty value means not paused."""
        await self._context.settings_store.set("paused", value, now=self._context.clock.now())

    async def remove_folder(self, request: protocol.RemoveFolder) -> protocol.MessageReply:
        path = os.fsencode(request.folder.rstrip("/") or "/")  # the watched folder may be a symlink by now
        if not await self._context.folder_store.unwatch(path):
            path = await asyncio.to_thread(os.path.realpath, path)
            if not await self._context.folder_store.unwatch(path):
                raise RequestError("not_found", f"{request.folder[:4096]} is not watched", "sploot folders", status=404)
        self._context.watcher.unwatch(path)
        return protocol.MessageReply(f"Stopped watching {os.fsdecode(path)}. Its queued files stay queued.")

    async def login(self, request: protocol.Login) -> protocol.MessageReply:
        credentials, config = self._context.credentials, self._context.config
        before = credentials.account
        await credentials.save(request.token, request.token_command)
        saved = "Token command saved." if request.token_command else "Token saved."
        account = None if config.is_local else await credentials.fetch_subject()
        if account in (None, before):
            return protocol.MessageReply(saved)
        await open_account(self._context.database, config.server, account)
        if before is None:
            credentials.account = account
            return protocol.MessageReply(saved)
        return protocol.MessageReply(
            f"{saved} It belongs to another account ({account}) than before ({before}). Each account has a queue of its"
            " own; watched folders are uploaded to the current one. To prevent that: sploot pause",
            restart=True,
        )

    async def logout(self) -> protocol.MessageReply:
        had_token = await self._context.credentials.clear()
        return protocol.MessageReply("Signed out. The saved token was deleted." if had_token else "No token was saved.")

    async def actions_required(self) -> tuple[protocol.ActionRequired, ...]:
        return (await self.status()).actions_required

    async def metrics(self) -> str:
        return await metrics.render_metrics(self._context, self._started_at)

    def shutdown(self) -> protocol.MessageReply:
        self.draining = True
        self._context.shutdown()
        return protocol.MessageReply("The daemon finishes the uploads in flight, then stops.")


def _check_count(targets: Sized) -> None:
    if len(targets) > TARGETS_MAX:
        raise RequestError("too_many", f"one request changes at most {TARGETS_MAX} items", "use several requests")


def _check_server(wanted: str | None, current: str) -> None:
    """Raise RequestError if the command's SPLOOT_SERVER is another server than the one that the daemon uploads to."""
    if wanted is not None and wanted.strip().rstrip("/") != current.rstrip("/"):
        raise RequestError(
            "other_server",
            f"the daemon uploads to {current}, but SPLOOT_SERVER is {printable(wanted)}: nothing was queued",
            f"to upload there: sploot config set server {printable(wanted)}; to keep {current}: unset SPLOOT_SERVER",
            status=409,
        )


async def _validate_post_upload_action(action: str) -> None:
    """Raise RequestError for an unknown action or a folder that cannot be written to."""
    try:
        parsed = PostUploadAction.parse(os.fsencode(action))
    except ValueError:
        title = f"unknown action {action[:200]!r} for --after-upload"
        raise RequestError("bad_after_upload", title, "use keep, trash or move:FOLDER") from None
    if parsed is not None and parsed.folder is not None:
        folder = os.fsdecode(parsed.folder)
        if not await asyncio.to_thread(lambda: os.access(folder, os.W_OK | os.X_OK) and Path(folder).is_dir()):
            title = f"{folder[:4096]} is not a writable folder"
            raise RequestError("bad_after_upload", title, "create the folder first")
