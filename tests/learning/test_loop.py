"""The loop learns, stops, and repeats itself exactly."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from genovox.core.errors import DataError
from genovox.core.sections import AugmentTable, TrainTable
from genovox.dataset.cases import PreparedCase
from genovox.learning.journal import EpochRecord
from genovox.learning.loop import TrainedNetwork, score_cases, train_network
from genovox.learning.resolution import Resolution
from genovox.models.build import build_network

RESOLUTION = Resolution("cpu", "32-true", 1, compile=False, torch=torch.__version__)
DEVICES = ("cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")))


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[PreparedCase]:
    """Bright balls for carriers, dark ones for the others, in noise."""
    folder = tmp_path_factory.mktemp("balls")
    random = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(16)] * 3, indexing="ij")) - 7.5
    ball = (grid**2).sum(0) < 16
    found = []
    for number in range(32):
        volume = random.normal(0, 1, (1, 16, 16, 16)) + (1 if number % 2 else -1) * ball
        np.save(folder / f"{number}.npy", volume.astype(np.float32))
        found.append(PreparedCase(f"c{number}", f"p{number}", "", "", number % 2, "key", folder / f"{number}.npy"))
    return found


def _train(
    cases: list[PreparedCase],
    table: TrainTable,
    seed: int = 1,
    *,
    mix: str = "none",
    precision: str = "32-true",
    device: str = "cpu",
    preset: str = "none",
) -> TrainedNetwork:
    torch.manual_seed(seed)
    return train_network(
        build_network("light", 1),
        training=cases[:20],
        validation=cases[20:],
        table=table,
        augment=AugmentTable.model_validate({"preset": preset, "mix": mix}),
        resolution=replace(RESOLUTION, precision=precision, device=device),  # type: ignore[arg-type]
        seed=seed,
    )


@pytest.mark.parametrize("device", DEVICES)
def test_learns_what_can_be_learnt(cases: list[PreparedCase], device: str) -> None:
    trained = _train(cases, TrainTable(epochs=12, batch_size=4, learning_rate=3e-3, warmup_epochs=1), device=device)
    scores = score_cases(trained.network, cases[20:], device, 4)
    assert min(scores[1::2]) > max(scores[::2])
    assert trained.history[-1].training_loss < trained.history[0].training_loss
    # Many networks of a fold are kept until all are trained.
    assert all(parameter.grad is None for parameter in trained.network.parameters())


@pytest.mark.parametrize("device", DEVICES)
def test_same_seed_same_weights_other_seed_others(cases: list[PreparedCase], device: str) -> None:
    table = TrainTable(epochs=2, batch_size=8)
    first, again, other = (_train(cases, table, seed, preset="isotropic", device=device) for seed in (1, 1, 2))
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name])
    assert score_cases(first.network, cases, device, 8) != score_cases(other.network, cases, device, 8)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_trains_as_the_cpu_does(cases: list[PreparedCase], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genovox.models.light.DROPOUT", 0.0)  # each device drops other values
    table = TrainTable(epochs=3, batch_size=4)
    one, other = (_train(cases, table, device=device) for device in ("cpu", "cuda"))
    for here, there in zip(one.history, other.history, strict=True):
        assert there.validation_loss == pytest.approx(here.validation_loss, abs=2e-3)


def test_keeps_the_epoch_with_the_lowest_validation_loss_and_stops(cases: list[PreparedCase]) -> None:
    # A rate this high unlearns: the kept weights must be the best epoch's, not the last one's.
    table = TrainTable(epochs=30, batch_size=4, learning_rate=0.05, warmup_epochs=0, patience=2, keep="best")
    trained = _train(cases, table)
    losses = [record.validation_loss for record in trained.history]
    assert trained.best.validation_loss == min(losses)
    assert len(losses) < 30
    assert len(losses) == trained.best.epoch + table.patience
    scores = torch.tensor(score_cases(trained.network, cases[20:], "cpu", 4), dtype=torch.float64)
    labels = torch.tensor([float(case.label) for case in cases[20:]], dtype=torch.float64)
    # 10 of 20 training cases are positive, so both classes weigh 1.
    measured = torch.nn.functional.binary_cross_entropy(scores, labels).item()
    assert measured == pytest.approx(min(losses), rel=1e-4)


def test_the_last_epoch_is_kept_where_the_study_says_so(cases: list[PreparedCase]) -> None:
    table = TrainTable(epochs=6, batch_size=4, learning_rate=0.05, warmup_epochs=0, patience=1, keep="last")
    trained = _train(cases, table)
    assert [record.epoch for record in trained.history] == [1, 2, 3, 4, 5, 6]
    assert trained.best.epoch == 6
    scores = torch.tensor(score_cases(trained.network, cases[20:], "cpu", 4), dtype=torch.float64)
    labels = torch.tensor([float(case.label) for case in cases[20:]], dtype=torch.float64)
    measured = torch.nn.functional.binary_cross_entropy(scores, labels).item()
    assert measured == pytest.approx(trained.history[-1].validation_loss, rel=1e-4)


@pytest.mark.parametrize("device", DEVICES)
def test_a_loss_that_explodes_is_one_clear_error(cases: list[PreparedCase], tmp_path: Path, device: str) -> None:
    np.save(tmp_path / "huge.npy", np.full((1, 16, 16, 16), np.inf, np.float32))
    broken = PreparedCase("huge", "p", "", "", 1, "key", tmp_path / "huge.npy")
    with pytest.raises(DataError, match="must stay finite, it did not in the batch of"):
        _train([*cases[:5], broken, *cases[6:]], TrainTable(epochs=1, batch_size=4), device=device)


def test_scores_do_not_depend_on_company(cases: list[PreparedCase]) -> None:
    trained = _train(cases, TrainTable(epochs=1, batch_size=8))
    together = score_cases(trained.network, cases, "cpu", 8)
    alone = [score_cases(trained.network, [case], "cpu", 8)[0] for case in cases]
    np.testing.assert_allclose(together, alone, atol=1e-6)


@pytest.mark.parametrize("mix", ["mixup", "cutmix"])
def test_mixed_cases_teach_too(cases: list[PreparedCase], mix: str) -> None:
    table = TrainTable(epochs=12, batch_size=4, learning_rate=3e-3, warmup_epochs=1)
    trained = _train(cases, table, mix=mix)
    scores = score_cases(trained.network, cases[20:], "cpu", 4)
    assert np.mean(scores[1::2]) > np.mean(scores[::2]) + 0.3
    plain = _train(cases, table)
    assert [record.training_loss for record in trained.history] != [record.training_loss for record in plain.history]


@pytest.mark.parametrize(
    "settings",
    [
        {"schedule": "one-cycle"},
        {"schedule": "plateau"},
        {"loss": "focal"},
        {"loss": "plain", "label_smoothing": 0.1},
        {"average": 0.9, "keep": "last"},
        {"accumulate": 2, "batch_size": 2},
        {"layer_decay": 0.7},
    ],
    ids=str,
)
def test_every_way_to_train_learns_and_repeats_itself(cases: list[PreparedCase], settings: dict[str, object]) -> None:
    table = TrainTable.model_validate(
        {"epochs": 12, "batch_size": 4, "learning_rate": 3e-3, "warmup_epochs": 1} | settings
    )
    scores, again = (score_cases(_train(cases, table).network, cases[20:], "cpu", 4) for _ in range(2))
    assert np.mean(scores[1::2]) > np.mean(scores[::2]) + 0.3
    assert scores == again
    plain = TrainTable(epochs=12, batch_size=4, learning_rate=3e-3, warmup_epochs=1)
    assert scores != score_cases(_train(cases, plain).network, cases[20:], "cpu", 4)


def test_bf16_learns_too(cases: list[PreparedCase]) -> None:
    table = TrainTable(epochs=12, batch_size=4, learning_rate=3e-3, warmup_epochs=1)
    scores = score_cases(_train(cases, table, precision="bf16-mixed").network, cases[20:], "cpu", 4)
    assert np.mean(scores[1::2]) > np.mean(scores[::2]) + 0.3


def test_accumulated_batches_step_as_one_large_batch_does(cases: list[PreparedCase]) -> None:
    """Group norm and no dropout in the way: the first step's gradient is the same."""

    def step(batch_size: int, accumulate: int) -> torch.Tensor:
        torch.manual_seed(0)
        network = build_network("light", 1)
        network.dropout.p = 0.0  # type: ignore[union-attr]
        table = TrainTable(epochs=1, batch_size=batch_size, accumulate=accumulate, warmup_epochs=0)
        train_network(
            network,
            training=cases[:16],
            validation=cases[20:],
            table=table,
            augment=AugmentTable(preset="none"),
            resolution=RESOLUTION,
            seed=1,
        )
        return torch.cat([parameter.flatten() for parameter in network.parameters()])

    torch.testing.assert_close(step(4, 4), step(16, 1), rtol=1e-3, atol=1e-5)


