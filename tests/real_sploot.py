"""Sploot as it really behaves, in memory: its library, its responses and its deviations. Nothing here is random.

It reproduces what a Sploot in production was observed to do, intended or not: every failure is a 500, also for clients
that are not signed in; concurrent uploads of the same bytes break one of them, and so do new tags and the first
requests of a new user; a soft-deleted image can never be uploaded again; forms are parsed strictly; a failed embedding
is `ready`. `faulty_sploot.py` adds the faults of a network and a server.

Every commit is an event in the journal. A server that starts on the journal of a killed one has all of its state, and
a test can compare the journal with the daemon's rows.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from scripted_sploot import FEATURES, HTML, ROUTES, SIGNED_OUT, TYPES, Reply, Request
from sploot_journal import Journal
from undici import Part, undici_form

BYTES_MAX = 10 * 1024 * 1024
STATUSES_MAX = 50
TAGS_MAX = 20
TOKEN_LIFE_S = 60.0
LEEWAY_S = 5.0
COMMAND = "/generate-embedding"
ALSO_TAKEN = "image/jpg"  # although its limits do not list it
FAILED = Reply(500, {"error": "Upload failed"})
NOT_FOUND_PAGE = Reply(404, b"<!DOCTYPE html><html>" + b" " * 17_000 + b"</html>", HTML)
SYNCS_USER = {"limits", "upload", "check", "checks", "bundle", "assets", "search"}


async def sleep_for(seconds: float) -> None:
    """Wait on the loop's clock, which simulations replace."""
    if seconds > 0:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await asyncio.Event().wait()


@dataclass
class Asset:
    id: str
    sha256: str
    created_at: float
    removed: bool = False
    is_made: bool = False  # its embedding was computed on request
    is_abandoned: bool = False  # its client had gone before the response: the embedding was never begun
    fails: bool = False  # its embedding fails once it is tried, for ever


