"""The index of a DICOM tree: every header read once, remembered by its file's size and time, arranged into series."""

import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from genovox.core.artifacts import atomic_path
from genovox.core.errors import DataError
from genovox.core.log import write_count
from genovox.core.tasks import available_cores, refuse_machine_failures, run_many, show_progress
from genovox.scans.containers import (
    ARCHIVE_ERRORS,
    SEPARATOR,
    explain_damage,
    is_archive,
    list_members,
    read_contents,
)
from genovox.scans.dicom import Series, arrange_series
from genovox.scans.headers import Header, parse_header
from genovox.scans.store import (
    Arranged,
    DamagedStoreError,
    Source,
    StackFiles,
    Store,
    open_store,
    pack_header,
    pack_series,
    unpack_header,
)

log = logging.getLogger(__name__)

STORE = "dicom-index.sqlite"
UNREAD = "unread.txt"
_CHUNK_FILES = 256
# What is in hand at once, however large the archive: so many files to read, images to arrange, phases to hash.
_WINDOW_FILES = 50_000
_WINDOW_IMAGES = 50_000
_WINDOW_STACKS = 256
# Fewer are arranged before other processes have started.
_FEW_IMAGES = 5_000
_MOST_NOTES = 1_000
_MOST_NAMELESS = 1_000
_DICOMDIR = b"1.2.840.10008.1.3.10"
_DICOM_NAMES = (".dcm", ".dicom", ".ima")


@dataclass(frozen=True)
class Index:
    """What a tree holds.

    Attributes:
        series: By patient, study and number; the files of their phases are not in memory (``hash_stacks`` has them).
        files: How many DICOM images there are.
        named: Whether any of them does not say that it is de-identified.
        content: Hash that changes when any image comes, goes or changes its size.
    """

    series: list[Series]
    files: int
    named: bool
    content: str


@dataclass(frozen=True)
class _Unread:
    """A file that the machine could not read now."""

    path: bytes
    reason: str


def index_folder(folder: Path, root: Path) -> Index:
    """Read the headers of every DICOM file that is new or changed, and arrange the series they belong to.

    Args:
        folder: Searched with its subfolders and the zip and tar archives in them; names do not matter.
        root: Folder of the study; the memory is ``.genovox/dicom-index.sqlite`` in it.

    Raises:
        DataError: If a file or folder cannot be read now.
    """
    path = root / ".genovox" / STORE
    try:
        with open_store(path) as store:
            return _bring_up_to_date(store, folder, root)
    except DamagedStoreError:
        log.warning("the index of the DICOM files was damaged: it is made anew")
    with open_store(path) as store:
        return _bring_up_to_date(store, folder, root)


def _bring_up_to_date(store: Store, folder: Path, root: Path) -> Index:
    # By the path from the study's folder, so that both can be moved together.
    start = os.path.relpath(folder, root)
    unread = [_Unread(os.fsencode(f"{start}/{name}"), reason) for name, reason in _find_files(store, folder, start)]
    if unread:
        _tell_unread(store, unread, root)
        raise DataError(
            f"a folder of the archive cannot be listed ({unread[0].reason}); mend it or remove it, "
            f".genovox/{UNREAD} names it"
        )
    store.forget_lost()
    unread = _read_new(store, root)
    _tell_unread(store, unread, root)
    refuse_machine_failures(
        {
            f"number {number}": f"it cannot be read ({one.reason}); mend it or remove it, .genovox/{UNREAD} names it"
            for number, one in enumerate(unread, start=1)
        },
        "file",
    )
    _arrange_new(store, root)
    return Index(store.list_series(), store.count_images(), store.is_named(), store.hash_content())


def _find_files(store: Store, folder: Path, start: str) -> list[tuple[str, str]]:
    """Take down every file there is; returns folders that cannot be listed, and why."""
    closed: list[tuple[str, str]] = []
    found = walk_files(folder, closed)
    store.note_found((os.fsencode(f"{start}/{name}"), size, mtime_ns) for name, size, mtime_ns in found)
    return closed


