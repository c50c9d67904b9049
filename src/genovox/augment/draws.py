"""Seeded draws that every transform shares, one value a sample."""

import math

import torch
from torch import Generator, Tensor

from genovox.core.errors import UsageError


def draw_uniform(generator: Generator, shape: tuple[int, ...], low: float, high: float) -> Tensor:
    """Uniform values in [low, high), float32, on the generator's device.

    A CPU generator gives a GPU batch the same transforms as a CPU batch; the caller moves the few numbers over.
    """
    return torch.rand(shape, generator=generator, device=generator.device) * (high - low) + low


def draw_factors(generator: Generator, count: int, largest: float) -> Tensor:
    """Log-uniform factors in [1 / largest, largest], shape (count,): halving is as likely as doubling."""
    limit = math.log(largest)
    return torch.exp(draw_uniform(generator, (count,), -limit, limit))


def draw_chosen(generator: Generator, count: int, probability: float) -> Tensor:
    """Which of ``count`` samples a transform applies to: bool, shape (count,)."""
    return draw_uniform(generator, (count,), 0.0, 1.0) < probability


def check_batch(batch: Tensor) -> None:
    """Refuse what is not a floating-point batch (B, C, D, H, W).

    Raises:
        UsageError: If rank or dtype is wrong.
    """
    if batch.ndim != 5 or not batch.is_floating_point():
        raise UsageError(
            "augmentation takes floating-point batches (B, C, D, H, W), "
            f"got {batch.dtype} of shape {tuple(batch.shape)}; convert or add the missing axes"
        )


def check_range(name: str, value: float, low: float, high: float = math.inf) -> None:
    """Refuse a setting outside [low, high].

    Raises:
        UsageError: If ``value`` is outside, infinite or not a number.
    """
    if not (math.isfinite(value) and low <= value <= high):
        raise UsageError(f"{name} must be finite and in [{low:g}, {high:g}], got {value}; correct the setting")
