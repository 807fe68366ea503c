"""What the daemon answers to each request of the protocol: one short method for each."""

import asyncio
import os
from collections.abc import AsyncIterator, Collection, Sized
from typing import Protocol, assert_never

from splootd import protocol
from splootd.control import doctor, finding, keeping, lists, numbers, views
from splootd.control.figures import figures
from splootd.control.parts import Parts
from splootd.control.scope import Scope
from splootd.control.status import folder_rows, standing, status
from splootd.control.story import Holdup, next_step
from splootd.control.stream import News
from splootd.core.fault import Fault
from splootd.core.item import Item, Priority
from splootd.errors import RequestError
from splootd.store.rescue import MISHAP

TARGETS_MAX = 10_000

Reply = (
    protocol.Status
    | protocol.Added
    | protocol.Progress
    | protocol.Items
    | protocol.Story
    | protocol.Changed
    | protocol.Done
    | protocol.Folders
    | protocol.Hits
    | protocol.Report
    | protocol.Slow
    | protocol.Findings
    | protocol.Undone
    | protocol.PageAddress
)
Answer = Reply | AsyncIterator[bytes] | lists.Lines | str


class _Change(Protocol):
    """A step of the queue that takes many items at once and says which of them it changed."""

    async def __call__(self, ids: Collection[int], *, now: float) -> list[int]: ...