@dataclass
class RealSploot:
    """Handles requests as Sploot does. Uploads take `work_s`, embeddings `embed_s`, and a share of them fails."""

    journal: Journal
    now: Callable[[], float] = time.time
    token: str = ""  # one that is always valid, besides those that it issues
    token_life_s: float = TOKEN_LIFE_S
    travel_s: float = 0.0  # until a request arrives
    work_s: float = 0.0
    embed_s: float = 0.0
    failing_embeddings: float = 0.0
    missing_embeddings: float = 0.0  # the share that is only computed on request
    detects_duplicates: bool = True  # False: a content that is sent twice is stored twice
    has_batch_api: bool = False  # batch checks and bundles, which no real Sploot has
    refused_tags: set[str] = field(default_factory=set)  # besides those that every Sploot refuses
    is_database_down: bool = False  # lookups by hash report that nothing exists
    platform_bytes_max: int = 1 << 60  # the body limit of the platform in front of it
    assets: dict[str, Asset] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)
    _has_user: bool = False
    _is_creating_user: bool = False
    _epoch: int = 0
    _issued: int = 0
    _uploads: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        for event in self.journal.events:
            match event["event"]:
                case "user":
                    self._has_user = True
                case "created":
                    self.assets[event["sha256"]] = Asset(
                        event["id"], event["sha256"], event["at"], fails=event["fails"]
                    )
                    self.tags.update(event["tags"])
                case "removed":
                    self.assets[event["sha256"]].removed = True
                case "made":
                    self.assets[event["sha256"]].is_made = True
                case "deleted":
                    del self.assets[event["sha256"]]
                case "revoked":
                    self._epoch += 1

    # Authentication.

    def issue(self, account: str = "user_anna") -> str:
        """Issue a session token for an account. Like Clerk's it is valid for a minute."""
        self._issued += 1
        claims = {"sub": account, "exp": self.now() + self.token_life_s, "epoch": self._epoch, "jti": self._issued}
        payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        return f"e30.{payload}.{_signature(payload)}"

    def revoke(self) -> None:
        """Revoke all tokens issued so far."""
        self._epoch += 1
        self.journal.commit("revoked")

    def is_signed_in(self, request: Request) -> bool:
        """Return whether the request has a valid token. The scheme is compared case-sensitively."""
        is_valid = self.is_valid_token(request.headers.get("authorization", "").removeprefix("Bearer "))
        if not is_valid:
            self.journal.record("unknown", route=request.route)
        return is_valid

    def is_valid_token(self, token: str) -> bool:
        if self.token and token == self.token:
            return True
        try:
            _, payload, signature = token.split(".")
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        except ValueError:
            return False
        is_current = claims["epoch"] == self._epoch and claims["exp"] + LEEWAY_S > self.now()
        return is_current and signature == _signature(payload)

    # Requests.

    async def answer(self, request: Request) -> Reply:  # noqa: PLR0912 - one case per route
        await sleep_for(self.travel_s)
        if request.route == "health":
            return Reply(body={"status": "ok"})
        if request.route == "upload" and len(request.body) > self.platform_bytes_max:
            return Reply(
                413, b"Request Entity Too Large\n\nFUNCTION_PAYLOAD_TOO_LARGE\n", {"content-type": "text/plain"}
            )
        if not self.is_signed_in(request):
            return signed_out(request.route)
        if request.route in SYNCS_USER and not await self._has_user_row():
            return _without_user(request.route)
        match request.route:
            case "limits":
                limits = {"maxFileSize": BYTES_MAX, "allowedTypes": TYPES}
                features = {name: FEATURES[name] for name in ("checkBatch", "bundle")} if self.has_batch_api else {}
                return Reply(body={"status": "ready", "limits": limits, "features": features})
            case "checks" if self.has_batch_api:
                return self._checks(request)
            case "bundle" if self.has_batch_api:
                return await self._bundle(request)
            case "check":
                return self._check(request)
            case "upload":
                return await self._upload(request)
            case "statuses":
                return self._statuses(request)
            case "assets":
                return self._list(request)
            case "asset":
                return self._asset(request)
            case "search":
                return self._search()
        return NOT_FOUND_PAGE

    def remove(self, sha256: str) -> None:
        """Soft-delete an asset, as a user does in the web app."""
        self.assets[sha256].removed = True
        self.journal.commit("removed", sha256=sha256)

    def abandon(self, reply: Reply) -> None:
        """Note that the client of an upload had gone: Sploot begins an embedding only after its response."""
        if reply.status == 201:
            self.assets[reply.body["asset"]["checksum"]].is_abandoned = True

    def purge(self, sha256: str) -> None:
        """Delete a removed asset for good, as Sploot does after 30 days."""
        del self.assets[sha256]
        self.journal.commit("deleted", sha256=sha256)

    async def _has_user_row(self) -> bool:
        """Return whether the user has a row. Requests that arrive while the first one creates it fail."""
        if self._has_user:
            return True
        if self._is_creating_user:
            self.journal.record("user race")
            return False
        self._is_creating_user = True
        try:
            await sleep_for(self.work_s)
            await asyncio.sleep(0)
        finally:
            self._is_creating_user = False
        self._has_user = True
        self.journal.commit("user")
        return True

    def _check(self, request: Request) -> Reply:
        self.journal.record("check")
        try:
            checksum = request.json()["checksum"]
        except (ValueError, KeyError, TypeError):
            return Reply(500, {"error": "Failed to perform preflight check"})
        if not isinstance(checksum, str) or not re.fullmatch("[0-9a-fA-F]{64}", checksum):
            return Reply(400, {"error": "Invalid checksum format. Expected SHA256 hash (64 hex characters)"})
        return Reply(body=self._checked(checksum))

    def _checks(self, request: Request) -> Reply:
        self.journal.record("check")
        return Reply(body={"results": {each: self._checked(each) for each in request.json()["checksums"]}})

    def _checked(self, checksum: str) -> dict[str, Any]:
        asset = self.assets.get(checksum)  # compared as sent: upper case is accepted and never matched
        if self.is_database_down or asset is None or asset.removed:
            return {"exists": False, "message": "Asset not found. Safe to upload."}
        return {"exists": True, "asset": {**_format_asset(asset), "hasEmbedding": self._embedding(asset) is not None}}

    async def _bundle(self, request: Request) -> Reply:
        """Store one file after the other, each with the tags before it. Files stored before a crash stay stored."""
        parts = undici_form(request.headers.get("content-type", ""), request.body)
        results, tags = [], []
        for part in parts or []:
            if part.name == "tags":
                tags = [part]
            else:
                reply, tags = await self._upload_of([*tags, part]), []
                results.append({"status": reply.status, **reply.body})
        return Reply(body={"success": True, "results": results}) if results else FAILED

    async def _upload(self, request: Request) -> Reply:
        return await self._upload_of(undici_form(request.headers.get("content-type", ""), request.body))

    async def _upload_of(self, parts: list[Part] | None) -> Reply:
        file = next((part for part in parts or [] if part.name == "file"), None)
        if parts is None or (file is not None and file.filename is None):
            return FAILED
        if file is None:
            return Reply(400, {"error": "No file provided"})
        if (rejection := _get_rejection(file)) is not None:
            return Reply(400, {"success": False, "error": rejection})
        tags = _tags(parts)
        if set(self.refused_tags) & set(tags):
            self.journal.record("refused tags")
            tags = "Invalid tag format"
        if isinstance(tags, str):
            return Reply(400, {"success": False, "error": tags})
        return await self._store_asset(file, tags)

    async def _store_asset(self, file: Part, tags: list[str]) -> Reply:
        """Look the content up, work on it, and insert it. A concurrent insert breaks this one."""
        checksum = hashlib.sha256(file.data).hexdigest()
        self.journal.record("upload", sha256=checksum)
        if self._uploads[checksum]:
            self.journal.record("concurrent upload", sha256=checksum)
        known = self.assets.get(checksum)
        if self.detects_duplicates and known is not None and not known.removed:
            self.journal.record("conflict", sha256=checksum)
            known.is_abandoned = False  # the upload of a duplicate begins the embedding
            return Reply(409, _format_stored(known, file, is_duplicate=True))
        new_tags = set(tags) - self.tags
        self._uploads[checksum] += 1
        try:
            await sleep_for(self.work_s)
            await asyncio.sleep(0)
        finally:
            self._uploads[checksum] -= 1
        if (self.detects_duplicates and checksum in self.assets) or new_tags & self.tags:
            self.journal.record("failed", sha256=checksum)
            return FAILED
        asset = self.assets[checksum] = Asset(f"c{checksum[:24]}", checksum, self.now())
        asset.fails = _draw(asset, "failing") < self.failing_embeddings
        self.tags.update(tags)
        event = {"id": asset.id, "at": asset.created_at, "tags": tags, "fails": asset.fails}
        self.journal.commit("created", sha256=checksum, **event)
        return Reply(201, _format_stored(asset, file, is_duplicate=False))

    def _statuses(self, request: Request) -> Reply:
        self.journal.record("statuses", at=self.now())
        try:
            asset_ids = request.json()["assetIds"]
        except (ValueError, KeyError, TypeError):
            return Reply(500, {"error": "Failed to check batch embedding status"})
        if len(asset_ids) > STATUSES_MAX:
            return Reply(400, {"error": "Batch size exceeds maximum of 50 assets"})
        live = {asset.id: asset for asset in self.assets.values() if not asset.removed}
        return Reply(body={"statuses": {each: self._status(live.get(each)) for each in asset_ids}})

    def _status(self, asset: Asset | None) -> dict[str, Any]:
        if asset is None:
            return {"hasEmbedding": False, "status": "failed", "error": "Asset not found or access denied"}
        has_row = self._embedding(asset) is not None  # any row is reported as `ready`
        return {"hasEmbedding": has_row, "status": "ready" if has_row else "pending"}

    def _list(self, request: Request) -> Reply:
        live = [asset for asset in self.assets.values() if not asset.removed]
        newest = sorted(live, key=lambda asset: asset.created_at, reverse=True)[request.page]
        return Reply(body={"assets": [{"id": each.id, "embedding": self._embedding(each)} for each in newest]})

    def _asset(self, request: Request) -> Reply:
        path, _, query = request.target.partition("?")
        path, is_command = path.removesuffix(COMMAND), path.endswith(COMMAND)
        path, is_tagging = path.removesuffix("/tags"), path.endswith("/tags")
        asset = next((each for each in self.assets.values() if path == f"/api/assets/{each.id}"), None)
        if asset is None or (asset.removed and request.method == "GET"):
            return Reply(404, {"error": "Asset not found"})
        if self.is_database_down:
            return Reply(500, {"error": "Failed to fetch asset"})
        if is_command:
            return self._make(asset)
        if is_tagging:
            return self._add_tags(asset, request.json()["tagNames"])
        if request.method == "DELETE" and query == "permanent=true":
            del self.assets[asset.sha256]
            self.journal.commit("deleted", sha256=asset.sha256)
            return Reply(body={"message": "Asset permanently deleted"})
        if request.method == "DELETE":
            self.remove(asset.sha256)
            return Reply(body={"message": "Asset soft deleted", "asset": {"id": asset.id}})
        return Reply(body={"asset": {"id": asset.id, "embedding": self._embedding(asset)}})

    def _add_tags(self, asset: Asset, names: list[str]) -> Reply:
        if set(self.refused_tags) & set(names):
            return Reply(400, {"error": "Invalid tag format"})
        added = [name.lower() for name in names]  # unlike in an upload
        self.tags.update(added)
        self.journal.commit("tagged", sha256=asset.sha256, tags=added)
        return Reply(body={"success": True, "addedTags": added})

    def _search(self) -> Reply:
        """Find nothing. If all embeddings fail, the model is down, and so is the search for anything new."""
        if self.failing_embeddings == 1.0:
            return Reply(500, {"error": "Failed to search assets", "results": [], "query": "", "total": 0})
        return Reply(body={"results": [], "query": "", "total": 0})

    def _make(self, asset: Asset) -> Reply:
        """Compute the embedding, unless there is a row, even a failed one: then the response has no `success`."""
        if self._embedding(asset) is not None:
            return Reply(body={"message": "Embedding already exists"})
        asset.is_made = True
        self.journal.commit("made", sha256=asset.sha256)
        return Reply(body={"success": True, "message": "Embedding generated successfully"})

    def _embedding(self, asset: Asset) -> dict[str, Any] | None:
        """Return the embedding row, once there is one. After success its `status` stays `pending` for ever."""
        is_missing = asset.is_abandoned or _draw(asset, "missing") < self.missing_embeddings
        if not asset.is_made and (is_missing or self.now() < asset.created_at + self.embed_s):
            return None
        if asset.fails:
            return {"dim": 0, "modelName": "unknown", "status": "failed", "error": "Replicate is down"}
        return {"dim": 512, "modelName": "siglip", "status": "pending", "error": None}


