"""Where a score lies among those of the study."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import percentileofscore

from genovox.core.artifacts import read_table
from genovox.predict.reference import Reference, rank_percentile, read_reference
from tests.conftest import FinishedRun

SCORES = st.floats(0, 1, allow_nan=False)


@given(st.lists(SCORES, min_size=1, max_size=30), SCORES)
def test_percentiles_are_scipys_mean_of_weak_and_strict(scores: list[float], score: float) -> None:
    found = rank_percentile(np.array(scores), score)
    assert found == pytest.approx(percentileofscore(scores, score, kind="mean"))


def test_carriers_and_others_are_apart() -> None:
    reference = Reference(np.array([0.1, 0.2, 0.3, 0.8, 0.9]), np.array([0, 0, 0, 1, 1]))
    place = reference.place(0.5)
    assert (place.percentile, place.percentile_noncarriers, place.percentile_carriers) == (60, 100, 0)
    assert reference.place(0.2).percentile == pytest.approx(30)


def test_a_run_s_reference_is_its_test_scores(finished_run: FinishedRun) -> None:
    reference = read_reference(finished_run.run, "light")
    table = read_table(finished_run.run / "train" / "predictions.csv")
    assert len(reference.scores) == (table["part"] == "test").sum() == 24
    assert reference.labels.sum() == (table[table["part"] == "test"]["label"] == "1").sum()
