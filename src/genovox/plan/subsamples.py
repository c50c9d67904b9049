"""Nested subsamples of each fold's training patients, as tasks that train like any fold."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path

import numpy as np
import pandas as pd

from genovox.cohort.splits import connect_groups
from genovox.core.artifacts import hash_content
from genovox.core.errors import DataError
from genovox.core.names import model_folder
from genovox.core.seeds import derive_seed
from genovox.dataset.cases import PreparedCase
from genovox.train.plan import FoldTask

SHARES = (0.25, 0.35, 0.5, 0.7, 1.0)
FEWEST = 5
"""Patients (or families) of each class in the smallest subsample."""
_LEAST_SHARES = 3


@dataclass(frozen=True)
class Subsample:
    """A fold that learns from a part of its training patients.

    Attributes:
        share: Of the training patients, in (0, 1].
        draw: Number of the random order; 0 alone for the whole.
        task: The fold; its validation and test patients are those of the run.
    """

    share: float
    draw: int
    task: FoldTask

    @property
    def patients(self) -> int:
        """Patients that are learnt from."""
        return len({case.patient_id for case in self.task.training})


def plan_subsamples(tasks: Sequence[FoldTask], folder: Path, *, draws: int, seed: int) -> list[Subsample]:
    """Every share of every fold; a smaller subsample of a draw lies within the larger ones.

    A share is left out where some fold would hold fewer than five patients of a class. The whole is the run's own
    fold where that is finished.

    Args:
        tasks: The folds of one model, from ``plan_tasks``.
        folder: Where subsamples are trained.
        draws: Random orders of a fold's patients.
        seed: Of the study.

    Raises:
        DataError: If fewer than three shares are left.
    """
    smallest = min(_count_smaller_class(task.training) for task in tasks)
    shares = [share for share in SHARES if smallest * share >= FEWEST]
    if len(shares) < _LEAST_SHARES:
        raise DataError(
            f"a learning curve needs folds of {ceil(FEWEST / SHARES[-_LEAST_SHARES])} or more training patients of "
            f"each class, the smallest has {smallest}; leave --learning-curve out, or use more folds"
        )
    return [
        _cut(task, share, draw, folder, seed)
        for task in tasks
        for share in shares
        for draw in range(draws if share < 1 else 1)
    ]


def pick_training(cases: Sequence[PreparedCase], share: float, seed: int) -> tuple[PreparedCase, ...]:
    """The first part of a random order of patients, families together, at the prevalence of the whole.

    Args:
        cases: A fold's training cases.
        share: In (0, 1].
        seed: Decides the order, whatever the share, so that subsamples are nested.
    """
    groups, positive = _group(cases)
    random = np.random.default_rng(seed)
    kept: list[int] = []
    for label in (False, True):
        order = random.permutation(np.flatnonzero(positive == label))
        kept += order[: ceil(share * len(order) - 1e-9)].tolist()
    chosen = set(kept)
    return tuple(case for case, group in zip(cases, groups, strict=True) if group in chosen)


def _cut(task: FoldTask, share: float, draw: int, folder: Path, seed: int) -> Subsample:
    if share == 1 and task.is_finished():
        return Subsample(share, draw, task)
    order = derive_seed(seed, "learning-curve", task.repeat, task.fold, draw)
    training = pick_training(task.training, share, order)
    place = folder / model_folder(task.model) / f"repeat-{task.repeat}" / f"fold-{task.fold}"
    return Subsample(
        share,
        draw,
        replace(
            task,
            training=training,
            folder=place / f"share-{share:.2f}-draw-{draw}",
            key=hash_content([task.key, [case.case_id for case in training]]),
        ),
    )


def _group(cases: Sequence[PreparedCase]) -> tuple[np.ndarray, np.ndarray]:
    """The group of each case, and whether each group holds a carrier."""
    frame = pd.DataFrame([(case.patient_id, case.family_id) for case in cases], columns=["patient_id", "family_id"])
    groups = np.unique(connect_groups(frame, ["patient_id", "family_id"]), return_inverse=True)[1]
    return groups, np.bincount(groups, weights=[case.label for case in cases]) > 0


def _count_smaller_class(cases: Sequence[PreparedCase]) -> int:
    positive = _group(cases)[1]
    return int(min(positive.sum(), (~positive).sum()))
