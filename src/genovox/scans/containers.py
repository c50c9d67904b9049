"""Files and members of archives alike, as bytes: zip and tar archives are read where they lie, never unpacked to disk.

A member is named ``archive!/member``. Nothing of a member's name is ever used as a path, so none can lead outside.
"""

import bz2
import gzip
import io
import lzma
import sys
import tarfile
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

SEPARATOR = "!/"
_ZIP = (".zip",)
_TAR = {".tar": open, ".tar.gz": gzip.open, ".tgz": gzip.open, ".tar.bz2": bz2.open, ".tar.xz": lzma.open}
_SUFFIXES = (*_ZIP, *_TAR)
# DICOM shrinks to a half or a third; what grows a hundredfold was made to fill a disk.
MOST_GROWTH = 100
_FREE_BYTES = 256 << 20
_HEAD_BYTES = 64 << 20
ARCHIVE_ERRORS = (
    EOFError,
    LookupError,
    NotImplementedError,
    OverflowError,
    RecursionError,
    RuntimeError,
    UnicodeError,
    ValueError,
    gzip.BadGzipFile,
    lzma.LZMAError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Member:
    """A file in an archive.

    Attributes:
        name: In the archive; empty for the archive as a whole.
        file: Open at its start, until the next member is asked for; None where it is not read.
        problem: Why it is not read.
    """

    name: str
    size: int
    file: BinaryIO | None
    problem: str = ""


class _BombError(ValueError):
    """An archive unpacks to far more than it is."""


def is_archive(name: str) -> bool:
    """Whether a file is read as an archive, by its name alone."""
    return name.lower().endswith(_SUFFIXES)


def split_member(path: str) -> tuple[str, str]:
    """The file on disk and the member in it, which is empty for a file of its own."""
    at = path.find(SEPARATOR)
    while at >= 0:
        if is_archive(path[:at]):
            return path[:at], path[at + len(SEPARATOR) :]
        at = path.find(SEPARATOR, at + 1)
    return path, ""


def list_members(path: str) -> Iterator[Member]:
    """The files in an archive in their order; hidden ones are left out, and what cannot be read says why.

    Of two members with one name the first counts.

    Raises:
        OSError: If the archive cannot be read from disk.
    """
    try:
        if path.lower().endswith(_ZIP):
            yield from _list_zip(path)
        else:
            yield from _list_tar(path)
    except ARCHIVE_ERRORS as error:
        yield Member("", 0, None, explain_damage(error))
    except OSError as error:
        if error.errno:
            raise
        yield Member("", 0, None, explain_damage(error))  # a damaged stream, by its decoder


def explain_damage(error: Exception) -> str:
    """Why an archive, or a member, is not read, given one of ``ARCHIVE_ERRORS``."""
    if isinstance(error, _BombError):
        return str(error)
    return f"a damaged archive ({type(error).__name__}); what follows the damage is not read, copy it again"


def _list_zip(path: str) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _refuse_bomb(sum(member.file_size for member in members), Path(path).stat().st_size)
        known: set[str] = set()
        for member in members:
            if member.is_dir() or _is_hidden(member.filename):
                continue
            problem = _refuse_nested(member.filename)
            if member.flag_bits & 1:
                problem = "an encrypted member of an archive; unpack it with its password"
            problem = _refuse_again(member.filename, known) or problem
            if problem:
                yield Member(member.filename, member.file_size, None, problem)
                continue
            try:
                with archive.open(member) as file:
                    yield Member(member.filename, member.file_size, cast("BinaryIO", file))
            except ARCHIVE_ERRORS as error:
                yield Member(member.filename, member.file_size, None, explain_damage(error))


def _list_tar(path: str, most_bytes: int = _HEAD_BYTES) -> Iterator[Member]:
    known: set[str] = set()
    with _open_tar(path) as archive:
        for member in archive:
            if not member.isreg() or _is_hidden(member.name):
                continue
            problem = _refuse_nested(member.name) or _refuse_again(member.name, known)
            if problem:
                yield Member(member.name, member.size, None, problem)
                continue
            file = archive.extractfile(member)
            if file is not None:  # a stream cannot go back, and a header may be read twice
                yield Member(member.name, member.size, io.BytesIO(file.read(min(member.size, most_bytes))))
            archive.members.clear()  # type: ignore[attr-defined]  # which would grow with the archive


@contextmanager
def _open_tar(path: str) -> Iterator[tarfile.TarFile]:
    """A tar archive as a stream that ends where it has grown beyond all sense."""
    suffix = next(suffix for suffix in _TAR if path.lower().endswith(suffix))
    with _TAR[suffix](path, "rb") as raw:  # type: ignore[operator]
        limited = _Limited(raw, _most_bytes(Path(path).stat().st_size))
        with tarfile.open(fileobj=cast("BinaryIO", limited), mode="r|") as archive:
            yield archive


class _Limited:
    """A stream that gives no more than a number of bytes."""

    def __init__(self, raw: BinaryIO, left: int) -> None:
        self._raw = raw
        self._left = left

    def read(self, size: int) -> bytes:
        if size > self._left:
            raise _BombError(_BOMB)
        content = self._raw.read(size)
        self._left -= len(content)
        return content


_BOMB = f"an archive that unpacks to over {MOST_GROWTH} times its size; unpack it by hand if that is right"


def _most_bytes(size: int) -> int:
    return max(_FREE_BYTES, MOST_GROWTH * size)


def _refuse_bomb(unpacked: int, size: int) -> None:
    if unpacked > _most_bytes(size):
        raise _BombError(_BOMB)


def _refuse_nested(name: str) -> str:
    return "an archive in an archive; unpack the outer one" if is_archive(name) else ""


def _refuse_again(name: str, known: set[str]) -> str:
    if name in known:
        return "a second member of one name in its archive; the first is read"
    known.add(name)
    return ""


def _is_hidden(name: str) -> bool:
    parts = name.replace("\\", "/").split("/")
    return any(part.startswith(".") and part not in {".", ".."} for part in parts) or parts[0] == "__MACOSX"


def read_contents(paths: Sequence[Path]) -> Iterator[tuple[int, bytes]]:
    """The whole content of files and members, each archive opened once.

    Yields:
        Number in ``paths`` and content; in any order.

    Raises:
        OSError: If one cannot be read, or is gone, whichever it is.
    """
    inside: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, path in enumerate(paths):
        archive, member = split_member(str(path))
        if member:
            inside[archive][member].append(number)
        else:
            yield number, path.read_bytes()
    for archive, wanted in inside.items():
        try:
            yield from _read_members(archive, wanted)
        except ARCHIVE_ERRORS as error:
            raise OSError(0, explain_damage(error)) from None
        if wanted:
            raise OSError(0, "a member is no longer in its archive")


def _read_members(archive: str, wanted: dict[str, list[int]]) -> Iterator[tuple[int, bytes]]:
    """Contents of members; those that were found are taken out of ``wanted``."""
    if not archive.lower().endswith(_ZIP):
        for member in _list_tar(archive, sys.maxsize):
            if member.file is not None and member.name in wanted:
                content = member.file.read()
                yield from ((number, content) for number in wanted.pop(member.name))
            if not wanted:
                return
        return
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            if info.filename in wanted and not info.is_dir():
                _refuse_bomb(info.file_size, Path(archive).stat().st_size)
                content = file.read(info)
                yield from ((number, content) for number in wanted.pop(info.filename))


@contextmanager
def open_content(path: Path) -> Iterator[BinaryIO]:
    """A file, or a member of an archive, open for reading and able to go back.

    Raises:
        OSError: If it cannot be read, or is gone.
    """
    if split_member(str(path))[1]:
        yield io.BytesIO(next(read_contents([path]))[1])
        return
    with path.open("rb") as file:
        yield file
