from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from genovox.core.artifacts import write_table
from genovox.core.case import Case, Exclusion, cases_table, exclusions_table, read_cases
from genovox.core.errors import TableError

ROW = Exclusion("case", "c1", "p1", "cohort", "image", "truncated", 1)
WORDS = st.text(st.characters(categories=["L", "N"], include_characters="-_./ \"'"), max_size=10).map(str.strip)
NAMES = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=10)
CASES = st.builds(
    Case,
    case_id=NAMES,
    patient_id=NAMES,
    images=st.lists(NAMES, min_size=1, max_size=3).map(tuple),
    label=st.sampled_from([None, 0, 1]),
    family_id=WORDS,
    site=WORDS,
    laterality=st.sampled_from(["", "left", "right", "bilateral"]),
    part=st.sampled_from(["", "train", "val", "test"]),
    phase_times_s=st.lists(st.floats(-1e6, 1e6), max_size=3).map(tuple),
    scan=st.fixed_dictionaries({"scan_vendor": WORDS, "scan_field_t": WORDS}),
)


@given(cases=st.lists(CASES, min_size=1, max_size=5))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_cases_survive_the_table(tmp_path: Path, cases: list[Case]) -> None:
    write_table(tmp_path / "cases.csv", cases_table(cases))
    assert read_cases(tmp_path / "cases.csv") == cases


def test_scan_columns_are_the_union() -> None:
    table = cases_table([Case("a", "p", ("x",), scan={"scan_b": "1"}), Case("b", "p", ("y",), scan={"scan_a": "2"})])
    assert list(table.columns[-2:]) == ["scan_a", "scan_b"]
    assert table["scan_a"].tolist() == ["", "2"]


def test_images_are_relative_to_the_study(tmp_path: Path) -> None:
    assert Case("a", "p", ("x.nii", "s/y.nii")).image_paths(tmp_path) == [tmp_path / "x.nii", tmp_path / "s/y.nii"]


def test_a_table_that_lacks_a_column(tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text("case_id,patient_id,label,images\na,p,1,x\n")
    with pytest.raises(TableError, match="add family_id, site, laterality, part, phase_times_s"):
        read_cases(tmp_path / "cases.csv")


def test_an_unknown_label_is_empty_and_a_known_one_a_number() -> None:
    table = exclusions_table([ROW, replace(ROW, case_id="c2", label=0), replace(ROW, case_id="c3", label=None)])
    assert table["label"].tolist() == ["1", "0", ""]
    assert list(table.columns) == ["level", "case_id", "patient_id", "stage", "rule", "reason", "label"]


def test_nobody_left_out_is_a_table_with_columns() -> None:
    assert list(exclusions_table([]).columns) == list(exclusions_table([ROW]).columns)
