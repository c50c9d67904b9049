"""Scores with labels, the same that the reference values in these tests were computed from."""

from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray


class Scored(NamedTuple):
    labels: NDArray[np.int64]
    scores: NDArray[np.float64]


@pytest.fixture(scope="session")
def scored() -> Scored:
    random = np.random.default_rng(5)
    labels = (random.random(300) < 0.35).astype(np.int64)
    return Scored(labels, 1 / (1 + np.exp(-(1.6 * labels - 1.2 + 1.2 * random.normal(size=300)))))
