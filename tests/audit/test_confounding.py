"""Metadata that tell the label are found; metadata that do not are let pass."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from genovox.audit.confounding import (
    MetadataFinding,
    check_metadata,
    join_circumstances,
    metadata_columns,
    score_columns,
    stratified_auc,
    weigh_metadata,
)
from genovox.cohort.splits import plan_folds
from genovox.core.case import Case
from genovox.core.sections import SplitsTable
from genovox.evaluate.schema import Metric

PATIENTS = 200


def _cohort(seed: int, *, shortcut: float, effect: float) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Cases whose vendor follows the label with strength ``shortcut``, and scores that follow vendor and label."""
    random = np.random.default_rng(seed)
    label = np.arange(PATIENTS) % 2
    vendor = np.where(random.random(PATIENTS) < 0.5 + shortcut / 2, label, 1 - label)
    cases = pd.DataFrame(
        {
            "case_id": [f"c{n:03d}" for n in range(PATIENTS)],
            "patient_id": [f"p{n:03d}" for n in range(PATIENTS)],
            "family_id": "",
            "site": "",
            "label": label,
            "scan_vendor": np.where(vendor == 1, "A", "B"),
            "scan_matrix": random.choice(["x", "y", "z"], PATIENTS),
        }
    )
    listed = [Case(f"c{n:03d}", f"p{n:03d}", ("i",), label=int(label[n])) for n in range(PATIENTS)]
    folds = plan_folds(listed, SplitsTable(folds=5), seed).table
    scores = folds[folds["part"] == "test"][["case_id", "repeat", "fold"]].merge(cases, on="case_id")
    signal = effect * scores["label"] + 2 * shortcut * (scores["scan_vendor"] == "A")
    scores["score"] = 1 / (1 + np.exp(-(signal + random.normal(0, 1, len(scores)))))
    return cases, folds, scores.assign(unit=scores["patient_id"])


def _weigh(cases: pd.DataFrame, folds: pd.DataFrame, units: pd.DataFrame) -> MetadataFinding:
    return weigh_metadata(cases, folds, units, label_unit="patient", useful_auc=0.6, resamples=400, seed=1)


def test_scanner_shortcut_without_effect_is_named() -> None:
    cases, folds, scores = _cohort(1, shortcut=0.8, effect=0.0)
    finding = _weigh(cases, folds, scores)
    assert finding.tells_label
    assert not finding.score_adds
    check = check_metadata(finding)
    assert check.status == "fail"
    assert "vendor" in check.finding


def test_effect_beside_a_shortcut_is_a_warning() -> None:
    cases, folds, scores = _cohort(2, shortcut=0.4, effect=2.0)
    finding = _weigh(cases, folds, scores)
    assert finding.tells_label
    assert finding.score_adds
    assert check_metadata(finding).status == "warn"


def test_no_shortcut_passes() -> None:
    cases, folds, scores = _cohort(3, shortcut=0.0, effect=1.0)
    finding = _weigh(cases, folds, scores)
    assert check_metadata(finding).status == "pass"


def test_a_scanner_known_of_some_cases_only_is_not_known() -> None:
    cases, folds, scores = _cohort(3, shortcut=0.0, effect=1.0)
    cases.loc[0, "scan_vendor"] = ""
    finding = _weigh(cases, folds, scores)
    assert not finding.scanner_known
    assert not finding.rules_out


def test_too_few_to_judge_is_not_assessed() -> None:
    few = MetadataFinding(("scan_vendor",), Metric(estimate=0.8, low=None, high=None, method="counts"), None, True)
    assert check_metadata(few).status == "not-assessed"
    assert not few.rules_out
    perfect = MetadataFinding(("scan_vendor",), Metric(estimate=1.0, low=None, high=None, method="counts"), None, True)
    assert check_metadata(perfect).status == "fail"


def test_many_scans_of_one_patient_count_once() -> None:
    cases, folds, scores = _cohort(8, shortcut=0.4, effect=0.0)
    twins = cases.assign(case_id=cases["case_id"] + "-again")
    doubled = pd.concat([folds, folds.assign(case_id=folds["case_id"] + "-again")])
    once = _weigh(cases, folds, scores).auc
    often = _weigh(pd.concat([cases, twins], ignore_index=True), doubled, scores).auc
    assert once is not None
    assert often is not None
    assert often.low == pytest.approx(once.low, abs=0.03)


def test_classes_that_do_not_overlap_fail_whatever_the_score() -> None:
    cases, folds, scores = _cohort(4, shortcut=1.0, effect=3.0)
    finding = _weigh(cases, folds, scores)
    assert finding.separates
    assert check_metadata(finding).status == "fail"


