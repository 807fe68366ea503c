"""Sploot as it really behaves, in memory: its library, its answers and its hazards. Nothing here is a fault by chance.

What a Sploot in production was seen to do with real requests is done here too, whether or not it is meant so: every
failure is a 500, also for those who are not signed in; the same bytes twice at once break one upload, and so do new
tags and the first calls of a new user; a picture that was removed softly can never be sent again; forms are parsed to
the letter; an embedding that failed is `ready`. `faulty_sploot.py` puts a bad network and bad luck in front of it.

Everything that is committed is an event in its journal. A server that starts on the journal of a killed one has all of
it, and a test that reads the journal can hold the daemon's rows against it.
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

from scripted import HTML, OFFERS, ROUTES, SIGNED_OUT, TYPES, Reply, Request
from sploot_journal import Journal
from undici import Part, undici_form

BYTES_MAX = 10 * 1024 * 1024
STATUSES_MAX = 50
TAGS_MAX = 20
TOKEN_LIFE_S = 60.0
LEEWAY_S = 5.0
COMMAND = "/generate-embedding"
ALSO_TAKEN = "image/jpg"  # though its limits do not say so
FAILED = Reply(500, {"error": "Upload failed"})
NOT_FOUND_PAGE = Reply(404, b"<!DOCTYPE html><html>" + b" " * 17_000 + b"</html>", HTML)
SYNCS_USER = {"limits", "upload", "check", "checks", "bundle", "assets", "search"}


async def lasting(seconds: float) -> None:
    """Work that takes so long."""
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
    is_made: bool = False  # its embedding, by command


@dataclass
class RealSploot:
    """`answer` does what Sploot would. Uploads take `work_s`, embeddings `embed_s`; of those a share fails for good."""

    journal: Journal
    now: Callable[[], float] = time.time
    token: str = ""  # one that is always good, beside those that it issues
    token_life_s: float = TOKEN_LIFE_S
    travel_s: float = 0.0  # until a request is there
    work_s: float = 0.0
    embed_s: float = 0.0
    failing_embeddings: float = 0.0
    forgotten_embeddings: float = 0.0  # the share that is never made, unless by command
    knows_twins: bool = True  # without, whatever is sent twice is stored twice
    offers: bool = False  # as no real one does: many questions, and many files, in one request
    platform_bytes_max: int = 1 << 60  # what stands in front of it refuses more than this
    assets: dict[str, Asset] = field(default_factory=dict)
    tags: set[str] = field(default_factory=set)
    _has_user: bool = False
    _is_joining: bool = False
    _epoch: int = 0
    _issued: int = 0
    _under_way: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        for event in self.journal.events:
            match event["event"]:
                case "user":
                    self._has_user = True
                case "created":
                    self.assets[event["sha256"]] = Asset(event["id"], event["sha256"], event["at"])
                    self.tags.update(event["tags"])
                case "removed":
                    self.assets[event["sha256"]].removed = True
                case "made":
                    self.assets[event["sha256"]].is_made = True
                case "deleted":
                    del self.assets[event["sha256"]]
                case "revoked":
                    self._epoch += 1

    # Who asks.

    def issue(self) -> str:
        """A fresh session token. Like Clerk's it is good for a minute."""
        self._issued += 1
        claims = {"exp": self.now() + self.token_life_s, "epoch": self._epoch, "jti": self._issued}
        payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        return f"e30.{payload}.{_signature(payload)}"

    def revoke(self) -> None:
        """No token that was issued so far is good any more."""
        self._epoch += 1
        self.journal.commit("revoked")

    def knows(self, request: Request) -> bool:
        """Whether whoever asks is signed in. The scheme is compared to the letter."""
        is_known = self.is_good(request.headers.get("authorization", "").removeprefix("Bearer "))
        if not is_known:
            self.journal.note("unknown", route=request.route)
        return is_known

    def is_good(self, token: str) -> bool:
        if self.token and token == self.token:
            return True
        try:
            _, payload, signature = token.split(".")
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        except ValueError:
            return False
        is_current = claims["epoch"] == self._epoch and claims["exp"] + LEEWAY_S > self.now()
        return is_current and signature == _signature(payload)

    # What it answers.

    async def answer(self, request: Request) -> Reply:
        await lasting(self.travel_s)
        if request.route == "health":
            return Reply(body={"status": "ok"})
        if request.route == "upload" and len(request.body) > self.platform_bytes_max:
            return Reply(
                413, b"Request Entity Too Large\n\nFUNCTION_PAYLOAD_TOO_LARGE\n", {"content-type": "text/plain"}
            )
        if not self.knows(request):
            return signed_out(request.route)
        if request.route in SYNCS_USER and not await self._joined():
            return _without_user(request.route)
        match request.route:
            case "limits":
                limits = {"maxFileSize": BYTES_MAX, "allowedTypes": TYPES}
                features = {name: OFFERS[name] for name in ("checkBatch", "bundle")} if self.offers else {}
                return Reply(body={"status": "ready", "limits": limits, "features": features})
            case "checks" if self.offers:
                return self._checks(request)
            case "bundle" if self.offers:
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
        return NOT_FOUND_PAGE

    def remove(self, sha256: str) -> None:
        """Remove it softly, as its owner does on the page."""
        self.assets[sha256].removed = True
        self.journal.commit("removed", sha256=sha256)

    async def _joined(self) -> bool:
        """Whether there is a row for the user. Calls that come while the first one makes it all fail."""
        if self._has_user:
            return True
        if self._is_joining:
            self.journal.note("user race")
            return False
        self._is_joining = True
        try:
            await lasting(self.work_s)
            await asyncio.sleep(0)
        finally:
            self._is_joining = False
        self._has_user = True
        self.journal.commit("user")
        return True

    def _check(self, request: Request) -> Reply:
        self.journal.note("check")
        try:
            checksum = request.json()["checksum"]
        except (ValueError, KeyError, TypeError):
            return Reply(500, {"error": "Failed to perform preflight check"})
        if not isinstance(checksum, str) or not re.fullmatch("[0-9a-fA-F]{64}", checksum):
            return Reply(400, {"error": "Invalid checksum format. Expected SHA256 hash (64 hex characters)"})
        return Reply(body=self._checked(checksum))

    def _checks(self, request: Request) -> Reply:
        self.journal.note("check")
        return Reply(body={"results": {each: self._checked(each) for each in request.json()["checksums"]}})

    def _checked(self, checksum: str) -> dict[str, Any]:
        asset = self.assets.get(checksum)  # as it was written: upper case is taken, and never found
        if asset is None or asset.removed:
            return {"exists": False, "message": "Asset not found. Safe to upload."}
        return {"exists": True, "asset": {**_shown(asset), "hasEmbedding": self._embedding(asset) is not None}}

    async def _bundle(self, request: Request) -> Reply:
        """One file after the other, each with the tags before it: what was taken in when it dies, it has."""
        parts = undici_form(request.headers.get("content-type", ""), request.body)
        outcomes, tags = [], []
        for part in parts or []:
            if part.name == "tags":
                tags = [part]
            else:
                reply, tags = await self._upload_of([*tags, part]), []
                outcomes.append({"status": reply.status, **reply.body})
        return Reply(body={"success": True, "results": outcomes}) if outcomes else FAILED

    async def _upload(self, request: Request) -> Reply:
        return await self._upload_of(undici_form(request.headers.get("content-type", ""), request.body))

    async def _upload_of(self, parts: list[Part] | None) -> Reply:
        file = next((part for part in parts or [] if part.name == "file"), None)
        if parts is None or (file is not None and file.filename is None):
            return FAILED
        if file is None:
            return Reply(400, {"error": "No file provided"})
        if (refusal := _refusal(file)) is not None:
            return Reply(400, {"success": False, "error": refusal})
        tags = _tags(parts)
        if isinstance(tags, str):
            return Reply(400, {"success": False, "error": tags})
        return await self._take_in(file, tags)

    async def _take_in(self, file: Part, tags: list[str]) -> Reply:
        """Look the content up, work on it, and insert it: what came in between breaks the insertion."""
        checksum = hashlib.sha256(file.data).hexdigest()
        self.journal.note("upload", sha256=checksum)
        if self._under_way[checksum]:
            self.journal.note("at once", sha256=checksum)
        known = self.assets.get(checksum)
        if self.knows_twins and known is not None and not known.removed:
            self.journal.note("conflict", sha256=checksum)
            return Reply(409, _stored(known, file, is_duplicate=True))
        new_tags = set(tags) - self.tags
        self._under_way[checksum] += 1
        try:
            await lasting(self.work_s)
            await asyncio.sleep(0)
        finally:
            self._under_way[checksum] -= 1
        if (self.knows_twins and checksum in self.assets) or new_tags & self.tags:
            self.journal.note("failed", sha256=checksum)
            return FAILED
        asset = self.assets[checksum] = Asset(f"c{checksum[:24]}", checksum, self.now())
        self.tags.update(tags)
        self.journal.commit("created", sha256=checksum, id=asset.id, at=asset.created_at, tags=tags)
        return Reply(201, _stored(asset, file, is_duplicate=False))

    def _statuses(self, request: Request) -> Reply:
        self.journal.note("statuses", at=self.now())
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
        has_row = self._embedding(asset) is not None  # it says `ready` of any row
        return {"hasEmbedding": has_row, "status": "ready" if has_row else "pending"}

    def _list(self, request: Request) -> Reply:
        live = [asset for asset in self.assets.values() if not asset.removed]
        newest = sorted(live, key=lambda asset: asset.created_at, reverse=True)[request.stretch]
        return Reply(body={"assets": [{"id": each.id, "embedding": self._embedding(each)} for each in newest]})

    def _asset(self, request: Request) -> Reply:
        path, _, query = request.target.partition("?")
        path, is_command = path.removesuffix(COMMAND), path.endswith(COMMAND)
        asset = next((each for each in self.assets.values() if path == f"/api/assets/{each.id}"), None)
        if asset is None or (asset.removed and request.method == "GET"):
            return Reply(404, {"error": "Asset not found"})
        if is_command:
            return self._make(asset)
        if request.method == "DELETE" and query == "permanent=true":
            del self.assets[asset.sha256]
            self.journal.commit("deleted", sha256=asset.sha256)
            return Reply(body={"message": "Asset permanently deleted"})
        if request.method == "DELETE":
            self.remove(asset.sha256)
            return Reply(body={"message": "Asset soft deleted", "asset": {"id": asset.id}})
        return Reply(body={"asset": {"id": asset.id, "embedding": self._embedding(asset)}})

    def _make(self, asset: Asset) -> Reply:
        """Make the embedding now, unless there is a row, even one of a failure: that is told without a `success`."""
        if self._embedding(asset) is not None:
            return Reply(body={"message": "Embedding already exists"})
        asset.is_made = True
        self.journal.commit("made", sha256=asset.sha256)
        return Reply(body={"success": True, "message": "Embedding generated successfully"})

    def _embedding(self, asset: Asset) -> dict[str, Any] | None:
        """The row, once there is one. Its `status` is `pending` for ever where all went well."""
        luck = random.Random(asset.sha256)
        is_forgotten = luck.random() < self.forgotten_embeddings
        if not asset.is_made and (is_forgotten or self.now() < asset.created_at + self.embed_s):
            return None
        if luck.random() < self.failing_embeddings:
            return {"dim": 0, "modelName": "unknown", "status": "failed", "error": "Replicate is down"}
        return {"dim": 512, "modelName": "siglip", "status": "pending", "error": None}


