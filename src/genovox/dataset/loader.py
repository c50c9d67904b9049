"""Batches of cases in a random order that a generator decides, read one ahead of what is computed on."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch
from torch import Generator, Tensor

from genovox.dataset.cases import PreparedCase, load_batch
from genovox.dataset.ranks import ALONE, Ranks

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
    pinned: bool = False,
) -> Iterator[tuple[Tensor, Tensor, list[str]]]:
    """Shuffled batches of nearly equal size.

    No batch holds a single case where two are there, since batch statistics of one case say nothing.

    Args:
        cases: To learn from.
        batch_size: Of all processes together.
        generator: Decides the order; the same on every process.
        ranks: Whose share of each batch is read.
        pinned: Whether volumes lie where a GPU can fetch them while it computes.

    Yields:
        Volumes (B, C, D, H, W) and labels (B,) of the share, both float32, and the ids of all cases of the batch.
    """
    order = torch.randperm(len(cases), generator=generator)
    batches = [part.tolist() for part in order.tensor_split(count_batches(len(cases), batch_size))]
    read = _read_ahead(cases, (part[ranks.take_share(len(part)).rows] for part in batches), pinned=pinned)
    for part, (volumes, labels) in zip(batches, read, strict=True):
        yield volumes, labels, [cases[index].case_id for index in part]


def iterate_in_order(
    cases: Sequence[PreparedCase], batch_size: int, *, ranks: Ranks = ALONE, pinned: bool = False
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches in the order given.

    Args:
        cases: To be read.
        batch_size: Of all processes together.
        ranks: Whose share of each batch is read.
        pinned: Whether volumes lie where a GPU can fetch them while it computes.

    Yields:
        Volumes (B, C, D, H, W) and labels (B,) of the share, both float32.
    """
    batches = [range(start, min(start + batch_size, len(cases))) for start in range(0, len(cases), batch_size)]
    parts = (list(part[ranks.take_share(len(part)).rows]) for part in batches)
    yield from _read_ahead(cases, parts, pinned=pinned)


def _read_ahead(
    cases: Sequence[PreparedCase], parts: Iterable[list[int]], *, pinned: bool
) -> Iterator[tuple[Tensor, Tensor]]:
    """Read the next batch while the caller works on this one; what cannot be read is raised in its place."""
    with ThreadPoolExecutor(1) as reader:
        waiting: deque[Future[tuple[Tensor, Tensor]]] = deque()
        for indices in parts:
            waiting.append(reader.submit(_read, cases, indices, pinned))
            if len(waiting) > 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _read(cases: Sequence[PreparedCase], indices: list[int], pinned: bool) -> tuple[Tensor, Tensor]:
    chosen = [cases[index] for index in indices]
    volumes = load_batch(chosen)
    labels = torch.tensor([float(case.label) for case in chosen])
    return (volumes.pin_memory() if pinned else volumes), labels
