"""The light networks: small, quick, independent of their batch unless batch norm is asked for."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from genovox.models.build import parameter_count
from genovox.models.light import LightNet, Norm

NORMS: tuple[Norm, ...] = ("group", "batch")


@pytest.mark.parametrize("channels", [1, 3, 8])
@pytest.mark.parametrize("norm", NORMS)
def test_under_half_a_million_parameters(channels: int, norm: Norm) -> None:
    plain = parameter_count(LightNet(channels, norm=norm))
    separable = parameter_count(LightNet(channels, separable=True, norm=norm))
    assert 3 * separable < plain < 500_000


@pytest.mark.parametrize(("separable", "gflop"), [(False, 2.2), (True, 0.75)])
def test_forward_stays_light_at_96(separable: bool, gflop: float) -> None:
    with FlopCounterMode(display=False) as counter, torch.device("meta"):
        LightNet(1, separable=separable)(torch.zeros(1, 1, 96, 96, 96))
    assert counter.get_total_flops() < gflop * 1e9


@pytest.mark.parametrize("shape", [(16, 16, 16), (32, 96, 96), (17, 33, 50), (128, 128, 128)])
def test_maps_are_an_eighth_of_the_input(shape: tuple[int, int, int]) -> None:
    with torch.device("meta"):
        plain, separable = (
            LightNet(2, separable=separable).features(torch.zeros(1, 2, *shape)) for separable in (False, True)
        )
    assert plain.shape == (1, 64, *(-(-side // 8) for side in shape))
    assert separable.shape == (1, 128, *plain.shape[2:])


def test_the_light_of_format_one_keeps_its_weights() -> None:
    """Finished folds and bundles count on them; whoever changes them raises ``FORMAT``."""
    torch.manual_seed(7)
    network = LightNet(2)
    weights = {name: value.detach().abs().sum().item() for name, value in network.named_parameters()}
    expected = {
        "conv1.weight": 47.4621,
        "block1.conv1.weight": 532.5335,
        "block1.conv2.weight": 1059.0173,
        "block1.downsample.0.weight": 102.3668,
        "block2.conv1.weight": 1497.1163,
        "block2.conv2.weight": 3017.7383,
        "block2.downsample.0.weight": 282.4218,
        "fc.weight": 5.7198,
    }
    for name, value in expected.items():
        assert weights[name] == pytest.approx(value, rel=1e-4), name


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("norm", NORMS)
def test_a_score_depends_on_its_batch_with_batch_norm_alone(
    separable: bool,
    norm: Norm,
) -> None:
    torch.manual_seed(0)
    network = LightNet(1, separable=separable, norm=norm).train()
    network.dropout.p = 0.0
    x = torch.randn(4, 1, 32, 32, 32) * torch.arange(1, 5).view(4, 1, 1, 1, 1)
    with torch.no_grad():
        together = network(x)
        alone = torch.cat([network(sample[None]) for sample in x])
    assert torch.allclose(together, alone, rtol=1e-4, atol=1e-5) == (norm == "group")


def test_a_separable_block_is_a_plain_one_whose_filters_are_products() -> None:
    torch.manual_seed(0)
    depthwise, pointwise = LightNet(1, separable=True).block1.conv1.children()
    assert isinstance(depthwise, nn.Conv3d)
    assert isinstance(pointwise, nn.Conv3d)
    full = pointwise.weight * depthwise.weight.view(1, 32, 3, 3, 3)
    x = torch.randn(1, 32, 9, 8, 7)
    expected = functional.conv3d(x, full, stride=2, padding=1)
    torch.testing.assert_close(pointwise(depthwise(x)), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("separable", [False, True])
def test_learns_to_tell_large_balls_from_small_ones(separable: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    line = torch.arange(24) - 11.5
    distance = (line[:, None, None] ** 2 + line[None, :, None] ** 2 + line[None, None, :] ** 2).sqrt()
    radii = torch.rand(64, generator=generator) * 8 + 3
    volumes = (distance < radii.view(-1, 1, 1, 1)).float().unsqueeze(1)
    labels = (radii > 7).float()
    torch.manual_seed(0)
    network = LightNet(1, separable=separable).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3)
    for step in range(32):
        rows = torch.arange(16) + 16 * (step % 4)
        optimiser.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(network(volumes[rows]), labels[rows])
        torch.autograd.backward(loss)
        optimiser.step()
    with torch.no_grad():
        logits = network.eval()(volumes)
    larger = logits[labels == 1][:, None] > logits[labels == 0][None, :]
    assert larger.float().mean() > 0.95
