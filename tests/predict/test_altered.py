"""What is taken away is gone, what stays is untouched, and nothing altered leaves the scores of a run as they were."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from genovox.core.artifacts import read_table
from genovox.core.study import Study
from genovox.dataset.cases import read_prepared_cases
from genovox.evaluate.predictions import gather_units, validate_predictions
from genovox.evaluate.scoring import within_fold_auc
from genovox.learning.checkpoint import NETWORK, save_network
from genovox.learning.loop import score_cases
from genovox.models.build import build_network
from genovox.predict import altered
from genovox.predict.altered import Alteration, remove_centre, remove_foreground, scramble_phases, shuffle_foreground
from tests.conftest import FinishedRun

RANDOM = np.random.default_rng(1)
VOLUME = RANDOM.normal(size=(3, 8, 8, 8)).astype(np.float32)
MASK = np.zeros((8, 8, 8), dtype=bool)
MASK[2:6, 2:6, 2:6] = True


def test_the_background_alone_is_left() -> None:
    found = remove_foreground(VOLUME, MASK, RANDOM)
    assert np.array_equal(found[:, ~MASK], VOLUME[:, ~MASK])
    for channel in range(3):
        assert np.unique(found[channel, MASK]) == pytest.approx(np.median(VOLUME[channel, ~MASK]))


def test_shuffled_voxels_keep_their_values_and_their_channels() -> None:
    found = shuffle_foreground(VOLUME, MASK, RANDOM)
    assert np.array_equal(found[:, ~MASK], VOLUME[:, ~MASK])
    assert not np.array_equal(found[:, MASK], VOLUME[:, MASK])
    assert {tuple(row) for row in found[:, MASK].T} == {tuple(row) for row in VOLUME[:, MASK].T}


def test_no_phase_stays_in_its_place() -> None:
    for seed in range(10):
        found = scramble_phases(VOLUME, MASK, np.random.default_rng(seed))
        assert all(not np.array_equal(found[channel], VOLUME[channel]) for channel in range(3))
        assert np.sort(found, axis=0) == pytest.approx(np.sort(VOLUME, axis=0))


def test_the_lesion_is_taken_out() -> None:
    found = remove_centre(VOLUME, MASK, RANDOM)
    assert np.array_equal(found[:, ~MASK], VOLUME[:, ~MASK])
    assert set(found[0, MASK].tolist()) <= set(VOLUME[0, ~MASK].tolist())


def _open(finished_run: FinishedRun) -> tuple[Study, pd.DataFrame]:
    table = read_table(finished_run.run / "train" / "predictions.csv")
    return Study.load(finished_run.study), validate_predictions(table, label_unit="patient")


SAME = Alteration("?", lambda volume, _mask, _random: volume, is_alarm=True, meaning="")


def test_nothing_altered_scores_as_the_run_did(finished_run: FinishedRun, monkeypatch: pytest.MonkeyPatch) -> None:
    study, table = _open(finished_run)
    monkeypatch.setattr(altered, "ALTERATIONS", {"input-same": SAME})
    tested = table[table["part"] == "test"]
    found = altered.score_altered(
        study, finished_run.run, tested, label_unit="patient", device="cpu", resamples=200, seed=1
    )["input-same"]
    assert not isinstance(found, str)
    assert found.estimate == pytest.approx(float(within_fold_auc(tested)[0]))


def test_cases_make_a_patients_score_as_the_study_says(
    finished_run: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, table = _open(finished_run)
    monkeypatch.setattr(altered, "ALTERATIONS", {"input-same": SAME})
    tested = table[(table["model"] == "light") & (table["part"] == "test")]
    # Two cases a patient: the first and the last of a class in a fold, and so on inwards.
    ordered = tested.sort_values("score").assign(place=lambda rows: rows.groupby(["fold", "label"]).cumcount())
    last = ordered.groupby(["fold", "label"])["place"].transform("max")
    pair = np.minimum(ordered["place"], last - ordered["place"])
    names = [
        f"{fold}-{label}-{number}" for fold, label, number in zip(ordered["fold"], ordered["label"], pair, strict=True)
    ]
    paired = ordered.assign(patient_id=names, cluster=pd.factorize(np.array(names))[0])
    aucs = {}
    for way in ("mean", "max"):
        own = study.model_copy(update={"evaluate": study.evaluate.model_copy(update={"patient_score": way})})
        found = altered.score_altered(
            own, finished_run.run, paired, label_unit="patient", device="cpu", resamples=200, seed=1
        )["input-same"]
        assert not isinstance(found, str)
        units = gather_units(paired, label_unit="patient", patient_score=way)
        assert found.estimate == pytest.approx(float(within_fold_auc(units)[0]))
        aucs[way] = found.estimate
    assert aucs["mean"] != aucs["max"]


def test_snapshots_score_too(finished_run: FinishedRun, tmp_path: Path) -> None:
    study, table = _open(finished_run)
    run = tmp_path / "run"
    shutil.copytree(finished_run.run, run)
    torch.manual_seed(3)
    snapshot = build_network("light", 3)
    fold = run / "train" / "light" / "repeat-0" / "fold-0"
    save_network(fold / "snapshot-2" / NETWORK, snapshot, name="light", channels=3)
    own = (table["model"] == "light") & (table["fold"] == "0") & (table["part"] == "test")
    rows, cases = table[own], read_prepared_cases(run)
    found = altered._Inputs(study, run, "cpu", 1, cases).score(rows, SAME.alter)
    other = score_cases(snapshot, [cases[case_id] for case_id in rows["case_id"]], "cpu", 8)
    assert found == pytest.approx(np.mean([rows["score"].to_numpy(), np.array(other)], axis=0), abs=1e-6)


def test_what_means_nothing_in_a_study_is_refused_with_the_reason(finished_run: FinishedRun) -> None:
    study, table = _open(finished_run)
    tested = table[table["part"] == "test"]
    found = altered.score_altered(
        study, finished_run.run, tested, label_unit="patient", device="cpu", resamples=200, seed=1
    )
    assert found["input-no-lesion"] == "the crops are not centred on lesions"
    assert not isinstance(found["input-phases"], str)
    one = study.model_copy(update={"preprocess": study.preprocess.model_copy(update={"channels": ("pre",)})})
    inputs = altered._Inputs(one, finished_run.run, "cpu", 1, {})
    assert "one channel" in inputs.refuse("input-phases", [])
