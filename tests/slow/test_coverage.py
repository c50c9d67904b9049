"""Whole simulated studies without an effect: what the headline covers, and what it would if it ignored training."""

import pytest
from scipy.stats import binom

from benchmarks.coverage import cover_independent, cover_studies

pytestmark = pytest.mark.slow

STUDIES = 200


def test_the_headline_over_folds_covers_where_plain_resampling_does_not() -> None:
    covered = cover_studies(16, 44, 5, 3, 0.5, studies=STUDIES, resamples=400, seed=3)["covered"]
    assert covered["headline"] * STUDIES >= binom.ppf(0.001, STUDIES, 0.95)
    assert covered["percentile, not widened"] * STUDIES < binom.ppf(0.001, STUDIES, 0.95)


def test_the_headline_of_independent_scores_covers() -> None:
    covered = cover_independent(16, 44, 0.75, studies=STUDIES, resamples=400, seed=3)["covered"]
    assert covered["headline"] * STUDIES >= binom.ppf(0.001, STUDIES, 0.95)
