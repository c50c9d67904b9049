"""Whole studies on simulated hospitals: is a signal found, and is none called what it is?"""

import subprocess
import sys
from math import hypot
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from genovox.core.artifacts import read_json, read_table

pytestmark = pytest.mark.slow

GENOVOX = [sys.executable, "-c", "from genovox.cli.main import main; main()"]
SEEDS = (1, 2, 3)
PATIENTS = ["--patients", "150", "--prevalence", "0.4", "--sites", "3"]
CROP = ["--set", "preprocess.shape=[32, 32, 32]"]  # 48 mm around the mark
# Where nothing of the tumour has to be seen, coarser scans do, and take half the time.
COARSE = ["--matrix", "96"]
# The unenhanced scan shows the scanner more plainly than a difference of two scans does.
SCANNER_CROP = ["--set", 'preprocess.channels=["pre", "subtraction1"]']
COARSE_CROP = [*CROP, "--set", "preprocess.spacing_mm=[2.0, 2.0, 2.0]"]


def _simulate(out: Path, effect: str, seed: int, *more: str) -> Path:
    command = ["simulate", str(out), *PATIENTS, "--effect", effect, "--seed", str(seed), *more, "--quiet"]
    subprocess.run([*GENOVOX, *command], check=True)
    return out / "study.toml"


def _run(study: Path, crop: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Audit and the AUCs by model of a whole run."""
    subprocess.run([*GENOVOX, "run", str(study), *crop, "--quiet"], check=True)
    run = next((study.parent / "runs").iterdir())
    models = read_json(run / "evaluate" / "metrics.json")["models"]
    aucs = {name: block["cross_validation"]["metrics"]["roc_auc"] for name, block in models.items()}
    audit = read_json(run / "audit" / "audit.json")
    print(f"{study.parent.name}: {audit['headline']}; oracle {aucs['oracle']['estimate']:.2f}; {audit['verdict']}")
    return audit, aucs


def test_a_full_effect_is_found_by_three_studies_together(tmp_path: Path) -> None:
    """One study of 150 patients has too little power for its interval to leave chance out each time."""
    found = []
    for seed in SEEDS:
        _, aucs = _run(_simulate(tmp_path / f"full-{seed}", "full", seed), CROP)
        assert aucs["oracle"]["estimate"] > 0.75
        found.append(aucs["light"])
    halves = [(one["high"] - one["low"]) / 2 for one in found]
    assert fmean(one["estimate"] for one in found) - hypot(*halves) / len(SEEDS) > 0.5


def test_no_effect_is_reported_for_what_it_is(tmp_path: Path) -> None:
    verdicts = []
    for seed in SEEDS:
        audit, aucs = _run(_simulate(tmp_path / f"none-{seed}", "none", seed, *COARSE), COARSE_CROP)
        assert aucs["oracle"]["estimate"] == 0.5
        verdicts.append(audit["verdict"])
    assert sum(verdict != "signal" for verdict in verdicts) >= 2


@pytest.mark.parametrize("seed", SEEDS)
def test_a_scanner_that_tells_the_label_is_confounded(seed: int, tmp_path: Path) -> None:
    """Two archives, a class each, as in the study that started this."""
    two = ["--shortcut", "scanner", "--sites", "2"]
    study = _simulate(tmp_path / f"scanner-{seed}", "none", seed, *two, *COARSE)
    audit, aucs = _run(study, [*COARSE_CROP, *SCANNER_CROP])
    assert aucs["light"]["low"] > 0.5
    assert audit["verdict"] == "confounded"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_file_format_that_tells_the_label_is_refused(seed: int, tmp_path: Path) -> None:
    study = _simulate(tmp_path / f"format-{seed}", "none", seed, "--shortcut", "format", *COARSE)
    done = subprocess.run([*GENOVOX, "run", str(study), "--quiet"], capture_output=True, text=True, check=False)
    assert done.returncode == 4
    assert "exclusions: exclusion must not depend on the label" in done.stderr
    run = next((study.parent / "runs").iterdir())
    reasons = read_table(run / "cohort" / "exclusions.csv").query("rule == 'exam' and label == '1'")["reason"]
    assert reasons.str.contains("secondary capture in RGB").all()
    assert len(reasons) > 40
