"""Many ridge logistic regressions at once, under other labels or other weights: on given rows, or on folds."""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from threadpoolctl import ThreadpoolController

from genovox.baselines.tabular import RIDGE, evaluate_terms, fit_logistic
from genovox.cohort.splits import FIXED, connect_groups

Floats = NDArray[np.float64]
ITERATIONS = 40
_TOLERANCE = 1e-8
_CHUNK_ELEMENTS = 4_000_000
_LARGEST_STEP = 8.0
_FLAT, _FURTHEST = 1e-9, 4.0


class Fits(NamedTuple):
    """B regressions.

    Attributes:
        coefficients: Log odds a unit, shape (B, p).
        intercepts: Shape (B,).
    """

    coefficients: Floats
    intercepts: Floats

    def predict(self, matrix: Floats) -> Floats:
        """Log odds of rows of shape (m, p), shape (B, m)."""
        return self.coefficients @ matrix.T + self.intercepts[:, None]


def fit_ridges(matrix: Floats, labels: ArrayLike, weights: ArrayLike | None = None, *, strength: float) -> Fits:
    """Fit B ridge logistic regressions by Newton's method, all in one sweep.

    The objective is scikit-learn's: sum of weighted log losses plus the squared coefficients over twice ``strength``;
    the intercept is not penalised. Curvature of all fits is one matrix product.

    Args:
        matrix: Features, shape (n, p); scaled alike, since the penalty is.
        labels: 0 or 1, shape (n,) or (B, n).
        weights: Of the rows, not negative, shape (n,) or (B, n); None weighs every row 1.
        strength: Inverse penalty C, above 0.

    Returns:
        The fits; B is 1 where neither labels nor weights have two dimensions.

    References:
        Newton's method is iteratively reweighted least squares: McCullagh & Nelder (1989),
        doi:10.1007/978-1-4899-3242-6.
    """
    if matrix.shape[1] > len(matrix):
        # A ridge sees no direction that its rows do not span: fewer columns, the same fits.
        _, _, turned = np.linalg.svd(matrix, full_matrices=False)
        fits = fit_ridges(matrix @ turned.T, labels, weights, strength=strength)
        return Fits(fits.coefficients @ turned, fits.intercepts)
    design = np.column_stack([matrix, np.ones(len(matrix))])
    truth = np.atleast_2d(np.asarray(labels, np.float64))
    rows = np.ones((1, len(design))) if weights is None else np.atleast_2d(np.asarray(weights, np.float64))
    count = max(len(truth), len(rows))
    truth, rows = (np.broadcast_to(part, (count, len(design))) for part in (truth, rows))
    products = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    step = max(1, _CHUNK_ELEMENTS // max(products.shape[1], len(design)))
    # The last bit of a sum depends on the number of threads, and a figure must not.
    with _find_threads().limit(limits=1):
        parts = [
            _solve(design, products, truth[start : start + step], rows[start : start + step], 1 / strength)
            for start in range(0, count, step)
        ]
    solved = np.concatenate(parts)
    return Fits(solved[:, :-1], solved[:, -1])


def balance_classes(labels: ArrayLike) -> Floats:
    """Weights that let both classes weigh the same in each row of labels, shape (B, n)."""
    truth = np.atleast_2d(np.asarray(labels, np.float64))
    share = truth.mean(axis=1, keepdims=True)
    return np.asarray(np.where(truth == 1, 0.5 / np.maximum(share, 1e-12), 0.5 / np.maximum(1 - share, 1e-12)))


@dataclass(frozen=True)
class Refit:
    """One fold of cached features.

    Attributes:
        train: Terms of the rows that are fitted, shape (n, p).
        train_rows: ``unit, cluster, label`` of each.
        test: Terms of the rows that are scored, shape (m, p).
        share: What each of them counts for its unit's mean, shape (units, m).
        rows: ``repeat, fold, unit, cluster, label`` of the units that are scored.
    """

    train: Floats
    train_rows: pd.DataFrame
    test: Floats
    share: Floats
    rows: pd.DataFrame


def plan_refits(features: pd.DataFrame, cases: pd.DataFrame, folds: pd.DataFrame, label_unit: str) -> list[Refit]:
    """Bring each fold of a plan to numbers once, to be fitted many times.

    Args:
        features: Index ``case_id``: numbers or words.
        cases: ``case_id, patient_id, family_id, label``.
        folds: ``repeat, fold, part, case_id``; folds that lack a class in training or test are left out.
        label_unit: ``patient`` or ``case``: to what labels belong.
    """
    table = cases.set_index("case_id")
    table["cluster"] = connect_groups(table, ["patient_id", "family_id"])
    table["unit"] = table["patient_id"] if label_unit == "patient" else table.index
    plans = []
    for _, plan in folds[folds["fold"] != FIXED].groupby(["repeat", "fold"]):
        known = plan[plan["case_id"].isin(table.index) & plan["case_id"].isin(features.index)]
        train, test = (known.loc[known["part"] == part, "case_id"].tolist() for part in ("train", "test"))
        labels = table.loc[train, "label"].to_numpy(np.int64)
        if len(set(labels.tolist())) < 2 or table.loc[test, "label"].nunique() < 2:
            continue
        both = _number(features.loc[train], features.loc[test], labels)
        of_test = table.loc[test, ["unit", "cluster", "label"]].reset_index()
        rows = of_test.drop_duplicates("unit").assign(repeat=plan["repeat"].iloc[0], fold=plan["fold"].iloc[0])
        share = (rows["unit"].to_numpy()[:, None] == of_test["unit"].to_numpy()[None]).astype(np.float64)
        plans.append(
            Refit(
                both[0],
                table.loc[train, ["unit", "cluster", "label"]],
                both[1],
                share / share.sum(axis=1, keepdims=True),
                rows,
            )
        )
    return plans


def _number(train: pd.DataFrame, test: pd.DataFrame, labels: NDArray[np.int64]) -> list[Floats]:
    """Training and test rows as columns of mean 0 and SD 1 in training."""
    if all(pd.api.types.is_float_dtype(kind) for kind in train.dtypes) and not train.isna().to_numpy().any():
        mean, scale = train.to_numpy().mean(axis=0), train.to_numpy().std(axis=0)
        varies = scale > _FLAT * (1 + np.abs(mean))
        values = [((part.to_numpy() - mean) / np.where(varies, scale, 1))[:, varies] for part in (train, test)]
        return [np.clip(np.nan_to_num(part), -_FURTHEST, _FURTHEST) for part in values]
    model = fit_logistic(train, labels, np.arange(len(labels)), seed=0, recipe=RIDGE)
    return [evaluate_terms(model.terms, part) for part in (train, test)]


def score_refits(plans: list[Refit], *, strength: float) -> pd.DataFrame:
    """Units scored out of fold by a ridge regression: ``repeat, fold, unit, cluster, label, score``."""
    tables = []
    for plan in plans:
        truth = plan.train_rows["label"].to_numpy(np.float64)
        odds = fit_ridges(plan.train, truth, balance_classes(truth), strength=strength).predict(plan.test)[0]
        tables.append(plan.rows.assign(score=plan.share @ expit(odds)))
    return pd.concat(tables, ignore_index=True)


@cache
def _find_threads() -> ThreadpoolController:
    """The libraries whose threads are limited, looked for once."""
    return ThreadpoolController()


def _solve(design: Floats, products: Floats, labels: Floats, weights: Floats, penalty: float) -> Floats:
    width = design.shape[1]
    # The intercept's own penalty only keeps a class without weight from running away.
    ridge = np.full(width, penalty)
    ridge[-1] = 1e-9
    solution = np.zeros((len(labels), width))
    for _ in range(ITERATIONS):
        fitted = expit(solution @ design.T)
        gradient = (weights * (labels - fitted)) @ design - ridge * solution
        curvature = ((weights * fitted * (1 - fitted)) @ products).reshape(-1, width, width)
        curvature[:, range(width), range(width)] += ridge + 1e-9
        change = np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
        length = np.abs(change).max(axis=1, keepdims=True)
        solution += change * np.minimum(1, _LARGEST_STEP / np.maximum(length, _LARGEST_STEP))
        if length.max() < _TOLERANCE:
            break
    return solution
