"""What the folds of a study need of a machine, and what to change where it has less."""

from dataclasses import dataclass

from genovox.core.names import split_model
from genovox.core.study import Study
from genovox.learning.resolution import Resolution
from genovox.train.memory import MemoryNeed, available_mb, estimate_training

SPARE = 0.9
"""Part of the memory that folds may plan with."""


@dataclass(frozen=True)
class ModelNeed:
    """One network's need, a fold."""

    model: str
    memory: MemoryNeed
    batch_size: int


def list_needs(study: Study, resolution: Resolution) -> list[ModelNeed]:
    """The need of each network of a study, as declared."""
    channels, (x, y, z) = len(study.preprocess.channels), study.preprocess.shape
    size = study.train.batch_size
    return [
        ModelNeed(
            model, estimate_training(split_model(model)[0], channels, (z, y, x), size, resolution.precision), size
        )
        for model in study.train.networks
    ]


def count_workers(needs: list[ModelNeed], resolution: Resolution, memory_mb: int | None = None) -> int:
    """Folds at once: as many as there are cores for, and no more than fit into memory; at least one.

    Args:
        needs: From ``list_needs``.
        resolution: Threads a fold, and the device: on a GPU, one fold at a time.
        memory_mb: What there is; None asks the machine.
    """
    memory_mb = available_mb() if memory_mb is None else memory_mb
    largest = max((need.memory.total_mb for need in needs), default=1)
    return max(1, min(resolution.default_workers, int(SPARE * memory_mb // largest)))


def suggest_settings(need: ModelNeed, study: Study, resolution: Resolution, memory_mb: int) -> list[str]:
    """What would make one fold of a network fit; empty where it does.

    Args:
        need: Of the network.
        study: The study.
        resolution: Device and precision.
        memory_mb: What there is.

    Returns:
        Settings to try, the one that changes scores least first.
    """
    if resolution.device == "cuda" or need.memory.total_mb <= SPARE * memory_mb:
        return []
    lines = []
    case_mb = need.memory.activations_mb / need.batch_size
    fits = int((SPARE * memory_mb - need.memory.total_mb + need.memory.activations_mb) // case_mb)
    size = max(2, min(fits, need.batch_size))
    if size < need.batch_size:
        steps = -(-need.batch_size // size) * study.train.accumulate
        lines.append(f"train.batch_size={size} with train.accumulate={steps}: the same steps in smaller batches")
    if resolution.precision == "32-true":
        lines.append('train.precision="bf16": half of what the layers keep, slow without instructions for it')
    halves = [max(32, side * 2 // 3 // 8 * 8) for side in study.preprocess.shape]
    lines.append(f"preprocess.shape={halves}: a smaller crop, or a larger preprocess.spacing_mm")
    lines.append("a lighter network: light needs a hundredth of resnet50's weights")
    return lines