class Answers:
    """Answers requests from the store and the workers. `draining` says that the daemon is about to end."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._started_at = parts.clock.now()
        self.draining = False
        self.news = News(parts.listing, parts.traffic, parts.bus, parts.bells.news, lambda: standing(parts))

    async def answer(self, request: protocol.AnyRequest, key: str) -> Answer:  # noqa: PLR0912 - one for each request
        """The answer to `request`; SplootError when there is none. `key` names this call, should it be repeated."""
        match request:
            case protocol.GetStatus():
                return await self.status()
            case protocol.Add():
                return await self.add(request, key)
            case protocol.GetProgress():
                return await self.progress(request)
            case protocol.ListItems():
                return await lists.items(self._parts, request)
            case protocol.Why():
                return await self.why(request)
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
                return await keeping.undo(self._parts, request)
            case protocol.Backup():
                return await keeping.backup(self._parts, request)
            case protocol.GetFolders():
                return protocol.Folders(await folder_rows(self._parts))
            case protocol.RemoveFolder():
                return await self.remove_folder(request)
            case protocol.Search():
                return await finding.search(self._parts, request)
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
                return numbers.report(self._parts)
            case protocol.Examine() | protocol.SelfTest():
                return await doctor.examine(self._parts, request)
            case protocol.WhySlow():
                return await numbers.slow(self._parts)
            case protocol.OpenPage():
                return protocol.PageAddress(await self._parts.page.address(reset=request.reset, asset_id=request.asset))
            case _:
                assert_never(request)

    async def status(self) -> protocol.Status:
        return await status(self._parts, self._started_at, draining=self.draining)

    async def add(self, request: protocol.Add, key: str) -> protocol.Added:
        if len(request.paths) > protocol.ADD_PATHS_MAX:
            raise RequestError("too_many", f"one request adds at most {protocol.ADD_PATHS_MAX} paths")
        for path in request.paths:
            if not path.startswith("/") or "\0" in path:
                raise RequestError("bad_path", f"{path[:200]!r} is not an absolute path")
        if request.priority.upper() not in Priority.__members__:
            words = ", ".join(priority.word for priority in Priority)
            raise RequestError("bad_priority", f"there is no priority {request.priority[:40]!r}", f"there are: {words}")
        await keeping.check_wish(request.after)
        return await self._parts.intake.add(request, key)

    async def progress(self, request: protocol.GetProgress) -> protocol.Progress | AsyncIterator[bytes]:
        async def snapshot() -> protocol.Progress:
            return views.progress(request.add, await self._parts.listing.progress(request.add))

        first = await snapshot()
        return self.news.progress(snapshot) if request.follow else first

    async def events(self, request: protocol.GetEvents) -> AsyncIterator[bytes]:
        """RequestError when there is no such item, or the folder is none."""
        path = None
        if request.item is not None:
            item = await self._parts.listing.item(request.item)
            if item is None:
                raise RequestError("not_found", f"there is no item {request.item}", "sploot list", status=404)
            path = os.fsdecode(item.path)
        if request.folder is not None and not request.folder.startswith("/"):
            raise RequestError("bad_folder", f"{request.folder[:200]!r} is not an absolute path")
        wanted = figures(self._parts, request, self.status)
        return self.news.events(request.since, Scope(request.folder, request.item, path), wanted)

    async def why(self, request: protocol.Why) -> protocol.Story:
        parts = self._parts
        versions = await self._find(request.target)
        if not versions:
            raise RequestError("not_found", f"{request.target[:4096]} is not in the queue", "sploot add", status=404)
        item, gate = versions[0], parts.gate
        holdup = Holdup(gate.paused, gate.state, gate.retry_at, gate.held_for)
        attempts, kept = await parts.listing.attempts(item.id), await keeping.kept(parts, item)
        return protocol.Story(
            item=views.item_row(item, await lists.folder_paths(parts)),
            attempts=tuple(views.attempt_row(attempt) for attempt in attempts),
            next=next_step(item, holdup, kept, parts.clock.now()),
            versions=len(versions),
            removed_at=views.iso_or_none(kept.removed_at),
        )

    async def _find(self, target: str) -> list[Item]:
        """The items that an id or a path means, newest version first. A path may lead over links."""
        if target.startswith("/"):
            path = os.fsencode(target)
            found = await self._parts.listing.by_path(path)
            return found or await self._parts.listing.by_path(await asyncio.to_thread(os.path.realpath, path))
        if not target.isdecimal() or len(target) > 18:
            raise RequestError("bad_target", f"{target[:200]!r} is neither an id nor an absolute path")
        item = await self._parts.listing.item(int(target))
        return [] if item is None else [item]

    async def retry(self, request: protocol.Retry) -> protocol.Changed:
        _check_count(request.ids)
        if not (request.ids or request.reason or request.all):
            raise RequestError("nothing_named", "say what to retry", "name ids, a reason, or all")
        ids = await self._parts.queue.revive(
            ids=request.ids,
            fault=None if request.reason is None else lists.one_of(Fault, request.reason, "reason"),
            all_dead=request.all,
            now=self._parts.clock.now(),
        )
        self._parts.traffic.waits.asked(ids, self._parts.clock.now())
        left = set(request.ids) - set(ids)
        return protocol.Changed(tuple(ids), tuple(str(each) for each in request.ids if each in left))

    async def bump(self, request: protocol.Bump) -> protocol.Changed:
        changed = await self._change(request.targets, self._parts.queue.bump)
        self._parts.traffic.waits.asked(changed.ids, self._parts.clock.now())
        return changed

    async def forget(self, request: protocol.Forget) -> protocol.Changed:
        return await self._change(request.targets, self._parts.queue.forget)

    async def _change(self, targets: tuple[str, ...], change: _Change) -> protocol.Changed:
        _check_count(targets)
        ids = {target: items[0].id for target in targets if (items := await self._find(target))}
        changed = await change(list(ids.values()), now=self._parts.clock.now())
        done = set(changed)
        return protocol.Changed(tuple(changed), tuple(each for each in targets if ids.get(each) not in done))

    async def pause(self) -> protocol.Done:
        await self._keep_paused("yes")
        self._parts.gate.pause()
        self._parts.bus.wake()
        return protocol.Done("Sending is paused. New files are still queued; to go on: sploot resume")

    async def resume(self) -> protocol.Done:
        await self._keep_paused("")
        await self._parts.listing.set_setting(MISHAP, "", now=self._parts.clock.now())  # it has been read
        self._parts.gate.resume()
        self._parts.bus.wake()
        return protocol.Done("Sending goes on.")

    async def _keep_paused(self, word: str) -> None:
        """Any word but the empty one: the next daemon begins paused, too."""
        await self._parts.listing.set_setting("paused", word, now=self._parts.clock.now())

    async def remove_folder(self, request: protocol.RemoveFolder) -> protocol.Done:
        path = await asyncio.to_thread(os.path.realpath, os.fsencode(request.folder))
        if not await self._parts.arrivals.unwatch(path):
            raise RequestError("not_found", f"{request.folder[:4096]} is not watched", "sploot folders", status=404)
        self._parts.watcher.unwatch(path)
        return protocol.Done("It is no longer watched. What was queued from it stays queued.")

    async def login(self, request: protocol.Login) -> protocol.Done:
        await self._parts.credentials.keep(request.token, request.token_command)
        return protocol.Done("The way to sign in is kept.")

    async def logout(self) -> protocol.Done:
        await self._parts.credentials.clear()
        return protocol.Done("The token is forgotten.")

    async def needs(self) -> tuple[protocol.Need, ...]:
        return (await self.status()).needs_you

    async def metrics(self) -> str:
        return await numbers.metrics(self._parts, self._started_at)

    def shutdown(self) -> protocol.Done:
        self.draining = True
        self._parts.shutdown()
        return protocol.Done("The daemon finishes what is under way, then ends.")


def _check_count(targets: Sized) -> None:
    if len(targets) > TARGETS_MAX:
        raise RequestError("too_many", f"one request changes at most {TARGETS_MAX} items", "send them in several")
