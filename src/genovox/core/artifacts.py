"""Typed, atomic files between the stages, and the keys that say whether they are up to date.

A stage's key is the hash of its slice of the study, the keys of the stages it reads, its format number and the content
of its inputs. ``stage.json`` is written last and makes the stage valid.
"""

import csv
import errno
import fcntl
import hashlib
import json
import logging
import os
import platform
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd

from genovox.core.errors import DataError, DiskFullError, TableError, UsageError

log = logging.getLogger(__name__)

STAGES = ("cohort", "preprocess", "train", "evaluate", "audit", "explain", "report")  # pretrain: where asked for
RESULTS = {
    "cohort": ("cases.csv", "exclusions.csv", "flow.json"),
    "preprocess": ("cases.csv", "volumes", "masks", "qc"),
    "pretrain": ("pretrain.json",),
    "train": ("predictions.csv", "networks.json"),
    "evaluate": ("metrics.json", "operating_points.json", "curves"),
    "audit": ("audit.json",),
    "explain": ("summary.json",),
    "report": ("index.html", "model_card.md"),
}
"""What a finished stage holds at least; one that lost any of it is made anew."""
REPORTED_VERSIONS = (
    "genovox",
    "torch",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "SimpleITK",
    "nibabel",
    "matplotlib",
)
_DISK_ERRNOS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a path beside ``target``; on success it is synced and takes the target's place at once.

    Raises:
        DiskFullError: If the disk, quota or file size limit is reached.
    """
    partial = target.with_name(f".{target.name}.{secrets.token_hex(6)}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(target)
    except OSError as error:
        raise_if_disk_full(error, target)
        raise
    finally:
        partial.unlink(missing_ok=True)


def raise_if_disk_full(error: OSError, target: Path) -> None:
    """Turn the system's word for a full disk into ours.

    Raises:
        DiskFullError: If ``error`` says that nothing more can be written.
    """
    if error.errno in _DISK_ERRNOS:
        raise DiskFullError(
            f"cannot write {target}: {error.strerror}; free space there and run the same command again, "
            "finished work is kept"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DataError: If it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read ({error}); delete it and run the same command again") from None


def recall(path: Path) -> dict[str, Any]:
    """A memory that only saves time: empty where it is missing or damaged."""
    try:
        content = read_json(path)
    except DataError:
        return {}
    return content if isinstance(content, dict) else {}


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV atomically; floats keep 9 significant digits, enough for any float32."""
    with atomic_path(path) as partial:
        table.to_csv(partial, index=False, float_format="%.9g", lineterminator="\n")


def read_table(path: Path, *, required: tuple[str, ...] = (), separator: str = ",", skip_rows: int = 0) -> pd.DataFrame:
    """Read a CSV with every column as text, empty cells as the empty string; blank rows are dropped.

    Returns:
        The table; its index is the row as a spreadsheet counts it, less 2 and the ``skip_rows`` above the header.

    Raises:
        TableError: If the file is missing, is no CSV, repeats or lacks a column, or a row has more cells than the
            header.
    """
    try:
        table = pd.read_csv(
            path,
            sep=separator,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            skip_blank_lines=False,
            skiprows=skip_rows,
        )
    except FileNotFoundError:
        raise TableError(f"no such table: {path}; check the path in the study file") from None
    except OSError as error:
        raise TableError(f"{path} cannot be read ({error.strerror}); check the path in the study file") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        if path.read_bytes()[:4] == b"PK\x03\x04":
            raise TableError(f"{path} is a spreadsheet (xlsx), not a CSV table; save it as UTF-8 CSV") from None
        reason = str(error).strip().splitlines()[0]
        raise TableError(f"{path} is not a readable CSV table ({reason}); save it as UTF-8 CSV") from None
    if len(table.columns) == 1 and re.search(r"[;\t]", str(table.columns[0])):
        raise TableError(f"{path} must separate its columns by commas, got {table.columns[0]!r}; save it as CSV again")
    if not isinstance(table.index, pd.RangeIndex):
        # pandas takes the first column for row names then, and every cell would move one column to the left.
        raise TableError(
            f"{path} must have one name a column, its rows hold more cells than the header "
            f"({', '.join(table.columns)}); remove commas at the ends of the rows or name every column"
        )
    with path.open(encoding="utf-8-sig", newline="") as file:
        # pandas renames a column that stands twice, and the second would pass as another column.
        rows = csv.reader(file, delimiter=separator)
        table.columns = [name.strip() for name in next(islice(rows, skip_rows, None))]
    repeated = table.columns[table.columns.duplicated()]
    if len(repeated):
        raise TableError(f"{path} must name each column once, got {repeated[0]!r} twice; rename or remove one")
    missing = [column for column in required if column not in table.columns]
    if missing:
        raise TableError(
            f"{path} must have the columns {', '.join(required)}, got {', '.join(table.columns)}; "
            f"add {', '.join(missing)}"
        )
    for column in table.columns:
        table[column] = table[column].str.strip()
    return table[(table != "").any(axis=1)]


