"""Batches of cases in a random order that a generator decides, read one ahead of what is computed on."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Generator, Tensor

from genovox.dataset.cases import PreparedCase
from genovox.dataset.ranks import ALONE, Ranks
from genovox.dataset.shelf import ON_CPU, Prepare, Shelf, as_they_are

FORMAT = 1
"""Raised by one whenever the same seed gives other batches: finished folds are then trained anew."""


def count_batches(cases: int, batch_size: int) -> int:
    """Batches of an epoch."""
    return max(1, min(-(-cases // batch_size), cases // 2))


def iterate_training(
    cases: Sequence[PreparedCase],
    batch_size: int,
    generator: Generator,
    *,
    ranks: Ranks = ALONE,
    shelf: Shelf = ON_CPU,
    prepare: Prepare = as_they_are,
) -> Iterator[tuple[Tensor, Tensor, list[str]]]:
    """Shuffled batches of nearly equal size.

    No batch holds a single case where two are there, since batch statistics of one case say nothing.

    Args:
        cases: To learn from.
        batch_size: Of all processes together.
        generator: Decides the order; the same on every process.
        ranks: Whose share of each batch is read.
        shelf: Where volumes are wanted.
        prepare: Done to the volumes of the share.

    Yields:
        Volumes (B, C, D, H, W) of the share on the shelf's device, and labels (B,) of it on the CPU, both float32; the
        ids of all cases of the batch.
    """
    order = torch.randperm(len(cases), generator=generator)
    batches = [part.tolist() for part in order.tensor_split(count_batches(len(cases), batch_size))]
    read = _read_ahead(cases, (part[ranks.take_share(len(part)).rows] for part in batches), shelf, prepare)
    for part, (volumes, labels) in zip(batches, read, strict=True):
        yield volumes, labels, [cases[index].case_id for index in part]


def iterate_in_order(
    cases: Sequence[PreparedCase], batch_size: int, *, ranks: Ranks = ALONE, shelf: Shelf = ON_CPU
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches in the order given.

    Args:
        cases: To be read.
        batch_size: Of all processes together.
        ranks: Whose share of each batch is read.
        shelf: Where volumes are wanted.

    Yields:
        Volumes (B, C, D, H, W) of the share on the shelf's device, and labels (B,) of it on the CPU, both float32.
    """
    batches = [range(start, min(start + batch_size, len(cases))) for start in range(0, len(cases), batch_size)]
    parts = (list(part[ranks.take_share(len(part)).rows]) for part in batches)
    yield from _read_ahead(cases, parts, shelf, as_they_are)


def _read_ahead(
    cases: Sequence[PreparedCase], parts: Iterable[list[int]], shelf: Shelf, prepare: Prepare
) -> Iterator[tuple[Tensor, Tensor]]:
    """Read the next batch while the caller works on this one; what cannot be read is raised in its place."""
    with ThreadPoolExecutor(1) as reader:
        waiting: deque[tuple[list[PreparedCase], Future[Callable[[], Tensor]]]] = deque()
        for indices in parts:
            chosen = [cases[index] for index in indices]
            waiting.append((chosen, reader.submit(shelf.start, chosen, prepare)))
            if len(waiting) > 1:
                yield _take(*waiting.popleft())
        while waiting:
            yield _take(*waiting.popleft())


def _take(cases: list[PreparedCase], batch: Future[Callable[[], Tensor]]) -> tuple[Tensor, Tensor]:
    return batch.result()(), torch.tensor([float(case.label) for case in cases])
