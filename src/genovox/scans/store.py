"""What the index remembers, in one file that is written in small steps and asked series by series.

It holds what headers say of people: readable by its owner alone, and only below ``.genovox``.
"""

import errno
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

from genovox.core.artifacts import hash_content, raise_if_disk_full
from genovox.core.errors import DataError
from genovox.scans.dicom import Series, Stack
from genovox.scans.headers import Header

FORMAT = 2
# What the place of a file says is kept apart from what its header says.
_PLACE = ("path", "size", "mtime_ns")
FACTS = [field.name for field in fields(Header) if field.name not in _PLACE]
_TUPLES = ("position", "orientation", "pixel_spacing", "image_type")
_facts = attrgetter(*FACTS)
_encode = json.JSONEncoder(separators=(",", ":")).encode
_TABLES = """
CREATE TABLE about (version TEXT NOT NULL);
CREATE TABLE sources (id INTEGER PRIMARY KEY, path BLOB NOT NULL UNIQUE, size INTEGER, mtime_ns INTEGER, note TEXT);
CREATE TABLE images (source INTEGER NOT NULL, member TEXT NOT NULL, size INTEGER, series TEXT NOT NULL, facts TEXT);
CREATE INDEX images_of_series ON images (series);
CREATE INDEX images_of_source ON images (source);
CREATE TABLE series (uid TEXT PRIMARY KEY, content TEXT, named INTEGER, arranged TEXT);
CREATE TABLE stacks (series TEXT, place INTEGER, files TEXT, stamp TEXT, content TEXT, PRIMARY KEY (series, place));
"""
_FOUND = """
CREATE TEMP TABLE found (path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Source:
    """A file on disk that was read: its DICOM headers and what of it could not be read.

    Attributes:
        path: From the folder of the study.
        images: Member (empty for a file of its own), size, series and facts of each header.
        note: Why it, or some of it, is not read; empty where all is well or it is no DICOM.
    """

    path: bytes
    size: int
    mtime_ns: int
    images: tuple[tuple[str, int, str, str], ...]
    note: str = ""


@dataclass(frozen=True)
class StackFiles:
    """What makes up one phase.

    Attributes:
        files: From the folder of the study; a member of an archive is ``archive!/member``.
        frames: Number of each slice's frame, or empty.
        stamp: Changes when a file's size or time does.
        content: Hash of the files' content, or empty until it is known.
    """

    files: tuple[str, ...]
    frames: tuple[int, ...]
    stamp: str
    content: str


def pack_header(header: Header) -> str:
    """What a header says, without its place."""
    return _encode(_facts(header))


def unpack_header(facts: str | list[Any], path: str = "", size: int = 0, mtime_ns: int = 0) -> Header:
    """The header as it was."""
    values = dict(zip(FACTS, json.loads(facts) if isinstance(facts, str) else facts, strict=True))
    for name in _TUPLES:
        if values[name] is not None:
            values[name] = tuple(values[name])
    return Header(path=path, size=size, mtime_ns=mtime_ns, **values)


@dataclass(frozen=True)
class Arranged:
    """One series as it is remembered."""

    uid: str
    content: str
    named: bool
    arranged: str
    stacks: tuple[tuple[str, str], ...]


def pack_series(series: Series, headers: Sequence[Header], root: str) -> Arranged:
    """A series and its phases; the files of each phase apart, since a look at the archive does not need them."""
    inside = f"{root}/"
    stamps = {header.path: [header.size, header.mtime_ns] for header in headers}
    stacks = []
    for stack in series.stacks:
        files = {"files": [path.removeprefix(inside) for path in stack.files], "frames": stack.frames}
        stacks.append((json.dumps(files), hash_content([stamps[path] for path in stack.files])))
    arranged = {
        "first": pack_header(series.first),
        "files": series.files,
        "problem": series.problem,
        "stacks": [
            asdict(replace(stack, files=(), frames=())) | {"first": pack_header(stack.first)} for stack in series.stacks
        ],
    }
    content = hash_content(sorted((header.sop_uid, header.size) for header in headers))
    named = any(not header.identity_removed for header in headers)
    return Arranged(headers[0].series_uid, content, named, json.dumps(arranged), tuple(stacks))


def unpack_series(text: str) -> Series:
    """A series as it was, but for the files of its phases."""
    known = json.loads(text)
    first = unpack_header(known["first"])
    stacks = tuple(
        Stack(
            **stack
            | {
                "affine": tuple(map(tuple, stack["affine"])),
                "shape": tuple(stack["shape"]),
                "first": unpack_header(stack["first"]),
                "files": (),
                "frames": (),
            }
        )
        for stack in known["stacks"]
    )
    return Series(first.series_uid, first.study_uid, first.patient_id, first, known["files"], stacks, known["problem"])


class Store:
    """The memory of one archive; every method leaves it whole."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def note_found(self, files: Iterable[tuple[bytes, int, int]]) -> int:
        """Take down which files there are now, with size and time; returns how many."""
        with self._connection as connection:
            connection.execute("DELETE FROM found")
            connection.executemany("INSERT OR IGNORE INTO found VALUES (?, ?, ?)", files)
        return self._count("SELECT COUNT(*) FROM found")

    def forget_lost(self) -> None:
        """Forget files that are gone or have changed, and the series that they were in."""
        with self._connection as connection:
            connection.execute("CREATE TEMP TABLE IF NOT EXISTS lost (id INTEGER PRIMARY KEY)")
            connection.execute("DELETE FROM lost")
            connection.execute(
                "INSERT INTO lost SELECT s.id FROM sources s LEFT JOIN found f ON f.path = s.path "
                "WHERE f.path IS NULL OR f.size <> s.size OR f.mtime_ns <> s.mtime_ns"
            )
            touched = "SELECT DISTINCT series FROM images WHERE source IN (SELECT id FROM lost)"
            connection.execute(f"DELETE FROM stacks WHERE series IN ({touched})")  # noqa: S608 - our own words
            connection.execute(f"DELETE FROM series WHERE uid IN ({touched})")  # noqa: S608
            connection.execute("DELETE FROM images WHERE source IN (SELECT id FROM lost)")
            connection.execute("DELETE FROM sources WHERE id IN (SELECT id FROM lost)")

    _NEW = "FROM found f LEFT JOIN sources s ON s.path = f.path WHERE s.path IS NULL"

    def count_new(self) -> int:
        """How many files are still to be read."""
        return self._count(f"SELECT COUNT(*) {self._NEW}")

    def list_new(self, most: int) -> list[tuple[bytes, int, int]]:
        """Files still to be read, in the order of their paths."""
        found: list[tuple[bytes, int, int]] = self._connection.execute(
            f"SELECT f.path, f.size, f.mtime_ns {self._NEW} ORDER BY f.path LIMIT ?", (most,)
        ).fetchall()
        return found

    def add_sources(self, sources: Sequence[Source]) -> None:
        """Remember files that were read."""
        with self._connection as connection:
            for source in sources:
                connection.execute(  # another process may have read it as well
                    "DELETE FROM images WHERE source IN (SELECT id FROM sources WHERE path = ?)", (source.path,)
                )
                row = connection.execute(
                    "INSERT OR REPLACE INTO sources (path, size, mtime_ns, note) VALUES (?, ?, ?, ?)",
                    (source.path, source.size, source.mtime_ns, source.note),
                )
                images = [(row.lastrowid, *image) for image in source.images]
                connection.executemany("INSERT INTO images VALUES (?, ?, ?, ?, ?)", images)
            touched = {(image[2],) for source in sources for image in source.images}
            connection.executemany("DELETE FROM stacks WHERE series = ?", touched)
            connection.executemany("DELETE FROM series WHERE uid = ?", touched)

    def list_unarranged(self) -> list[tuple[str, int]]:
        """Series that are new or have changed, and how many images each has."""
        found: list[tuple[str, int]] = self._connection.execute(
            "SELECT series, COUNT(*) FROM images WHERE series NOT IN (SELECT uid FROM series) GROUP BY series"
        ).fetchall()
        return found

    def list_images(self, series: str, most: int) -> list[tuple[bytes, str, int, int, str]]:
        """Path, member, size, time and facts of a series' images."""
        found: list[tuple[bytes, str, int, int, str]] = self._connection.execute(
            "SELECT s.path, i.member, i.size, s.mtime_ns, i.facts FROM images i JOIN sources s ON s.id = i.source "
            "WHERE i.series = ? LIMIT ?",
            (series, most),
        ).fetchall()
        return found

    def add_series(self, found: Arranged) -> None:
        """Remember a series that was arranged."""
        with self._connection as connection:
            connection.execute(
                "INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?)",
                (found.uid, found.content, found.named, found.arranged),
            )
            connection.executemany(
                "INSERT OR REPLACE INTO stacks VALUES (?, ?, ?, ?, '')",
                [(found.uid, place, *stack) for place, stack in enumerate(found.stacks)],
            )

    def list_series(self) -> list[Series]:
        """Every series, without the files of its phases."""
        rows = self._connection.execute("SELECT arranged FROM series")
        return sorted(
            (unpack_series(text) for (text,) in rows),
            key=lambda s: (s.patient_id, s.study_uid, s.first.series_number or 0, s.series_uid),
        )

    def read_stack_files(self, series: str, place: int) -> StackFiles:
        """What makes up a phase of a series."""
        text, stamp, content = self._connection.execute(
            "SELECT files, stamp, content FROM stacks WHERE series = ? AND place = ?", (series, place)
        ).fetchone()
        known = json.loads(text)
        return StackFiles(tuple(known["files"]), tuple(known["frames"]), stamp, content)

    def add_content(self, series: str, place: int, content: str) -> None:
        """Remember the hash of a phase's files."""
        with self._connection as connection:
            connection.execute("UPDATE stacks SET content = ? WHERE series = ? AND place = ?", (content, series, place))

    def list_notes(self) -> list[tuple[bytes, str]]:
        """Files that are not read, or not whole, and why."""
        found: list[tuple[bytes, str]] = self._connection.execute(
            "SELECT path, note FROM sources WHERE note <> '' ORDER BY path"
        ).fetchall()
        return found

    def count_images(self) -> int:
        """How many DICOM images there are."""
        return self._count("SELECT COUNT(*) FROM images")

    def is_named(self) -> bool:
        """Whether any file does not say that it is de-identified."""
        return self._count("SELECT COUNT(*) FROM series WHERE named") > 0

    def hash_content(self) -> str:
        """Changes when an image comes, goes or changes its size."""
        return hash_content(self._connection.execute("SELECT uid, content FROM series ORDER BY uid").fetchall())

    def _count(self, query: str) -> int:
        return int(self._connection.execute(query).fetchone()[0])


