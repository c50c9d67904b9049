"""What is fitted is fitted on training patients, saved beside the weights, and applied whenever a case is read."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from genovox.core.artifacts import read_json, read_table
from genovox.core.errors import DataError
from genovox.core.sections import AugmentTable, PreprocessTable, TrainTable
from genovox.dataset.cases import PreparedCase, load_batch
from genovox.learning.checkpoint import load_network
from genovox.learning.loop import score_cases
from genovox.learning.resolution import Resolution
from genovox.learning.start import Start
from genovox.train.fitted import FITTED, attach_map, fit_map, load_map, save_map
from genovox.train.fold import train_fold
from genovox.train.plan import FoldTask
from genovox.volumes.nyul import learn_scale, measure_landmarks

NYUL = PreprocessTable(normalise="nyul", channels=("pre", "subtraction1", "washout"))


@pytest.fixture
def cases(tmp_path: Path) -> list[PreparedCase]:
    """Volumes of three channels on scales of their own, with their landmarks."""
    random, found = np.random.default_rng(0), []
    for number in range(6):
        volume = random.gamma(3, 40 * (number + 1), (3, 16, 16, 16)).astype(np.float32)
        path = tmp_path / f"{number}.npy"
        np.save(path, volume)
        found.append(PreparedCase(f"c{number}", f"p{number}", "", "", number % 2, "key", path))
        found[-1] = replace(found[-1], landmarks=measure_landmarks(volume[0]))
    return found


def test_only_training_cases_decide(cases: list[PreparedCase]) -> None:
    fitted = fit_map(cases[:4], NYUL)
    assert fitted is not None
    assert fitted.scale == learn_scale([case.landmarks for case in cases[:4]])
    assert fitted.scale != learn_scale([case.landmarks for case in cases])


def test_a_case_is_mapped_whenever_it_is_read(cases: list[PreparedCase]) -> None:
    fitted = fit_map(cases[:4], NYUL)
    assert fitted is not None
    raw, mapped = load_batch(cases), load_batch(attach_map(cases, fitted))
    for case, before, after in zip(cases, raw, mapped, strict=True):
        expected = fitted.scale.map_channels(before.numpy(), NYUL.channels, case.landmarks)
        np.testing.assert_array_equal(after.numpy(), expected)
    assert torch.equal(load_batch(attach_map(cases, None)), raw)
    spread = [float(volume[0].median()) for volume in mapped]
    assert max(spread) < 1.5 * min(spread)  # sixfold before


def test_the_map_is_kept_beside_the_weights(cases: list[PreparedCase], tmp_path: Path) -> None:
    fitted = fit_map(cases, NYUL)
    save_map(tmp_path, fitted)
    assert load_map(tmp_path, NYUL) == fitted
    assert load_map(tmp_path, PreprocessTable()) is None
    save_map(tmp_path, None)
    with pytest.raises(DataError, match=r"fitted\.json is missing"):
        load_map(tmp_path, NYUL)


def test_nothing_is_fitted_without_need_and_nothing_without_landmarks(cases: list[PreparedCase]) -> None:
    assert fit_map(cases, PreprocessTable()) is None
    with pytest.raises(DataError, match="has none of c0"):
        fit_map([replace(cases[0], landmarks=())], NYUL)


def test_a_fold_trains_and_scores_with_its_own_map(cases: list[PreparedCase], tmp_path: Path) -> None:
    task = FoldTask(
        model="light",
        repeat=0,
        fold="0",
        seed=1,
        folder=tmp_path / "fold",
        key="key",
        table=TrainTable(epochs=1, batch_size=2),
        preprocess=NYUL,
        augment=AugmentTable(preset="none"),
        resolution=Resolution("cpu", "32-true", 1, compile=False, torch=torch.__version__),
        start=Start("light"),
        columns=None,
        encoder_seed=1,
        features=None,
        training=tuple(cases[:4]),
        validation=tuple(cases[2:4]),
        test=tuple(cases[4:]),
        fixed_test=(),
    )
    train_fold(task)
    content = read_json(task.folder / FITTED)
    assert content["values"] == pytest.approx(learn_scale([case.landmarks for case in cases[:4]]).values)
    network = load_network(task.folder / "network.safetensors", name="light", channels=3)
    scores = score_cases(network, attach_map(task.test, load_map(task.folder, NYUL)), "cpu", 2)
    written = read_table(task.folder / "scores.csv")
    expected = written.loc[written["part"] == "test", "score"].astype(float)
    np.testing.assert_allclose(scores, expected, atol=1e-9)
    assert not np.allclose(score_cases(network, task.test, "cpu", 2), expected, atol=1e-6)
    train_fold(replace(task, preprocess=PreprocessTable(channels=NYUL.channels)))
    assert not (task.folder / FITTED).exists()
