"""The light network: small, quick, independent of its batch."""

import pytest
import torch
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from genovox.models.build import parameter_count
from genovox.models.light import LightNet


@pytest.mark.parametrize("channels", [1, 3, 8])
def test_under_half_a_million_parameters(channels: int) -> None:
    assert parameter_count(LightNet(channels)) < 500_000


def test_forward_stays_near_two_gflop_at_96() -> None:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        LightNet(1)(torch.zeros(1, 1, 96, 96, 96))
    assert counter.get_total_flops() < 2.2e9


@pytest.mark.parametrize("shape", [(16, 16, 16), (32, 96, 96), (17, 33, 50), (128, 128, 128)])
def test_maps_are_an_eighth_of_the_input(shape: tuple[int, int, int]) -> None:
    with torch.no_grad():
        maps = LightNet(2).eval().features(torch.zeros(1, 2, *shape))
    assert maps.shape == (1, 64, *(-(-side // 8) for side in shape))


def test_a_score_does_not_depend_on_its_batch() -> None:
    torch.manual_seed(0)
    network = LightNet(1).train()
    network.dropout.p = 0.0
    x = torch.randn(4, 1, 32, 32, 32)
    with torch.no_grad():
        together = network(x)
        alone = torch.cat([network(sample[None]) for sample in x])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_learns_to_tell_large_balls_from_small_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    line = torch.arange(32) - 15.5
    distance = (line[:, None, None] ** 2 + line[None, :, None] ** 2 + line[None, None, :] ** 2).sqrt()
    radii = torch.rand(64, generator=generator) * 8 + 3
    volumes = (distance < radii.view(-1, 1, 1, 1)).float().unsqueeze(1)
    labels = (radii > 7).float()
    torch.manual_seed(0)
    network = LightNet(1).train()
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
