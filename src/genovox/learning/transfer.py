"""Which weights may move, and how fast: rates that fall towards the input, and layers that thaw one after the other."""

from dataclasses import dataclass

from torch import nn

from genovox.models.blocks import Network

HEAD = "fc"


@dataclass(frozen=True)
class Layer:
    """A group of modules at one depth.

    Attributes:
        name: Of its first module.
        modules: From the input on.
    """

    name: str
    modules: tuple[nn.Module, ...]

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Of all its modules."""
        return [parameter for module in self.modules for parameter in module.parameters()]


def list_layers(network: Network) -> list[Layer]:
    """A network's layers from the input to the head; a norm belongs to the convolution before it."""
    layers: list[Layer] = []
    for name, module in network.named_children():
        if not any(True for _ in module.parameters()):
            continue
        if layers and isinstance(module, nn.BatchNorm3d | nn.GroupNorm):
            layers[-1] = Layer(layers[-1].name, (*layers[-1].modules, module))
        else:
            layers.append(Layer(name, (module,)))
    return layers


def group_parameters(network: Network, rate: float, layer_decay: float) -> list[dict[str, object]]:
    """Parameter groups for an optimizer, each with its highest rate as ``peak``.

    Args:
        network: The network.
        rate: Highest rate of the head.
        layer_decay: Factor from each layer to the one before it, in (0, 1]; 1 is one rate for all.

    References:
        Howard & Ruder (2018), doi:10.18653/v1/P18-1031 (discriminative fine-tuning).
    """
    layers = list_layers(network)
    return [
        {"params": layer.parameters, "peak": rate * layer_decay ** (len(layers) - 1 - depth), "lr": rate}
        for depth, layer in enumerate(layers)
    ]


def thaw(network: Network, epoch: int, epochs_a_layer: int) -> None:
    """Let as many layers learn as the epoch allows: the head at once, then one more every ``epochs_a_layer`` epochs.

    Frozen layers keep their running statistics too. Called after ``network.train()``, which thaws statistics.

    Args:
        network: Changed in place.
        epoch: From 0.
        epochs_a_layer: 0 lets every layer learn from the start.

    References:
        Howard & Ruder (2018), doi:10.18653/v1/P18-1031 (gradual unfreezing).
    """
    if epochs_a_layer == 0:
        return
    layers = list_layers(network)
    learning = 1 + epoch // epochs_a_layer
    for depth, layer in enumerate(layers):
        is_learning = depth >= len(layers) - learning
        for module in layer.modules:
            module.train(is_learning)
        for parameter in layer.parameters:
            parameter.requires_grad_(is_learning)
