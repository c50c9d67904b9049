"""Small DICOM trees: patients of the simulated hospital, free to be changed."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
import pytest
from pydicom.uid import UID

from genovox.scans import index
from genovox.scans.headers import parse_header
from tests.conftest import on_one_core

# Who lies where: hospital by patient of ``simulated_hospital``.
NORTH, EAST, SOUTH = "SIM-0001", "SIM-0003", "SIM-0008"
# North Hospital's series: localizer, T2, pre, three phases after contrast, subtraction.
LOCALIZER, T2, PRE, POST1, POST2, POST3, SUBTRACTION = map(str, range(1, 8))


@pytest.fixture(autouse=True)
def _one_core() -> Iterator[None]:
    with on_one_core():
        yield


class Tree:
    """A study's folder with ``dicom/`` in it."""

    def __init__(self, root: Path, hospital: Path) -> None:
        self.root = root
        self.dicom = root / "dicom"
        self._hospital = hospital

    def add(self, patient: str, *series: str, visit: str = "1", to: str = "") -> Path:
        """Copy a patient's first visit, or some of its series, under its name or another; returns its folder."""
        target = self.dicom / (to or patient) / visit
        source = self._hospital / "dicom" / patient / "1"
        for folder in sorted(source.iterdir()):
            if not series or folder.name in series:
                shutil.copytree(folder, target / folder.name)
        return target

    def files(self, folder: Path | None = None) -> list[Path]:
        """DICOM files of a folder, or of all, in order."""
        return sorted((folder or self.dicom).rglob("*.dcm"))


@pytest.fixture
def tree(simulated_hospital: Path, tmp_path: Path) -> Tree:
    """An empty tree."""
    return Tree(tmp_path / "study", simulated_hospital)


@pytest.fixture
def count_reads(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """Names of the files whose headers were read since the last call."""
    seen: list[str] = []

    def reading(file: BinaryIO, path: str, size: int, mtime_ns: int) -> object:
        seen.append(Path(path).name)
        return parse_header(file, path, size, mtime_ns)

    monkeypatch.setattr(index, "parse_header", reading)

    def tell() -> list[str]:
        names = seen.copy()
        seen.clear()
        return names

    return tell


def edit_files(paths: Sequence[Path], **changes: Any) -> None:
    """Set elements of DICOM files by keyword; None deletes one."""
    for path in paths:
        dataset = pydicom.dcmread(path)
        for keyword, value in changes.items():
            if value is not None:
                setattr(dataset, keyword, value)
            elif keyword in dataset:
                delattr(dataset, keyword)
        dataset.save_as(path)


def renew_uids(paths: Sequence[Path], suffix: str) -> None:
    """Give files the UIDs of another visit, whose series stand together as before."""
    for path in paths:
        dataset = pydicom.dcmread(path)
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(dataset, keyword, UID(f"{str(dataset[keyword].value)[:50]}.{suffix}"))
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(path)
