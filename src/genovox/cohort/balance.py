"""Are two groups of patients alike? Shares, means and what is missing, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, nan, sqrt

import numpy as np
import pandas as pd
from scipy.stats import norm

from genovox.statistics.proportions import wilson_interval

COLUMNS = ["comparison", "variable", "level", "first", "second", "n_first", "n_second", "difference"]
MOST_LEVELS = 12
_FEWEST_NUMBERS = 3
_MOST = 2.0
WORTH_A_GATE = 0.10
"""Difference of shares, beyond chance, at which a study stops: ten points."""
WORTH_A_WORD = 0.25
"""Standardised difference beyond which groups are called unlike, doi:10.1214/09-STS313."""


@dataclass(frozen=True)
class ShareDifference:
    """A share among carriers against the share among non-carriers.

    Attributes:
        carriers: How many carriers, of how many.
        others: How many non-carriers, of how many.
        difference: Share of carriers less that of non-carriers, -1 to 1; NaN where a class is empty.
        low: Lower end of the interval.
        high: Upper end.
    """

    carriers: tuple[int, int]
    others: tuple[int, int]
    difference: float
    low: float
    high: float

    @property
    def beyond_chance(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0

    @property
    def closes(self) -> bool:
        """Whether it is large enough, and beyond chance, to stop a study."""
        return self.beyond_chance and abs(self.difference) > WORTH_A_GATE

    def describe(self, deed: str) -> str:
        """In words: ``26 of 97 carriers and 0 of 73 non-carriers lost a case (+27 points, …)``."""
        (x, m), (y, n) = self.carriers, self.others
        shown = f"{x} of {m} carriers and {y} of {n} non-carriers {deed}"
        if not (m and n):
            return shown
        points = [f"{100 * share:+.0f}" for share in (self.difference, self.low, self.high)]
        return f"{shown} ({points[0]} points, interval {points[1]} to {points[2]})"


def compare_shares(carriers: tuple[int, int], others: tuple[int, int], confidence: float = 0.95) -> ShareDifference:
    """Difference of two independent shares with its hybrid score interval.

    Args:
        carriers: Events and patients, 0 <= events <= patients.
        others: The same for non-carriers.
        confidence: Of the interval, 0 to 1.

    References:
        Newcombe (1998), method 10, doi:10.1002/(SICI)1097-0258(19980430)17:8<873::AID-SIM779>3.0.CO;2-I.
    """
    (x, m), (y, n) = carriers, others
    if not (m and n):
        return ShareDifference(carriers, others, nan, -inf, inf)
    p, q = x / m, y / n
    p_low, p_high = wilson_interval(x, m, confidence=confidence)
    q_low, q_high = wilson_interval(y, n, confidence=confidence)
    low = p - q - sqrt((p - p_low) ** 2 + (q_high - q) ** 2)
    high = p - q + sqrt((p_high - p) ** 2 + (q - q_low) ** 2)
    return ShareDifference(carriers, others, p - q, low, high)


def find_missing(values: pd.DataFrame, carrier: pd.Series) -> dict[str, ShareDifference]:
    """What is missing more often in one class than in the other.

    Args:
        values: A row a patient, a column a variable; an empty cell is missing.
        carrier: Whether each row is a carrier's, same index.

    Returns:
        By variable, for those missing in some patients but not in all; intervals are widened for how many there are
        (Bonferroni). Variables missing in the same patients count once, under their joined names.
    """
    missing = values.astype(str) == ""
    patterns: dict[bytes, list[str]] = {}
    for name in missing.columns:
        if missing[name].any() and not missing[name].all():
            patterns.setdefault(missing[name].to_numpy().tobytes(), []).append(str(name))
    found = {}
    for names in patterns.values():
        gone = missing[names[0]]
        both = [(int((gone & of).sum()), int(of.sum())) for of in (carrier, ~carrier)]
        found[" and ".join(names)] = compare_shares(both[0], both[1], 1 - 0.05 / len(patterns))
    return found


def compare_groups(values: pd.DataFrame, first: pd.Series, second: pd.Series, comparison: str) -> pd.DataFrame:
    """Standardised differences of two groups, variable by variable.

    A number's is the difference of means over the root of the mean variance; a word's has a row a level, the
    difference of shares over the same root. Above 0.1 in size is commonly called unbalanced.

    Args:
        values: A row a patient, text; an empty cell is missing and left out of its variable.
        first: Whether a row is of the first group.
        second: Whether it is of the second.
        comparison: Its name, for the table.

    Returns:
        ``COLUMNS``; means or shares of each group, and how many patients they rest on.

    References:
        Austin (2009), doi:10.1002/sim.3697.
    """
    rows = []
    for name in values.columns:
        column = values[name].astype(str)
        numbers = read_numbers(column)
        if numbers is not None:
            rows.append(_compare(numbers[first].dropna(), numbers[second].dropna(), comparison, str(name), ""))
            continue
        known = column != ""
        levels = sorted(column[known & (first | second)].unique())
        if not 2 <= len(levels) <= MOST_LEVELS:
            continue  # one level tells nothing; a hundred are names or free text
        for level in levels:
            is_level = (column == level).astype(float)
            rows.append(_compare(is_level[first & known], is_level[second & known], comparison, str(name), level))
    return pd.DataFrame(rows, columns=COLUMNS)


def find_unlike(table: pd.DataFrame) -> list[str]:
    """Variables whose groups are unlike, and not by chance.

    Args:
        table: From ``compare_groups``.

    Returns:
        Names of the variables with a difference above 0.25 whose 95% interval excludes 0.

    References:
        Interval of a standardised difference: Hedges and Olkin (1985), ISBN 978-0-12-336380-0, chapter 5.
    """
    size = table["difference"].abs().clip(upper=_MOST)
    first, second = table["n_first"], table["n_second"]
    error = np.sqrt((first + second) / (first * second) + size**2 / (2 * (first + second)))
    unlike = table[(size > WORTH_A_WORD) & (size > norm.ppf(0.975) * error)]
    return list(dict.fromkeys(unlike["variable"]))


def read_numbers(column: pd.Series) -> pd.Series | None:
    """A column as numbers, with NaN for empty cells; None where it holds words, or hardly a number."""
    numbers = pd.to_numeric(column.where(column != ""), errors="coerce")
    finite = numbers.where(np.isfinite(numbers))
    if (finite.notna() == (column != "")).all() and finite.nunique() >= _FEWEST_NUMBERS:
        return finite
    return None


def _compare(
    first: pd.Series, second: pd.Series, comparison: str, variable: str, level: str
) -> Mapping[str, str | float | int]:
    means = [float(group.mean()) if len(group) else nan for group in (first, second)]
    # Shares and means alike: variance of the group as it is, n in the denominator.
    spread = sqrt((float(first.var(ddof=0)) + float(second.var(ddof=0))) / 2) if len(first) and len(second) else nan
    gap = means[0] - means[1]
    difference = gap / spread if spread > 0 else (0.0 if gap == 0 else nan if np.isnan(gap) else np.sign(gap) * inf)
    row = (comparison, variable, level, *means, len(first), len(second), difference)
    return dict(zip(COLUMNS, row, strict=True))
