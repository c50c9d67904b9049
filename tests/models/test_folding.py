"""A folded stem computes and learns what the plain one does."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from genovox.models.build import build_network
from genovox.models.folding import FoldedConv3d, fold_kernels, fold_stems, fold_volumes


@settings(max_examples=25, deadline=None)
@given(shape=st.tuples(*[st.integers(1, 13)] * 3), channels=st.integers(1, 3), seed=st.integers(0, 9))
def test_the_sums_are_the_same(shape: tuple[int, int, int], channels: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, channels, *shape, generator=generator, dtype=torch.float64)
    weight = torch.randn(5, channels, 7, 7, 7, generator=generator, dtype=torch.float64)
    plain = functional.conv3d(x, weight, stride=2, padding=3)
    torch.testing.assert_close(functional.conv3d(fold_volumes(x), fold_kernels(weight)), plain)


def test_a_network_learns_the_same_in_bf16() -> None:
    torch.manual_seed(0)
    plain = build_network("resnet10", 1)
    folded = copy.deepcopy(plain)
    assert fold_stems(folded) == ["conv1"]
    assert folded.state_dict().keys() == plain.state_dict().keys()
    x = torch.randn(2, 1, 33, 34, 32)
    outputs: list[Tensor] = []
    gradients: list[Tensor] = []
    for network in (plain, folded):
        stem = network.get_submodule("conv1")
        assert isinstance(stem, nn.Conv3d)
        with torch.autocast("cpu", torch.bfloat16):
            output = stem(x)
        output.float().square().mean().backward()
        outputs.append(output)
        assert stem.weight.grad is not None
        gradients.append(stem.weight.grad)
    assert outputs[1].dtype == torch.bfloat16
    torch.testing.assert_close(outputs[1], outputs[0], atol=0.02, rtol=0.02)
    assert float((gradients[1] - gradients[0]).norm() / gradients[0].norm()) < 0.01


def test_without_autocast_it_is_the_plain_one() -> None:
    torch.manual_seed(0)
    network = build_network("resnet10", 1).eval()
    x = torch.randn(1, 1, 32, 32, 32)
    with torch.inference_mode():
        plain = network(x)
        fold_stems(network)
        assert torch.equal(network(x), plain)
    assert isinstance(copy.deepcopy(network).get_submodule("conv1"), FoldedConv3d)


@pytest.mark.parametrize(("name", "channels"), [("light", 1), ("resnet18", 2), ("densenet121", 2)])
def test_what_does_not_gain_stays(name: str, channels: int) -> None:
    assert fold_stems(build_network(name, channels)) == []
