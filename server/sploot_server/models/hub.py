"""A model hub's API: which commit a revision is, and the size and checksum of each of its files.

The Hugging Face Hub defined the protocol (`GET /api/models/OWNER/NAME/revision/REVISION?blobs=true`,
`GET /OWNER/NAME/resolve/COMMIT/FILE`), and its mirrors speak it; HF_ENDPOINT names another one, as for other programs.
"""

import json
import os
import re
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from sploot_server.inference.model_manifest import ModelUnusable
from sploot_server.models.download import open_url
from sploot_server.models.model_source import SHA256, HubRepository, ModelFile, ModelSource, model_name

DEFAULT_ENDPOINT = "https://huggingface.co"
REPLY_BYTES_MAX = 16 * 1024 * 1024
COMMIT = re.compile(r"[0-9a-f]{40}")


def describe_repository(repository: HubRepository) -> ModelSource:
    """Return all files of the repository at the commit that its revision names now. Raises ModelUnusable."""
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or DEFAULT_ENDPOINT
    revision = quote(repository.revision, safe="")
    reply = _get_json(f"{endpoint}/api/models/{repository.name}/revision/{revision}?blobs=true")
    commit = str(reply.get("sha"))
    if not COMMIT.fullmatch(commit):
        raise ModelUnusable(f"{endpoint} did not say which commit {repository.name}@{repository.revision} is.")
    siblings = [each for each in reply.get("siblings") or () if isinstance(each, dict)]
    return ModelSource(
        name=model_name(repository.name),
        origin=f"hf:{repository.name}",
        revision=commit,
        licence=_licence(reply),
        files=tuple(_describe_file(each, f"{endpoint}/{repository.name}/resolve/{commit}") for each in siblings),
    )


def _describe_file(sibling: Mapping[str, Any], base: str) -> ModelFile:
    name, size, lfs, blob = (sibling.get(key) for key in ("rfilename", "size", "lfs", "blobId"))
    sha256 = str(lfs.get("sha256")) if isinstance(lfs, dict) else ""
    if isinstance(lfs, dict):
        size = lfs.get("size", size)
    return ModelFile(
        name=str(name),
        location=f"{base}/{quote(str(name))}",
        size_bytes=size if type(size) is int and size >= 0 else None,
        sha256=sha256 if SHA256.fullmatch(sha256) else None,
        git_sha1=str(blob) if not lfs and COMMIT.fullmatch(str(blob)) else None,
    )


def _licence(reply: Mapping[str, Any]) -> str:
    """Return the licence on the model's card, or in its tags."""
    card = reply.get("cardData")
    if isinstance(card, dict) and isinstance(card.get("license"), str):
        named = card.get("license_name")
        return str(named) if card["license"] == "other" and isinstance(named, str) else str(card["license"])
    tags: Sequence[Any] = reply.get("tags") or ()
    return next((tag.removeprefix("license:") for tag in map(str, tags) if tag.startswith("license:")), "")


def _get_json(url: str) -> Mapping[str, Any]:
    with open_url(urllib.request.Request(url)) as response:  # noqa: S310 - parse_source and the endpoint limit the scheme
        body = response.read(REPLY_BYTES_MAX)
    try:
        reply = json.loads(body)
    except ValueError as error:
        raise ModelUnusable(f"{url} did not answer with JSON; check HF_ENDPOINT.") from error
    if not isinstance(reply, dict):
        raise ModelUnusable(f"{url} did not describe a model; check HF_ENDPOINT.")
    return reply
