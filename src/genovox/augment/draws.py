"""Seeded draws that every transform shares: each sample draws from a generator of its own."""

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Generator, Tensor

from genovox.core.errors import UsageError
from genovox.core.seeds import derive_seed

Axis = Literal["x", "y", "z"]
AXES: tuple[Axis, ...] = ("x", "y", "z")
DIMENSION: dict[Axis, int] = {"z": 1, "y": 2, "x": 3}
"""Where an axis stands in a sample (C, D, H, W)."""


def open_generators(seed: int, epoch: int, case_ids: Sequence[str], purpose: str = "augment") -> list[Generator]:
    """One CPU generator a sample.

    What a case draws depends on these alone: not on its company in the batch, the order of cases or the worker.

    Args:
        seed: The seed of the fold, which holds study, model, repeat and fold.
        epoch: From 0.
        case_ids: The cases of the batch, in order.
        purpose: What the draws are for; each purpose has draws of its own.
    """
    return [Generator().manual_seed(derive_seed(seed, purpose, epoch, case_id)) for case_id in case_ids]


def draw_uniform(generator: Generator, shape: tuple[int, ...], low: float, high: float) -> Tensor:
    """Uniform values in [low, high), float32, on the generator's device.

    A CPU generator gives a GPU sample the same transform as a CPU sample; the caller moves the few numbers over.
    """
    return torch.rand(shape, generator=generator, device=generator.device) * (high - low) + low


def draw_number(generator: Generator, low: float, high: float) -> float:
    """One uniform number in [low, high)."""
    # As draw_uniform, bit for bit: a third of the time where a sample draws sixteen numbers.
    share = np.float32(torch.rand((), generator=generator, device=generator.device).item())
    return float(share * np.float32(high - low) + np.float32(low))


def draw_factor(generator: Generator, largest: float) -> float:
    """A log-uniform factor in [1 / largest, largest]: halving is as likely as doubling."""
    limit = math.log(largest)
    return math.exp(draw_number(generator, -limit, limit))


def draw_integer(generator: Generator, count: int) -> int:
    """One of ``count`` integers from 0, each as likely."""
    return int(torch.randint(count, (), generator=generator, device=generator.device))


def draw_chosen(generator: Generator, probability: float) -> bool:
    """Whether a transform applies to a sample."""
    return draw_number(generator, 0.0, 1.0) < probability


def check_sample(sample: Tensor) -> None:
    """Refuse what is not a floating-point sample (C, D, H, W).

    Raises:
        UsageError: If rank or dtype is wrong.
    """
    if sample.ndim != 4 or not sample.is_floating_point():
        raise UsageError(
            "a transform takes floating-point samples (C, D, H, W), "
            f"got {sample.dtype} of shape {tuple(sample.shape)}; convert or add the missing axes"
        )


def widen(sample: Tensor) -> Tensor:
    """The sample in float32 at least, itself where it is that already: half precision is for storing, not for sums."""
    return sample.to(torch.promote_types(sample.dtype, torch.float32))


def check_range(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Refuse a setting outside [low, high].

    Raises:
        UsageError: If ``value`` is outside, infinite or not a number.
    """
    if not (math.isfinite(value) and low <= value <= high):
        raise UsageError(f"{name} must be finite and in [{low:g}, {high:g}], got {value}; correct the setting")
