"""Describes a model, fetches its files, and turns them into a folder that the server can use."""

import hashlib
import json
import shutil
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from sploot_server.inference.model_folder import check_model
from sploot_server.inference.model_manifest import MANIFEST, ModelUnusable
from sploot_server.models.archive import unpack
from sploot_server.models.download import download, hash_file, open_url
from sploot_server.models.export_manifest import write_manifest
from sploot_server.models.hub import describe_repository
from sploot_server.models.installed_models import SOURCE_FILE, InstalledModels
from sploot_server.models.model_files import LICENCES, choose_files
from sploot_server.models.model_source import HubRepository, ModelFile, ModelSource, model_name, parse_source

OnProgress = Callable[[int, int | None], None]
"""Takes the bytes that have arrived of all files, and those that there are, if known."""
LICENCE_CHARS_MAX = 60


def describe_model(text: str, *, sha256: str | None = None) -> ModelSource:
    """Describe the model that `text` names, without fetching it; local files are hashed. Raises ModelUnusable.

    `sha256` is what the user knows of an archive from elsewhere.
    """
    source = parse_source(text)
    if isinstance(source, HubRepository):
        described = describe_repository(source)
        by_name = {file.name: file for file in described.files}
        chosen = [replace(by_name[each], name=name) for name, each in choose_files(by_name).items()]
        return replace(described, files=tuple(chosen))
    if isinstance(source, str):
        return ModelSource(model_name(source), source, "", "", (_describe_url(source, sha256),))
    if source.is_dir():
        names = [str(file.relative_to(source)) for file in source.rglob("*") if file.is_file()]
        files = [_describe_path(name, source / each) for name, each in choose_files(names).items()]
        licence = next((_first_line(Path(file.location)) for file in files if file.name in LICENCES), "")
        return ModelSource(model_name(str(source)), str(source), "", licence, tuple(files))
    file = _describe_path(source.name, source)
    if sha256 not in (None, file.sha256):
        raise ModelUnusable(f"{source} is not the expected file: its SHA-256 is {file.sha256} and not {sha256}.")
    return ModelSource(model_name(str(source)), str(source), "", "", (file,))


def install_model(source: ModelSource, models: InstalledModels, on_progress: OnProgress) -> Path:
    """Fetch, verify and test a model, and make it the wanted one; return its folder. Raises ModelUnusable.

    What was fetched before an interruption is kept and continued.
    """
    fetched = models.incoming / _key(source)
    fetched.mkdir(mode=0o700, parents=True, exist_ok=True)
    done = 0
    for file in source.files:
        target = fetched / file.name
        _fetch_file(file, target, partial(_report, on_progress, done, source.size_bytes))
        done += target.stat().st_size
        on_progress(done, source.size_bytes)
    prepared = models.incoming / f"{fetched.name}.prepared"
    shutil.rmtree(prepared, ignore_errors=True)
    try:
        _unpack_archive(source, fetched, prepared)
        if not (prepared / MANIFEST).exists():
            write_manifest(prepared, source.name)
        check_model(prepared)
        checksums = {file.name: hash_file(file, "sha256") for file in sorted(prepared.iterdir())}
        record = {
            "name": source.name,
            "origin": source.origin,
            "revision": source.revision,
            "licence": source.licence or _read_licence(prepared),
            "sha256": checksums,
        }
        (prepared / SOURCE_FILE).write_text(json.dumps(record, indent=1))
        return models.add(prepared, f"{source.name}-{hashlib.sha256(repr(checksums).encode()).hexdigest()[:12]}")
    finally:
        shutil.rmtree(prepared, ignore_errors=True)
        shutil.rmtree(fetched, ignore_errors=True)


def _report(on_progress: OnProgress, before: int, total: int | None, arrived: int) -> None:
    on_progress(before + arrived, total)


def _fetch_file(file: ModelFile, target: Path, on_bytes: Callable[[int], None]) -> None:
    if "://" in file.location:
        download(file, target, on_bytes)
    else:
        shutil.copyfile(file.location, target)


def _unpack_archive(source: ModelSource, fetched: Path, prepared: Path) -> None:
    """Move the files of a model to the folder `prepared`, out of an archive if there is one."""
    if len(source.files) == 1:
        unpacked = fetched / "unpacked"
        shutil.rmtree(unpacked, ignore_errors=True)
        unpack(fetched / source.files[0].name, unpacked)
        names = [str(file.relative_to(unpacked)) for file in unpacked.rglob("*") if file.is_file()]
        chosen = {name: unpacked / each for name, each in choose_files(names).items()}
    else:
        chosen = {file.name: fetched / file.name for file in source.files}
    prepared.mkdir(mode=0o700)
    for name, path in chosen.items():
        path.rename(prepared / name)


def _describe_url(url: str, sha256: str | None) -> ModelFile:
    address, _, fragment = url.partition("#")
    stated = sha256 or fragment.partition("sha256=")[2] or None
    with open_url(urllib.request.Request(address, method="HEAD")) as response:  # noqa: S310 - parse_source limits the scheme
        length = response.headers.get("Content-Length", "")
    return ModelFile("archive", address, int(length) if length.isdecimal() else None, stated)


def _describe_path(name: str, path: Path) -> ModelFile:
    return ModelFile(name, str(path), path.stat().st_size, hash_file(path, "sha256"))


def _read_licence(folder: Path) -> str:
    return next((_first_line(folder / name) for name in LICENCES if (folder / name).exists()), "")


def _first_line(file: Path) -> str:
    """Return the title of a licence text."""
    lines = (line.strip(" #\t") for line in file.read_text("utf-8", "replace").splitlines())
    return next((line[:LICENCE_CHARS_MAX] for line in lines if line), "")


def _key(source: ModelSource) -> str:
    """Return a name for the folder of a download: the same for the same files, so that it continues."""
    identity = repr((source.origin, source.revision, source.files))
    return hashlib.sha256(identity.encode()).hexdigest()[:16]
