"""Models of table columns: a regularised logistic regression whose every step is fitted on training patients."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from genovox.cohort.splits import connect_groups
from genovox.core.artifacts import read_json, write_json
from genovox.core.errors import DataError, SingleClassError

if TYPE_CHECKING:
    from genovox.dataset.cases import PreparedCase

FORMAT = 1
"""Raised by one whenever the same table and seed give another fit."""
FITTED = "tabular.json"
ALL = 10**6
_INNER_FOLDS = 5
_NUMERIC_LEVELS = 5
_MOSTLY = 0.8
_RARE = 3
_ALIKE = 0.95
_FURTHEST = 4.0
_FLAT = 1e-9

Matrix = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Recipe:
    """What a fit may choose between.

    Attributes:
        strengths: Inverse penalties C, the strongest penalty first.
        counts: How many of the features that tell most alone may stay, the fewest first.
    """

    strengths: tuple[float, ...]
    counts: tuple[int, ...] = (ALL,)


RIDGE = Recipe((1.0,))
"""A fixed penalty, which nothing chooses."""
RECIPES = {
    "radiomics": Recipe((0.001, 0.01, 0.1, 1.0), (5, 15, ALL)),
    "metadata": Recipe((0.01, 0.1, 1.0)),
    "clinical": Recipe((0.01, 0.1, 1.0)),
}


@dataclass(frozen=True)
class Term:
    """One number made of one column.

    Attributes:
        column: Its name.
        kind: ``number``, ``day`` (a date as a number), ``missing`` (1 where the cell is empty or no number) or
            ``level`` (1 where the cell is this word).
        level: The word.
        fill: What an empty cell counts as: the median of the training patients.
        mean, scale: What is taken off and divided by; the result is cut off at four.
        coefficient: Log odds a unit.
    """

    column: str
    kind: Literal["number", "day", "missing", "level"]
    level: str = ""
    fill: float = 0.0
    mean: float = 0.0
    scale: float = 1.0
    coefficient: float = 0.0

    @property
    def name(self) -> str:
        """As a reader sees it."""
        return f"{self.column} = {self.level or 'empty'}" if self.kind in ("level", "missing") else self.column

    def evaluate(self, table: pd.DataFrame) -> Matrix:
        """The term of each row, shape (n,)."""
        cells = table[self.column]
        if self.kind == "level":
            values = (cells.astype(str) == self.level).to_numpy(np.float64)
        elif self.kind == "missing":
            values = (np.isnan(_read_numbers(cells)) & np.isnan(_read_days(cells))).astype(np.float64)
        else:
            numbers = _read_days(cells) if self.kind == "day" else _read_numbers(cells)
            values = np.where(np.isnan(numbers), self.fill, numbers)
        return np.clip((values - self.mean) / self.scale, -_FURTHEST, _FURTHEST)


@dataclass(frozen=True)
class TabularModel:
    """A fitted logistic regression, as JSON holds it.

    Attributes:
        terms: Those that stayed, with their coefficients.
        intercept: Log odds of a patient at every mean, the classes weighing the same.
        strength: The inverse penalty C that was chosen.
        candidates: How many terms there were to choose from.
        inner_loss: Balanced log loss of the choice on inner folds; None where nothing was chosen.
    """

    terms: tuple[Term, ...]
    intercept: float
    strength: float
    candidates: int
    inner_loss: float | None = None

    @property
    def chosen(self) -> list[tuple[str, float]]:
        """Name and coefficient of each term, the largest first."""
        return sorted(((term.name, term.coefficient) for term in self.terms), key=lambda pair: -abs(pair[1]))

    def score(self, table: pd.DataFrame) -> Matrix:
        """Probability of a carrier, were both classes as frequent, of each row, shape (n,).

        Raises:
            DataError: If the table lacks a column that the model needs.
        """
        lacking = [term.column for term in self.terms if term.column not in table.columns]
        if lacking:
            raise DataError(
                f"the model needs the column {lacking[0]}, the table has none; make the table as in training"
            )
        odds = np.full(len(table), self.intercept)
        for term in self.terms:
            odds += term.coefficient * term.evaluate(table)
        return np.asarray(expit(odds))


@dataclass(frozen=True)
class TabularFit:
    """A fold's model of table columns and what it says.

    Attributes:
        model: What was fitted.
        scores: Probability by case, of every case given.
    """

    model: TabularModel
    scores: dict[str, float]


def fit_tabular(
    name: str,
    features: pd.DataFrame,
    *,
    training: "Sequence[PreparedCase]",
    validation: "Sequence[PreparedCase]" = (),
    test: "Sequence[PreparedCase]" = (),
    seed: int,
) -> TabularFit:
    """Fit a model of table columns on a fold's training patients and score all of the fold.

    Validation patients are scored only: thresholds and calibration are fitted on their scores.

    Args:
        name: ``radiomics``, ``metadata`` or ``clinical``.
        features: From ``open_features``, index ``case_id``.
        training: Cases of the fold's training patients.
        validation: Of its validation patients.
        test: Of its test patients.
        seed: Of the inner folds.

    Raises:
        SingleClassError: If the training patients are of one class.
        DataError: If the table has no row of a case.
    """
    everyone = [*training, *validation, *test]
    strangers = [case.case_id for case in everyone if case.case_id not in features.index]
    if strangers:
        raise DataError(f"{name} needs a row of features a case, there is none of {strangers[0]}; train again")
    frame = pd.DataFrame([(case.patient_id, case.family_id) for case in training], columns=["patient_id", "family_id"])
    model = fit_logistic(
        features.loc[[case.case_id for case in training]],
        np.array([case.label for case in training], np.int64),
        connect_groups(frame, ["patient_id", "family_id"]),
        seed=seed,
        recipe=RECIPES[name],
    )
    scores = model.score(features.loc[[case.case_id for case in everyone]])
    return TabularFit(model, dict(zip((case.case_id for case in everyone), scores.tolist(), strict=True)))


def fit_logistic(
    table: pd.DataFrame, labels: Labels, groups: npt.NDArray[Any], *, seed: int, recipe: Recipe
) -> TabularModel:
    """Fit a ridge logistic regression; how many features stay and how strong the penalty is, inner folds decide.

    In each inner fold, as in the final fit, everything is learnt from its own training rows alone: medians for empty
    cells, means and scales, which terms are constant, which tell most alone (AUC), and which of two that correlate
    above 0.95 goes (the one that tells less). Where a class has fewer than two groups nothing can be compared, and the
    recipe's first, most cautious choice is taken.

    Args:
        table: A row a case; text columns are numbers where most cells are, else words.
        labels: 0 or 1, shape (n,).
        groups: Rows of one group never lie on both sides of an inner fold, shape (n,).
        seed: Of the inner folds.
        recipe: What to choose between.

    Raises:
        SingleClassError: If the labels are of one class.
    """
    if len(np.unique(labels)) < 2:
        value = f"only {labels[0]}" if len(labels) else "none"
        raise SingleClassError(
            f"labels must hold carriers and non-carriers to be learnt from, got {value} in {len(labels)} training "
            "cases; use fewer folds or widen the cohort"
        )
    # The last bit of a sum depends on the number of threads, and a run must not.
    with threadpool_limits(1):
        count, strength, loss = _choose(table, labels, groups, seed, recipe)
        candidates = _make_terms(table)
        terms, matrix = _prepare(candidates, table, labels)
        coefficients, intercept = _solve(matrix[:, :count], labels, strength)
    pairs = zip(terms[:count], coefficients, strict=True)
    fitted = tuple(replace(term, coefficient=float(coefficient)) for term, coefficient in pairs)
    return TabularModel(fitted, intercept, strength, len(candidates), loss)


def save_tabular(folder: Path, model: TabularModel) -> None:
    """Write a fold's model into its folder."""
    write_json(folder / FITTED, {"format": FORMAT} | asdict(model))


