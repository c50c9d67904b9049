"""How much memory a fold needs, before it takes it."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from genovox.learning.precision import Precision
from genovox.models.build import build_network, parameter_count

PROCESS_MB = 550
"""A process that has imported torch, read a batch and augmented it, without the network."""
COPIES_OF_WEIGHTS = 5
"""Weights, gradients, AdamW's two moments, and the best epoch's weights."""
OVERHEAD = 1.6
"""Gradients of activations and a convolution's workspace, over the activations that autograd keeps.

Measured on the CPU: 1.2 to 1.9 for light, resnet10 and resnet18.
"""
BATCH_COPIES = 4
"""Of the input: as read, augmented in two steps, and as the network takes it."""


@dataclass(frozen=True)
class MemoryNeed:
    """What training one fold takes, in MB.

    Attributes:
        weights_mb: The network's weights and what the optimizer keeps of them.
        activations_mb: What the batch leaves in the layers until the gradient has passed.
        total_mb: Everything, with the process itself.
    """

    weights_mb: int
    activations_mb: int
    total_mb: int


def estimate_training(
    network: str, channels: int, shape: tuple[int, int, int], batch_size: int, precision: Precision
) -> MemoryNeed:
    """Estimate the peak memory of training, by a forward pass whose tensors have shapes but no values.

    Args:
        network: Name of a network.
        channels: Input channels.
        shape: Of the volume, in voxels.
        batch_size: Cases at once.
        precision: bf16 halves what the layers keep.

    Returns:
        An estimate, right within about a third.
    """
    with torch.device("meta"):
        model = build_network(network, channels)
        batch = torch.empty((batch_size, channels, *shape))
    own = {parameter.untyped_storage()._cdata for parameter in model.parameters()}  # noqa: SLF001
    kept: dict[int, int] = {}
    alive: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:  # noqa: SLF001 - meta tensors have no address that would tell them apart
            kept[storage._cdata] = storage.nbytes()  # noqa: SLF001
        alive.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(batch)
    share = 0.5 if precision == "bf16-mixed" else 1.0
    weights = 4 * parameter_count(model) * COPIES_OF_WEIGHTS
    activations = share * OVERHEAD * sum(kept.values()) + BATCH_COPIES * batch.nbytes
    total = PROCESS_MB * 2**20 + weights + activations
    return MemoryNeed(*(round(value / 2**20) for value in (weights, activations, total)))


def available_mb() -> int:
    """Memory that this process and its workers may still take: the machine's, or less where a container limits it."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    free = next(int(line.split()[1]) // 1024 for line in lines if line.startswith("MemAvailable"))
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
        rows = Path("/sys/fs/cgroup/memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return free
    # Pages of files that were read are given back as soon as somebody needs them.
    cached = sum(int(row.split()[1]) for row in rows if row.startswith("inactive_file "))
    return free if limit == "max" else min(free, (int(limit) - used + cached) // 2**20)
