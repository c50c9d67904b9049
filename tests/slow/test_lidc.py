"""Real volumes of real patients with a known answer: the diameter alone scores AUC 0.905."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.lidc import write_study
from genovox.core.artifacts import read_json, read_table
from tests.slow.memory import watch_memory

pytestmark = [pytest.mark.slow, pytest.mark.real_data]

GENOVOX = [sys.executable, "-c", "from genovox.cli.main import main; main()"]
MINUTES = 15
GIGABYTES = 3.0


def _run_and_watch(arguments: list[str]) -> tuple[int, float, float]:
    """Exit code, minutes and the largest memory of the whole process tree in GB (shared pages counted once)."""
    started = time.monotonic()
    process = psutil.Popen([*GENOVOX, *arguments])
    gigabytes = watch_memory(process, every_s=1)
    return process.returncode, (time.monotonic() - started) / 60, gigabytes


def test_light_reaches_088_in_a_quarter_of_an_hour(real_data: Path, tmp_path: Path) -> None:
    study = write_study(real_data / "lidc", tmp_path)
    code, minutes, gigabytes = _run_and_watch(["run", str(study)])
    assert code == 0
    run = tmp_path / "runs" / "lidc"
    block = read_json(run / "evaluate" / "metrics.json")["models"]["light"]["cross_validation"]
    auc = block["metrics"]["roc_auc"]
    print(f"AUC {auc['estimate']:.3f} ({auc['low']:.3f} to {auc['high']:.3f}), {minutes:.1f} min, {gigabytes:.2f} GB")
    assert auc["estimate"] >= 0.88
    assert minutes < MINUTES
    assert gigabytes < GIGABYTES
    predictions = read_table(run / "train" / "predictions.csv")
    tested = predictions[predictions["part"] == "test"]
    assert (tested.groupby("patient_id")["fold"].nunique() == 1).all()
    assert len(tested) == tested["case_id"].nunique() == 1185
    exclusions = read_table(run / "cohort" / "exclusions.csv")
    reasons = exclusions["reason"].value_counts().to_dict()
    assert sum(reasons.values()) == 2662 - 1185
    assert set(reasons) == {
        "label empty: fewer than 3 readers",
        "label empty: the readers' vote is equal (label -1)",
    }
    subprocess.run([*GENOVOX, "run", str(study), "--dry-run"], check=True)
