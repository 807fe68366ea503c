"""The form parser of undici, as Sploot uses it: strict, and Sploot turns each rejection into a 500 without a reason."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Part:
    """One part of a form, with its declared content type."""

    name: str
    filename: str | None
    type: str
    data: bytes


def undici_form(content_type: str, body: bytes) -> list[Part] | None:
    """Parse a form; return None for forms that undici rejects."""
    found = re.fullmatch(r'multipart/form-data;\s*boundary="?([^";]{1,70})"?', content_type)
    if not found:
        return None
    first, *pieces, last = body.split(found[1].encode())  # undici searches for the boundary without its dashes
    if first != b"--" or last not in (b"--", b"--\r\n") or not pieces:
        return None
    parts = [_parse_part(piece) for piece in pieces]
    return None if None in parts else [part for part in parts if part is not None]


def _parse_part(piece: bytes) -> Part | None:
    if not piece.startswith(b"\r\n") or not piece.endswith(b"\r\n--"):
        return None
    head, blank, data = piece[2:-4].partition(b"\r\n\r\n")
    if not blank or b"\n" in head.replace(b"\r\n", b""):
        return None
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (h.partition(b":") for h in head.split(b"\r\n"))
    }
    disposition = re.fullmatch(
        rb'form-data; name="([^"\\]*)"(?:; filename="([^"\\]*)")?', headers.get(b"content-disposition", b"")
    )
    if not disposition:
        return None
    filename = None if disposition[2] is None else disposition[2].decode()
    return Part(disposition[1].decode(), filename, headers.get(b"content-type", b"text/plain").decode(), data)
