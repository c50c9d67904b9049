"""The permutation of labels: right under the null, and blind to scans of one patient."""

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from genovox.audit.controls import PERMUTATION_P, check_permutation, permute_labels


def _table(labels: np.ndarray, scores: np.ndarray, *, cases: int = 1, folds: int = 1) -> pd.DataFrame:
    patients = len(labels)
    return pd.DataFrame(
        {
            "repeat": 0,
            "fold": [str(n % folds) for n in range(patients) for _ in range(cases)],
            "unit": [f"{n:03d}-{c}" for n in range(patients) for c in range(cases)],
            "cluster": np.repeat(np.arange(patients), cases),
            "label": np.repeat(labels, cases),
            "score": np.repeat(scores, cases),
        }
    )


def test_p_approaches_the_exact_one() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 1])
    scores = np.array([0.1, 0.3, 0.6, 0.2, 0.5, 0.7, 0.25])
    observed = roc_auc_score(labels, scores)
    deals = [roc_auc_score(np.isin(np.arange(7), carriers), scores) for carriers in itertools.combinations(range(7), 3)]
    exact = np.mean(np.array(deals) >= observed - 1e-12)
    p, _ = permute_labels(_table(labels, scores), permutations=20000, seed=1)
    assert p == pytest.approx(exact, abs=0.01)


def test_null_studies_are_rarely_called() -> None:
    random = np.random.default_rng(5)
    calls = 0
    for study in range(200):
        labels = np.arange(60) % 3 == 0
        p, _ = permute_labels(_table(labels.astype(int), random.random(60), folds=5), permutations=400, seed=study)
        calls += p < PERMUTATION_P
    # 5 expected; more than 12 of 200 at a true rate of 2.5% has probability 0.002.
    assert calls <= 12


def test_copies_of_scans_do_not_make_a_finding() -> None:
    """Ten copies of every scan leave p as it is: patients are dealt, not scans."""
    random = np.random.default_rng(8)
    labels = (np.arange(24) % 2).astype(int)
    scores = random.random(24) + 0.15 * labels
    once, _ = permute_labels(_table(labels, scores), permutations=4000, seed=1)
    often, _ = permute_labels(_table(labels, scores, cases=10), permutations=4000, seed=1)
    assert often == pytest.approx(once, abs=0.03)


def test_check_says_which_side() -> None:
    assert check_permutation(0.001, 0.6, 0.8).status == "pass"
    assert check_permutation(0.2, 0.6, 0.55).status == "warn"


def test_a_headline_that_is_not_defined_is_not_assessed() -> None:
    assert check_permutation(0.0005, 0.6, float("nan")).status == "not-assessed"
