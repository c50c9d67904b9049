"""Tables of predictions as a training run writes them, from binormal scores with a known AUC."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

MakePredictions = Callable[..., pd.DataFrame]


def _simulate_scores(labels: np.ndarray, auc: float, random: np.random.Generator) -> np.ndarray:
    separation = np.sqrt(2) * norm.ppf(auc)
    return np.asarray(norm.cdf(random.normal(size=len(labels)) + separation * labels))


def _make_predictions(
    *,
    positives: int = 16,
    negatives: int = 44,
    folds: int = 5,
    repeats: int = 3,
    auc: float = 0.75,
    models: tuple[str, ...] = ("light",),
    seed: int = 0,
    fixed: int = 0,
) -> pd.DataFrame:
    """One case a patient; fold K validates on the patients that fold K + 1 tests; ``fixed`` more patients a class."""
    random = np.random.default_rng(seed)
    labels = np.r_[np.ones(positives, dtype=int), np.zeros(negatives, dtype=int)]
    patients = np.array([f"P{number:05d}" for number in range(len(labels))])
    parts = []
    for repeat in range(repeats):
        part_of = np.empty(len(labels), dtype=int)
        for label in (0, 1):
            members = random.permutation(np.flatnonzero(labels == label))
            part_of[members] = np.arange(len(members)) % folds
        for model in models:
            for fold in range(folds):
                for part, wanted in (("test", fold), ("val", (fold + 1) % folds)):
                    rows = part_of == wanted
                    parts.append(
                        pd.DataFrame(
                            {
                                "patient_id": patients[rows],
                                "model": model,
                                "repeat": repeat,
                                "fold": str(fold),
                                "part": part,
                                "label": labels[rows],
                                "score": _simulate_scores(labels[rows], auc, random),
                            }
                        )
                    )
    for model in models if fixed else ():
        truth = np.repeat([1, 0], fixed)
        parts.append(
            pd.DataFrame(
                {
                    "patient_id": [f"F{number:05d}" for number in range(2 * fixed)],
                    "model": model,
                    "repeat": 0,
                    "fold": "fixed",
                    "part": "test",
                    "label": truth,
                    "score": _simulate_scores(truth, auc, random),
                }
            )
        )
    table = pd.concat(parts, ignore_index=True)
    return table.assign(case_id=table["patient_id"] + "-a", family_id="", site="A", seed=seed)


@pytest.fixture
def make_predictions() -> MakePredictions:
    return _make_predictions