def signed_out(route: str) -> Reply:
    """What each route says to those whom it does not know."""
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


def _refusal(file: Part) -> str | None:
    if file.type.lower().strip() not in (*TYPES, ALSO_TAKEN):
        return "File type not supported. Use JPEG, PNG, WebP, or GIF"
    if not file.data:
        return "File appears to be empty"
    if len(file.data) > BYTES_MAX:
        return f"File is too large ({len(file.data) / 1024 / 1024:.1f}MB). Maximum size is 10MB"
    return None


def _tags(parts: list[Part]) -> list[str] | str:
    """The tags of a form, or what is wrong with them. What is no list of texts is silently none."""
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
    """Two calls at once have made the row of a new user: one of them fails, each route in its own way."""
    if route == "limits":
        return Reply(401, {"error": "Unauthorized"})  # as to any fault; without Clerk's header it is none of that kind
    if route == "check":
        return Reply(500, {"error": "Failed to perform preflight check"})
    return FAILED


def _shown(asset: Asset) -> dict[str, Any]:
    return {"id": asset.id, "checksumSha256": asset.sha256, "blobUrl": f"https://x.test/{asset.id}"}


def _stored(asset: Asset, file: Part, *, is_duplicate: bool) -> dict[str, Any]:
    shown = {
        "id": asset.id,
        "filename": file.filename,
        "mimeType": file.type.lower().strip(),
        "size": len(file.data),
        "checksum": asset.sha256,
        "needsEmbedding": True,
    }
    return {"success": True, "isDuplicate": is_duplicate, "asset": shown}


def _signature(payload: str) -> str:
    return hashlib.sha256(f"not a secret {payload}".encode()).hexdigest()