def load_tabular(folder: Path) -> TabularModel:
    """Read a fold's model.

    Raises:
        DataError: If it is missing, damaged or of another format.
    """
    content = read_json(folder / FITTED)
    try:
        known = dict(content)
        terms = tuple(Term(**term) for term in known.pop("terms"))
        is_current = known.pop("format") == FORMAT
        model = TabularModel(terms, **known)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{folder / FITTED} is no fitted model of table columns ({error}); train again") from None
    if not is_current:
        raise DataError(f"{folder / FITTED} must be of format {FORMAT}, got {content['format']}; train again")
    return model


def as_numbers(cells: pd.Series) -> tuple[Literal["number", "day"], Matrix] | None:
    """A column as numbers, or as days since 1970 where it holds dates; None where it holds words.

    Args:
        cells: Floats, or text of which at least 80% of what is filled in must be numbers and take more than five
            values; fewer are codes of a scanner or a clinic.

    Returns:
        What the numbers are, and they, shape (n,), NaN where a cell holds none.
    """
    if pd.api.types.is_float_dtype(cells):
        return "number", _read_numbers(cells)
    filled = (cells.notna() & (cells != "")).to_numpy(bool)
    for kind, read in _READINGS:
        numbers = read(cells)
        known = numbers[~np.isnan(numbers)]
        if len(known) >= _MOSTLY * filled.sum() and len(np.unique(known)) > _NUMERIC_LEVELS:
            return kind, numbers
    return None


