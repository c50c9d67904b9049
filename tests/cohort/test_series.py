"""``series.csv``: every series with what it is and why, and nobody named."""

from collections import Counter
from pathlib import Path

import pydicom
import pytest

from genovox.cohort.archive import open_archive
from genovox.cohort.series import series_table
from genovox.core.artifacts import read_table
from genovox.scans.index import index_folder
from tests.conftest import FinishedRun

from .conftest import EAST, LOCALIZER, NORTH, POST1, PRE, SUBTRACTION, Tree, edit_files, renew_uids


def test_a_row_a_series(tree: Tree) -> None:
    visit = tree.add(NORTH)
    edit_files(tree.files(visit / PRE), Modality="DOE", Laterality="L")
    table = open_archive(tree.dicom, tree.root).table.set_index("number")
    assert len(table) == 7
    assert table["role"].to_dict() == {
        "1": "localizer", "2": "t2", "3": "pre", "4": "post", "5": "post", "6": "post", "7": "subtraction",
    }  # fmt: skip
    assert table["phase"].tolist() == ["", "", "0", "1", "2", "3", ""]
    assert set(table["patient_id"]) == {NORTH}
    assert set(table["day"]) == {0}
    rows = {str(number): row for number, row in zip(table.index, table.to_dict("records"), strict=True)}
    pre, post = rows[PRE], rows[POST1]
    files = tree.files(visit / PRE)
    header = pydicom.dcmread(files[0])
    assert pre["files"] == len(files)
    assert pre["matrix"] == f"{header.Columns}x{header.Rows}x{len(files)}"
    spacing = [float(size) for size in pre["spacing_mm"].split("x")[:2]]
    assert spacing == pytest.approx(header.PixelSpacing[::-1], abs=1e-3)
    assert (pre["modality"], post["modality"]) == ("other", "MR")
    assert (pre["laterality"], pre["contrast_agent"], post["contrast_agent"]) == ("left", "no", "yes")
    assert float(pre["repetition_time_ms"]) == header.RepetitionTime
    assert pre["encoding"] == header.file_meta.TransferSyntaxUID.name
    assert float(post["times_s"]) > float(pre["times_s"]) > 0
    assert "slices must share one" in rows[LOCALIZER]["problem"]
    assert "subtraction by its image type" in rows[SUBTRACTION]["evidence"]
    assert pre["series"].startswith("series-")
    assert table["study"].nunique() == 1


def test_phases_in_one_series_and_days_of_visits(tree: Tree) -> None:
    tree.add(EAST, "3")
    later = tree.add(EAST, "3", visit="2")
    renew_uids(tree.files(later), "2")
    day = pydicom.dcmread(tree.files()[0]).StudyDate
    edit_files(tree.files(later), StudyDate=f"{int(day[:4]) + 1}{day[4:]}", PatientIdentityRemoved="NO")
    found = open_archive(tree.dicom, tree.root)
    table = found.table
    assert table["day"].tolist() in ([0, 365], [0, 366])
    stacks = table["stacks"][0]
    assert table["phase"][0] == ";".join(map(str, range(stacks)))
    assert table["times_s"][0].split(";")[0] == "0"
    assert table["times_s"][0].count(";") == stacks - 1
    assert set(table["patient_id"]) == {found.pseudonym(EAST)}
    assert day not in table.to_csv()


def test_dates_and_ids_that_are_none(tree: Tree) -> None:
    edit_files(tree.files(tree.add(NORTH, PRE)), StudyDate="", PatientID=" ", Modality="", Manufacturer="")
    (row,) = open_archive(tree.dicom, tree.root).table.to_dict("records")
    assert (row["day"], row["patient_id"], row["modality"], row["vendor"]) == ("", "", "", "")
    assert "PatientID is empty" in row["problem"]
    index = index_folder(tree.dicom, tree.root)
    assert series_table([], [], None, str).empty  # type: ignore[arg-type]
    assert len(index.series) == 1


def test_the_stage_writes_it(finished_archive_run: FinishedRun) -> None:
    folder = finished_archive_run.run / "cohort"
    table = read_table(folder / "series.csv")
    excluded = read_table(folder / "exclusions.csv")
    left = excluded[excluded["level"] == "series"]
    assert set(left["case_id"]) == set(table.loc[~table["phase"].str.contains(r"\d"), "series"])
    assert Counter(table["patient_id"]).keys() == set(read_table(folder / "cases.csv")["patient_id"])
    assert Path(finished_archive_run.study.parent / "dicom").is_dir()
