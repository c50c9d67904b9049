"""Leaks that are planted are found, each by its name."""

import pandas as pd
import pytest

from genovox.audit.leakage import check_duplicates, check_folds, check_people, check_studies, gather_facts


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


def test_a_patient_in_all_three_parts_counts_once() -> None:
    folds = _folds().query("fold == '0'")
    folds.loc[folds["case_id"].isin(["c0", "c1", "c7"]), "patient_id"] = "p0"
    assert set(folds.loc[folds["patient_id"] == "p0", "part"]) == {"train", "val", "test"}
    assert check_folds(folds, _predictions(folds)).figure == 1


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
    assert "outside the plan" in check.finding


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


def test_masks_too_small_to_compare_are_no_twins() -> None:
    cases = pd.DataFrame({"case_id": ["a", "b", "c"], "patient_id": ["p", "q", "r"], "fingerprint": ["", "", "own"]})
    check = check_duplicates(cases, "")
    assert (check.status, check.finding.split(" of different")[0]) == ("pass", "no two of 1 cases")
    assert check_duplicates(cases[:2], "").status == "not-assessed"


def test_without_training_rows_nothing_is_assessed_but_a_leak_is_found() -> None:
    scores = _predictions(_folds()).assign(model="m")
    assert check_folds(None, scores).status == "not-assessed"
    scores.loc[scores.index[scores["part"] == "val"][0], "patient_id"] = scores["patient_id"].iloc[0]
    assert check_folds(None, scores).status == "fail"


def test_table_with_training_rows_passes_by_itself() -> None:
    assert check_folds(None, _folds().drop(columns="family_id")).status == "pass"


def test_patient_tested_in_two_folds_is_found() -> None:
    tested = _folds().query("part == 'test'")
    assert check_folds(None, tested).status == "not-assessed"
    tested.loc[tested["case_id"] == "c1", "patient_id"] = "p2"
    check = check_folds(None, tested)
    assert (check.status, check.figure) == ("fail", 1)


def test_one_study_under_two_patients_is_found() -> None:
    series = pd.DataFrame({"patient_id": ["p", "p", "q", ""], "study": ["s1", "s1", "s2", "s1"]})
    assert check_studies(series).status == "pass"
    series.loc[2, "study"] = "s1"
    check = check_studies(series)
    assert (check.status, check.figure) == ("fail", 1)
    assert check_studies(None).status == "not-assessed"


def _people(count: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "case_id": [f"c{n}" for n in range(count)],
            "patient_id": [f"p{n}" for n in range(count)],
            "age": [str(30 + n % 37) for n in range(count)],
            "weight_kg": [str(50 + 0.1 * (n * 7 % 401)) for n in range(count)],
            "scan_birth_year": [str(1950 + n % 41) for n in range(count)],
        }
    )


def test_one_person_under_two_ids_is_a_hint() -> None:
    people = _people(60)
    assert check_people(people).status == "pass"
    again = people.iloc[[7]].assign(case_id="later", patient_id="p-again")
    check = check_people(pd.concat([people, again]))
    assert check.status == "warn"
    assert "p-again and p7" in check.finding


def test_ages_alone_do_not_tell_people_apart() -> None:
    check = check_people(_people(60)[["patient_id", "age"]])
    assert check.status == "not-assessed"
    assert "by chance" in check.finding


def test_nothing_personal_is_known() -> None:
    assert check_people(pd.DataFrame({"patient_id": ["p", "q"], "scan_matrix": ["a", "b"]})).status == "not-assessed"


def test_facts_of_the_clinic_stand_beside_the_case() -> None:
    cases = pd.DataFrame({"case_id": ["c0", "c1"], "patient_id": ["p0", "p1"]})
    clinical = pd.DataFrame({"case_id": ["c0"], "age": ["40"]})
    assert gather_facts(cases, None) is cases
    assert gather_facts(cases, clinical)["age"].tolist() == ["40", ""]


def test_volumes_that_nobody_read() -> None:
    assert check_duplicates(pd.DataFrame({"case_id": ["a"], "patient_id": ["p"]}), "").status == "not-assessed"
