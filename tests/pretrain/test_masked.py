"""Hidden blocks are filled in by what was learnt, never by what was seen."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genovox.core.errors import DataError
from genovox.core.sections import AugmentTable, PretrainTable
from genovox.dataset.cases import PreparedCase
from genovox.learning.journal import EpochRecord
from genovox.learning.loop import TrainedNetwork
from genovox.learning.resolution import Resolution
from genovox.models.build import build_network
from genovox.pretrain.masked import Filling, draw_hidden, pretrain_network

RESOLUTION = Resolution("cpu", "32-true", 1, compile=False, torch=torch.__version__)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[PreparedCase]:
    """Waves whose phase and direction differ: what is hidden follows from what is seen."""
    folder = tmp_path_factory.mktemp("waves")
    random = np.random.default_rng(0)
    z, y, x = np.meshgrid(*[np.arange(24)] * 3, indexing="ij")
    found = []
    for number in range(24):
        (a, b), phase = random.normal(0, 0.12, 2), random.uniform(0, 6)
        volume = np.sin(a * z + b * y + 0.1 * x + phase)[np.newaxis].astype(np.float32)
        np.save(folder / f"{number}.npy", volume)
        found.append(PreparedCase(f"c{number}", f"p{number}", "", "", 0, "k", folder / f"{number}.npy"))
    return found


def _pretrain(
    cases: list[PreparedCase], name: str = "light", split: int = 20, **values: object
) -> tuple[torch.nn.Module, list[float]]:
    torch.manual_seed(1)
    table = PretrainTable.model_validate({"epochs": 20, "batch_size": 4, "warmup_epochs": 1} | values)
    made = pretrain_network(
        build_network(name, 1),
        training=cases[:split],
        validation=cases[split:],
        table=table,
        augment=AugmentTable(preset="none"),
        resolution=RESOLUTION,
        seed=1,
    )
    return made.network, [record.validation_loss for record in made.history]


def test_learns_to_fill_in_and_repeats_itself(cases: list[PreparedCase]) -> None:
    network, losses = _pretrain(cases)
    assert losses[-1] < 0.5 < losses[0]
    again, same = _pretrain(cases)
    assert losses == same
    for name, value in network.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])


def test_labels_are_never_read(cases: list[PreparedCase]) -> None:
    _, losses = _pretrain(cases, epochs=2)
    _, flipped = _pretrain([replace(case, label=1) for case in cases], epochs=2)
    assert losses == flipped


def test_guessing_the_mean_costs_one() -> None:
    torch.manual_seed(0)
    filling = Filling(build_network("light", 2))
    volumes = torch.randn(3, 2, 16, 16, 16)
    filling(volumes)
    for parameter in filling.head.parameters():
        torch.nn.init.zeros_(parameter)
    # Points are finer than voxels here: each is one voxel, so the variance is the volume's own.
    small = torch.nn.functional.interpolate(volumes, size=(8, 8, 8), mode="area")
    expected = (small.var(dim=(2, 3, 4), unbiased=False) / volumes.var(dim=(2, 3, 4))).mean().item()
    assert filling(volumes).item() == pytest.approx(expected, rel=0.15)


def test_what_is_hidden_is_not_seen() -> None:
    torch.manual_seed(0)
    filling = Filling(build_network("light", 1)).eval()
    volumes = torch.randn(1, 1, 16, 16, 16)
    filling(volumes)
    seen: list[torch.Tensor] = []
    features = filling.network.features
    filling.network.features = lambda x: (seen.append(x.clone()), features(x))[1]  # type: ignore[method-assign, func-returns-value]
    hidden = draw_hidden(volumes, 0.5, [torch.Generator().manual_seed(0)])
    filling(volumes, hidden)
    other = torch.where(hidden, volumes.mean() + torch.randn_like(volumes), volumes)
    other = torch.where(hidden, other - other[hidden].mean() + volumes[hidden].mean(), other)
    filling(other, hidden)
    torch.testing.assert_close(seen[0], seen[1], rtol=1e-4, atol=1e-5)
    assert seen[0][hidden].unique().numel() == 1


def test_points_lie_where_they_came_from() -> None:
    """A head that answers with the target's own layout gives no error: cells and points are in order."""
    filling = Filling(build_network("light", 2))
    volumes = torch.randn(1, 2, 16, 16, 16)
    filling(volumes)
    points, _ = filling._make_target(volumes, None, torch.Size((2, 2, 2)))
    p = 4
    cells = points.reshape(1, 2, 2, p, 2, p, 2, p).permute(0, 1, 3, 5, 7, 2, 4, 6).reshape(1, 2 * p**3, 2, 2, 2)
    torch.testing.assert_close(filling._unfold(cells), points)


