"""The sheet, and that it serves as a table of marks."""

from pathlib import Path

import pytest

from genovox.cohort.manifest import read_marks
from genovox.core.artifacts import read_table
from genovox.core.case import Case
from genovox.lesions.sheet import COLUMNS, explain_none, list_rows, write_sheet

CASE = Case("P-12ab-2-left", "P-12ab", ("a.json",), laterality="left")
CLEAR = {
    "laterality": "left",
    "point": [-74.74, 1.0, 2.0],
    "box": [-80.0, -1, 0, -70, 3, 4],
    "diameter_mm": 26.43,
    "volume_ml": 2.6,
    "confidence": 0.87,
    "peak_enhancement_percent": 147.2,
    "ser": 1.09,
    "evidence": "compact, at 21 mm",
}


def test_the_first_is_used_and_the_rest_are_not(tmp_path: Path) -> None:
    second = CLEAR | {"confidence": 0.8, "ser": None}
    write_sheet(tmp_path / "lesions.csv", [*list_rows(CASE, 2, [CLEAR, second]), explain_none(CASE, 0, "no breast")])
    table = read_table(tmp_path / "lesions.csv")
    assert tuple(table.columns) == COLUMNS
    assert table["use"].tolist() == ["yes", "no", "no"]
    assert table["mask"].tolist() == ["lesions/P-12ab-2-left-1.nii.gz", "lesions/P-12ab-2-left-2.nii.gz", ""]
    assert table["ser"].tolist() == ["1.09", "", ""]
    assert table["evidence"].tolist() == ["compact, at 21 mm"] * 2 + ["no breast"]
    assert table["exam"].tolist() == ["2", "2", ""]
    (mark,) = read_marks(tmp_path / "lesions.csv", str)["P-12ab"]
    assert mark.point_mm == (-74.7, 1.0, 2.0)
    assert (mark.side, mark.visit) == ("left", 2)
    assert list(read_marks(tmp_path / "lesions.csv", str, "case_id")) == [CASE.case_id]


@pytest.mark.parametrize(("confidence", "use"), [(0.75, "yes"), (0.74, "no")])
def test_a_doubtful_one_waits_for_a_person(confidence: float, use: str) -> None:
    assert list_rows(CASE, 0, [CLEAR | {"confidence": confidence}])[0]["use"] == use