def walk_files(
    folder: Path | str, closed: list[tuple[str, str]] | None = None, prefix: str = ""
) -> Iterator[tuple[str, int, int]]:
    """Files of a tree with size and time, by their path in it; hidden ones are left out.

    Args:
        closed: Gets the folders that cannot be listed, and why; without it the first one is an error.

    Raises:
        DataError: If a folder cannot be listed.
    """
    folders: list[tuple[str, str]] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                name = f"{prefix}{entry.name}"
                if entry.is_dir():
                    # A link to a folder above would be walked for ever.
                    above = os.path.realpath(folder) + "/"
                    if not (entry.is_symlink() and above.startswith(os.path.realpath(entry.path) + "/")):
                        folders.append((entry.path, name))
                elif entry.is_file():
                    status = entry.stat()
                    yield name, status.st_size, status.st_mtime_ns
    except OSError as error:
        if closed is None:
            raise DataError(
                f"a folder of the archive cannot be listed ({error.strerror}); mend it or remove it"
            ) from None
        closed.append((prefix, str(error.strerror)))
    for path, name in folders:
        yield from walk_files(path, closed, f"{name}/")


def _read_new(store: Store, root: Path) -> list[_Unread]:
    """Read the headers that are not known; what is read stays known, whatever happens to the rest."""
    unread: list[_Unread] = []
    total = store.count_new()
    with show_progress("reading headers", -(-total // _CHUNK_FILES)) as advance:
        while new := store.list_new(_WINDOW_FILES + len(unread)):
            failed = {one.path for one in unread}
            new = [file for file in new if file[0] not in failed]
            if not new:
                break
            chunks = [(str(root), new[begin : begin + _CHUNK_FILES]) for begin in range(0, len(new), _CHUNK_FILES)]
            for outcome in run_many(_read_chunk, chunks, workers=available_cores(), describe=lambda _: "headers"):
                if outcome.value is None:
                    unread += [_Unread(path, outcome.failure) for path, _, _ in outcome.item[1]]
                else:
                    sources, failures = outcome.value
                    store.add_sources(sources)
                    unread += failures
                advance()
    return unread


def _read_chunk(task: tuple[str, Sequence[tuple[bytes, int, int]]]) -> tuple[list[Source], list[_Unread]]:
    root, files = task
    sources, unread = [], []
    for path, size, mtime_ns in files:
        place = f"{root}/{os.fsdecode(path)}"
        try:
            if is_archive(place):
                images, note = _read_archive(place)
            else:
                images, note = _read_file(place, size)
            sources.append(Source(path, size, mtime_ns, images, note))
        except OSError as error:
            unread.append(_Unread(path, str(error.strerror)))
    return sources, unread


def _read_file(place: str, size: int) -> tuple[tuple[tuple[str, int, str, str], ...], str]:
    with open(place, "rb", buffering=0) as file:  # noqa: PTH123 - a million times: a path object costs more than a look
        header = parse_header(file, place, size, 0)
        if header is not None:
            return (("", size, header.series_uid, pack_header(header)),), ""
        file.seek(0)
        start = file.read(1024)
    if start[128:132] == b"DICM" and _DICOMDIR not in start:
        return (), _pack_notes([("", "a DICOM file whose header is damaged; copy or export it again")])
    if place.lower().endswith(_DICOM_NAMES):
        return (), _pack_notes([("", f"of {size} bytes, DICOM by its name but not by its content; copy it again")])
    return (), _pack_notes([])


def _read_archive(place: str) -> tuple[tuple[tuple[str, int, str, str], ...], str]:
    images, notes = [], []
    for member in list_members(place):
        if member.file is None:
            notes.append((member.name, member.problem))
            continue
        try:
            header = parse_header(member.file, member.name, member.size, 0)
        except ARCHIVE_ERRORS as error:
            notes.append((member.name, explain_damage(error)))
            continue
        if header is not None:
            images.append((member.name, member.size, header.series_uid, pack_header(header)))
    return tuple(images), _pack_notes(notes)


def _pack_notes(notes: list[tuple[str, str]]) -> str:
    return json.dumps(notes[:_MOST_NOTES]) if notes else ""


def _tell_unread(store: Store, unread: list[_Unread], root: Path) -> None:
    """Name what is not read in a file for the user alone: names of files may be names of people."""
    path = root / ".genovox" / UNREAD
    lines, reasons = [], Counter[str]()
    for source, text in store.list_notes():
        for member, reason in json.loads(text):
            lines.append(f"{os.fsdecode(source)}{SEPARATOR if member else ''}{member}\t{reason}")
            reasons[reason] += 1
    lines += [f"{os.fsdecode(one.path)}\t{one.reason}" for one in unread]
    if not lines:
        path.unlink(missing_ok=True)
        return
    with atomic_path(path) as partial:
        partial.touch(0o600)
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")
    if reasons:
        log.warning(
            "%s of the archive not read: %s; listed in .genovox/%s",
            write_count(reasons.total(), "file"),
            "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3)),
            UNREAD,
        )


def _arrange_new(store: Store, root: Path) -> None:
    """Arrange each series that is new or has changed, whole."""
    waiting = store.list_unarranged()
    total = sum(count for _, count in waiting)
    workers = available_cores() if total > _FEW_IMAGES else 1
    of_machine: dict[str, str] = {}
    with show_progress("arranging series", len(waiting)) as advance:
        while waiting:
            tasks, images = [], 0
            while waiting and images < _WINDOW_IMAGES:
                uid, count = waiting.pop()
                images += count
                # Files that name no series are no volume, however many they are.
                tasks.append((str(root), uid, count, store.list_images(uid, count if uid else _MOST_NAMELESS)))
            for outcome in run_many(_arrange_one, tasks, workers=workers, describe=lambda _: "a series"):
                if outcome.of_machine:
                    of_machine[f"number {len(of_machine) + 1}"] = outcome.failure
                else:
                    store.add_series(outcome.value or _give_up(outcome.item))
                advance()
    refuse_machine_failures(of_machine, "series", "series")


_Task = tuple[str, str, int, list[tuple[bytes, str, int, int, str]]]


def _arrange_one(task: _Task) -> Arranged:
    root, _, count, _ = task
    headers = _unpack_task(task)
    (series,) = arrange_series(headers)
    return pack_series(replace(series, files=count), headers, root)


def _give_up(task: _Task) -> Arranged:
    """A series that broke what arranges it: it is left out, and says so; why may name someone, and stays unsaid."""
    headers = _unpack_task(task)
    first = headers[0]
    problem = "a series must make sense, this one stopped what reads it; export it again"
    series = Series(first.series_uid, first.study_uid, first.patient_id, first, task[2], (), problem)
    return pack_series(series, headers, task[0])


def _unpack_task(task: _Task) -> list[Header]:
    root, _, _, images = task
    return [
        unpack_header(
            facts, f"{root}/{os.fsdecode(path)}{SEPARATOR if member else ''}{member}", size=size, mtime_ns=mtime_ns
        )
        for path, member, size, mtime_ns, facts in images
    ]


def hash_stacks(root: Path, phases: Sequence[tuple[str, int]]) -> Iterator[tuple[tuple[str, int], StackFiles]]:
    """The files of phases with the hash of their content, which is computed once.

    Args:
        root: As ``index_folder`` got it.
        phases: Series and place in ``Series.stacks``.

    Yields:
        Each phase once, in any order.

    Raises:
        DataError: If a file cannot be read.
    """
    with open_store(root / ".genovox" / STORE) as store:
        new = []
        for phase in phases:
            known = store.read_stack_files(*phase)
            if known.content:
                yield phase, known
            else:
                new.append(phase)
        with show_progress("hashing phases", len(new)) as advance:
            for begin in range(0, len(new), _WINDOW_STACKS):
                window = new[begin : begin + _WINDOW_STACKS]
                tasks = [(str(root), phase, store.read_stack_files(*phase)) for phase in window]
                for outcome in run_many(_hash_files, tasks, workers=available_cores(), describe=lambda _: "a phase"):
                    if outcome.value is None:
                        raise DataError(outcome.failure)
                    _, phase, files = outcome.item
                    store.add_content(*phase, outcome.value)
                    yield phase, replace(files, content=outcome.value)
                    advance()


def _hash_files(task: tuple[str, tuple[str, int], StackFiles]) -> str:
    root, _, stack = task
    paths = [Path(f"{root}/{name}") for name in dict.fromkeys(stack.files)]
    try:
        digests = {number: hashlib.blake2b(content).digest() for number, content in read_contents(paths)}
    except OSError as error:  # which names the file
        if error.errno:
            raise DataError(f"a slice cannot be read ({error.strerror}); mend it or remove its series") from None
        digests = {number: str(error.strerror).encode() for number in range(len(paths))}  # the scan itself is damaged
    whole = hashlib.blake2b(b"".join(digests[number] for number in range(len(paths))), digest_size=16)
    return whole.hexdigest()


def read_folder(folder: Path) -> list[Header]:
    """The headers of a small tree, such as one visit, without a memory of it.

    Raises:
        DataError: If a folder cannot be listed, or a file cannot be read.
    """
    headers = []
    for name, size, mtime_ns in walk_files(folder):
        place = f"{folder}/{name}"
        try:
            images, _ = _read_archive(place) if is_archive(name) else _read_file(place, size)
        except OSError as error:
            raise DataError(f"a file cannot be read ({error.strerror}); mend it or remove it") from None
        headers += [
            unpack_header(facts, f"{place}{SEPARATOR if member else ''}{member}", length, mtime_ns)
            for member, length, _, facts in images
        ]
    return headers
