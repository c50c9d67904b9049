from typing import Any

import numpy as np

from genovox.preprocess.outliers import flag_outliers


def _rows(count: int, seed: int = 0) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    return [
        {"snr": random.normal(30, 2), "intensity_p50": float(np.exp(random.normal(6, 0.5))), "left_right_ratio": ""}
        for _ in range(count)
    ]


def test_a_case_that_stands_apart_is_named_with_its_figure_and_the_cohorts() -> None:
    rows = _rows(40)
    rows[7]["snr"] = 4.0
    flag_outliers(rows)
    assert rows[7]["outlier"].startswith("signal-to-noise ratio 4 is low (90% of the cohort: 2")
    assert [row["outlier"] for row in rows[:7] + rows[8:]] == [""] * 39


def test_signal_is_compared_by_factors() -> None:
    rows = _rows(40)
    rows[3]["intensity_p50"] = float(np.exp(6 + 2))  # four SDs of the log, far more of the signal itself
    flag_outliers(rows)
    assert rows[3]["outlier"] == ""
    rows[3]["intensity_p50"] = float(np.exp(6 + 6))
    flag_outliers(rows)
    assert "median signal" in rows[3]["outlier"]


def test_a_normal_cohort_has_none() -> None:
    flagged = 0
    for seed in range(20):
        rows = _rows(200, seed)
        flag_outliers(rows)
        flagged += sum(bool(row["outlier"]) for row in rows)
    assert flagged <= 2  # of 4,000 cases


def test_a_handful_of_cases_or_equal_figures_tell_nothing() -> None:
    few = _rows(9)
    few[0]["snr"] = 0.1
    flag_outliers(few)
    assert few[0]["outlier"] == ""
    equal: list[dict[str, Any]] = [{"motion_mm": 0.0} for _ in range(20)]
    flag_outliers(equal)
    assert {row["outlier"] for row in equal} == {""}


def test_one_that_moved_among_many_that_did_not() -> None:
    rows: list[dict[str, Any]] = [{"motion_mm": 0.0} for _ in range(30)]
    rows[0]["motion_mm"] = 9.0
    flag_outliers(rows)
    assert rows[0]["outlier"] == "motion (mm) 9 is high (90% of the cohort: 0 to 0)"
    assert {row["outlier"] for row in rows[1:]} == {""}