class DamagedStoreError(DataError):
    """The memory is damaged; it has been removed, and the next opening begins it anew."""


@contextmanager
def open_store(path: Path) -> Iterator[Store]:
    """Open the memory, or begin it anew where it is missing, damaged or of another version.

    Raises:
        DiskFullError: If nothing more can be written.
        DataError: If another process holds it.
        DamagedStoreError: If a damage shows only while it is used.
    """
    connection = _connect(path)
    try:
        yield Store(connection)
    except sqlite3.OperationalError as error:
        if "full" in str(error):
            raise_if_disk_full(OSError(errno.ENOSPC, "no space left"), path)
        raise DataError(
            f"the index {path.parent.name}/{path.name} cannot be used now ({error}); run the same command again"
        ) from None
    except (sqlite3.DatabaseError, ValueError, TypeError) as error:
        connection.close()
        path.unlink(missing_ok=True)
        raise DamagedStoreError(
            f"the index {path.parent.name}/{path.name} was damaged ({type(error).__name__}) and has been removed; run "
            "the same command again, which makes it anew"
        ) from error
    finally:
        connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    version = hash_content([FORMAT, FACTS])
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.with_suffix(".json").unlink(missing_ok=True)  # the index of an earlier version
    connection = None
    with suppress(sqlite3.DatabaseError):
        connection = _open(path)
        if connection.execute("SELECT version FROM about").fetchall() == [(version,)]:
            connection.executescript(_FOUND)
            return connection
    if connection is not None:
        connection.close()
    path.unlink(missing_ok=True)
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
    connection = _open(path)
    connection.executescript(_TABLES + _FOUND)
    with connection:
        connection.execute("INSERT INTO about VALUES (?)", (version,))
    return connection


def _open(path: Path) -> sqlite3.Connection:
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
    connection = sqlite3.connect(path, timeout=60)
    # A step that a power cut loses or spoils is read again: the disk need not be waited for.
    connection.executescript("PRAGMA synchronous = OFF; PRAGMA journal_mode = TRUNCATE; PRAGMA temp_store = FILE;")
    return connection
