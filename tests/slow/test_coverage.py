"""Whole simulated studies without an effect: what the headline covers, and what it would if it ignored training."""

import pytest
from scipy.stats import binom

from benchmarks.coverage import cover_delong, cover_independent, cover_studies

pytestmark = pytest.mark.slow

STUDIES = 200


def test_the_headline_over_folds_covers_where_plain_resampling_does_not() -> None:
    covered = cover_studies(16, 44, 5, 3, 0.5, studies=STUDIES, resamples=400, seed=3)["covered"]
    assert covered["headline"] * STUDIES >= binom.ppf(0.001, STUDIES, 0.95)
    assert covered["percentile, not widened"] * STUDIES < binom.ppf(0.001, STUDIES, 0.95)


def test_the_headline_of_independent_scores_covers() -> None:
    covered = cover_independent(16, 44, 0.75, studies=STUDIES, resamples=400, seed=3)["covered"]
    assert covered["headline"] * STUDIES >= binom.ppf(0.001, STUDIES, 0.95)


@pytest.mark.parametrize(("positives", "negatives"), [(10, 50), (30, 30), (92, 139)])
@pytest.mark.parametrize("auc", [0.5, 0.75, 0.95])
def test_delong_covers_93_to_97_percent_from_ten_patients_a_class(positives: int, negatives: int, auc: float) -> None:
    covered = cover_delong(positives, negatives, auc, 1.0, studies=2000, seed=3)["covered"]["headline"]
    assert binom.ppf(0.001, 2000, 0.93) <= covered * 2000 <= binom.ppf(0.999, 2000, 0.97)
