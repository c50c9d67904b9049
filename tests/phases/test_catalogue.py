import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from genovox.core.errors import TableError
from genovox.phases.catalogue import REQUIRED, read_catalogue

HEADER = (
    "PatientID,StudyInstanceUID,SeriesInstanceUID,SeriesNumber,SeriesDescription,instanceCount,Modality,series_size_MB"
)
ROW = "P1,1.2,1.2.3,4,AX dyn,100,MR,52.7"


def _write(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_reads_what_a_table_says(tmp_path: Path) -> None:
    rows = (ROW, "P1,1.2,1.2.4,,,13,,", "P1,1.2,1.2.5,6.0,SEG,1,SEG,1")
    facts, others = read_catalogue(_write(tmp_path / "series.csv", *rows))
    assert others == 1
    assert [(one.number, one.name, one.images, one.image_bytes) for one in facts] == [
        (4, "AX dyn", 100, pytest.approx(527_000)),
        (None, "", 13, 0),
    ]
    packed = tmp_path / "series.csv.gz"
    packed.write_bytes(gzip.compress((tmp_path / "series.csv").read_bytes()))
    assert read_catalogue(packed) == (facts, others)


def test_columns_that_are_not_needed_may_be_absent(tmp_path: Path) -> None:
    path = _write(tmp_path / "series.csv", "P1,1.2,1.2.3,4,AX dyn,100", header=",".join(REQUIRED))
    assert read_catalogue(path)[0][0].study_date == ""


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ((ROW.replace("1.2.3", "x.y"),), "row 2: SeriesInstanceUID must be a DICOM UID, got 'x.y'; correct it"),
        ((ROW.replace("1.2,", ",", 1),), "row 2: StudyInstanceUID must be a DICOM UID, got ''"),
        ((ROW.replace("P1", ""),), "row 2: PatientID is empty"),
        ((ROW.replace(",100,", ",0,"),), "row 2: instanceCount must be at least 1, got '0'"),
        ((ROW.replace(",100,", ",,"),), "row 2: instanceCount must be at least 1, got ''"),
        ((ROW.replace(",100,", ",many,"),), "row 2: instanceCount must be a whole number from 0, got 'many'"),
        ((ROW.replace(",100,", ",-3,"),), "row 2: instanceCount must be a whole number from 0, got '-3'"),
        ((ROW.replace(",4,", ",4.5,"),), "row 2: SeriesNumber must be a whole number from 0, got '4.5'"),
        ((ROW.replace("52.7", "big"),), "row 2: series_size_MB must be a number from 0, got 'big'"),
        ((ROW.replace("52.7", "nan"),), "row 2: series_size_MB must be a number from 0, got 'nan'"),
        ((ROW, ROW), "row 3: a series stands once, series.csv, row 2 is the same; remove one"),
        ((ROW + ",more",), "row 2 has more cells than the header; correct it"),
        (("P1,1.2",), "row 2 has fewer cells than the header; correct it"),
        ((), "has no row; give a table with one row a series"),
        ((ROW.replace("MR", "CT"),), "has no MR series in 1 rows"),
    ],
)
def test_a_malformed_row_is_one_clear_error(tmp_path: Path, rows: tuple[str, ...], words: str) -> None:
    with pytest.raises(TableError) as caught:
        read_catalogue(_write(tmp_path / "series.csv", *rows))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: _write(path, "1", header="PatientID"), "add StudyInstanceUID, SeriesInstanceUID"),
        (lambda path: path.write_text(""), "got none; add PatientID"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "is no UTF-8 text"),
        (lambda path: path.write_bytes(b"a\0b"), "is no text"),
        (lambda path: path.write_bytes(b"\x1f\x8bnot gzip"), "cannot be read"),
        (lambda path: _write(path, f'"{"x" * 200_000}"', header=HEADER), "is not a readable CSV table"),
        (lambda path: None, "no such folder or table"),
    ],
)
def test_what_is_no_table(tmp_path: Path, write: Callable[[Path], object], words: str) -> None:
    write(tmp_path / "series.csv")
    with pytest.raises(TableError, match=words):
        read_catalogue(tmp_path / "series.csv")
