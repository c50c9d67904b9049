"""What holds for every network by name."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genovox.core.errors import UsageError
from genovox.core.planned import MINIMUM_SIDE, MODEL_NAMES
from genovox.core.sections import ORACLE
from genovox.models.blocks import Network
from genovox.models.build import NETWORKS, build_network, parameter_count

SIDES = st.integers(32, 40)


def seeded(name: str, channels: int = 1, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return build_network(name, channels)


def test_names() -> None:
    assert list(NETWORKS) == ["light", "resnet10", "resnet18"]


@pytest.mark.parametrize(("wrong", "nearest"), [("resnet81", "resnet18"), ("lihgt", "light"), ("vgg", "light")])
def test_unknown_name_gets_the_nearest(wrong: str, nearest: str) -> None:
    names = "light, resnet10, resnet18"
    with pytest.raises(UsageError, match=f"one of {names}, got '{wrong}'; did you mean '{nearest}'"):
        build_network(wrong, 1)


@pytest.mark.parametrize("name", NETWORKS)
@given(batch=st.integers(1, 2), channels=st.integers(1, 4), shape=st.tuples(SIDES, SIDES, SIDES))
@settings(max_examples=4, deadline=None)
def test_shapes(name: str, batch: int, channels: int, shape: tuple[int, int, int]) -> None:
    network = build_network(name, channels).eval()
    with torch.no_grad():
        maps = network.features(torch.zeros(batch, channels, *shape))
        logits = network.classify(maps)
    assert maps.ndim == 5
    assert len(maps) == batch
    assert min(maps.shape[2:]) >= 1
    assert logits.shape == (batch,)


@pytest.mark.parametrize("name", NETWORKS)
def test_forward_is_classify_of_features(name: str) -> None:
    network = seeded(name).eval()
    x = torch.randn(2, 1, 32, 40, 48)
    with torch.no_grad():
        maps = network.features(x)
        assert torch.equal(network(x), network.classify(maps))
    assert maps.min() >= 0


@pytest.mark.parametrize("name", NETWORKS)
def test_one_sample_trains(name: str) -> None:
    network = seeded(name).train()
    logit = network(torch.randn(1, 1, 48, 48, 48))
    logit.sum().backward()
    assert torch.isfinite(logit).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_the_seed_decides_every_weight(name: str) -> None:
    first, second, other = seeded(name).state_dict(), seeded(name).state_dict(), seeded(name, seed=1).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


@pytest.mark.parametrize("name", NETWORKS)
def test_gradient_reaches_every_parameter(name: str) -> None:
    network = seeded(name, channels=2).train()
    network(torch.randn(2, 2, 48, 48, 48)).square().sum().backward()
    for parameter_name, parameter in network.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("name", NETWORKS)
def test_gradient_with_respect_to_the_maps(name: str) -> None:
    network = seeded(name).eval()
    maps = network.features(torch.randn(1, 1, 48, 48, 48))
    before = maps.detach().clone()
    (gradient,) = torch.autograd.grad(network.classify(maps).sum(), maps, retain_graph=True)
    assert gradient.shape == maps.shape
    assert gradient.abs().sum() > 0
    assert torch.equal(maps, before)
    # The graph behind the maps must have survived too: an in-place ReLU after them would break this one.
    torch.autograd.backward(maps.sum())


@pytest.mark.parametrize("name", NETWORKS)
def test_the_input_is_not_changed(name: str) -> None:
    x = torch.randn(2, 1, 32, 32, 32)
    before = x.clone()
    build_network(name, 1)(x)
    assert torch.equal(x, before)


def test_parameter_count_leaves_out_what_is_frozen() -> None:
    network = build_network("light", 1)
    everything = parameter_count(network)
    weight = next(network.parameters())
    weight.requires_grad_(False)
    assert parameter_count(network) == everything - weight.numel()


def test_the_study_knows_the_smallest_side_of_every_network() -> None:
    assert {name: build_network(name, 1).minimum_side for name in NETWORKS} | {ORACLE: 1} == MINIMUM_SIDE
    assert (*NETWORKS, ORACLE) == MODEL_NAMES
