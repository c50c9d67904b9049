"""What a network starts from: fresh weights that a seed decides, or those of a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from genovox.core.errors import UsageError
from genovox.core.names import split_model
from genovox.models.blocks import Network
from genovox.models.build import build_network
from genovox.models.coverage import Coverage
from genovox.models.fitting import fit_weights
from genovox.models.registry import ResolvedWeights, resolve_weights
from genovox.models.weights import read_weights


@dataclass(frozen=True)
class Start:
    """A model of a study, resolved on this machine.

    Attributes:
        network: Name of the network.
        weights: The file it starts from, or None.
        part: Modules of the encoder to take from it; empty: all.
    """

    network: str
    weights: ResolvedWeights | None = None
    part: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """What scores depend on: the network, the content of the file, and the part."""
        return {
            "network": self.network,
            "sha256": self.weights.sha256 if self.weights else "",
            "part": list(self.part),
        }


def open_start(
    model: str, root: Path, parts: Mapping[str, tuple[str, ...]], pretrained: Mapping[str, Path] | None = None
) -> Start:
    """Resolve a model's name.

    Args:
        model: ``NETWORK`` or ``NETWORK@WEIGHTS``, as in ``train.models``.
        root: The study's folder.
        parts: ``train.parts`` of the study.
        pretrained: What was pretrained for this study, by network.

    Raises:
        UsageError: If the weights are named in a way nobody knows.
        DataError: If their file is not there or another than stated.
    """
    network, weights = split_model(model)
    if not weights:
        if model in parts:
            raise UsageError(f"train.parts names {model}, which starts from no weights; drop it or add @WEIGHTS")
        return Start(network)
    return Start(network, resolve_weights(model, root, pretrained=pretrained), tuple(parts.get(model, ())))


def build_start(start: Start, channels: int, seed: int) -> tuple[Network, Coverage | None]:
    """The network to train, and what it took from its file.

    Raises:
        DataError: If the file does not fit, or is not what it should be.
    """
    torch.manual_seed(seed)
    network = build_network(start.network, channels)
    if start.weights is None:
        return network, None
    state = read_weights(start.weights.path)
    return network, fit_weights(network, state, source=start.weights.path.name, part=start.part)
