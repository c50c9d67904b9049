"""A case is augmented by its name and the epoch, whatever its company."""

from pathlib import Path

import pytest
import torch

from genovox.dataset.augmented import Augmented
from genovox.dataset.cases import PreparedCase


def _case(name: str) -> PreparedCase:
    return PreparedCase(name, name, "", "", 0, "key", Path(name))


def _volumes(count: int) -> torch.Tensor:
    volumes = torch.randn(count, 2, 12, 12, 12, generator=torch.Generator().manual_seed(0))
    volumes[:, 1] = (volumes[:, 1] > 1).float()
    return volumes


def test_company_changes_nothing_and_epochs_do() -> None:
    volumes, cases = _volumes(3), [_case(name) for name in "abc"]
    augmented = Augmented("isotropic", (), 5)
    together = augmented(2, volumes, cases)
    assert torch.equal(Augmented("isotropic", (), 5)(2, volumes[1:2], cases[1:2]), together[1:2])
    assert not torch.equal(augmented(3, volumes, cases), together)
    assert not torch.equal(Augmented("isotropic", (), 6)(2, volumes, cases), together)


def test_masks_are_looked_for_once_a_case(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def find(sample: torch.Tensor) -> list[bool]:
        looked.append(len(sample))
        return [False, True]

    monkeypatch.setattr("genovox.dataset.augmented.find_masks", find)
    augmented = Augmented("light", (), 5)
    for epoch in range(3):
        augmented(epoch, _volumes(2), [_case("a"), _case("b")])
    assert looked == [2, 2]
