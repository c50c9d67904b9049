import numpy as np
import pandas as pd
import pytest

from genovox.core.errors import GenovoxError, LeakageError, SingleClassError, TableError, UsageError
from genovox.evaluate.predictions import REQUIRED_COLUMNS, complete_predictions, gather_units, validate_predictions
from tests.evaluate.conftest import MakePredictions


def test_types_are_brought_in_order(make_predictions: MakePredictions) -> None:
    table = (
        make_predictions().astype({"fold": int, "label": float, "repeat": float}).drop(columns=["family_id", "seed"])
    )
    checked = validate_predictions(table, label_unit="patient")
    assert set(checked["fold"]) == {"0", "1", "2", "3", "4"}
    assert checked["label"].dtype == np.int64
    assert checked["cluster"].nunique() == 60


@pytest.mark.parametrize("column", REQUIRED_COLUMNS)
def test_each_missing_column_is_named(make_predictions: MakePredictions, column: str) -> None:
    with pytest.raises(TableError, match=f"none named {column}"):
        validate_predictions(make_predictions().drop(columns=column), label_unit="patient")


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("score", np.nan, r"score must have a value.*\(first: row 5\)"),
        ("score", 1.2, "score must be a probability from 0 to 1.*got 1.2 in row 5"),
        ("score", -0.1, "score must be a probability"),
        ("score", "0,83", "score must be a number with a decimal point, not a comma; got '0,83' in row 5"),
        ("label", 2, "label must be 0 or 1.*got 2"),
        ("label", np.nan, "label must have a value"),
        ("repeat", 0.5, "repeat must be a whole number"),
        ("part", "train", "part must be 'val' or 'test'.*got 'train'"),
        ("patient_id", "", "patient_id must have a value"),
    ],
)
def test_each_bad_value_is_one_clear_error(
    make_predictions: MakePredictions, column: str, value: object, message: str
) -> None:
    table = make_predictions().astype({column: object})
    table[column] = table[column].where(table.index != 3, value)
    with pytest.raises(TableError, match=message):
        validate_predictions(table, label_unit="patient")


def test_an_empty_table_is_refused(make_predictions: MakePredictions) -> None:
    with pytest.raises(TableError, match="empty table"):
        validate_predictions(make_predictions().iloc[:0], label_unit="patient")


def test_validation_rows_alone_are_refused(make_predictions: MakePredictions) -> None:
    with pytest.raises(TableError, match="got only 'val'"):
        validate_predictions(make_predictions().query("part == 'val'"), label_unit="patient")


def test_a_repeated_row_is_refused(make_predictions: MakePredictions) -> None:
    table = make_predictions()
    with pytest.raises(TableError, match="got two for model light, repeat 0"):
        validate_predictions(pd.concat([table, table.iloc[[5]]]), label_unit="patient")


def test_one_class_is_refused(make_predictions: MakePredictions) -> None:
    with pytest.raises(SingleClassError, match="got only label 1"):
        validate_predictions(make_predictions().assign(label=1), label_unit="patient")


def test_contradicting_labels_are_refused(make_predictions: MakePredictions) -> None:
    table = make_predictions()
    table["label"] = table["label"].where(table.index != 0, 1 - table["label"])
    with pytest.raises(TableError, match=r"a patient_id has one label, got \[0, 1\]"):
        validate_predictions(table, label_unit="patient")


def test_an_unknown_label_unit_is_refused(make_predictions: MakePredictions) -> None:
    with pytest.raises(UsageError, match="got 'breast'"):
        validate_predictions(make_predictions(), label_unit="breast")  # type: ignore[arg-type]


def _tested_in(table: pd.DataFrame, fold: str) -> pd.Series:
    return table.query("repeat == 0 and part == 'test' and fold == @fold").iloc[0]


def test_a_patient_in_two_parts_of_a_fold_is_leakage(make_predictions: MakePredictions) -> None:
    table = make_predictions()
    twin = _tested_in(table, "0").to_frame().T.assign(part="val", case_id="other scan")
    with pytest.raises(LeakageError, match=r"one part of a fold.*got 1"):
        validate_predictions(pd.concat([table, twin]), label_unit="patient")


