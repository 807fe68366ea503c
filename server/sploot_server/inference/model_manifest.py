"""What the manifests of all models have in common: a JSON file that says how to use the others of its folder."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

MANIFEST = "manifest.json"
MANIFEST_BYTES_MAX = 64 * 1024
CONTEXT_MAX = 4096
DIM_MAX = 16_384
CHECK_S_MAX = 120.0


class ModelUnusable(Exception):
    """The model in the folder is unusable; the message has a sentence for each error."""


class ManifestFields:
    """Reads the fields of one object of a manifest and collects their `errors`."""

    def __init__(self, source: Path | Any, prefix: str = "") -> None:
        self.errors: list[str] = []
        self._prefix = prefix
        self._values = self._parse(source) if isinstance(source, Path) else source
        if not isinstance(self._values, dict):
            self.errors.append(f"{prefix.rstrip('.') or 'The manifest'} must be an object.")
            self._values = {}

    def section(self, name: str) -> "ManifestFields":
        return ManifestFields(self._values.get(name), f"{self._prefix}{name}.")

    def is_null(self, name: str) -> bool:
        return self._values.get(name) is None

    def text(self, name: str) -> str:
        value = self._values.get(name)
        return value if isinstance(value, str) and value else self._report_error(name, "a name", "")

    def choice(self, name: str, values: Sequence[str]) -> str:
        value = self._values.get(name)
        return value if value in values else str(self._report_error(name, f"one of {', '.join(values)}", values[0]))

    def boolean(self, name: str) -> bool:
        value = self._values.get(name)
        return value if isinstance(value, bool) else self._report_error(name, "true or false", False)

    def integer(self, name: str, minimum: int, maximum: int) -> int:
        value = self._values.get(name)
        fits = type(value) is int and minimum <= value <= maximum
        return (
            int(value)
            if fits
            else int(self._report_error(name, f"a whole number from {minimum} to {maximum}", minimum))
        )

    def numbers(self, name: str, count: int, *, integer_max: int | None = None) -> Any:
        """Return a tuple of `count` numbers; if `integer_max` is given, of integers from 1 to it."""
        value = self._values.get(name)
        fits = isinstance(value, list) and len(value) == count
        if integer_max is None:
            fits = fits and all(type(each) in (int, float) for each in value)
            return tuple(map(float, value)) if fits else self._report_error(name, f"{count} numbers", (1.0,) * count)
        fits = fits and all(type(each) is int and 1 <= each <= integer_max for each in value)
        expected = f"{count} whole numbers from 1 to {integer_max}"
        return tuple(value) if fits else self._report_error(name, expected, (1,) * count)

    def _report_error(self, name: str, expected: str, default: Any) -> Any:
        self.errors.append(f"{self._prefix}{name} must be {expected}.")
        return default

    def _parse(self, file: Path) -> Any:
        if file.stat().st_size > MANIFEST_BYTES_MAX:
            return None
        try:
            return json.loads(file.read_bytes())
        except ValueError:
            return None


def open_manifest(folder: Path, names: Sequence[str]) -> tuple[ManifestFields, str]:
    """Return the manifest of a folder that has the files `names`, and a revision. Raises ModelUnusable."""
    missing = [name for name in (MANIFEST, *names) if not (folder / name).is_file()]
    if missing:
        raise ModelUnusable(f"{folder} has no {', no '.join(missing)}.")
    return ManifestFields(folder / MANIFEST), _compute_revision(folder, names)


def _compute_revision(folder: Path, names: Iterable[str]) -> str:
    """Return a fingerprint that changes with the manifest and the files."""
    # Size and modification time stand for the contents: hashing gigabytes at each start would be too slow.
    stats = [(folder / name).stat() for name in names]
    fingerprint = (folder / MANIFEST).read_bytes(), [(each.st_size, each.st_mtime_ns) for each in stats]
    return hashlib.sha256(repr(fingerprint).encode()).hexdigest()[:12]
