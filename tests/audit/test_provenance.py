"""Whom was it fitted on? Planted leaks are found, and what cannot be seen is no pass."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genovox.audit.provenance import (
    check_early_stopping,
    check_fitted,
    check_model_choice,
    check_test_threshold,
    check_validation_gap,
    read_histories,
)
from genovox.core.artifacts import read_table
from genovox.volumes.nyul import LANDMARK_NAMES, learn_scale
from tests.conftest import FinishedRun


def _predictions(seed: int = 0, *, val: float = 0.0, test: float = 0.0, count: int = 60) -> pd.DataFrame:
    """One fold: scores whose classes lie so many SDs apart."""
    random = np.random.default_rng(seed)
    rows = []
    for part, shift in (("val", val), ("test", test)):
        for number in range(count):
            score = 1 / (1 + np.exp(-random.normal(shift * (number % 2))))
            rows.append((f"{part}{number}", f"{part}{number}", "m", 0, "0", part, number % 2, score))
    return pd.DataFrame(rows, columns=["case_id", "patient_id", "model", "repeat", "fold", "part", "label", "score"])


@pytest.fixture
def copied_run(finished_run: FinishedRun, tmp_path: Path) -> Path:
    """The tables of a finished run, free to be changed."""
    for stage in ("cohort", "train"):
        shutil.copytree(finished_run.run / stage, tmp_path / stage)
    (tmp_path / "preprocess").mkdir()
    shutil.copy(finished_run.run / "preprocess" / "stage.json", tmp_path / "preprocess")
    return tmp_path


def _folds(run: Path) -> pd.DataFrame:
    return read_table(run / "cohort" / "folds.csv")


def test_a_finished_run_passes(copied_run: Path) -> None:
    assert check_fitted(copied_run, _folds(copied_run)).status == "pass"
    predictions = read_table(copied_run / "train" / "predictions.csv")
    check = check_early_stopping(predictions, read_histories(copied_run))
    assert check.status == "pass"
    assert "3 histories" in check.finding


def test_a_cohort_that_was_rebuilt_is_found(copied_run: Path) -> None:
    path = copied_run / "cohort" / "stage.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"key": "another"}))
    check = check_fitted(copied_run, _folds(copied_run))
    assert check.status == "fail"
    assert "trained on another cohort" in check.finding


def _write_map(run: Path, *, parts: tuple[str, ...]) -> None:
    """A map of one fold, learnt from the cases of some parts."""
    folds = _folds(run)
    random = np.random.default_rng(2)
    ids = sorted(folds["case_id"].unique())
    values = np.sort(random.gamma(2, 100, (len(ids), len(LANDMARK_NAMES))), axis=1)
    table = pd.DataFrame(values, columns=list(LANDMARK_NAMES))
    table.insert(0, "case_id", ids)
    table.to_csv(run / "preprocess" / "landmarks.csv", index=False)
    rows = (folds["repeat"] == "0") & (folds["fold"] == "0") & folds["part"].isin(parts)
    chosen = table[table["case_id"].isin(folds.loc[rows, "case_id"])][list(LANDMARK_NAMES)]
    scale = learn_scale([tuple(row) for row in chosen.to_numpy().tolist()])
    folder = run / "train" / "light" / "repeat-0" / "fold-0"
    (folder / "fitted.json").write_text(json.dumps(scale.as_dict()))


def test_a_map_of_the_training_patients_passes(copied_run: Path) -> None:
    _write_map(copied_run, parts=("train",))
    check = check_fitted(copied_run, _folds(copied_run))
    assert check.status == "pass"
    assert "1 intensity map learnt again came out equal" in check.finding


def test_a_map_that_saw_test_patients_is_found(copied_run: Path) -> None:
    _write_map(copied_run, parts=("train", "test"))
    assert "light/repeat-0/fold-0" in check_fitted(copied_run, _folds(copied_run)).finding


def test_a_damaged_map_is_found(copied_run: Path) -> None:
    _write_map(copied_run, parts=("train",))
    (copied_run / "train" / "light" / "repeat-0" / "fold-0" / "fitted.json").write_text("{")
    assert check_fitted(copied_run, _folds(copied_run)).status == "fail"


@pytest.mark.parametrize(("patient", "transductive", "status"), [("new", False, "pass"), ("new", True, "warn")])
def test_pretraining(copied_run: Path, patient: str, transductive: bool, status: str) -> None:
    (copied_run / "pretrain").mkdir()
    (copied_run / "pretrain" / "pretrain.json").write_text(json.dumps({"transductive": transductive}))
    pd.DataFrame({"case_id": ["u"], "patient_id": [patient], "family_id": [""]}).to_csv(
        copied_run / "cohort" / "untested.csv", index=False
    )
    folds = _folds(copied_run)
    assert check_fitted(copied_run, folds).status == status
    folds.loc[0, "patient_id"] = patient
    assert "pretrained on 1 case of" in check_fitted(copied_run, folds).finding


@pytest.mark.parametrize(
    ("labelled", "transductive", "is_known", "status"),
    [(0, False, True, "pass"), (3, False, True, "fail"), (0, True, True, "warn"), (0, False, False, "not-assessed")],
)
def test_weights_that_networks_start_from(
    copied_run: Path, labelled: int, transductive: bool, is_known: bool, status: str
) -> None:
    report = {"labelled_patients": labelled, "transductive": transductive, "is_known": is_known}
    (copied_run / "train" / "light" / "weights.json").write_text(json.dumps(report))
    check = check_fitted(copied_run, _folds(copied_run))
    assert check.status == status
    assert status != "fail" or "learnt from the labels of 3 tested patients" in check.finding


def test_a_table_of_another_tool_is_not_assessed() -> None:
    assert check_fitted(None, None).status == "not-assessed"
    assert check_early_stopping(_predictions()).status == "not-assessed"
    assert check_early_stopping(_predictions().query("part == 'test'")).status == "not-assessed"
    assert check_test_threshold(_predictions()).status == "not-assessed"
    assert check_validation_gap(_predictions().query("part == 'test'")).status == "not-assessed"


def test_validation_on_test_patients_is_found() -> None:
    table = _predictions()
    table["patient_id"] = table["patient_id"].str.replace("val", "test")
    check = check_early_stopping(table)
    assert (check.status, check.figure) == ("fail", 60)


@pytest.mark.parametrize(
    ("losses", "kept", "status"), [((3, 1, 2), 1, "pass"), ((3, 1, 2), 2, "pass"), ((3, 2, 1), 1, "fail")]
)
def test_the_kept_epoch_is_the_best_or_the_last(losses: tuple[int, ...], kept: int, status: str) -> None:
    history = pd.DataFrame({"epoch": [1, 2, 3], "validation_loss": losses, "best": ["True", "False", "False"]})
    history["best"] = [str(number in {0, kept}) for number in range(3)]
    assert check_early_stopping(_predictions(), {"m": history}).status == status


def test_a_history_without_a_kept_epoch_says_nothing() -> None:
    history = pd.DataFrame({"epoch": [1], "validation_loss": [1.0], "best": ["False"]})
    assert check_early_stopping(_predictions(), {"m": history}).status == "pass"


@pytest.mark.parametrize(("part", "status"), [("test", "warn"), ("val", "pass")])
def test_a_threshold_that_suits_the_test_best_is_found(part: str, status: str) -> None:
    table = _predictions(1, val=1, test=1)
    chosen = table[table["part"] == part]
    cuts = chosen["score"].to_numpy()
    positive = chosen["label"] == 1
    youden = [(chosen["score"][positive] >= cut).mean() - (chosen["score"][~positive] >= cut).mean() for cut in cuts]
    assert check_test_threshold(table.assign(threshold=cuts[int(np.argmax(youden))])).status == status


def test_thresholds_of_one_class_say_nothing() -> None:
    table = _predictions().query("label == 1").assign(threshold=0.5)
    assert check_test_threshold(table).status == "not-assessed"


@pytest.mark.parametrize(("val", "status"), [(5.0, "warn"), (0.3, "pass")])
def test_validation_patients_that_were_learnt_from_are_found(val: float, status: str) -> None:
    check = check_validation_gap(_predictions(3, val=val, test=0.2))
    assert check.status == status
    assert check.low is not None
    assert check.high is not None
    assert check.low < check.high


def test_the_best_of_many_is_named_unless_it_was_declared() -> None:
    many = pd.concat([_predictions(seed, test=seed).assign(model=f"m{seed}") for seed in range(3)])
    check = check_model_choice(many, is_declared=False)
    assert (check.status, check.figure) == ("warn", 3)
    assert "the best is m2" in check.finding
    assert check_model_choice(many, is_declared=True).status == "pass"
    assert check_model_choice(_predictions(), is_declared=False).status == "not-assessed"


def test_models_without_an_auc_are_still_many() -> None:
    one_class = pd.concat([_predictions().assign(model=name, label=1) for name in "ab"])
    assert "AUC" not in check_model_choice(one_class, is_declared=False).finding


def test_a_perfect_score_leaves_no_room_for_a_gap() -> None:
    check = check_validation_gap(_predictions(val=40, test=40))
    assert check.status == "not-assessed"
    assert "leaves no room" in check.finding


def test_a_threshold_that_is_a_test_score_to_the_digit_is_seen_though_it_suits_validation_too() -> None:
    scores = _predictions(val=8, test=8)
    lowest = {
        part: scores[(scores["part"] == part) & (scores["label"] == 1)]["score"].min() for part in ("val", "test")
    }
    assert check_test_threshold(scores.assign(threshold=lowest["test"])).status == "warn"
    between = (lowest["val"] + lowest["test"]) / 2
    assert check_test_threshold(scores.assign(threshold=min(between, *lowest.values()) - 1e-9)).status == "pass"


def test_a_threshold_taken_from_scores_of_single_precision_is_known_again(tmp_path: Path) -> None:
    scores = _predictions(val=8, test=8).astype({"score": np.float32})
    lowest = scores[(scores["part"] == "test") & (scores["label"] == 1)]["score"].min()
    scores.assign(threshold=np.float64(lowest)).to_csv(tmp_path / "predictions.csv", index=False)
    written = pd.read_csv(tmp_path / "predictions.csv")
    assert not (written["score"] == written["threshold"]).any()
    assert check_test_threshold(written).status == "warn"
