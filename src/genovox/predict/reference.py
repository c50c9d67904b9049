"""The study's own out-of-fold scores: beside them the score of a new scan gets a meaning."""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from genovox.core.artifacts import read_table


@dataclass(frozen=True)
class Place:
    """Where a score lies among the study's out-of-fold scores.

    Attributes:
        percentile: Percent of all of them that are lower, equal ones counted half, in [0, 100].
        percentile_noncarriers: The same among patients without a mutation.
        percentile_carriers: The same among carriers.
    """

    percentile: float
    percentile_noncarriers: float
    percentile_carriers: float

    def as_row(self) -> dict[str, float]:
        """The percentiles by name."""
        return asdict(self)


@dataclass(frozen=True)
class Reference:
    """Scores of cases by networks that had not seen them.

    Attributes:
        scores: Of each case in each repeat, shape (n,).
        labels: 0 or 1, shape (n,).
    """

    scores: NDArray[np.float64]
    labels: NDArray[np.int64]

    def place(self, score: float) -> Place:
        """Place of a score; it is the mean over all networks, so it lies nearer to the middle than one network's."""
        groups = (self.scores, self.scores[self.labels == 0], self.scores[self.labels == 1])
        return Place(*(rank_percentile(group, score) for group in groups))


def rank_percentile(scores: NDArray[np.float64], score: float) -> float:
    """Percent of scores under one, equal ones counted half.

    Args:
        scores: At least one, shape (n,).
        score: In their unit.
    """
    return float(50 * (np.mean(scores < score) + np.mean(scores <= score)))


def read_reference(run: Path, model: str) -> Reference:
    """The out-of-fold scores of a model of a trained run.

    Raises:
        TableError: If ``predictions.csv`` is missing or damaged.
    """
    table = read_table(run / "train" / "predictions.csv", required=("model", "part", "label", "score"))
    own = table[(table["model"] == model) & (table["part"] == "test")]
    return Reference(np.array(own["score"], np.float64), np.array(own["label"], np.int64))
