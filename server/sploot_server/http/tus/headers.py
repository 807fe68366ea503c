"""Parses and formats the headers of the tus protocol. See `handlers.py`."""

import base64
import binascii
import email.utils
import re
from dataclasses import dataclass

from starlette.requests import Request

from sploot_server.domain.entities import InvalidInput, TooLarge
from sploot_server.http.tus.upload_store import Upload, UploadOutcome

PATH = "/api/upload/resumable"
VERSION = "1.0.0"
FEATURES = {"resumable": {"protocol": f"tus {VERSION}", "path": PATH}}  # part of GET /api/upload
CHECKSUM_ALGORITHMS = ("sha256", "sha1")  # the protocol requires sha1
CONTENT_TYPE = "application/offset+octet-stream"
METADATA_BYTES_MAX = 16 * 1024
CHECKSUM = re.compile(r"[0-9a-f]{64}")
WHOLE_NUMBER = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class ExpectedChecksum:
    """Checksum of the bytes of one request, from Upload-Checksum."""

    algorithm: str
    digest: bytes


def parse_metadata(header: str) -> dict[str, bytes]:
    """Parse Upload-Metadata: comma-separated pairs of a key and a Base64 value. Raise InvalidInput or TooLarge.

    tus requires unique keys; the value of a key may be empty.
    """
    if len(header) > METADATA_BYTES_MAX:
        raise TooLarge(f"Upload-Metadata is larger than {METADATA_BYTES_MAX // 1024} KB")
    values = {}
    for pair in filter(None, header.split(",")):
        key, _, value = pair.strip().partition(" ")
        if not key or key in values:
            raise InvalidInput("Upload-Metadata has an empty or repeated key")
        values[key] = _decode_base64(value, "Upload-Metadata")
    return values


def parse_upload_checksum(request: Request) -> ExpectedChecksum | None:
    """Parse Upload-Checksum; return None if the request has none. Raise InvalidInput."""
    header = request.headers.get("upload-checksum")
    if header is None:
        return None
    algorithm, _, digest = header.partition(" ")
    if algorithm not in CHECKSUM_ALGORITHMS:
        raise InvalidInput(f"Upload-Checksum must use {' or '.join(CHECKSUM_ALGORITHMS)}")
    return ExpectedChecksum(algorithm, _decode_base64(digest, "Upload-Checksum"))


def parse_file_checksum(value: bytes | None) -> str | None:
    """Parse the metadata value with the SHA-256 of the whole file. Raise InvalidInput."""
    if value is None:
        return None
    checksum = value.decode("ascii", "replace").lower()
    if not CHECKSUM.fullmatch(checksum):
        raise InvalidInput("Invalid checksum format. Expected SHA256 hash (64 hex characters)")
    return checksum


def _decode_base64(text: str, header: str) -> bytes:
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInput(f"{header} is not valid Base64") from error


def parse_byte_count(request: Request, header: str) -> int:
    """Parse a header with a number of bytes. Raise InvalidInput."""
    text = request.headers.get(header, "")
    if not WHOLE_NUMBER.fullmatch(text):
        raise InvalidInput(f"{header.title()} must be a number of bytes")
    return int(text)


def progress_headers(upload: Upload) -> dict[str, str]:
    """Return Upload-Offset and Upload-Expires."""
    expires = email.utils.formatdate(upload.expires_s, usegmt=True)
    return {"upload-offset": str(upload.offset), "upload-expires": expires}


def outcome_headers(upload_outcome: UploadOutcome | None) -> dict[str, str]:
    """Return the headers with the outcome of a complete upload, or none."""
    if upload_outcome is None:
        return {}
    return {"sploot-asset-id": upload_outcome.asset_id, "sploot-duplicate": str(not upload_outcome.created).lower()}
