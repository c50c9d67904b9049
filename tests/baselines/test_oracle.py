"""The oracle: what was drawn is the score, and it is never missing in silence."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from genovox.baselines.oracle import score_oracle
from genovox.core.artifacts import read_table
from genovox.core.errors import DataError, StudyError, TableError
from genovox.core.study import Study
from genovox.train import crossval
from tests.conftest import FinishedRun

KEYS = ["case_id", "patient_id", "family_id", "site", "repeat", "fold", "part", "label"]
PREDICTIONS = pd.DataFrame(
    {
        "case_id": ["a", "b", "a", "b"],
        "patient_id": ["p", "q", "p", "q"],
        "model": ["light", "light", "resnet10", "resnet10"],
        "seed": [5, 5, 6, 6],
        "label": [1, 0, 1, 0],
        "score": [0.5, 0.5, 0.6, 0.6],
    }
)


def _study(folder: Path, truth: str) -> Study:
    (folder / "study.toml").write_text('[cohort]\nimages = "dicom"\n[train]\nmodels = ["light", "oracle"]\n')
    (folder / "truth.csv").write_text(truth)
    return Study.load(folder / "study.toml")


def test_every_row_of_the_network_has_the_oracles_score(finished_archive_run: FinishedRun) -> None:
    predictions = read_table(finished_archive_run.run / "train" / "predictions.csv")
    oracle, network = (predictions[predictions["model"] == model] for model in ("oracle", "light"))
    assert len(oracle) == len(network) > 8
    pd.testing.assert_frame_equal(oracle[KEYS].reset_index(drop=True), network[KEYS].reset_index(drop=True))
    truth = read_table(finished_archive_run.study.parent / "truth.csv").set_index("patient_id")
    expected = truth.loc[oracle["patient_id"], "oracle"].astype(float).tolist()
    assert oracle["score"].astype(float).tolist() == pytest.approx(expected)
    assert (truth.loc[oracle["patient_id"], "label"].to_numpy() == oracle["label"].to_numpy()).all()
    assert set(oracle["seed"]) == {"0"}


def test_the_oracle_scores_once_however_many_networks(tmp_path: Path) -> None:
    rows = score_oracle(_study(tmp_path, "patient_id,oracle\np,0.9\nq,0\nz,2\n"), PREDICTIONS)
    assert rows[["case_id", "model", "seed", "score"]].to_numpy().tolist() == [
        ["a", "oracle", 0, 0.9],
        ["b", "oracle", 0, 0.0],
    ]
    assert PREDICTIONS["score"].tolist() == [0.5, 0.5, 0.6, 0.6]


@pytest.mark.parametrize("row", ["", "q,", "q,1.01", "q,-0.1", "q,high", "q,nan"])
def test_a_patient_without_a_score_is_named(tmp_path: Path, row: str) -> None:
    study = _study(tmp_path, f"patient_id,oracle\np,0.9\n{row}\n")
    with pytest.raises(
        TableError, match=r"truth.csv has none for q; leave oracle out of train.models unless the cohor"
    ):
        score_oracle(study, PREDICTIONS)


def test_without_truth_there_is_no_oracle(finished_archive_run: FinishedRun, tmp_path: Path) -> None:
    shutil.copytree(finished_archive_run.run, tmp_path / "run")
    study = _study(tmp_path, "patient_id,oracle\n")
    (tmp_path / "truth.csv").unlink()
    with pytest.raises(DataError, match=r"truth.csv cannot be read"):
        crossval.open_stage(study, tmp_path / "run", "cpu")


def test_another_truth_makes_the_stage_stale(finished_archive_run: FinishedRun, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished_archive_run.run, run)
    shutil.copy(finished_archive_run.study.parent / "truth.csv", tmp_path / "truth.csv")
    study = Study.load_snapshot(finished_archive_run.run).model_copy(update={"root": tmp_path})
    assert crossval.open_stage(study, run, "recorded").is_current()
    (tmp_path / "truth.csv").write_text((tmp_path / "truth.csv").read_text() + "z,,,,\n")
    assert crossval.open_stage(study, run, "recorded").describe_change() == "truth.csv changed"


def test_the_oracle_leads_no_study(tmp_path: Path) -> None:
    _study(tmp_path, "")
    with pytest.raises(StudyError, match=r"put one that learns first, such as \[\"light\", \"oracle\"\]"):
        Study.load(tmp_path / "study.toml", ('train.models=["oracle","light"]',))
