"""The archive's store of files: what it lists of a series, downloaded, verified and never twice.

A series is a folder of a public bucket (https://registry.opendata.aws/nci-imaging-data-commons/). The store lists each
file's size and, where it was stored in one piece, its MD5 (the ETag of Amazon S3's API). A file takes its name only
when both agree; a series is marked done only when its files are as many as the index counts.
"""

import hashlib
import io
import json
import logging
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO
from xml.etree import ElementTree as ET

from genovox.core.artifacts import atomic_path, raise_if_disk_full
from genovox.core.errors import DataError
from genovox.core.tasks import show_progress
from genovox.fetch.plan import FetchPlan, RemoteSeries

log = logging.getLogger(__name__)

STORE = "https://{bucket}.s3.amazonaws.com"
_DONE = ".complete.json"
_PIECE = 1 << 20
_ATTEMPTS = 4
_FIRST_WAIT_S = 0.5
_TIMEOUT_S = 60
_MARGIN = 1.02
_MD5 = re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class RemoteFile:
    """One file of a series; ``md5`` is empty where the store does not tell it."""

    key: str
    size: int
    md5: str

    @property
    def name(self) -> str:
        return self.key.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class FetchResult:
    """What a download did: series finished now, those that were already there, bytes, and failures by series."""

    fetched: int
    kept: int
    bytes: int
    failures: dict[str, str]


def missing_gigabytes(plan: FetchPlan, folder: Path) -> float:
    """GB of the series that are not there whole."""
    return sum(one.megabytes for one in plan.series if not _is_done(folder / one.folder)) / 1000


def check_space(plan: FetchPlan, folder: Path) -> None:
    """Refuse a download that the disk cannot hold.

    Raises:
        DataError: Saying how much is needed and how much is free.
    """
    needed = missing_gigabytes(plan, folder) * _MARGIN
    place = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(place).free / 1e9
    if needed > free:
        raise DataError(
            f"{needed:.1f} GB are still to come, {free:.1f} GB are free at {place}; choose fewer roles or "
            "--patients, or another --out"
        )


def download_series(plan: FetchPlan, folder: Path, *, workers: int, store: str = STORE) -> FetchResult:
    """Download what is not there yet; a series that fails does not stop the others.

    Args:
        folder: Files go to ``folder/PATIENT/STUDY/SERIES``.
        workers: Series at once.
        store: Address of a bucket, with ``{bucket}`` in it.
    """
    missing = [one for one in plan.series if not _is_done(folder / one.folder)]
    failures: dict[str, str] = {}
    total = 0
    with show_progress("series", len(missing)) as advance, ThreadPoolExecutor(workers) as pool:
        tasks = {pool.submit(_download_one, one, folder / one.folder, store): one for one in missing}
        try:
            for task in as_completed(tasks):
                try:
                    total += task.result()
                except DataError as error:
                    failures[tasks[task].role.series_uid] = str(error)
                advance()
        except BaseException:
            # What runs is finished or left as a part; nothing new is begun, and nothing half done looks whole.
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    # In the plan's order: which thread was the first to fail tells nothing.
    ordered = {uid: failures[uid] for uid in (one.role.series_uid for one in missing) if uid in failures}
    return FetchResult(len(missing) - len(failures), len(plan.series) - len(missing), total, ordered)


def _is_done(folder: Path) -> bool:
    """Whether the series was verified and its files still have their sizes."""
    try:
        sizes = json.loads((folder / _DONE).read_text(encoding="utf-8"))
        return bool(sizes) and all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, AttributeError):
        return False


def _download_one(one: RemoteSeries, folder: Path, store: str) -> int:
    base = store.replace("{bucket}", one.bucket)
    files = list_files(base, one.uuid)
    if len(files) != one.files:
        raise DataError(
            f"series {one.role.series_uid}: the index counts {one.files} files, the store lists {len(files)}; "
            "install a newer idc-index-data, or report it to the archive"
        )
    folder.mkdir(parents=True, exist_ok=True)
    total = sum(_download_file(base, file, folder / file.name) for file in files)
    with atomic_path(folder / _DONE) as partial:
        partial.write_text(json.dumps({file.name: file.size for file in files}), encoding="utf-8")
    return total


