"""Leaks that are planted are found, each by its name."""

import pandas as pd
import pytest

from genovox.audit.leakage import check_duplicates, check_folds


def _folds() -> pd.DataFrame:
    rows = []
    for fold in ("0", "1"):
        for number in range(8):
            part = "test" if number % 2 == int(fold) else "train" if number < 6 else "val"
            rows.append((0, fold, part, f"c{number}", f"p{number}", "f" if number == 0 else ""))
    return pd.DataFrame(rows, columns=["repeat", "fold", "part", "case_id", "patient_id", "family_id"])


def _predictions(folds: pd.DataFrame) -> pd.DataFrame:
    return folds[folds["part"] != "train"].copy()


def test_clean_plan_passes() -> None:
    check = check_folds(_folds(), _predictions(_folds()))
    assert (check.status, check.figure) == ("pass", 0)


def test_split_patient_is_found() -> None:
    folds = _folds()
    folds.loc[folds["case_id"] == "c3", "patient_id"] = "p2"
    check = check_folds(folds, _predictions(_folds()))
    assert (check.status, check.figure) == ("fail", 2)


def test_split_family_is_found() -> None:
    folds = _folds()
    folds.loc[folds["case_id"] == "c1", "family_id"] = "f"
    assert check_folds(folds, _predictions(folds)).status == "fail"


def test_patient_of_the_fixed_part_in_a_fold_is_found() -> None:
    fixed = pd.DataFrame([(0, "fixed", "test", "c99", "p5", "")], columns=_folds().columns)
    folds = pd.concat([_folds(), fixed])
    assert check_folds(folds, _predictions(_folds())).status == "fail"


def test_score_of_a_training_case_is_found() -> None:
    predictions = _predictions(_folds())
    # c1 is trained on in fold 0.
    predictions.loc[(predictions["fold"] == "0") & (predictions["case_id"] == "c0"), "case_id"] = "c1"
    check = check_folds(_folds(), predictions)
    assert check.status == "fail"
    assert "test scores are not of the plan" in check.finding


@pytest.mark.parametrize("accepted", ["", "twins scanned on one day"])
def test_same_volume_under_two_patients_fails_even_if_accepted(accepted: str) -> None:
    cases = pd.DataFrame(
        {"case_id": ["a", "b", "c"], "patient_id": ["p", "q", "p"], "fingerprint": ["same", "same", "other"]}
    )
    check = check_duplicates(cases, accepted)
    assert check.status == "fail"
    assert check.figure == 2
    assert accepted in check.finding


def test_same_volume_of_one_patient_is_no_leak() -> None:
    cases = pd.DataFrame({"case_id": ["a", "b"], "patient_id": ["p", "p"], "fingerprint": ["same", "same"]})
    assert check_duplicates(cases, "").status == "pass"
