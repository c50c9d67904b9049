"""One small finished run, made once, that many tests read."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from examples.shapes import write_scans

from genovox.cli.main import run_command

STUDY = """[study]
name = "small"
seed = 3
[cohort]
images = "manifest.csv"
labels = "labels.csv"
[cohort.splits]
folds = 3
[preprocess]
spacing_mm = [4.0, 4.0, 4.0]
shape = [24, 24, 24]
channels = ["pre", "subtraction1", "washout"]
[train]
models = ["light"]
epochs = 2
[evaluate]
resamples = 200
[audit]
permutations = 200
[explain]
cases_per_group = 1
"""


@dataclass(frozen=True)
class FinishedRun:
    """A study on disk whose every stage is done."""

    study: Path
    run: Path


def write_study(folder: Path, *, patients: int = 24) -> Path:
    """Write scans, manifest, labels and a study that fits a test."""
    scans = write_scans(folder, patients=patients, seed=3)
    assert run_command(["init", str(scans), "--labels", str(folder / "labels.csv"), "--out", str(folder)]) == 0
    study = folder / "study.toml"
    study.write_text(STUDY, encoding="utf-8")
    return study


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A study of 24 patients, run from scans to report; read only."""
    study = write_study(tmp_path_factory.mktemp("finished"))
    assert run_command(["run", str(study), "--workers", "1", "--quiet"]) == 0
    return FinishedRun(study, study.parent / "runs" / "small")
