"""Volumes reach the device that computes, prepared, whole and in order."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from genovox.core.errors import DataError
from genovox.dataset.cases import PreparedCase, load_batch
from genovox.dataset.shelf import Shelf

DEVICES = ("cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")))


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[PreparedCase]:
    folder = tmp_path_factory.mktemp("volumes")
    random = np.random.default_rng(0)
    for number in range(9):
        np.save(folder / f"{number}.npy", random.normal(0, 1, (2, 4, 5, 6)).astype(np.float32))
    return [PreparedCase(f"c{n}", f"p{n}", "", "", n % 2, "key", folder / f"{n}.npy") for n in range(9)]


@pytest.mark.parametrize("keeps", [False, True])
@pytest.mark.parametrize("device", DEVICES)
def test_a_batch_holds_what_is_on_disk(cases: list[PreparedCase], device: str, *, keeps: bool) -> None:
    shelf = Shelf(device)
    if keeps:
        shelf.keep_what_fits()
    for order in ([3, 1, 4], [1, 5, 8], [3, 1, 4]):
        chosen = [cases[index] for index in order]
        batch = shelf.start(chosen, lambda volumes, _: volumes * 2)()
        assert batch.device.type == device
        assert torch.equal(batch.cpu(), load_batch(chosen) * 2)


def test_the_cpu_prepares_once_the_batch_is_wanted(cases: list[PreparedCase]) -> None:
    prepared: list[str] = []

    def prepare(volumes: Tensor, chosen: Sequence[PreparedCase]) -> Tensor:
        prepared.extend(case.case_id for case in chosen)
        return volumes

    take = Shelf().start(cases[:2], prepare)
    assert not prepared
    take()
    assert prepared == ["c0", "c1"]


@pytest.mark.parametrize("device", DEVICES)
def test_what_cannot_be_read_is_said(cases: list[PreparedCase], tmp_path: Path, device: str) -> None:
    lost = PreparedCase("lost", "p", "", "", 0, "key", tmp_path / "lost.npy")
    with pytest.raises(DataError, match="volume of lost"):
        Shelf(device).start([cases[0], lost])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_keeps_what_fits(cases: list[PreparedCase], monkeypatch: pytest.MonkeyPatch) -> None:
    free = 2 * 3 * load_batch(cases[:1]).nbytes  # half of it holds three volumes
    monkeypatch.setattr("torch.cuda.mem_get_info", lambda _: (free, free))
    read: list[str] = []

    def watch(chosen: Sequence[PreparedCase]) -> Tensor:
        read.extend(case.case_id for case in chosen)
        return load_batch(chosen)

    monkeypatch.setattr("genovox.dataset.shelf.load_batch", watch)
    shelf = Shelf("cuda")
    shelf.keep_what_fits()
    for _ in range(2):
        assert torch.equal(shelf.start(cases[:5])().cpu(), load_batch(cases[:5]))
    assert sorted(read) == ["c0", "c1", "c2", "c3", "c3", "c4", "c4"]