def test_a_family_in_two_parts_of_a_fold_is_leakage(make_predictions: MakePredictions) -> None:
    table = make_predictions()
    sisters = [_tested_in(table, "0")["patient_id"], _tested_in(table, "1")["patient_id"]]
    table["family_id"] = np.where(table["patient_id"].isin(sisters), "f", "")
    with pytest.raises(LeakageError, match="a family"):
        validate_predictions(table, label_unit="patient")


def test_a_patient_tested_in_two_folds_is_leakage(make_predictions: MakePredictions) -> None:
    table = make_predictions()
    twin = _tested_in(table, "0").to_frame().T.assign(fold="3", case_id="other scan")
    with pytest.raises(LeakageError, match="one fold a repeat"):
        validate_predictions(pd.concat([table, twin]), label_unit="patient")


def test_a_fixed_test_patient_in_the_folds_is_leakage(make_predictions: MakePredictions) -> None:
    table = make_predictions(fixed=12)
    twin = _tested_in(table, "0").to_frame().T.assign(fold="fixed", case_id="other scan")
    with pytest.raises(LeakageError, match="fixed test part"):
        validate_predictions(pd.concat([table, twin]), label_unit="patient")


def test_the_fixed_part_is_scored_once(make_predictions: MakePredictions) -> None:
    table = make_predictions(fixed=12)
    again = table.query("fold == 'fixed'").assign(repeat=1)
    with pytest.raises(TableError, match="scored once, got 2 repeats"):
        validate_predictions(pd.concat([table, again]), label_unit="patient")


def test_models_are_tested_on_the_same_rows(make_predictions: MakePredictions) -> None:
    table = make_predictions(models=("light", "resnet18"))
    last = table.query("model == 'resnet18' and part == 'test'").index[:2]
    with pytest.raises(TableError, match="got 2 that differ for resnet18"):
        validate_predictions(table.drop(index=last), label_unit="patient")


def test_a_patient_has_the_mean_of_its_cases(make_predictions: MakePredictions) -> None:
    table = make_predictions()
    second = table.assign(case_id=table["patient_id"] + "-b", score=table["score"] / 2)
    both = validate_predictions(pd.concat([table, second]), label_unit="patient")
    units = gather_units(both, label_unit="patient")
    one = gather_units(validate_predictions(table, label_unit="patient"), label_unit="patient")
    np.testing.assert_allclose(units["score"], one["score"] * 0.75)
    assert set(units["cases"]) == {2}
    assert len(gather_units(both, label_unit="case")) == 2 * len(one)


def test_a_patient_has_the_highest_or_noisy_or_of_its_cases(make_predictions: MakePredictions) -> None:
    table = make_predictions()
    second = table.assign(case_id=table["patient_id"] + "-b", score=table["score"] / 2)
    both = validate_predictions(pd.concat([table, second]), label_unit="patient")
    one = gather_units(validate_predictions(table, label_unit="patient"), label_unit="patient")["score"]
    highest = gather_units(both, label_unit="patient", patient_score="max")["score"]
    np.testing.assert_allclose(highest, one)
    either = gather_units(both, label_unit="patient", patient_score="noisy-or")["score"]
    np.testing.assert_allclose(either, 1 - (1 - one) * (1 - one / 2))


def test_every_error_is_meant_for_the_user() -> None:
    for error in (TableError, LeakageError, SingleClassError, UsageError):
        assert issubclass(error, GenovoxError)


def test_what_another_tool_leaves_out_is_assumed_and_said() -> None:
    bare = pd.DataFrame({"case_id": ["a", "b"], "patient_id": ["a", "b"], "label": [0, 1], "score": [0.2, 0.7]})
    table, notes = complete_predictions(bare)
    assert set(REQUIRED_COLUMNS) <= set(table.columns)
    assert set(table["fold"]) == {"fixed"}
    assert len(notes) == 2
    assert len(validate_predictions(table, label_unit="patient")) == 2
    assert complete_predictions(table)[1] == []
    with pytest.raises(TableError, match="part without fold"):
        complete_predictions(bare.assign(part=["val", "test"]))
    with pytest.raises(TableError, match="header alone"):
        complete_predictions(bare.iloc[:0])
