import csv
import stat
from dataclasses import fields, replace
from pathlib import Path

import pytest

from genovox.core.errors import TableError
from genovox.phases.decisions import Decision
from genovox.phases.roles import SeriesRole
from genovox.phases.sheet import COLUMNS, judge_scans, read_sheet, write_sheet
from genovox.scans.dicom import Series
from tests.phases.test_exams import FLASH, SAGITTAL, SECONDARY, THRIVE, VIBRANT, _series

HEADER = "patient_id,study_uid,series_uid,series_number,role,phase,laterality,confidence,evidence"


def _scans(series: list[Series]) -> list[Series]:
    """Series of the tests of exams with as many files as they would have."""
    return [replace(one, files=20 * max(1, len(one.stacks))) for one in series]


def _rows(series: list[Series]) -> dict[int, tuple[str, int | None, str, str]]:
    return {
        role.number or 0: (role.role, role.phase, role.laterality, role.confidence)
        for role in judge_scans(_scans(series))
    }


def _write(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_images_and_names_speak_the_same_words() -> None:
    assert _rows(FLASH) == {
        5: ("pre", 0, "bilateral", "high"),
        **{5 + 2 * k: ("post", k, "bilateral", "high") for k in (1, 2, 3)},
        **{6 + 2 * k: ("subtraction", k, "bilateral", "high") for k in (1, 2, 3)},
        20: ("subtraction", None, "bilateral", "high"),
    }
    assert _rows(THRIVE) == {5: ("dynamic", None, "bilateral", "high")}
    assert _rows(VIBRANT) == {5: ("dynamic", None, "bilateral", "high")}
    sides = _rows(SAGITTAL)
    assert [sides[number][:3] for number in (5, 11, 12)] == [
        ("pre", 0, "left"),
        ("post", 1, "left"),
        ("post", 2, "left"),
    ]
    assert [sides[number][:3] for number in (6, 21, 22)] == [
        ("pre", 0, "right"),
        ("post", 1, "right"),
        ("post", 2, "right"),
    ]


def test_images_win_over_names() -> None:
    # By number and name the other way round; by time this way.
    swapped = [_series("dyn post", 4, [10.0]), _series("dyn", 5, [100.0]), _series("dyn", 6, [200.0])]
    renamed = [replace(one, first=replace(one.first, description="dyn")) for one in swapped]
    found = {role.number: role for role in judge_scans(_scans(renamed))}
    assert [(found[n].role, found[n].phase) for n in (4, 5, 6)] == [("pre", 0), ("post", 1), ("post", 2)]
    late = [_series("t1 dyn pre", 9, [1.0]), _series("t1 dyn post", 3, [60.0])]
    roles = {role.number: role for role in judge_scans(_scans(late))}
    assert (roles[9].role, roles[3].role, roles[3].phase) == ("pre", "post", 1)
    # Names alone would make phases of what lies on two grids.
    apart = [_series("t1 dyn pre", 3, [1.0]), _series("t1 dyn post", 4, [60.0], repetition_time_ms=9.0)]
    doubtful = judge_scans(_scans(apart))
    assert {(role.role, role.phase, role.confidence) for role in doubtful} == {("other", None, "low")}
    assert doubtful[1].evidence.endswith("no other phase on its grid; by names it would be post 1")


def test_what_images_put_otherwise_than_names_says_so() -> None:
    series = [_series("dyn", 3, [300.0]), _series("dyn", 4, [200.0]), _series("dyn", 5, [100.0])]
    found = {role.number: role for role in judge_scans(_scans(series))}
    assert (found[5].role, found[3].phase, found[3].confidence) == ("pre", 2, "medium")
    assert found[3].evidence.endswith("by names it would be pre 0")


def test_pre_that_is_not_used_and_series_that_cannot_be_read() -> None:
    series = [*_scans([_series(f"pre {n}", n, [100.0 * n]) for n in (1, 2)]), *_scans([_series("post", 3, [300.0])])]
    broken = replace(_scans([_series("dyn_eTHRIVE", 9, [5.0])])[0], stacks=(), problem="a slice is missing")
    found = {role.number: role for role in judge_scans([*series, broken])}
    assert (found[1].role, found[1].phase, found[2].phase) == ("pre", None, 0)
    assert (found[9].role, found[9].confidence) == ("other", "low")
    assert found[9].evidence == "a slice is missing; by names it would be dynamic"


def test_subtractions_of_phases_that_there_are_not_have_no_number() -> None:
    series = [*FLASH, _series("dyn_sub_9", 30, [1.0], image_type=SECONDARY)]
    assert _rows(series)[30][:2] == ("subtraction", None)


def test_the_sheet_is_written_for_its_owner_and_read_back(tmp_path: Path) -> None:
    assert list(COLUMNS[:3]) + list(COLUMNS[4:]) == [
        "patient_id", "study_uid", "series_uid", "role", "phase", "laterality", "confidence", "evidence"
    ]  # fmt: skip
    assert len(COLUMNS) == len(fields(SeriesRole))
    roles = judge_scans(_scans([*FLASH, *[replace(one, series_uid=f"8.{at}") for at, one in enumerate(VIBRANT)]]))
    path = tmp_path / "phases.csv"
    write_sheet(path, roles)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["series_uid"] for row in rows] == [role.series_uid for role in roles]
    decisions = read_sheet(path)
    assert {uid: (one.role, one.phase, one.laterality) for uid, one in decisions.items()} == {
        role.series_uid: (role.role, role.phase, role.laterality) for role in roles
    }
    assert decisions[roles[0].series_uid].source == "phases.csv row 2"


