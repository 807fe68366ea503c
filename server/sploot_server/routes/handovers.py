"""Files that are named instead of sent, on a Unix socket of the user's own. An addition to Sploot's API."""

import base64
import binascii
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.bodies import read_json
from sploot_server.handover import Handed, HandOver
from sploot_server.model import Added, Invalid, TooLarge
from sploot_server.refusals import told
from sploot_server.routes.bundles import upload_outcome
from sploot_server.routes.values import checksum_of, object_of, owner_of, strings_of

HANDOVER_FILES_MAX = 64
HANDOVER_BYTES_MAX = 1024 * 1024  # of JSON: paths may be long

FEATURES = {"handOver": HANDOVER_FILES_MAX}


class HandOvers:
    def __init__(self, hand_over: HandOver) -> None:
        self._hand_over = hand_over

    def routes(self) -> list[BaseRoute]:
        return [Route("/api/upload/files", self.take, methods=["POST"])]

    async def take(self, request: Request) -> Response:
        """Each file has an outcome of its own, as in a bundle. 412: it is not, or no longer, what was said of it."""
        malformed = "The request body is not valid JSON"
        body = object_of(await read_json(request, malformed=malformed, bytes_max=HANDOVER_BYTES_MAX))
        files = body.get("files")
        if not isinstance(files, list) or not files:
            raise Invalid("files must be an array of objects")
        if len(files) > HANDOVER_FILES_MAX:
            raise TooLarge(f"At most {HANDOVER_FILES_MAX} files can be handed over at once")
        handed = [_handed(object_of(each)) for each in files]
        outcomes = await self._hand_over.take(handed, owner=owner_of(request))
        return JSONResponse({"success": True, "results": [_outcome(request, each) for each in outcomes]})


def _handed(file: dict[str, Any]) -> Handed:
    path, size, name = file.get("path"), file.get("size"), file.get("filename")
    if not isinstance(path, str) or not isinstance(name, str) or type(size) is not int or size < 0:
        raise Invalid("A file needs its path, its size, its checksum and its filename")
    try:
        raw = base64.b64decode(path, validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid("A path is the base64 of its bytes") from error
    if not raw.startswith(b"/"):
        raise Invalid("A path must be absolute")
    return Handed(raw, size, checksum_of(file.get("checksum")), name, strings_of(file.get("tags", []), "tags"))


def _outcome(request: Request, outcome: Added | Exception) -> dict[str, Any]:
    if isinstance(outcome, Exception):
        sentence, status = told(outcome, request.scope)
        return {"status": status, "success": False, "error": sentence}
    return {"status": 201 if outcome.created else 409, **upload_outcome(request, outcome, tags=[])}