def list_files(base: str, uuid: str) -> list[RemoteFile]:
    """Files of a series as the store lists them (ListObjectsV2 of the S3 API).

    Raises:
        DataError: If the store does not answer, or not as S3 does.
    """
    found: list[RemoteFile] = []
    token = ""
    while True:
        query = {"list-type": "2", "prefix": f"{uuid}/"} | ({"continuation-token": token} if token else {})
        answer = io.BytesIO()
        _read(f"{base}/?{urllib.parse.urlencode(query)}", f"the list of series {uuid}", answer)
        try:
            tree = ET.fromstring(answer.getvalue())  # noqa: S314 - expat refuses entities that explode
            for item in tree.iterfind("{*}Contents"):
                md5 = (item.findtext("{*}ETag") or "").strip('"')
                key, size = item.findtext("{*}Key") or "", int(item.findtext("{*}Size") or "")
                found.append(RemoteFile(key, size, md5 if _MD5.fullmatch(md5) else ""))
        except (ET.ParseError, ValueError):
            raise DataError(f"{base} does not answer as a bucket does; check the network, or --store") from None
        token = tree.findtext("{*}NextContinuationToken") or ""
        if not token:
            break
    odd = [file for file in found if not file.key.startswith(f"{uuid}/") or not _NAME.fullmatch(file.name)]
    if odd or len({file.name for file in found}) < len(found):
        raise DataError(f"{base} lists files that are none of series {uuid}; check --store")
    return sorted(found, key=lambda file: file.key)


def _download_file(base: str, file: RemoteFile, target: Path) -> int:
    """Bytes downloaded; 0 for a file that is there and whole."""
    if target.is_file() and target.stat().st_size == file.size and file.md5 in ("", _hash(target)):
        return 0
    series = file.key.split("/", 1)[0]
    for _ in range(_ATTEMPTS):
        try:
            with atomic_path(target) as partial:
                with partial.open("wb") as sink:
                    size, md5 = _read(f"{base}/{urllib.parse.quote(file.key)}", f"a file of series {series}", sink)
                _refuse_damage(file, size, md5)
        except _DamagedError:
            continue
        except OSError as error:
            raise_if_disk_full(error, target)
            raise DataError(
                f"{target.parent} cannot be written ({error.strerror}); make room or choose another --out"
            ) from None
        return size
    raise DataError(
        f"a file of series {series} came {_ATTEMPTS} times with another size or MD5 than the store lists; try again "
        "later"
    )


class _DamagedError(Exception):
    """What came is not what the store lists."""


def _refuse_damage(file: RemoteFile, size: int, md5: str) -> None:
    if size != file.size or file.md5 not in ("", md5):
        raise _DamagedError


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, _new_md5).hexdigest()


def _new_md5() -> "hashlib._Hash":
    return hashlib.md5(usedforsecurity=False)  # to notice damage, as the store means it; never against a forger


def _read(address: str, what: str, sink: IO[bytes]) -> tuple[int, str]:
    """Write what an address answers, asked again after failures that pass; returns its size and MD5.

    Raises:
        DataError: If it does not answer.
    """
    wait_s = _FIRST_WAIT_S
    for attempt in range(1, _ATTEMPTS + 1):
        sink.seek(0)
        sink.truncate()
        try:
            with urllib.request.urlopen(address, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - the caller checked it
                digest = _new_md5()
                while piece := _receive(answer):
                    digest.update(piece)
                    sink.write(piece)
                return sink.tell(), digest.hexdigest()
        except urllib.error.HTTPError as error:
            reason, passing = f"HTTP {error.code}", error.code >= 500 or error.code == 429
        except urllib.error.URLError as error:
            reason, passing = str(error.reason), True
        if not passing or attempt == _ATTEMPTS:
            break
        time.sleep(wait_s)
        wait_s *= 4
    raise DataError(f"{what} cannot be had ({reason}); check the network; the same command goes on where it stopped")


def _receive(answer: IO[bytes]) -> bytes:
    """The next piece; a connection that breaks is a failure of the network, not of the disk."""
    try:
        return answer.read(_PIECE)
    except (HTTPException, OSError) as error:
        raise urllib.error.URLError(str(error) or type(error).__name__) from None