def test_unknown_scanner_is_not_assessed_never_a_pass() -> None:
    cases, folds, scores = _cohort(5, shortcut=0.0, effect=1.0)
    bare = cases.drop(columns="scan_vendor").assign(scan_matrix="x")
    check = check_metadata(_weigh(bare, folds, scores))
    assert check.status == "not-assessed"
    assert "a column each" in check.advice


def test_columns_are_those_of_the_scan_that_vary() -> None:
    cases, _, _ = _cohort(6, shortcut=0.0, effect=0.0)
    assert metadata_columns(cases.assign(age=range(PATIENTS))) == ("scan_vendor", "scan_matrix")


def test_metadata_scores_are_out_of_fold() -> None:
    """A column unique to each case tells nothing of cases that were not fitted."""
    cases, folds, _ = _cohort(7, shortcut=0.0, effect=0.0)
    cases["scan_serial"] = [f"s{n}" for n in range(PATIENTS)]
    scored = score_columns(cases, folds, ("scan_serial",), seed=1)
    aucs = [roc_auc_score(rows["label"], rows["score"]) for _, rows in scored.groupby("fold")]
    assert np.mean(aucs) == pytest.approx(0.5)


def test_stratified_auc_compares_like_with_like() -> None:
    """The score is the stratum and nothing else: 1.0 pooled, 0.5 within strata."""
    table = pd.DataFrame(
        {
            "repeat": 0,
            "fold": "0",
            "cluster": range(40),
            "label": [1] * 15 + [0] * 5 + [1] * 5 + [0] * 15,
            "score": [0.9] * 20 + [0.1] * 20,
            "score_base": [0.8] * 20 + [0.2] * 20,
        }
    )
    assert roc_auc_score(table["label"], table["score"]) > 0.7
    assert stratified_auc(table, resamples=200, seed=1).estimate == pytest.approx(0.5)


@pytest.mark.parametrize("kind", ["numbers with a gap", "dates", "words"])
def test_what_separates_the_classes_is_found_in_any_form(kind: str) -> None:
    cases, folds, scores = _cohort(9, shortcut=0.0, effect=1.0)
    random = np.random.default_rng(0)
    if kind == "dates":
        column = [f"{2012 + 6 * label}-{1 + n % 12:02d}-{1 + n % 28:02d}" for n, label in enumerate(cases["label"])]
    elif kind == "words":
        column = ["early" if label else "late" for label in cases["label"]]
    else:
        column = [f"{1 + label + random.random():.4f}" for label in cases["label"]]
        column[3] = ""
    finding = _weigh(cases.assign(scan_extra=column), folds, scores)
    assert finding.tells_label
    assert check_metadata(finding).status == "fail"


def test_a_column_nothing_can_be_learnt_from_is_not_assessed() -> None:
    cases, folds, scores = _cohort(10, shortcut=0.0, effect=1.0)
    cases["scan_serial"] = [f"s-{n}" for n in range(PATIENTS)]
    finding = _weigh(cases, folds, scores)
    assert finding.unusable == ("scan_serial",)
    check = check_metadata(finding)
    assert check.status == "not-assessed"
    assert "share a value of serial" in check.finding
    assert not finding.rules_out


def test_combinations_of_columns_are_seen() -> None:
    """Neither column tells alone, both together tell all: a regression of columns is blind to that."""
    cases, folds, scores = _cohort(11, shortcut=0.0, effect=0.0)
    random = np.random.default_rng(0)
    first = random.random(PATIENTS) < 0.5
    cases = cases.assign(
        scan_vendor=np.where(first, "A", "B"),
        scan_coil=np.where(first == (cases["label"] == 1), "old", "new"),
        scan_matrix=random.choice(["x", "y", "z"], PATIENTS),
    )
    finding = _weigh(cases, folds, scores)
    assert finding.combined > 0.5
    assert finding.tells_label
    assert "combinations" in check_metadata(finding).finding


def test_columns_that_tell_alone_need_no_combinations() -> None:
    cases, folds, scores = _cohort(12, shortcut=0.6, effect=0.0)
    assert _weigh(cases, folds, scores).combined < 0.5


def test_circumstances_of_the_clinic_are_metadata() -> None:
    cases, _, _ = _cohort(13, shortcut=0.0, effect=0.0)
    clinic = pd.DataFrame(
        {"case_id": cases["case_id"], "indication": ["screening", "staging"] * (PATIENTS // 2), "age": "50"}
    )
    assert "indication" in metadata_columns(join_circumstances(cases, clinic))
    assert join_circumstances(cases, clinic.drop(columns="indication")) is cases
    assert join_circumstances(cases, None) is cases
