"""A cache of arrays that take long to compute or unpack, mapped into memory by all workers.

It lies in the user's cache folder and may be deleted at any time. Where it cannot be written, each start computes the
arrays again.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Arrays = Mapping[str, npt.NDArray[Any]]


def load_or_compute(key: str, compute: Callable[[], Arrays]) -> Arrays:
    """Return the arrays stored under `key`, a file name; compute and store them first if there are none."""
    folder = cache_folder() / key
    if not folder.is_dir():
        arrays = compute()
        try:
            _store(arrays, folder)
        except OSError as error:
            sys.stderr.write(f"{folder} cannot be written: {error}\n")
            return arrays
    return {file.stem: np.load(file, mmap_mode="r", allow_pickle=False) for file in folder.glob("*.npy")}


def cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "sploot")


def _store(arrays: Arrays, folder: Path) -> None:
    """Write the arrays so that the folder appears whole or not at all: several workers may start at once."""
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    incomplete = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        for name, array in arrays.items():
            np.save(incomplete / f"{name}.npy", array)
        incomplete.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another worker was faster
            raise
    finally:
        shutil.rmtree(incomplete, ignore_errors=True)
