"""What the machine decides is decided once."""

from pathlib import Path

import pytest
import torch

from genovox.core.artifacts import read_json, write_json
from genovox.core.errors import UsageError
from genovox.core.tasks import available_cores
from genovox.train.resolution import choose_device, resolve


def test_is_kept_although_the_study_changes_its_number_of_folds(tmp_path: Path) -> None:
    first = resolve(tmp_path, "cpu", folds=1)
    assert first.threads == available_cores()
    assert resolve(tmp_path, "cpu", folds=50) == first


def test_many_folds_take_one_thread_each(tmp_path: Path) -> None:
    resolution = resolve(tmp_path, "cpu", folds=1000)
    assert resolution.threads == 1
    assert resolution.default_workers == available_cores()


def test_another_torch_decides_anew(tmp_path: Path) -> None:
    resolve(tmp_path, "cpu", folds=1)
    path = tmp_path / "resolved.json"
    write_json(path, read_json(path) | {"torch": "0.1", "threads": 77})
    assert resolve(tmp_path, "cpu", folds=1).threads != 77


def test_unknown_device_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="auto, cpu, cuda"):
        choose_device("tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_absent_gpu_is_a_usage_error() -> None:
    assert choose_device("auto") == "cpu"
    with pytest.raises(UsageError, match="no GPU"):
        choose_device("cuda")
