import pytest
import torch

from genovox.core.errors import UsageError
from genovox.volumes.devices import choose_device


def test_unknown_device_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="auto, cpu, cuda"):
        choose_device("tpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_absent_gpu_is_a_usage_error() -> None:
    assert choose_device("auto") == "cpu"
    with pytest.raises(UsageError, match="no GPU"):
        choose_device("cuda")
