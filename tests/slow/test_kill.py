"""SIGKILL at random moments, then the same command: nothing lost, nothing changed."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from genovox.core.artifacts import read_json
from tests.conftest import write_study

pytestmark = pytest.mark.slow

GENOVOX = [sys.executable, "-c", "from genovox.cli.main import main; main()"]
SETTINGS = ["--set", "cohort.splits.repeats=2", "--set", "train.epochs=12", "--quiet"]


def _start(study: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([*GENOVOX, "run", str(study), *SETTINGS])


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The study's folder as it was before any run, and how long an undisturbed run takes; its result beside it."""
    folder = tmp_path_factory.mktemp("reference") / "study"
    study = write_study(folder, patients=24)
    shutil.copytree(folder, folder.with_name("undisturbed"))
    started = time.monotonic()
    assert _start(folder.with_name("undisturbed") / study.name).wait() == 0
    return folder, time.monotonic() - started


def _finished_folds(run: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in run.glob("train/*/*/*/fold.json")}


@pytest.mark.parametrize("part", [(0.1, 0.4), (0.4, 0.7), (0.7, 0.95)], ids=["early", "middle", "late"])
def test_a_killed_run_goes_on_and_gives_the_same_bytes(
    part: tuple[float, float], reference: tuple[Path, float], tmp_path: Path
) -> None:
    folder, duration = reference
    shutil.copytree(folder, tmp_path / "study")
    study, run = tmp_path / "study" / "study.toml", tmp_path / "study" / "runs" / "small"
    delay_s = duration * random.uniform(*part)
    process = _start(study)
    time.sleep(delay_s)
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert not alive, "a worker outlived its parent"
    kept = _finished_folds(run)
    print(f"killed after {delay_s:.1f} s of {duration:.1f} s, {len(kept)} folds finished")
    assert _start(study).wait() == 0
    after = _finished_folds(run)
    assert all(after[path] == stamp for path, stamp in kept.items())
    assert len(after) == 6
    undisturbed = folder.with_name("undisturbed") / "runs" / "small"
    for name in ("train/predictions.csv", "cohort/folds.csv", "evaluate/metrics.json", "audit/audit.json"):
        assert (run / name).read_bytes() == (undisturbed / name).read_bytes(), name
    assert set(read_json(run / "report" / "stage.json")) >= {"key", "versions"}
    assert not list(run.rglob("*.partial"))