def _draw(asset: Asset, question: str) -> float:
    """Return a number from 0 to 1, always the same for the same content."""
    return random.Random(f"{question} {asset.sha256}").random()


def signed_out(route: str) -> Reply:
    """Return each route's response to a client that is not signed in."""
    match route:
        case "upload":
            return Reply(500, {"error": "Upload failed"}, SIGNED_OUT)
        case "limits":
            return Reply(401, {"error": "Unauthorized"}, SIGNED_OUT)
        case "check":
            return Reply(401, {"error": "Authentication required"}, SIGNED_OUT)
    return Reply(404, NOT_FOUND_PAGE.body, {**HTML, **SIGNED_OUT})


def route_of(method: str, target: str) -> str:
    path = target.partition("?")[0]
    return ROUTES.get((method, path)) or ("asset" if path.startswith("/api/assets/") else "unknown")


def _get_rejection(file: Part) -> str | None:
    if file.type.lower().strip() not in (*TYPES, ALSO_TAKEN):
        return "File type not supported. Use JPEG, PNG, WebP, or GIF"
    if not file.data:
        return "File appears to be empty"
    if len(file.data) > BYTES_MAX:
        return f"File is too large ({len(file.data) / 1024 / 1024:.1f}MB). Maximum size is 10MB"
    return None