def test_a_fault_after_good_epochs_keeps_the_best_of_them(cases: list[PreparedCase], tmp_path: Path) -> None:
    np.save(tmp_path / "late.npy", np.load(cases[3].volume))
    late = replace(cases[3], case_id="late", volume=tmp_path / "late.npy")
    records: list[EpochRecord] = []

    def spoil(record: EpochRecord) -> None:
        records.append(record)
        if record.epoch == 3:
            np.save(tmp_path / "late.npy", np.full((1, 16, 16, 16), np.nan, np.float32))

    trained = train_network(
        build_network("light", 1),
        training=[*cases[:3], late, *cases[4:20]],
        validation=cases[20:],
        table=TrainTable(epochs=9, batch_size=4),
        augment=AugmentTable(preset="none"),
        resolution=RESOLUTION,
        seed=1,
        follow=spoil,
    )
    assert records == trained.history
    assert len(records) == 3
    assert trained.stopped.startswith("stopped in epoch 4: the loss must stay finite")
    assert "late" in trained.stopped
    assert trained.stopped.count(",") <= 4 + 1  # a batch is named, not the cohort
    assert all(np.isfinite(score_cases(trained.network, cases[20:], "cpu", 4)))


def test_a_mirrored_case_scores_as_the_case_with_flips(cases: list[PreparedCase], tmp_path: Path) -> None:
    trained = _train(cases, TrainTable(epochs=1, batch_size=8))
    np.save(tmp_path / "mirrored.npy", np.load(cases[0].volume)[..., ::-1])
    mirrored = replace(cases[0], volume=tmp_path / "mirrored.npy")
    plain = score_cases(trained.network, [cases[0], mirrored], "cpu", 8)
    flipped = score_cases(trained.network, [cases[0], mirrored], "cpu", 8, flips=True)
    assert plain[0] != plain[1]
    assert flipped[0] == pytest.approx(np.mean(plain), abs=1e-7)
    assert flipped[0] == pytest.approx(flipped[1], abs=1e-7)


def test_a_training_says_nothing_of_its_own(cases: list[PreparedCase], capfd: pytest.CaptureFixture[str]) -> None:
    _train(cases, TrainTable(epochs=1, batch_size=8), precision="bf16-mixed")
    assert capfd.readouterr().err == ""