def _read_numbers(cells: pd.Series) -> Matrix:
    values = cells if pd.api.types.is_float_dtype(cells) else pd.to_numeric(cells, errors="coerce")
    numbers = values.to_numpy(np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _read_days(cells: pd.Series) -> Matrix:
    if pd.api.types.is_float_dtype(cells):
        return np.full(len(cells), np.nan)
    dates = pd.to_datetime(cells.astype(str), errors="coerce", format="ISO8601")
    return np.asarray(((dates - pd.Timestamp(0)) / pd.Timedelta(days=1)).to_numpy(np.float64))


_READINGS: tuple[tuple[Literal["number", "day"], Callable[[pd.Series], Matrix]], ...] = (
    ("number", _read_numbers),
    ("day", _read_days),
)


def _make_terms(table: pd.DataFrame) -> list[Term]:
    terms = []
    for name in map(str, table.columns):
        found = as_numbers(table[name])
        if found is None:
            levels = table[name].astype(str).value_counts().sort_index()
            terms += [Term(name, "level", level=str(level)) for level in levels.index[levels >= _RARE]]
            continue
        kind, numbers = found
        gaps = np.isnan(numbers)
        if gaps.all():
            continue
        middle = float(np.median(numbers[~gaps]))
        filled = np.where(gaps, middle, numbers)
        if np.ptp(filled) > _FLAT * np.abs(filled).max():
            terms.append(Term(name, kind, fill=middle, mean=float(filled.mean()), scale=float(filled.std())))
        if gaps.any():
            terms.append(Term(name, "missing"))
    return terms


def evaluate_terms(terms: Sequence[Term], table: pd.DataFrame) -> Matrix:
    """The terms of each row, shape (n, terms)."""
    return np.stack([term.evaluate(table) for term in terms], axis=1) if terms else np.zeros((len(table), 0))


def _prepare(terms: list[Term], table: pd.DataFrame, labels: Labels) -> tuple[list[Term], Matrix]:
    """Terms that vary and differ from one another, those that tell most alone first, and their values."""
    matrix = evaluate_terms(terms, table)
    positive = labels == 1
    ranks = rankdata(matrix, axis=0)[positive].sum(axis=0) if terms else np.zeros(0)
    carriers = int(positive.sum())
    auc = (ranks - carriers * (carriers + 1) / 2) / (carriers * (len(labels) - carriers))
    order = np.argsort(-np.abs(auc - 0.5), kind="stable")
    kept = order[_find_unlike(matrix[:, order])]
    return [terms[place] for place in kept], matrix[:, kept]


def _find_unlike(matrix: Matrix) -> list[int]:
    """Columns that vary and are like none of those before them."""
    centred = matrix - matrix.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    unit = centred / np.where(length > _FLAT, length, 1)
    correlation = np.abs(unit.T @ unit)
    kept: list[int] = []
    for place in np.flatnonzero(length > _FLAT).tolist():
        if not kept or correlation[place, kept].max() <= _ALIKE:
            kept.append(place)
    return kept


def _choose(
    table: pd.DataFrame, labels: Labels, groups: npt.NDArray[Any], seed: int, recipe: Recipe
) -> tuple[int, float, float | None]:
    """How many terms stay, the strength, and the loss on inner folds."""
    choices = [(count, strength) for count in recipe.counts for strength in recipe.strengths]
    if len(choices) == 1:
        return *choices[0], None
    losses = [
        _inner_losses(table.iloc[fit], labels[fit], table.iloc[held], labels[held], choices)
        for fit, held in _inner_folds(labels, groups, seed)
    ]
    if not losses:
        return *choices[0], None
    mean = np.mean(losses, axis=0)
    best = int(mean.argmin())
    return *choices[best], float(mean[best])


def _inner_folds(labels: Labels, groups: npt.NDArray[Any], seed: int) -> Iterator[tuple[Labels, Labels]]:
    folds = min(_INNER_FOLDS, *(len(np.unique(groups[labels == label])) for label in (0, 1)))
    if folds < 2:
        return
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed % 2**32)
    for fit, held in splitter.split(np.zeros(len(labels)), labels, groups):
        if len(np.unique(labels[fit])) == 2 == len(np.unique(labels[held])):
            yield fit, held


def _inner_losses(
    table: pd.DataFrame, labels: Labels, held: pd.DataFrame, truth: Labels, choices: list[tuple[int, float]]
) -> list[float]:
    """Mean over both classes of the mean log loss, for each choice."""
    terms, matrix = _prepare(_make_terms(table), table, labels)
    other = evaluate_terms(terms, held)
    known: dict[tuple[int, float], float] = {}
    losses = []
    for count, strength in choices:
        key = min(count, len(terms)), strength
        if key not in known:
            coefficients, intercept = _solve(matrix[:, :count], labels, strength)
            odds = other[:, :count] @ coefficients + intercept
            loss = np.logaddexp(0, np.where(truth == 1, -odds, odds))
            known[key] = float(np.mean([loss[truth == label].mean() for label in (0, 1)]))
        losses.append(known[key])
    return losses


def _solve(matrix: Matrix, labels: Labels, strength: float) -> tuple[Matrix, float]:
    if not matrix.shape[1]:
        return np.zeros(0), 0.0
    solver = LogisticRegression(C=strength, class_weight="balanced", solver="newton-cholesky", max_iter=200)
    solver.fit(matrix, labels)
    return np.asarray(solver.coef_[0], np.float64), float(solver.intercept_[0])