def _tags(parts: list[Part]) -> list[str] | str:
    """Return the tags of a form, or an error message. A value that is not a list of strings counts as no tags."""
    sent = next((part.data for part in parts if part.name == "tags" and part.filename is None), b"[]")
    try:
        tags = json.loads(sent)
    except ValueError:
        return []
    if not isinstance(tags, list):
        return []
    if len(tags) > TAGS_MAX:
        return "You can add up to 20 tags per upload"
    for tag in tags:
        if not tag.strip():
            return "Empty tags are not allowed"
        if len(tag.strip()) > 50:
            return "Tags must be 50 characters or less"
        if re.search(r"<|>|&lt;|&gt;|javascript:|on\w+=", tag):
            return "Tags cannot contain special characters like < or >"
    return list(dict.fromkeys(tag.strip() for tag in tags))


def _without_user(route: str) -> Reply:
    """Return each route's response after a race to create the row of a new user."""
    if route == "limits":
        return Reply(401, {"error": "Unauthorized"})  # as for any internal error, without Clerk's header
    if route == "check":
        return Reply(500, {"error": "Failed to perform preflight check"})
    return FAILED


def _format_asset(asset: Asset) -> dict[str, Any]:
    return {"id": asset.id, "checksumSha256": asset.sha256, "blobUrl": f"https://x.test/{asset.id}"}


def _format_stored(asset: Asset, file: Part, *, is_duplicate: bool) -> dict[str, Any]:
    asset_row = {
        "id": asset.id,
        "filename": file.filename,
        "mimeType": file.type.lower().strip(),
        "size": len(file.data),
        "checksum": asset.sha256,
        "needsEmbedding": True,
    }
    return {"success": True, "isDuplicate": is_duplicate, "asset": asset_row}


def _signature(payload: str) -> str:
    return hashlib.sha256(f"not a secret {payload}".encode()).hexdigest()
