"""A small grid of settings, compared on inner folds of one fold's own patients."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from genovox.cohort.splits import connect_groups, split_groups
from genovox.core.errors import SingleClassError
from genovox.core.sections import TrainTable
from genovox.dataset.cases import PreparedCase

Cases = tuple[PreparedCase, ...]


@dataclass(frozen=True)
class Trial:
    """One combination of settings and the losses of its inner folds."""

    settings: dict[str, float]
    losses: list[float]

    @property
    def loss(self) -> float:
        """Mean over the inner folds."""
        return float(np.mean(self.losses))


def list_settings(table: TrainTable) -> list[dict[str, float]]:
    """Every combination of ``[train.search]``; none where nothing is searched."""
    values = table.search.list_values()
    combinations = itertools.product(*values.values()) if values else ()
    return [dict(zip(values, combination, strict=True)) for combination in combinations]


def choose_settings(
    table: TrainTable, cases: Cases, seed: int, measure: Callable[[TrainTable, Cases, Cases], float]
) -> tuple[TrainTable, list[Trial]]:
    """The combination with the lowest mean loss over inner folds that split no patient and no family.

    Args:
        table: The study's ``[train]``.
        cases: The fold's training and validation cases; its test cases must not be among them.
        seed: Decides the inner folds.
        measure: Loss on its third argument of a network trained on its second.

    Returns:
        The table with the chosen values, and all trials in the order of the grid; the first of equal ones is chosen.

    Raises:
        SingleClassError: If an inner fold lacks a class.

    References:
        Varma & Simon (2006), doi:10.1186/1471-2105-7-91: what is chosen on the patients that are tested flatters.
    """
    grid = list_settings(table)
    if len(grid) < 2:
        return (table.model_copy(update=grid[0]) if grid else table), []
    parts = list(_split(cases, table.search.folds, seed))
    trials = [
        Trial(settings, [measure(table.model_copy(update=settings), rest, held_out) for rest, held_out in parts])
        for settings in grid
    ]
    best = min(trials, key=lambda trial: trial.loss)
    return table.model_copy(update=best.settings), trials


def _split(cases: Cases, folds: int, seed: int) -> Iterator[tuple[Cases, Cases]]:
    frame = pd.DataFrame(
        {name: [getattr(case, name) for case in cases] for name in ("patient_id", "family_id", "label")}
    )
    groups = connect_groups(frame, ("patient_id", "family_id"))
    if min(frame.assign(group=groups).groupby("label")["group"].nunique()) < folds:
        raise SingleClassError(
            f"train.search.folds = {folds} needs as many patients of each class among the {len(cases)} cases of a "
            "fold, there are fewer; use fewer inner folds, or leave [train.search] out"
        )
    for rest, held_out in split_groups(frame["label"].to_numpy(), groups, folds, seed):
        parts = tuple(cases[index] for index in rest), tuple(cases[index] for index in held_out)
        if any(len({case.label for case in part}) < 2 for part in parts):
            raise SingleClassError(
                f"every inner fold must hold carriers and non-carriers, with train.search.folds = {folds} one lost a "
                "class; use fewer inner folds, or leave [train.search] out"
            )
        yield parts
