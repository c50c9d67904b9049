"""The pieces of networks: pooling, shortcuts, refusals."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from genovox.core.errors import UsageError
from genovox.models.blocks import (
    BasicBlock,
    Bottleneck,
    PaddedShortcut,
    global_maximum,
    global_mean,
    halved_mean,
    initialise,
    maximum_pool,
    mean_pool,
    strided_maximum,
)
from genovox.models.densenet import DenseNet121
from genovox.models.light import LightNet
from genovox.models.resnet import ResNet

SIDES = st.integers(1, 9)


@given(depth=SIDES, height=SIDES, width=SIDES, seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_strided_maximum_is_torchs_pool(depth: int, height: int, width: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2, 3, depth, height, width, generator=generator).relu()
    assert torch.equal(strided_maximum(x), functional.max_pool3d(x, 3, stride=2, padding=1))


@given(depth=SIDES, height=SIDES, width=SIDES, seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_halved_mean_is_torchs_pool(depth: int, height: int, width: int, seed: int) -> None:
    shape = [side + 1 for side in (depth, height, width)]
    x = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(seed))
    for layout in (torch.contiguous_format, torch.channels_last_3d):
        torch.testing.assert_close(halved_mean(x.contiguous(memory_format=layout)), functional.avg_pool3d(x, 2))


@pytest.mark.parametrize("pools", [(strided_maximum, maximum_pool), (halved_mean, mean_pool)])
def test_the_pools_of_a_gpu_have_torchs_gradient(pools: tuple[Callable[[torch.Tensor], torch.Tensor], ...]) -> None:
    x = torch.rand(2, 2, 7, 8, 9, generator=torch.Generator().manual_seed(0)) + 0.1
    gradients = []
    for pool in pools:
        leaf = x.clone().requires_grad_()
        torch.autograd.backward(pool(leaf).square().sum())
        gradients.append(leaf.grad)
    torch.testing.assert_close(gradients[0], gradients[1])


def test_global_pools_are_adaptive_pools() -> None:
    maps = torch.randn(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(global_mean(maps), functional.adaptive_avg_pool3d(maps, 1).flatten(1))
    torch.testing.assert_close(global_maximum(maps), functional.adaptive_max_pool3d(maps, 1).flatten(1))


def test_parameter_free_shortcut_keeps_every_second_voxel_and_adds_zeros() -> None:
    x = torch.arange(2 * 5 * 4 * 3, dtype=torch.float32).view(1, 2, 5, 4, 3)
    out = PaddedShortcut(2, 3)(x)
    assert out.shape == (1, 5, 3, 2, 2)
    assert torch.equal(out[:, :2], functional.avg_pool3d(x, kernel_size=1, stride=2))
    assert not out[:, 2:].any()


def test_gradient_flows_through_the_parameter_free_shortcut() -> None:
    block = BasicBlock(4, 8, 2, "A").eval()
    nn.init.zeros_(block.conv2.weight)
    x = torch.rand(1, 4, 6, 6, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    block(x).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


def test_projection_only_where_the_shape_changes() -> None:
    assert isinstance(BasicBlock(64, 64, 1, "B").downsample, nn.Identity)
    assert isinstance(BasicBlock(64, 128, 2, "B").downsample, nn.Sequential)
    assert isinstance(BasicBlock(64, 64, 2, "B").downsample, nn.Sequential)
    assert isinstance(BasicBlock(64, 128, 2, "A").downsample, PaddedShortcut)
    assert isinstance(Bottleneck(64, 64, 1, "B").downsample, nn.Sequential)
    assert isinstance(Bottleneck(256, 64, 1, "B").downsample, nn.Identity)


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_dilation_keeps_the_sides(block: type[BasicBlock] | type[Bottleneck]) -> None:
    assert block(8, 4, 1, "B", 4)(torch.zeros(2, 8, 7, 5, 6)).shape == (2, 4 * block.expansion, 7, 5, 6)


@pytest.mark.parametrize(("groups", "outputs"), [(1, 64), (64, 1), (4, 16)])
def test_weights_are_as_wide_as_the_outputs_an_input_feeds(groups: int, outputs: int) -> None:
    torch.manual_seed(0)
    convolution = nn.Conv3d(64, 64, 3, groups=groups, bias=False)
    initialise(convolution)
    assert convolution.weight.std().item() == pytest.approx((2 / (27 * outputs)) ** 0.5, rel=0.05)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 32, 32, 32), r"shape \(B, C, D, H, W\), got \(2, 32, 32, 32\)"),
        ((2, 3, 32, 32, 32), "built for 1 channels, got 3; use the channels"),
        ((2, 1, 32, 15, 32), "LightNet needs at least 16 voxels on every side, got 32x15x32; enlarge"),
    ],
)
def test_light_refuses_a_batch_it_cannot_read(shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        LightNet(1)(torch.zeros(shape))


def test_a_side_under_32_is_refused() -> None:
    x = torch.zeros(2, 1, 32, 32, 31)
    with pytest.raises(UsageError, match="ResNet needs at least 32 voxels on every side, got 32x32x31"):
        ResNet(1, depth=10).features(x)
    with pytest.raises(UsageError, match="DenseNet121 needs at least 32 voxels on every side, got 32x32x31"):
        DenseNet121(1).features(x)


def test_no_channels_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 1 input channel, got 0"):
        LightNet(0)
