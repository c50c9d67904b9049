"""Networks by the names that ``train.models`` of a study uses."""

import difflib
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from torch import nn

from genovox.core.errors import UsageError
from genovox.models.blocks import Network, Shortcut
from genovox.models.densenet import DenseNet121
from genovox.models.light import LightNet
from genovox.models.resnet import LAYOUTS, ResNet

FORMAT = 1
"""Raised by one whenever the same seed gives other networks: finished folds are then trained anew."""

_RESNETS: dict[str, Callable[..., Network]] = {
    **{f"resnet{depth}": partial(ResNet, depth=depth) for depth in LAYOUTS},
    **{f"resnet{depth}-dilated": partial(ResNet, depth=depth, reading="dilated") for depth in LAYOUTS},
}
NETWORKS: Mapping[str, Callable[[int], Network]] = MappingProxyType(
    {
        "light": LightNet,
        "light-batchnorm": partial(LightNet, norm="batch"),
        "light-separable": partial(LightNet, separable=True),
        "light-separable-batchnorm": partial(LightNet, separable=True, norm="batch"),
        **_RESNETS,
        "densenet121": DenseNet121,
    }
)


def build_network(name: str, channels: int, *, shortcut: Shortcut | None = None) -> Network:
    """Network with fresh weights, drawn from torch's global generator: seed it first.

    Args:
        name: A key of ``NETWORKS``.
        channels: Input channels, 1 or more.
        shortcut: Of a ResNet, as the weights have it that it is to take; None is MedicalNet's for its depth. Other
            networks have no choice of it.

    Raises:
        UsageError: If there is no such network (the nearest is named) or ``channels`` is under 1.
    """
    if name not in NETWORKS:
        nearest = difflib.get_close_matches(name, NETWORKS, n=1, cutoff=0)[0]
        raise UsageError(f"a network must be one of {', '.join(NETWORKS)}, got {name!r}; did you mean {nearest!r}?")
    if shortcut and name in _RESNETS:
        return _RESNETS[name](channels, shortcut=shortcut)
    return NETWORKS[name](channels)


def parameter_count(network: nn.Module) -> int:
    """Trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