def test_what_a_person_may_write(tmp_path: Path) -> None:
    rows = ("P,1,1.5,,Post,1.0,LEFT,,", "P,1,1.6,,,,,,", "P,1,1.7,,dynamic-post,2,,,", "P,1,1.8,,pre,,,,")
    assert read_sheet(_write(tmp_path / "s.csv", *rows)) == {
        "1.5": Decision("post", 1, "left", "s.csv row 2"),
        "1.7": Decision("dynamic-post", 2, "", "s.csv row 4"),
        "1.8": Decision("pre", None, "", "s.csv row 5"),
    }
    short = _write(tmp_path / "short.csv", "1.5,pre,0", "1.6,post,1", header="series_uid,role,phase")
    assert set(read_sheet(short)) == {"1.5", "1.6"}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("P,1,,,pre,0,,,", "series_uid must be a DICOM UID"),
        ("P,1,abc,,pre,0,,,", "series_uid must be a DICOM UID"),
        ("P,1,1.5,,poste,1,,,", "role 'poste' is unknown; did you mean \"post\"?"),
        ("P,1,1.5,,zzz,1,,,", "role 'zzz' is unknown; use one of pre, post"),
        ("P,1,1.5,,post,1,both,,", "laterality must be left, right, bilateral or empty, got 'both'"),
        ("P,1,1.5,,post,first,,,", "phase must be a whole number from 0, or empty, got 'first'"),
        ("P,1,1.5,,post,-1,,,", "phase must be a whole number from 0, or empty, got '-1'"),
        ("P,1,1.5,,post,1.5,,,", "phase must be a whole number from 0, or empty, got '1.5'"),
        ("P,1,1.5,,post,9999,,,", "phase must be a whole number from 0"),
        ("P,1,1.5,,post,,,,", "a post has a phase from 1, got 'none'"),
        ("P,1,1.5,,post,0,,,", "a post has a phase from 1, got '0'"),
        ("P,1,1.5,,pre,1,,,", "a pre has phase 0, or none where another pre is used, got 1"),
        ("P,1,1.5,,subtraction,0,,,", "a subtraction's phase is that of its post, from 1, got 0"),
        ("P,1,1.5,,t2,1,,,", "a t2 has no phase number, got 1; empty the cell"),
        ("P,1,1.9,,pre,0,,,", "a study has one phase 0 a side, row 2 is the same; correct one"),
        ("P,1,1.4,,t2,,,,", "a series stands once, row 2 is the same series; remove one"),
    ],
)
def test_a_malformed_row_is_one_error_without_an_id(tmp_path: Path, row: str, words: str) -> None:
    with pytest.raises(TableError) as caught:
        read_sheet(_write(tmp_path / "phases.csv", "P,1,1.4,,pre,0,,,", row))
    assert str(caught.value).startswith(f"phases.csv, row 3: {words}")
    assert "1.4" not in str(caught.value)


def test_a_sheet_needs_rows_and_columns(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"has no row; write one with: genovox phases SOURCE --out phases\.csv"):
        read_sheet(_write(tmp_path / "phases.csv"))
    with pytest.raises(TableError, match="add role, phase"):
        read_sheet(_write(tmp_path / "phases.csv", "1", header="series_uid"))
