"""The audit of a finished run."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from genovox.audit.stage import audit_run, check_inputs
from genovox.cli.main import run_command
from genovox.core.artifacts import read_json, read_table, write_table
from genovox.core.study import Study
from genovox.evaluate.schema import Metric
from tests.conftest import FinishedRun

NAMES = [
    "fold-disjointness",
    "study-disjointness",
    "duplicate-volumes",
    "near-duplicates",
    "same-person",
    "fitted-in-fold",
    "early-stopping",
    "test-threshold",
    "validation-gap",
    "model-choice",
    "metadata-label",
    "metadata-columns",
    "exclusions",
    "score-place",
    "features-place",
    "matched-pairs",
    "label-permutation",
    "input-background",
    "input-no-lesion",
    "input-shuffled",
    "input-phases",
    "site-drop",
    "earlier-image",
    "beyond-clinical",
    "beyond-radiomics",
]


def test_every_check_has_a_status_a_threshold_and_a_finding(finished_run: FinishedRun) -> None:
    audit = read_json(finished_run.run / "audit" / "audit.json")
    names = [check["name"] for check in audit["checks"]]
    assert [name for name in names if name != "like-permutation"] == NAMES
    for check in audit["checks"]:
        assert check["status"] in ("pass", "warn", "fail", "not-assessed")
        assert check["finding"]
        assert check["threshold"]
    assert audit["verdict"] in ("signal", "no-signal", "underpowered")
    assert audit["beyond_clinical"] == "unknown"
    assert audit["rules"]["permutation_p"] == 0.025
    assert "12 positive and 12 negative patients" in audit["headline"]
    assert list(read_table(finished_run.run / "audit" / "associations.csv").columns)[:2] == ["column", "test"]


def test_networks_are_trained_on_dealt_labels_and_kept_deals_are_not_trained_again(
    finished_run: FinishedRun, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(finished_run.study.parent, tmp_path / "study")
    run = tmp_path / "study" / "runs" / "small"
    command = ["audit", str(tmp_path / "study" / "study.toml"), "--workers", "1", "--quiet", "--leave-sites-out"]
    command += ["--permute-pipeline"]
    assert run_command([*command, "1"]) == 0
    deal = run / "audit" / "deals" / "0000"
    made = (deal / "retraining.json").stat().st_mtime_ns
    assert not list(deal.glob("*/*/*.safetensors"))
    assert run_command([*command, "2"]) == 0
    assert (deal / "retraining.json").stat().st_mtime_ns == made
    checks = {check["name"]: check for check in read_json(run / "audit" / "audit.json")["checks"]}
    assert "2 deals" in checks["pipeline-permutation"]["finding"]
    assert checks["pipeline-permutation"]["figure"] >= 1 / 3
    assert "fewer than two hospitals" in checks["site-drop"]["finding"]


def test_networks_are_trained_without_each_hospital(finished_run: FinishedRun, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_run.run, run)
    for table in ("cohort/cases.csv", "train/predictions.csv"):
        rows = read_table(run / table)
        number = rows["patient_id"].str.extract(r"(\d+)")[0].astype(int)
        write_table(run / table, rows.assign(site=np.where(number % 4 < 2, "north", "south")))
    study = Study.load(finished_run.study, ("audit.leave_sites_out=true",))
    checks = {check["name"]: check for check in audit_run(study, run, workers=1).content["checks"]}
    found = checks["site-drop"]
    assert found["status"] in ("pass", "warn", "fail")
    assert "within 2 hospitals" in found["finding"]
    assert "light trained anew, on 12 patients in place of 16" in found["finding"]
    assert not list((run / "audit" / "sites").glob("**/*.safetensors"))
    made = (run / "audit" / "sites" / "retraining.json").stat().st_mtime_ns
    place = checks["features-place"]
    assert place["status"] in ("pass", "warn")
    assert "3 folds' networks" in place["finding"]
    again = {check["name"]: check for check in audit_run(study, run, workers=1).content["checks"]}
    assert again["site-drop"] == found
    assert (run / "audit" / "sites" / "retraining.json").stat().st_mtime_ns == made


def test_what_is_left_of_the_score_is_judged() -> None:
    told = Metric(estimate=0.8, low=0.7, high=0.9, method="x")
    none = Metric(estimate=0.5, low=0.4, high=0.6, method="x")
    few = Metric(estimate=0.5, low=None, high=None, method="counts")
    found: dict[str, Metric | str] = {
        "input-background": told,
        "input-no-lesion": "no lesions",
        "input-shuffled": few,
        "input-phases": told,
    }
    checks = {check.name: check for check in check_inputs(found, 0.85)}
    assert checks["input-background"].status == "warn"
    assert "outside the breast" in checks["input-background"].finding
    assert checks["input-no-lesion"].status == "not-assessed"
    assert checks["input-shuffled"].status == "not-assessed"
    assert checks["input-phases"].status == "pass"
    assert {check.status for check in check_inputs({}, None)} == {"not-assessed"}
    assert check_inputs({"input-background": none}, None)[0].status == "pass"