@settings(max_examples=30)
@given(shape=st.tuples(*[st.integers(8, 40)] * 3), share=st.floats(0.01, 0.99), seed=st.integers(0, 5))
def test_a_share_of_blocks_is_hidden_and_never_all(shape: tuple[int, int, int], share: float, seed: int) -> None:
    volumes = torch.empty(2, 3, *shape)
    hidden = draw_hidden(volumes, share, [torch.Generator().manual_seed(seed + part) for part in range(2)])
    assert hidden.shape == (2, 1, *shape)
    assert hidden.dtype == torch.bool
    for mask in hidden:
        assert 0 < mask.sum() < mask.numel()
    again = draw_hidden(volumes[:1], share, [torch.Generator().manual_seed(seed)])
    assert torch.equal(hidden[:1], again)


def test_a_loss_that_explodes_is_one_clear_error(cases: list[PreparedCase], tmp_path: Path) -> None:
    np.save(tmp_path / "bad.npy", np.full((1, 24, 24, 24), np.nan, np.float32))
    bad = replace(cases[0], case_id="bad", volume=tmp_path / "bad.npy")
    with pytest.raises(DataError, match=r"batch of [c0-9, ]*bad.*lower pretrain\.learning_rate"):
        _pretrain([*cases[:19], bad, *cases[20:]], epochs=1)
    with pytest.raises(DataError, match=r"validation loss .* batch of c20, c21, c22, bad; "):
        _pretrain([*cases[:23], bad], epochs=1)


def test_a_fault_after_good_epochs_stops_at_once_and_keeps_the_last_of_them(
    cases: list[PreparedCase], tmp_path: Path
) -> None:
    late = replace(cases[3], case_id="late", volume=tmp_path / "late.npy")
    kept: list[dict[str, torch.Tensor]] = []

    def train(epochs_before_fault: int) -> TrainedNetwork:
        np.save(late.volume, np.load(cases[3].volume))
        torch.manual_seed(1)
        network = build_network("light", 1)

        def spoil(record: EpochRecord) -> None:
            if record.epoch == epochs_before_fault:
                kept.append({name: value.clone() for name, value in network.state_dict().items()})
                np.save(late.volume, np.full((1, 24, 24, 24), np.nan, np.float32))

        return pretrain_network(
            network,
            training=[*cases[:3], late, *cases[4:20]],
            validation=cases[20:],
            table=PretrainTable(epochs=9, batch_size=4, warmup_epochs=1),
            augment=AugmentTable(preset="none"),
            resolution=RESOLUTION,
            seed=1,
            follow=spoil,
        )

    made = train(epochs_before_fault=4)
    assert [record.epoch for record in made.history] == [1, 2, 3, 4]
    assert made.best.epoch == 4
    assert made.stopped.startswith("stopped in epoch 5: the loss must stay finite, it did not in the batch of ")
    assert "late" in made.stopped
    assert made.stopped.count(",") == 4  # a batch is named, not the cohort
    for name, value in made.network.state_dict().items():
        assert torch.equal(value, kept[0][name])


def test_deep_networks_with_coarse_maps_learn_too(cases: list[PreparedCase], tmp_path: Path) -> None:
    for number, case in enumerate(cases):
        np.save(tmp_path / f"{number}.npy", np.pad(np.load(case.volume), ((0, 0), *((0, 8),) * 3), mode="reflect"))
    larger = [replace(case, volume=tmp_path / f"{number}.npy") for number, case in enumerate(cases)]
    _, losses = _pretrain(larger[:6], "resnet10", split=4, epochs=1, batch_size=2)
    assert np.isfinite(losses).all()
