"""The index of a DICOM tree: every header read once, and remembered by the file's size and time."""

import json
import os
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from genovox.core.artifacts import atomic_path, recall
from genovox.core.errors import DataError
from genovox.core.tasks import available_cores, refuse_machine_failures, run_many, show_progress
from genovox.scans.headers import Header, read_header

FORMAT = 1
_CHUNK = 256


def index_headers(folder: Path, root: Path) -> list[Header]:
    """Headers of every DICOM file; what was read before and has its size and time is not read again.

    Args:
        folder: Searched with its subfolders; names do not matter.
        root: Folder of the study; the memory is ``.genovox/dicom-index.json`` in it.

    Raises:
        DataError: If a file or folder cannot be read now.
    """
    memory_path = root / ".genovox" / "dicom-index.json"
    memory = recall(memory_path)
    known = memory.get("files", {}) if memory.get("format") == [FORMAT, _FIELDS] else {}
    # By the path from the study's folder, so that both can be moved together.
    start = os.path.relpath(folder, root)
    stamps = {f"{start}/{name}": stamp for name, stamp in walk_files(folder)}
    current = {name: known[name] for name, stamp in stamps.items() if name in known and known[name][0] == stamp}
    new = [name for name in stamps if name not in current]
    chunks = [[f"{root}/{name}" for name in new[begin : begin + _CHUNK]] for begin in range(0, len(new), _CHUNK)]
    failures: dict[str, str] = {}
    values: dict[str, list[Any] | None] = {}
    with show_progress("reading headers", len(chunks)) as advance:
        for outcome in run_many(_read_chunk, chunks, workers=available_cores(), describe=lambda _: "headers"):
            if outcome.value is None:
                failures[f"{len(outcome.item)} files, number {len(failures) + 1}"] = outcome.failure
            else:
                values |= outcome.value
            advance()
    refuse_machine_failures(failures, "group of file")
    current |= {name: [stamps[name], values[f"{root}/{name}"]] for name in new}
    if new or len(current) != len(known):
        # One line, no indent: a large archive has millions of values.
        with atomic_path(memory_path) as partial:
            partial.touch(0o600)  # it holds what the headers say of people
            partial.write_text(json.dumps({"format": [FORMAT, _FIELDS], "files": current}), encoding="utf-8")
    return [_restore(f"{root}/{name}", found) for name, (_, found) in sorted(current.items()) if found is not None]


def _restore(path: str, values: list[Any]) -> Header:
    fields_by_name = dict(zip(_FIELDS, values, strict=True))
    lists = {name: tuple(fields_by_name[name]) for name in _TUPLES if fields_by_name[name] is not None}
    return Header(**fields_by_name | lists | {"path": path})


_FIELDS = [field.name for field in fields(Header)]
_TUPLES = ("position", "orientation", "pixel_spacing", "image_type")


def _read_chunk(paths: list[str]) -> dict[str, list[Any] | None]:
    """Values of each file's header in the order of the fields; None for what is not DICOM."""
    headers = {path: _read_header(Path(path)) for path in paths}
    return {
        path: None if header is None else [getattr(header, name) for name in _FIELDS]
        for path, header in headers.items()
    }


def _read_header(path: Path) -> Header | None:
    """As ``read_header``; a file that cannot be read now is an error, told without its name, and is tried again."""
    header = read_header(path)
    try:
        if header is None:
            with path.open("rb") as file:
                file.read(1)
    except OSError as error:
        raise DataError(f"a file cannot be read ({error.strerror}); mend it or remove it") from None
    return header


def walk_files(folder: Path | str, prefix: str = "") -> Iterator[tuple[str, list[int]]]:
    """Files of a tree in a fixed order with size and time, by their path in it; hidden ones are left out."""
    try:
        with os.scandir(folder) as found:
            entries = sorted((entry for entry in found if not entry.name.startswith(".")), key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"a folder of the archive cannot be listed ({error.strerror}); mend it or remove it") from None
    for entry in entries:
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            above = os.path.realpath(folder)
            if entry.is_symlink() and (above + "/").startswith(os.path.realpath(entry.path) + "/"):
                continue  # a link to a folder above would be walked for ever
            yield from walk_files(entry.path, f"{name}/")
        elif entry.is_file():
            status = entry.stat()
            yield name, [status.st_size, status.st_mtime_ns]
