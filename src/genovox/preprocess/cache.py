"""A cache of steps: results by the hash of all they depend on, checked when read, shared by the studies of a folder."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from genovox.core.artifacts import raise_if_disk_full, read_json
from genovox.core.errors import DataError
from genovox.core.volume import Mask

RECORD = "record.json"


def fetch_step(folder: Path, make: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """The record of a step, made if it is not there, or not as it was written.

    A step appears whole or not at all: it is written beside its place and moved there, so a killed process leaves
    nothing that looks finished, and two processes that make the same step at once do not disturb each other.

    Args:
        folder: Where the step lies; its name is the hash of all that it depends on.
        make: Writes the step's files into an empty folder and returns what the record shall hold.

    Raises:
        DiskFullError: If the disk or quota is full.
    """
    record = read_step(folder)
    if record is not None:
        return record
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
    try:
        content = make(partial)
        digests = {path.name: digest_file(path) for path in sorted(partial.iterdir())}
        _write_synced(partial / RECORD, json.dumps({"content": content, "digests": digests}))
        partial.chmod(0o755)
        _move(partial, folder)
    except OSError as error:
        raise_if_disk_full(error, folder)
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return content


def read_step(folder: Path) -> dict[str, Any] | None:
    """The record of a finished step; None where there is none, or a file of it is not as it was written."""
    try:
        record = read_json(folder / RECORD)
        whole = all(digest_file(folder / name) == digest for name, digest in record["digests"].items())
        content: dict[str, Any] = record["content"]
    except (DataError, OSError, KeyError, TypeError, AttributeError):
        return None
    return content if whole else None


def save_array(path: Path, array: np.ndarray) -> None:
    """Write an ``.npy`` file and wait until the disk has it."""
    plain = np.ascontiguousarray(array)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(plain))
        # Not numpy's own writer: what it raises on a full disk does not say that the disk is full.
        file.write(plain.data)
        file.flush()
        os.fsync(file.fileno())


def save_mask(path: Path, mask: Mask) -> None:
    """Write a mask, eight voxels a byte."""
    save_array(path, np.packbits(mask))


def load_mask(path: Path, shape: tuple[int, ...]) -> Mask:
    """Read a mask of the given (z, y, x) shape."""
    count = int(np.prod(shape))
    return np.unpackbits(np.load(path, allow_pickle=False), count=count).reshape(shape).astype(bool)


def _write_synced(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _move(partial: Path, folder: Path) -> None:
    """Put a finished step in its place; what lies there is damaged, or the same from another process."""
    try:
        partial.rename(folder)
    except OSError:
        if read_step(folder) is not None:
            return
        aside = Path(tempfile.mkdtemp(prefix=".partial-", dir=folder.parent))
        folder.rename(aside / "damaged")
        partial.rename(folder)
        shutil.rmtree(aside, ignore_errors=True)


def digest_file(path: Path) -> str:
    """SHA-256 of a file, twice as fast as other hashes where the processor has instructions for it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
