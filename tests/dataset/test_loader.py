"""Batches: every case once, nearly equal sizes, no lone case."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genovox.dataset.cases import PreparedCase
from genovox.dataset.loader import iterate_in_order, iterate_training


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[PreparedCase]:
    folder = tmp_path_factory.mktemp("volumes")
    return [_write_case(folder, number) for number in range(40)]


def _write_case(folder: Path, number: int) -> PreparedCase:
    path = folder / f"{number}.npy"
    np.save(path, np.full((1, 2, 2, 2), number, np.float32))
    return PreparedCase(str(number), str(number), "", "", number % 2, "key", path)


@settings(max_examples=40, deadline=None)
@given(count=st.integers(2, 40), batch_size=st.integers(2, 20), seed=st.integers(0, 5))
def test_training_visits_each_case_once_and_never_alone(
    cases: list[PreparedCase], count: int, batch_size: int, seed: int
) -> None:
    batches = list(iterate_training(cases[:count], batch_size, torch.Generator().manual_seed(seed)))
    seen = torch.cat([volumes[:, 0, 0, 0, 0] for volumes, _, _ in batches])
    assert sorted(seen.tolist()) == list(range(count))
    sizes = [len(labels) for _, labels, _ in batches]
    assert min(sizes) >= 2
    assert max(sizes) - min(sizes) <= 1
    for volumes, labels, case_ids in batches:
        assert torch.equal(volumes[:, 0, 0, 0, 0] % 2, labels)
        assert [float(case_id) for case_id in case_ids] == volumes[:, 0, 0, 0, 0].tolist()


def test_order_follows_the_generator(cases: list[PreparedCase]) -> None:
    def order(seed: int) -> list[float]:
        batches = iterate_training(cases, 8, torch.Generator().manual_seed(seed))
        return torch.cat([volumes[:, 0, 0, 0, 0] for volumes, _, _ in batches]).tolist()

    assert order(1) == order(1)
    assert order(1) != order(2)


def test_scoring_keeps_the_order(cases: list[PreparedCase]) -> None:
    volumes = torch.cat([volumes for volumes, _ in iterate_in_order(cases, 7)])
    assert volumes[:, 0, 0, 0, 0].tolist() == list(range(40))
