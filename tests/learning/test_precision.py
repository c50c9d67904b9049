"""bf16 where the processor has it, and never where it gives NaN."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from genovox.learning.precision import (
    Float32Conv3d,
    Precision,
    choose_layout,
    choose_precision,
    keep_tiny_grids_in_fp32,
)
from genovox.models.build import build_network


def test_a_study_may_insist() -> None:
    assert choose_precision("fp32", "cpu") == "32-true"
    assert choose_precision("bf16", "cpu") == "bf16-mixed"
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    able = "avx512_bf16" in flags or "amx_bf16" in flags
    assert choose_precision("auto", "cpu") == ("bf16-mixed" if able else "32-true")


def test_layers_on_tiny_grids_compute_and_learn_in_fp32() -> None:
    torch.manual_seed(0)
    network = build_network("resnet10", 1)
    names = list(network.state_dict())
    kept = keep_tiny_grids_in_fp32(network, torch.randn(1, 1, 32, 32, 32))
    # At 32 voxels layer 2 still has a grid of 4^3, layer 3 has 2^3 and layer 4 a single voxel.
    assert {name.split(".")[0] for name in kept} == {"layer3", "layer4"}
    assert network.training
    assert list(network.state_dict()) == names
    seen: list[torch.dtype] = []
    network.layer4[0].conv1.register_forward_hook(lambda _, __, output: seen.append(output.dtype))  # type: ignore[union-attr, index]
    network.layer1[0].conv1.register_forward_hook(lambda _, __, output: seen.append(output.dtype))  # type: ignore[union-attr, index]
    with torch.autocast("cpu", torch.bfloat16):
        loss = network(torch.randn(2, 1, 32, 32, 32)).square().sum()
    loss.backward()
    assert seen == [torch.bfloat16, torch.float32]
    gradients = [parameter.grad for parameter in network.parameters()]
    assert all(gradient is not None and bool(gradient.isfinite().all()) for gradient in gradients)


def test_a_copy_computes_with_its_own_weights() -> None:
    network = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1))
    assert keep_tiny_grids_in_fp32(network, torch.randn(1, 1, 2, 2, 2)) == ["0"]
    twin = copy.deepcopy(network)
    assert type(twin[0]) is Float32Conv3d
    with torch.no_grad():
        network[0].weight.zero_()  # type: ignore[operator]
    batch = torch.randn(1, 1, 2, 2, 2)
    assert not torch.equal(network(batch), twin(batch))


@pytest.mark.parametrize("side", [3, 9])
def test_larger_grids_stay_as_they_are(side: int) -> None:
    network = nn.Sequential(nn.Conv3d(1, 2, 3, padding=1))
    assert keep_tiny_grids_in_fp32(network, torch.randn(1, 1, side, side, side)) == []
    assert type(network[0]) is nn.Conv3d


@pytest.mark.parametrize(
    ("name", "precision", "layout"),
    [
        ("light", "32-true", torch.channels_last_3d),
        ("light", "bf16-mixed", torch.contiguous_format),
        ("light-batchnorm", "bf16-mixed", torch.channels_last_3d),
        ("resnet10", "bf16-mixed", torch.channels_last_3d),
    ],
)
def test_group_norm_in_bf16_keeps_the_channels_first(
    name: str, precision: Precision, layout: torch.memory_format
) -> None:
    assert choose_layout(build_network(name, 1), precision) == layout
