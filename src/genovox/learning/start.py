"""What a network starts from: fresh weights that a seed decides, or those of a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from genovox.core.errors import UsageError
from genovox.core.names import split_model
from genovox.core.sections import SELF
from genovox.learning.checkpoint import NOBODY, STRANGER, Lineage, read_lineage
from genovox.models.blocks import Network
from genovox.models.build import build_network
from genovox.models.coverage import Coverage
from genovox.models.fitting import find_shortcut, fit_weights
from genovox.models.registry import FILE, ResolvedWeights, resolve_weights
from genovox.models.weights import read_weights

FITTING = 2
"""Raised by one whenever the same file gives other networks: folds that start from weights are then trained anew."""


@dataclass(frozen=True)
class Start:
    """A model of a study, resolved on this machine.

    Attributes:
        network: Name of the network.
        weights: The file it starts from, or None.
        part: Modules of the encoder to take from it; empty: all.
        lineage: Whom its weights have met; nobody where it starts from none, or from what was published under a name.
    """

    network: str
    weights: ResolvedWeights | None = None
    part: tuple[str, ...] = ()
    lineage: Lineage = NOBODY

    def as_dict(self) -> dict[str, Any]:
        """What scores depend on: the network, the content of the file, the part, and how it is fitted."""
        if self.weights is None:
            return {"network": self.network, "sha256": "", "part": []}
        return {"network": self.network, "sha256": self.weights.sha256, "part": list(self.part), "fitting": FITTING}


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
    resolved = resolve_weights(model, root, pretrained=pretrained)
    lineage = read_lineage(resolved.path)
    is_published = resolved.source not in (FILE, SELF)
    if is_published and lineage == STRANGER:
        lineage = NOBODY
    return Start(network, resolved, tuple(parts.get(model, ())), lineage)


def build_start(start: Start, channels: int, seed: int) -> tuple[Network, Coverage | None]:
    """The network to train, and what it took from its file.

    Raises:
        DataError: If the file does not fit, or is not what it should be.
    """
    torch.manual_seed(seed)
    if start.weights is None:
        return build_network(start.network, channels), None
    state = read_weights(start.weights.path)
    network = build_network(start.network, channels, shortcut=find_shortcut(state, start.part))
    return network, fit_weights(network, state, source=start.weights.path.name, part=start.part)
