"""Cases whose figures stand apart from the cohort's: told, never dropped."""

from collections.abc import Mapping
from typing import Any

import numpy as np

WATCHED: Mapping[str, str] = {
    "foreground_ml": "foreground volume (ml)",
    "outside_fraction": "share of the foreground outside the crop",
    "snr": "signal-to-noise ratio",
    "left_right_ratio": "signal left over right",
    "bias_strength": "strength of the bias field",
    "motion_mm": "motion (mm)",
    "clipped_fraction": "clipped share of the signal",
    "intensity_p50": "median signal",
}
"""Figure in ``cases.csv``, and its name for a reader."""
FEWEST_CASES = 10
LARGEST_SCORE = 5.0
# What makes the median absolute deviation of a normal variable its SD.
_TO_SD = 1.4826
# What makes its mean absolute deviation its SD.
_MEAN_TO_SD = 1.2533


def flag_outliers(rows: list[dict[str, Any]]) -> None:
    """Add a column ``outlier`` to rows of ``cases.csv``: which figures lie far from the cohort's, and by how much.

    A figure lies far where it is more than 5 robust SDs from the median: 1.4826 times the median absolute deviation, or
    1.2533 times the mean one where that is 0. The signal itself is compared on a log scale, since scanners differ by
    factors. Under 10 cases nothing is flagged.

    Args:
        rows: One a case; changed in place.

    References:
        Iglewicz & Hoaglin (1993), How to Detect and Handle Outliers, ASQC Quality Press (they flag from 3.5; a cohort
        of hundreds has such cases by chance, hence 5).
    """
    found: list[list[str]] = [[] for _ in rows]
    for figure, name in WATCHED.items():
        values = np.array([_number(row.get(figure)) for row in rows])
        known = np.isfinite(values)
        if known.sum() < FEWEST_CASES:
            continue
        scale = np.log(np.maximum(values, 1e-12)) if figure == "intensity_p50" else values
        middle = np.median(scale[known])
        distance = np.abs(scale[known] - middle)
        # Where most cases are equal, as where few moved, the median of the distances says nothing; their mean does.
        spread = _TO_SD * np.median(distance) or _MEAN_TO_SD * distance.mean()
        if spread == 0:
            continue
        low, high = np.percentile(values[known], [5, 95])
        for index in np.flatnonzero(known & (np.abs(scale - middle) > LARGEST_SCORE * spread)):
            side = "high" if scale[index] > middle else "low"
            found[index].append(f"{name} {values[index]:.3g} is {side} (90% of the cohort: {low:.3g} to {high:.3g})")
    for row, reasons in zip(rows, found, strict=True):
        row["outlier"] = "; ".join(reasons)


def _number(cell: Any) -> float:
    return float(cell) if isinstance(cell, int | float) or cell else float("nan")
