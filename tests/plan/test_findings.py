"""What a run says is what its evaluation wrote."""

from dataclasses import replace
from pathlib import Path

import pytest

from genovox.core.artifacts import read_json
from genovox.core.errors import UsageError
from genovox.core.study import Study
from genovox.plan.findings import Findings, ask, read_findings

FOUND = Findings("light", 120, 36, 0.7, 0.6, 0.8, 0.6, 3)


def test_counts_and_headline_are_those_of_the_evaluation(tables_run: Path) -> None:
    findings = read_findings(Study.load_snapshot(tables_run), tables_run)
    block = read_json(tables_run / "evaluate" / "metrics.json")["models"]["clinical"]["cross_validation"]
    assert (findings.model, findings.patients, findings.positives, findings.models) == ("clinical", 72, 24, 1)
    assert findings.auc == block["metrics"]["roc_auc"]["estimate"]


def test_what_is_given_replaces_what_the_run_says() -> None:
    asked = ask(FOUND, auc=None, patients=None, parameters=4, models=None)
    assert (asked.prevalence, asked.auc, asked.patients, asked.models) == (0.3, 0.7, 120, 3)
    given = ask(FOUND, auc=0.8, patients=500, parameters=4, models=7)
    assert (given.auc, given.patients, given.models) == (0.8, 500, 7)


@pytest.mark.parametrize(
    ("changed", "assumed", "said"),
    [
        ({}, 0.7, "reached AUC 0.70 (0.60 to 0.80); the plan takes that for the truth"),
        ({"low": None}, 0.7, "reached AUC 0.70, without an interval"),
        ({"auc": 0.45}, 0.6, "the plan assumes 0.60, which would be useful"),
        ({"auc": 1.0}, 0.6, "the plan assumes 0.60"),
        ({"auc": None}, 0.6, "light has no AUC; the plan assumes 0.60"),
    ],
)
def test_a_headline_that_is_no_use_is_not_planned_with(
    changed: dict[str, float | None], assumed: float, said: str
) -> None:
    findings = replace(FOUND, **changed)  # type: ignore[arg-type]
    assert findings.assumed_auc == assumed
    assert said in findings.sentence


def test_a_run_that_is_not_evaluated_says_so(tables_run: Path, tmp_path: Path) -> None:
    study = Study.load_snapshot(tables_run)
    with pytest.raises(UsageError, match="no finished stage evaluate"):
        read_findings(study, tmp_path)
