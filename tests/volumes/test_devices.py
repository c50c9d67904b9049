import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from genovox.core.errors import UsageError
from genovox.volumes.devices import choose_device, settle_gpu


def test_unknown_device_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="auto, cpu, cuda"):
        choose_device("tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_absent_gpu_is_a_usage_error() -> None:
    assert choose_device("auto") == "cpu"
    with pytest.raises(UsageError, match="no GPU"):
        choose_device("cuda")


@pytest.fixture
def unsettled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torch as it starts."""
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    monkeypatch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
    places: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    for place in places:
        place.allow_tf32 = True
    yield
    for place, value in zip(places, before, strict=True):
        place.allow_tf32 = value


@pytest.mark.usefixtures("unsettled")
@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_a_gpu_is_settled_and_a_cpu_left_alone(device: str) -> None:
    settle_gpu(device)
    is_gpu = device == "cuda"
    assert torch.backends.cudnn.allow_tf32 is not is_gpu
    assert torch.backends.cuda.matmul.allow_tf32 is not is_gpu
    assert torch.utils.deterministic.fill_uninitialized_memory is not is_gpu  # type: ignore[attr-defined]
    assert torch.are_deterministic_algorithms_enabled() is is_gpu
    assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == (":4096:8" if is_gpu else None)
