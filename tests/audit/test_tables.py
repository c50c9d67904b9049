"""The audit of a plain table: what it cannot see is not assessed; what it can is what a run would show."""

import numpy as np
import pandas as pd
import pytest

from genovox.audit.checks import GROUPS
from genovox.audit.leakage import check_leaks
from genovox.audit.tables import Audit, Evidence, Tables, audit_tables
from genovox.core.sections import AuditTable
from genovox.evaluate.evaluation import evaluate_predictions

PATIENTS = 80
RULES = AuditTable(permutations=200, refits=40)


def _predictions(seed: int, *, effect: float, models: tuple[str, ...] = ("light",)) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    label = np.arange(PATIENTS) % 2
    fold = np.arange(PATIENTS) // 2 % 4
    tables = []
    for model in models:
        score = 1 / (1 + np.exp(-(effect * label + random.normal(0, 1, PATIENTS))))
        for number in range(4):
            for part, chosen in (("test", fold == number), ("val", fold == (number + 1) % 4)):
                rows = np.flatnonzero(chosen)
                tables.append(
                    pd.DataFrame(
                        {
                            "case_id": [f"c{row:02d}" for row in rows],
                            "patient_id": [f"p{row:02d}" for row in rows],
                            "family_id": "",
                            "site": np.where(rows % 3 == 0, "north", "south"),
                            "model": model,
                            "repeat": 0,
                            "fold": str(number),
                            "part": part,
                            "label": label[rows],
                            "score": score[rows],
                        }
                    )
                )
    return pd.concat(tables, ignore_index=True)


def _gather(tables: Tables) -> Evidence:
    metrics = evaluate_predictions(tables.predictions, label_unit="patient", resamples=200, seed=1).metrics
    return Evidence.gather(tables, metrics, resamples=200, seed=1)


def _audit(tables: Tables) -> Audit:
    evidence = _gather(tables)
    leaks = check_leaks(tables.predictions, evidence.cases, folds=tables.folds, clinic=tables.clinic)
    return audit_tables(evidence, RULES, leaks=leaks)


def test_a_bare_table_passes_nothing_it_cannot_see() -> None:
    predictions = _predictions(1, effect=2.0).drop(columns=["family_id", "site"])
    content = _audit(Tables(predictions)).content
    status = {check["name"]: check["status"] for check in content["checks"]}
    assert status.pop("label-permutation") == "pass"
    # Validation rows are in the table, so this one can look.
    assert status.pop("validation-gap") == "pass"
    assert set(status.values()) == {"not-assessed"}
    assert content["verdict"] == "signal"
    assert (content["confounding"], content["beyond_clinical"]) == ("unknown", "unknown")


def test_cases_folds_clinic_and_features_are_used_where_they_are() -> None:
    predictions = _predictions(2, effect=2.0, models=("light", "radiomics"))
    ids = sorted(predictions["case_id"].unique())
    label = np.arange(PATIENTS) % 2
    random = np.random.default_rng(3)
    cases = predictions.drop_duplicates("case_id").sort_values("case_id")[
        ["case_id", "patient_id", "family_id", "site"]
    ]
    cases = cases.assign(
        label=[str(value) for value in label],
        scan_vendor=random.choice(["A", "B"], PATIENTS),
        scan_date="2019-01-01",
        fingerprint=ids,
    )
    plans = []
    for fold, rows in predictions[predictions["model"] == "light"].groupby("fold"):
        part = dict(zip(rows["case_id"], rows["part"], strict=True))
        who = cases[["case_id", "patient_id", "family_id"]]
        plans.append(who.assign(repeat="0", fold=fold, part=[part.get(case_id, "train") for case_id in ids]))
    clinic = pd.DataFrame(
        {"case_id": ids, "age": (50 - 8 * label + random.normal(0, 8, PATIENTS)).round(1).astype(str), "sex": "F"}
    )
    features = pd.DataFrame(random.normal(size=(PATIENTS, 3)) + label[:, None], index=pd.Index(ids)).rename(columns=str)
    exclusions = pd.DataFrame(columns=["level", "case_id", "patient_id", "stage", "rule", "reason", "label"])
    tables = Tables(predictions, cases, pd.concat(plans, ignore_index=True), clinic, exclusions, features)
    audit = _audit(tables)
    status = {check["name"]: check["status"] for check in audit.content["checks"]}
    assert status["fold-disjointness"] == status["duplicate-volumes"] == status["exclusions"] == "pass"
    assert status["beyond-clinical"] == "pass"
    assert status["pipeline-permutation"] == "pass"
    assert status["site-drop"] in ("pass", "warn")
    assert status["score-place"] != "not-assessed"
    assert status["beyond-radiomics"] != "not-assessed"
    assert audit.content["rules"]["retrained"]
    assert [addition["base"] for addition in audit.content["additions"]] == ["age", "radiomics"]
    assert "vendor" in " ".join(audit.associations["column"])


def test_every_check_stands_in_one_group() -> None:
    content = _audit(Tables(_predictions(1, effect=2.0))).content
    grouped = [name for names in GROUPS.values() for name in names]
    assert len(grouped) == len(set(grouped))
    assert {check["name"] for check in content["checks"]} <= set(grouped)


def test_a_fixed_part_alone_is_audited_with_folds_of_its_own_patients() -> None:
    predictions = _predictions(6, effect=2.0, models=("light", "radiomics"))
    fixed = predictions[predictions["part"] == "test"].assign(fold="fixed")
    random = np.random.default_rng(1)
    label = fixed.drop_duplicates("case_id")["label"].to_numpy()
    told = random.random(PATIENTS) < 0.3 + 0.4 * label
    cases = fixed.drop_duplicates("case_id")[["case_id", "patient_id", "family_id", "site", "label"]]
    evidence = _gather(Tables(fixed, cases.assign(scan_vendor=np.where(told, "A", "B"))))
    assert evidence.is_fixed
    plan = evidence.folds
    assert plan[plan["part"] == "test"]["case_id"].is_unique
    assert set(plan["fold"]) == set("01234")
    assert set(evidence.placed["fold"]) == set("01234")
    content = audit_tables(evidence, RULES, leaks=[]).content
    checks = {check["name"]: check for check in content["checks"]}
    assert checks["metadata-label"]["figure"] > 0.55
    assert checks["beyond-radiomics"]["status"] != "not-assessed"
    assert "fixed test part" in content["headline"]


def test_folds_that_leave_a_hospital_out_say_so() -> None:
    predictions = _predictions(4, effect=2.0)
    sites = {f"c{n:02d}": f"s{n // 2 % 4}" for n in range(PATIENTS)}
    predictions = predictions.assign(site=predictions["case_id"].map(sites))
    content = _audit(Tables(predictions)).content
    drop = next(check for check in content["checks"] if check["name"] == "site-drop")
    assert drop["status"] == "pass"
    assert "unseen hospitals" in drop["finding"]


@pytest.mark.parametrize(("scores", "verdict"), [("constant", "no-signal"), ("three patients", "underpowered")])
def test_odd_tables_give_an_answer(scores: str, verdict: str) -> None:
    predictions = _predictions(5, effect=1.0)
    if scores == "constant":
        predictions["score"] = 0.5
    else:
        predictions = predictions[predictions["case_id"].isin(["c00", "c01", "c02", "c03"])]
        predictions = predictions.assign(fold="0", part="test").drop_duplicates("case_id").iloc[:3]
    assert _audit(Tables(predictions)).content["verdict"] == verdict
