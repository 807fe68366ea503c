"""Route of upload by path: clients of the Unix socket send paths instead of content. It extends Sploot's API."""

import base64
import binascii
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from sploot_server.domain.entities import AddResult, InvalidInput, TooLarge
from sploot_server.http.errors import describe_error
from sploot_server.http.request_body import read_object
from sploot_server.http.routes.batch import upload_result_to_json
from sploot_server.http.routes.params import get_owner, parse_checksum, parse_object, parse_strings
from sploot_server.library.local_import import DeclaredFile, UploadByPath

UPLOAD_BY_PATH_FILES_MAX = 64
UPLOAD_BY_PATH_BYTES_MAX = 1024 * 1024  # of the JSON body; paths may be long

FEATURES = {"uploadByPath": UPLOAD_BY_PATH_FILES_MAX}


class UploadByPathRoutes:
    """Route of upload by path."""

    def __init__(self, upload_by_path: UploadByPath) -> None:
        self._upload_by_path = upload_by_path

    def routes(self) -> list[BaseRoute]:
        return [Route("/api/upload/files", self.upload, methods=["POST"])]

    async def upload(self, request: Request) -> Response:
        """Import the files and return one result per file, as for a bundle.

        A file whose size or checksum differs from the request has changed since it was hashed: its status is 412.
        """
        body = await read_object(request, bytes_max=UPLOAD_BY_PATH_BYTES_MAX)
        files = body.get("files")
        if not isinstance(files, list) or not files:
            raise InvalidInput("files must be an array of objects")
        if len(files) > UPLOAD_BY_PATH_FILES_MAX:
            raise TooLarge(f"A request may contain at most {UPLOAD_BY_PATH_FILES_MAX} files")
        parsed = [_parse_file(parse_object(each, "files")) for each in files]
        results = await self._upload_by_path.import_files(parsed, owner=get_owner(request))
        return JSONResponse({"success": True, "results": [_result_to_json(request, each) for each in results]})


def _parse_file(file: dict[str, Any]) -> DeclaredFile:
    path, size, name = file.get("path"), file.get("size"), file.get("filename")
    if not isinstance(path, str) or not isinstance(name, str) or type(size) is not int or size < 0:
        raise InvalidInput("A file requires path, size, checksum and filename")
    try:
        raw = base64.b64decode(path, validate=True)  # Linux paths are bytes and need not be valid Unicode
    except (binascii.Error, ValueError) as error:
        raise InvalidInput("path must be Base64 of the bytes of the path") from error
    if not raw.startswith(b"/"):
        raise InvalidInput("path must be absolute")
    return DeclaredFile(
        raw, size, parse_checksum(file.get("checksum")), name, parse_strings(file.get("tags", []), "tags")
    )


def _result_to_json(request: Request, result: AddResult | Exception) -> dict[str, Any]:
    if isinstance(result, Exception):
        message, status = describe_error(result, request.scope)
        return {"status": status, "success": False, "error": message}
    return {"status": 201 if result.created else 409, **upload_result_to_json(request, result, tags=[])}
