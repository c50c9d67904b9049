"""The ten mistakes, made again: each is named by a check, refused by genovox, or shown beside the honest figure."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from genovox.audit.associations import check_columns, compare_columns
from genovox.audit.checks import Check
from genovox.audit.confounding import metadata_columns
from genovox.audit.leakage import check_leaks
from genovox.core.artifacts import read_json, read_table
from genovox.core.errors import DataError
from genovox.models.build import build_network
from genovox.models.fitting import fit_weights

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "ten-mistakes"
NAIVE = EXAMPLE / "naive.py"
SMALL = (
    "--set=preprocess.shape=[24, 24, 24]",
    "--set=preprocess.spacing_mm=[3.0, 3.0, 3.0]",
    "--set=train.epochs=15",
)


def _simulate(out: Path, kind: str) -> Path:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(["sh", str(EXAMPLE / "make_cohort.sh"), str(out), kind], check=True, env=os.environ | {"PATH": path})
    return out


def _genovox(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "genovox", *command, "--quiet"], check=False, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _simulate(tmp_path_factory.mktemp("ten") / "cohort", "format")


@pytest.fixture(scope="module")
def naive(cohort: Path) -> Path:
    """What the naive study writes."""
    subprocess.run([sys.executable, str(NAIVE), str(cohort), str(cohort.parent / "naive")], check=True)
    return cohort.parent / "naive"


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """genovox's own run of the same patients, as their scanners wrote them."""
    originals = _simulate(tmp_path_factory.mktemp("originals") / "originals", "originals")
    done = _genovox("run", str(originals / "study.toml"), *SMALL)
    assert done.returncode == 0, done.stderr
    return next((originals / "runs").iterdir())


@pytest.fixture(scope="module")
def checks(naive: Path) -> dict[str, Check]:
    predictions, cases, folds = (
        pd.read_csv(naive / f"{name}.csv", dtype={"fold": str}) for name in ("predictions", "cases", "folds")
    )
    table = compare_columns(cases, metadata_columns(cases), unit="patient_id")
    return {check.name: check for check in [*check_leaks(predictions, cases, folds=folds), check_columns(table)]}


def test_the_naive_figure_is_perfect_and_its_interval_a_point(naive: Path) -> None:
    report = read_json(naive / "reported.json")
    assert report["auc"] > 0.95
    assert report["high"] - report["low"] < 0.02


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [
        ("metadata-columns", "warn", "format"),
        ("fold-disjointness", "fail", "such as SIM-"),
        ("early-stopping", "fail", "validated on and tested"),
        ("test-threshold", "warn", "best there is for the test scores"),
        ("model-choice", "warn", "9 models"),
        ("validation-gap", "not-assessed", "no room"),
        ("fitted-in-fold", "not-assessed", "not in the table"),
    ],
)
def test_what_a_table_shows_is_named(checks: dict[str, Check], name: str, status: str, said: str) -> None:
    assert checks[name].status == status
    assert said in checks[name].finding


def test_genovox_refuses_the_cohort_of_two_formats_and_says_who_would_be_lost(cohort: Path) -> None:
    done = _genovox("run", str(cohort / "study.toml"))
    assert done.returncode != 0
    assert "exclusions: exclusion must not depend on the label" in done.stderr
    assert (read_table(next((cohort / "runs").iterdir()) / "cohort" / "exclusions.csv")["reason"] != "").all()


def test_weights_that_hardly_fit_are_refused() -> None:
    wrong = {"0.weight": torch.zeros(4, 1, 3, 3, 3), "stem.bias": torch.zeros(4)}
    with pytest.raises(DataError, match="95%"):
        fit_weights(build_network("light", 1), wrong)


def test_the_honest_study_finds_nothing_in_the_same_patients(honest: Path) -> None:
    audit = read_json(honest / "audit" / "audit.json")
    auc = read_json(honest / "evaluate" / "metrics.json")["models"]["light"]["cross_validation"]["metrics"]["roc_auc"]
    print(audit["headline"], audit["verdict"])
    assert auc["low"] < 0.5 < auc["high"]
    assert auc["high"] - auc["low"] > 0.1
    assert audit["verdict"] != "signal"
    found = {check["name"]: check["status"] for check in audit["checks"]}
    leaks = ("fold-disjointness", "near-duplicates", "fitted-in-fold", "early-stopping", "model-choice")
    assert {name: found[name] for name in leaks} == dict.fromkeys(leaks, "pass")


def test_a_run_can_be_made_again_and_its_maps_are_measured(honest: Path) -> None:
    assert read_json(honest / "train" / "stage.json")["seed"] == 7
    shown = read_json(honest / "explain" / "summary.json")["cases"]
    assert {case["answer"] for case in shown} == {0, 1}
    assert all(0 <= case["foreground_share"] <= 1 for case in shown)
    pictures = [(honest / "explain" / case["case_id"] / "gradcam.png").read_bytes() for case in shown]
    assert len(set(pictures)) == len(pictures)
