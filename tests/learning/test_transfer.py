"""Layers from input to head, their rates, and the order in which they thaw."""

import pytest
import torch

from genovox.learning.transfer import group_parameters, list_layers, thaw
from genovox.models.build import build_network

NAMES = {
    "resnet10": ["conv1", "layer1", "layer2", "layer3", "layer4", "fc"],
    "light": ["conv1", "block1", "block2", "fc"],
}


@pytest.mark.parametrize("name", NAMES)
def test_layers_cover_every_parameter_once_from_input_to_head(name: str) -> None:
    network = build_network(name, 2)
    layers = list_layers(network)
    assert [layer.name for layer in layers] == NAMES[name]
    found = [id(parameter) for layer in layers for parameter in layer.parameters]
    assert sorted(found) == sorted(id(parameter) for parameter in network.parameters())


def test_rates_fall_towards_the_input() -> None:
    network = build_network("resnet10", 1)
    peaks = [group["peak"] for group in group_parameters(network, 1e-3, 0.5)]
    assert peaks == pytest.approx([1e-3 * 0.5**depth for depth in (5, 4, 3, 2, 1, 0)])
    assert {group["peak"] for group in group_parameters(network, 1e-3, 1.0)} == {1e-3}


def test_layers_thaw_one_after_the_other_with_their_statistics() -> None:
    network = build_network("resnet10", 1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    learning = {0: 1, 1: 1, 2: 2, 3: 2, 4: 3, 20: 6}
    for epoch, count in learning.items():
        network.train()
        thaw(network, epoch, 2)
        states = [all(p.requires_grad for p in layer.parameters) for layer in list_layers(network)]
        assert states == [False] * (6 - count) + [True] * count
    network.train()
    thaw(network, 2, 2)
    network(torch.randn(2, 1, 64, 64, 64)).sum().backward()
    after = network.state_dict()
    moved = {name.split(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == {"layer4"}  # its running statistics; no step was taken
    assert network.conv1.weight.grad is None  # type: ignore[union-attr]
    assert network.fc.weight.grad is not None


def test_zero_thaws_nothing_since_nothing_is_frozen() -> None:
    network = build_network("light", 1)
    thaw(network, 0, 0)
    assert all(parameter.requires_grad for parameter in network.parameters())
