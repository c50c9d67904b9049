"""Batches of cases in a random order that a generator decides."""

from collections.abc import Iterator, Sequence

import torch
from torch import Generator, Tensor

from genovox.dataset.cases import PreparedCase, load_batch

FORMAT = 1
"""Raised by one whenever the same seed gives other batches: finished folds are then trained anew."""


def count_batches(cases: int, batch_size: int) -> int:
    """Batches of an epoch."""
    return max(1, min(-(-cases // batch_size), cases // 2))


def iterate_training(
    cases: Sequence[PreparedCase], batch_size: int, generator: Generator
) -> Iterator[tuple[Tensor, Tensor, list[str]]]:
    """Shuffled batches of nearly equal size.

    No batch holds a single case where two are there, since batch statistics of one case say nothing.

    Yields:
        Volumes (B, C, D, H, W) and labels (B,), both float32, and the cases' ids.
    """
    order = torch.randperm(len(cases), generator=generator)
    for indices in order.tensor_split(count_batches(len(cases), batch_size)):
        yield *_read(cases, indices.tolist()), [cases[index].case_id for index in indices.tolist()]


def iterate_in_order(cases: Sequence[PreparedCase], batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches in the order given.

    Yields:
        Volumes (B, C, D, H, W) and labels (B,), both float32.
    """
    for start in range(0, len(cases), batch_size):
        yield _read(cases, list(range(start, min(start + batch_size, len(cases)))))


def _read(cases: Sequence[PreparedCase], indices: list[int]) -> tuple[Tensor, Tensor]:
    chosen = [cases[index] for index in indices]
    return load_batch(chosen), torch.tensor([float(case.label) for case in chosen])
