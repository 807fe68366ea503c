"""What the headers of tus say, in and out. See `tus.py`."""

import base64
import binascii
import email.utils
import re
from dataclasses import dataclass

from starlette.requests import Request

from sploot_server.model import Invalid, TooLarge
from sploot_server.partial import Outcome, Upload

PATH = "/api/upload/resumable"
VERSION = "1.0.0"
FEATURES = {"resumable": {"protocol": f"tus {VERSION}", "path": PATH}}  # as GET /api/upload announces it
ALGORITHMS = ("sha256", "sha1")  # the protocol asks for the second one
BODY_TYPE = "application/offset+octet-stream"
METADATA_BYTES_MAX = 16 * 1024
CHECKSUM = re.compile(r"[0-9a-f]{64}")
WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Announced:
    """What a client says about the bytes of one request. `digest` is of `algorithm`."""

    algorithm: str
    digest: bytes


def parse_metadata(header: str) -> dict[str, bytes]:
    """`Upload-Metadata`: pairs of a key and a value in Base64, with commas between them. Raises Invalid."""
    if len(header) > METADATA_BYTES_MAX:
        raise TooLarge(f"The Upload-Metadata takes more than {METADATA_BYTES_MAX // 1024} KB")
    values = {}
    for pair in filter(None, header.split(",")):
        key, _, value = pair.strip().partition(" ")
        if not key or key in values:
            raise Invalid("Upload-Metadata has a key that is empty, or there twice")
        values[key] = _base64(value, "Upload-Metadata")
    return values


def announced(request: Request) -> Announced | None:
    """What the client says about the bytes of this request, if it says anything. Raises Invalid."""
    header = request.headers.get("upload-checksum")
    if header is None:
        return None
    algorithm, _, digest = header.partition(" ")
    if algorithm not in ALGORITHMS:
        raise Invalid(f"Upload-Checksum must be by {' or '.join(ALGORITHMS)}")
    return Announced(algorithm, _base64(digest, "Upload-Checksum"))


def whole_checksum(value: bytes | None) -> str | None:
    """The SHA-256 of the whole file, if the metadata hold one. Raises Invalid."""
    if value is None:
        return None
    checksum = value.decode("ascii", "replace").lower()
    if not CHECKSUM.fullmatch(checksum):
        raise Invalid("Invalid checksum format. Expected SHA256 hash (64 hex characters)")
    return checksum


def _base64(text: str, header: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid(f"{header} is not in Base64") from error


def number(request: Request, header: str) -> int:
    """A header that holds a number of bytes. Raises Invalid."""
    text = request.headers.get(header, "")
    if not WHOLE_NUMBER.fullmatch(text):
        raise Invalid(f"{header.title()} must be a number of bytes")
    return int(text)


def progress(upload: Upload) -> dict[str, str]:
    """How far an upload is, and until when it is kept."""
    expires = email.utils.formatdate(upload.expires_s, usegmt=True)
    return {"upload-offset": str(upload.offset), "upload-expires": expires}


def outcome(of: Outcome | None) -> dict[str, str]:
    """What became of an upload, once it is complete."""
    if of is None:
        return {}
    return {"sploot-asset-id": of.asset_id, "sploot-duplicate": str(not of.created).lower()}
