"""What holds for every network by name."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from genovox.core.errors import UsageError
from genovox.core.names import NETWORK_SIDES
from genovox.models.blocks import Network
from genovox.models.build import NETWORKS, build_network, parameter_count
from genovox.models.resnet import WIDTHS

SIDES = st.integers(32, 80)
LIGHT = ["light", "light-batchnorm", "light-separable", "light-separable-batchnorm"]
DEPTHS = [10, 18, 34, 50, 101, 152, 200]
QUICK = [*LIGHT, "resnet10", "resnet10-dilated", "resnet18", "resnet50", "densenet121"]
"""One of each kind of block, shortcut and reading; the deeper ones repeat them, and go where tensors have no values."""


def seeded(name: str, channels: int = 1, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return build_network(name, channels)


@cache
def shared(name: str) -> Network:
    """Of two channels, for tests that leave its weights alone; ResNets have all layers, an eighth of the maps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genovox.models.resnet.WIDTHS", tuple(width // 8 for width in WIDTHS))
        return seeded(name, channels=2)


@cache
def weightless(name: str) -> Network:
    """Of three channels, on the device whose tensors have shapes alone."""
    with torch.device("meta"):
        return build_network(name, 3)


def test_names() -> None:
    plain, dilated = ([f"resnet{depth}{reading}" for depth in DEPTHS] for reading in ("", "-dilated"))
    assert list(NETWORKS) == [*LIGHT, *plain, *dilated, "densenet121"]


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("resnet81", "resnet18"),
        ("resnet51", "resnet50"),
        ("resnet50-dilate", "resnet50-dilated"),
        ("lihgt", "light"),
        ("light-seperable", "light-separable"),
        ("densenet169", "densenet121"),
    ],
)
def test_unknown_name_gets_the_nearest(wrong: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=f"one of light, .*, densenet121, got '{wrong}'; did you mean '{nearest}'"):
        build_network(wrong, 1)


@pytest.mark.parametrize("name", NETWORKS)
@given(batch=st.integers(1, 3), shape=st.tuples(SIDES, SIDES, SIDES))
@settings(max_examples=1, deadline=None)
def test_shapes(name: str, batch: int, shape: tuple[int, int, int]) -> None:
    network = weightless(name).eval()
    maps = network.features(torch.zeros(batch, 3, *shape, device="meta"))
    logits = network.classify(maps)
    assert maps.ndim == 5
    assert len(maps) == batch
    for side, cells in zip(shape, maps.shape[2:], strict=True):
        assert cells >= 1
        assert network.offset + (cells - 1) * network.stride < side
    assert logits.shape == (batch,)


@pytest.mark.parametrize("name", [*QUICK, "resnet34-dilated", "resnet50-dilated"])
def test_the_smallest_volume_reaches_every_parameter(name: str) -> None:
    network = weightless(name).train()
    network(torch.zeros(2, 3, *(network.minimum_side,) * 3, device="meta")).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize("name", QUICK)
def test_any_number_of_channels(name: str) -> None:
    with torch.device("meta"):
        for channels in (1, 7):
            assert build_network(name, channels)(torch.zeros(2, channels, 32, 32, 32)).shape == (2,)


@pytest.mark.parametrize("name", QUICK)
def test_forward_is_classify_of_features(name: str) -> None:
    network = shared(name).eval()
    x = torch.randn(2, 2, 32, 35, 47)
    with torch.no_grad():
        maps = network.features(x)
        assert torch.equal(network(x), network.classify(maps))
    assert maps.min() >= 0


@pytest.mark.parametrize("name", QUICK)
def test_channels_last_gives_the_same(name: str) -> None:
    network = shared(name).eval()
    x = torch.randn(2, 2, 32, 33, 40)
    with torch.no_grad():
        expected = network(x)
        got = network(x.to(memory_format=torch.channels_last_3d))
        for parameter in network.parameters():
            if parameter.ndim == 5:
                parameter.data = parameter.data.to(memory_format=torch.channels_last_3d)
        both = network(x.to(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(both, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", [*LIGHT, "resnet10", "resnet50", "densenet121"])
def test_bf16_stays_close(name: str) -> None:
    network = shared(name).eval()
    x = torch.randn(1, 2, *(network.minimum_side,) * 3)
    with torch.no_grad():
        expected = network(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = network(x)
    scale = 1 + expected.abs().max().item()
    torch.testing.assert_close(logits.float(), expected, rtol=0, atol=0.05 * scale)


@pytest.mark.parametrize("name", [*LIGHT, "resnet10", "resnet10-dilated", "densenet121"])
def test_the_seed_decides_every_weight(name: str) -> None:
    first, second, other = seeded(name).state_dict(), seeded(name).state_dict(), seeded(name, seed=1).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    weights = [key for key, value in first.items() if value.ndim > 1]
    assert not any(torch.equal(first[key], other[key]) for key in weights)


@pytest.mark.parametrize("name", QUICK)
def test_gradient_reaches_every_parameter(name: str) -> None:
    network = shared(name).train()
    x = torch.randn(2, 2, 33, 32, 40)
    before = x.clone()
    network(x).square().sum().backward()
    assert torch.equal(x, before)
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name
    network.zero_grad()


@pytest.mark.parametrize("name", QUICK)
def test_one_sample_trains(name: str) -> None:
    logit = shared(name).train()(torch.randn(1, 2, 64, 33, 32))
    assert torch.isfinite(logit).all()


@pytest.mark.parametrize("name", QUICK)
def test_gradient_with_respect_to_the_maps(name: str) -> None:
    network = shared(name).eval()
    maps = network.features(torch.randn(1, 2, 32, 32, 48))
    before = maps.detach().clone()
    (gradient,) = torch.autograd.grad(network.classify(maps).sum(), maps, retain_graph=True)
    assert gradient.shape == maps.shape
    assert gradient.abs().sum() > 0
    assert torch.equal(maps, before)
    # The graph behind the maps must have survived too: an in-place ReLU after them would break this one.
    torch.autograd.grad(maps.sum(), next(network.parameters()))


@pytest.mark.parametrize("name", NETWORKS)
def test_no_layer_without_a_deterministic_gradient_on_a_gpu(name: str) -> None:
    pools = (nn.MaxPool3d, nn.AvgPool3d, nn.AdaptiveAvgPool3d, nn.AdaptiveMaxPool3d)
    assert not any(isinstance(module, pools) for module in weightless(name).modules())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", QUICK)
def test_a_gpu_repeats_every_gradient(name: str) -> None:
    torch.use_deterministic_algorithms(True)
    network = seeded(name, channels=2).cuda().train()
    x, gradients = torch.randn(2, 2, 48, 48, 48).cuda(), []
    for _ in range(2):
        network.zero_grad()
        torch.manual_seed(1)
        network(x).square().sum().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    for first, second in zip(*gradients, strict=True):
        assert first is not None
        assert second is not None
        assert torch.equal(first, second)


def test_parameter_count_leaves_out_what_is_frozen() -> None:
    network = build_network("light", 1)
    everything = parameter_count(network)
    weight = next(network.parameters())
    weight.requires_grad_(False)
    assert parameter_count(network) == everything - weight.numel()


def test_the_study_knows_the_smallest_side_of_every_network() -> None:
    sides = {name: weightless(name).minimum_side for name in NETWORKS}
    assert sides == NETWORK_SIDES
    assert list(NETWORKS) == list(NETWORK_SIDES)