def hash_file(path: Path) -> str:
    """BLAKE2 hash of a file's content, read in blocks.

    Raises:
        DataError: If it is missing or cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); make it again or check the path") from None


def hash_content(content: Any) -> str:
    """Hash of anything JSON can hold, independent of key order."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class FileHashes:
    """Content hashes of input files, computed again only when size or modification time change."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: dict[str, list[Any]] = recall(path)
        self._changed = False

    def digest(self, file: Path) -> str:
        """Hash of a file's content."""
        status = file.stat()
        stamp = [status.st_size, status.st_mtime_ns]
        known = self._known.get(str(file))
        if known is None or known[:2] != stamp:
            known = [*stamp, hash_file(file)]
            self._known[str(file)] = known
            self._changed = True
        return str(known[2])

    def save(self) -> None:
        """Keep the hashes for the next run."""
        if self._changed:
            # A folder that cannot be written is no reason not to look at a study.
            with suppress(OSError):
                write_json(self._path, self._known)
            self._changed = False


@dataclass(frozen=True)
class Stage:
    """One stage of a run: where its files are and what they depend on.

    Attributes:
        name: A key of ``RESULTS``.
        run: Folder of the run.
        format: Raised by one whenever the stage's files change their meaning.
        config: The stage's slice of the study.
        upstream: Keys of the stages it reads.
        inputs: Content hash of each input file, by its name in the study.
        seed: Seed of the study.
        keeps_items: Whether items of an earlier build may be kept; otherwise the folder is emptied first.
        device: Where it computes; no part of the key.
    """

    name: str
    run: Path
    format: int
    config: Mapping[str, Any]
    upstream: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0
    keeps_items: bool = False
    device: str = "cpu"

    @property
    def folder(self) -> Path:
        """Folder of the stage in the run."""
        return self.run / self.name

    @property
    def parts(self) -> dict[str, Any]:
        """What the key is made of."""
        return {
            "format": self.format,
            "config": json.loads(json.dumps(self.config, default=str)),
            "upstream": dict(self.upstream),
            "inputs": dict(self.inputs),
            "seed": self.seed,
        }

    @property
    def key(self) -> str:
        """Hash of everything the stage depends on."""
        return hash_content(self.parts)

    def is_current(self) -> bool:
        """Whether the files on disk were made from exactly this."""
        record = read_stage(self.run, self.name)
        return record is not None and record["key"] == self.key and not self._lost()

    def _lost(self) -> list[str]:
        return [name for name in RESULTS[self.name] if not (self.folder / name).exists()]

    def describe_change(self) -> str:
        """What makes the stage stale, in words."""
        record = read_stage(self.run, self.name)
        if record is None:
            return "not made yet"
        if self._lost():
            return f"{', '.join(self._lost())} is gone"
        before, now = _flatten(record["parts"]), _flatten(self.parts)
        changed = sorted(name for name in before.keys() | now.keys() if before.get(name) != now.get(name))
        words = [_describe_difference(name, before.get(name), now.get(name)) for name in changed]
        return "; ".join(words[:5]) + (f"; and {len(words) - 5} more" if len(words) > 5 else "")

    def bring_up_to_date(self, build: Callable[[], None]) -> bool:
        """Run ``build`` unless the stage is current; returns whether it ran."""
        if self.is_current():
            log.info("%s: up to date", self.name)
            return False
        log.info("%s: to do (%s)", self.name, self.describe_change())
        started = time.monotonic()
        (self.folder / "stage.json").unlink(missing_ok=True)
        if not self.keeps_items and self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        build()
        wall_s = round(time.monotonic() - started, 3)
        write_json(
            self.folder / "stage.json",
            {
                "stage": self.name,
                "key": self.key,
                "parts": self.parts,
                "seed": self.seed,
                "versions": installed_versions(),
                "wall_s": wall_s,
            },
        )
        log.info("%s: done in %.1f s", self.name, wall_s)
        return True


def read_stage(run: Path, name: str) -> dict[str, Any] | None:
    """The record of a finished stage, or None."""
    path = run / name / "stage.json"
    if not path.exists():
        return None
    record: dict[str, Any] = read_json(path)
    return record


def require_stage(run: Path, name: str) -> dict[str, Any]:
    """The record of a finished stage.

    Raises:
        UsageError: If the stage is not finished.
    """
    record = read_stage(run, name)
    if record is None:
        raise UsageError(f"{run} has no finished stage {name}; run: genovox {name} {run}")
    return record


def installed_versions() -> dict[str, str]:
    """Versions of what the figures depend on."""
    versions = {"python": platform.python_version()}
    for name in REPORTED_VERSIONS:
        versions[name] = metadata.version(name)
    return versions


@contextmanager
def hold_run(run: Path) -> Iterator[None]:
    """Keep other processes from working in the same run.

    Raises:
        UsageError: If another process works there.
        DiskFullError: If the folder cannot be written.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        lock = (run / ".lock").open("w")
    except OSError as error:
        raise_if_disk_full(error, run)
        raise UsageError(f"cannot write in {run}: {error.strerror}; choose another folder with --out") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"another genovox process works in {run}; wait for it or choose another folder with --out"
            ) from None
        for leftover in run.rglob(".*.partial"):
            leftover.unlink(missing_ok=True)
        yield


def _flatten(content: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(content, dict):
        return {prefix: content}
    flat: dict[str, Any] = {}
    for name, value in content.items():
        flat |= _flatten(value, f"{prefix}.{name}" if prefix else str(name))
    return flat


def _describe_difference(name: str, before: Any, now: Any) -> str:
    kind, _, rest = name.partition(".")
    if kind == "config":
        return f"{rest} {json.dumps(before)} -> {json.dumps(now)}"
    if kind == "upstream":
        return f"{rest} was rebuilt"
    if kind == "inputs":
        return f"{rest} " + ("is new" if before is None else "is gone" if now is None else "changed")
    return f"{name} {before} -> {now}"
