"""Sets of labels that hold the true one as often as promised, in each class; both labels: the model abstains."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Booleans = NDArray[np.bool_]


class SetRule(NamedTuple):
    """Which labels a score allows.

    Attributes:
        negative_up_to: Highest score that still allows the label 0.
        positive_from: Lowest score that still allows the label 1.
    """

    negative_up_to: float
    positive_from: float


def fewest_for_level(level: float) -> int:
    """Patients that a class needs before a set at this level can leave a label out: 4 at 0.80, 9 at 0.90."""
    return int(np.ceil(level / (1 - level) - 1e-9))


def fit_set_rule(scores: ArrayLike, labels: ArrayLike, level: float) -> SetRule | None:
    """Class-conditional (Mondrian) split conformal rule.

    Among patients exchangeable with these, a set holds the true label with probability at least ``level`` in each
    class, whatever the scores are worth.

    Args:
        scores: Raw, of patients that the model was not fitted on, shape (n,).
        labels: 0 or 1, shape (n,).
        level: Coverage promised in each class, above 0 and below 1.

    Returns:
        None where a class has fewer patients than ``fewest_for_level``.

    References:
        Vovk, Gammerman & Shafer (2005), doi:10.1007/b106715, section 4.5; Vovk (2012),
        https://proceedings.mlr.press/v25/vovk12.html.
    """
    values, y = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    bounds = []
    for label in (0, 1):
        strangeness = np.sort(values[y == label] if label == 0 else -values[y == label])
        if len(strangeness) < fewest_for_level(level):
            return None
        rank = int(np.ceil((len(strangeness) + 1) * level - 1e-9))
        bounds.append(float(strangeness[rank - 1]))
    return SetRule(negative_up_to=bounds[0], positive_from=-bounds[1])


def predict_sets(scores: ArrayLike, rule: SetRule) -> Booleans:
    """Whether the set of each score holds the label 0 and the label 1, shape (n, 2)."""
    values = np.asarray(scores, dtype=np.float64)
    return np.stack([values <= rule.negative_up_to, values >= rule.positive_from], axis=1)
