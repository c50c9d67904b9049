"""Non-carriers like the carriers: optimal matching on what the study names."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import min_weight_full_bipartite_matching
from scipy.spatial import KDTree

from genovox.cohort.balance import read_numbers
from genovox.core.artifacts import hash_content
from genovox.core.errors import StudyError
from genovox.core.sections import MatchingTable

# Far above any sum of distances within the caliper: as many partners as can be, then the nearest.
_ALONE = 1e6
_TINY = 1e-6


@dataclass(frozen=True)
class Matching:
    """Who is compared with whom.

    Attributes:
        sets: A row a patient who stays: ``patient_id, set``, the set being its carrier's patient id.
        left_out: Why, by patient, for those who do not stay.
    """

    sets: pd.DataFrame
    left_out: dict[str, str]


def match_patients(values: pd.DataFrame, carrier: pd.Series, rules: MatchingTable) -> Matching:
    """Give each carrier the same number of non-carriers of its own, as near as all pairs together can be.

    Words must be equal; each number may differ by ``caliper`` pooled standard deviations at most. Of all ways to give
    as many partners as can be given, the one with the smallest sum of distances is taken (Euclidean over the
    standardised numbers). A carrier who cannot have all ``ratio`` partners is left out, and its partners are dealt
    again.

    Args:
        values: A row a patient (index: patient id), a column a variable, text; an empty cell is missing.
        carrier: Whether each is a carrier, same index.
        rules: What to match on, how many, how near.

    Raises:
        StudyError: If a variable is unknown.

    References:
        Rosenbaum (1989), doi:10.1080/01621459.1989.10478868; calipers: Austin (2011), doi:10.1002/pst.433.
    """
    unknown = [name for name in rules.on if name not in values.columns]
    if unknown:
        raise StudyError(
            f"cohort.matching.on names {unknown[0]}, which neither the clinical table nor the scans have; "
            f"known: {', '.join(map(str, values.columns))}"
        )
    chosen = values[list(rules.on)].astype(str)
    missing = (chosen == "").any(axis=1)
    left_out = {
        str(
            patient
        ): f"cannot be matched: {' and '.join(name for name in rules.on if chosen.loc[patient, name] == '')} is missing"
        for patient in chosen.index[missing]
    }
    rows = chosen.index[~missing]
    partners: dict[str, list[str]] = {}
    # In an order that no hospital made, so that a choice among equals is none by time or place.
    rows = pd.Index(sorted(rows, key=lambda patient: hash_content(str(patient))))
    words, numbers = _standardise(chosen.loc[rows], carrier[rows], rules.caliper)
    for where in words.groupby(words, sort=True).indices.values():
        partners |= _match_block(rows[where], numbers[where], carrier[rows[where]].to_numpy(), rules.ratio)
    reason = f"matching on {', '.join(rules.on)}"
    kept = {patient for own, others in partners.items() for patient in (own, *others)}
    for patient in rows:
        if patient not in kept:
            fewer = (
                f"fewer than {rules.ratio} non-carriers are near enough" if carrier[patient] else "no carrier's partner"
            )
            left_out[str(patient)] = f"{reason}: {fewer}"
    sets = [(patient, own) for own, others in sorted(partners.items()) for patient in (own, *sorted(others))]
    return Matching(pd.DataFrame(sets, columns=["patient_id", "set"]), left_out)


def _standardise(chosen: pd.DataFrame, carrier: pd.Series, caliper: float) -> tuple[pd.Series, npt.NDArray[np.float64]]:
    """What must be equal as one text a patient, and the numbers in calipers, shape (patients, numbers)."""
    words, numbers = [], []
    for name in chosen.columns:
        values = read_numbers(chosen[name])
        if values is None:
            words.append(chosen[name])
            continue
        spread = np.sqrt((values[carrier].var(ddof=0) + values[~carrier].var(ddof=0)) / 2)
        numbers.append(values.to_numpy() / (caliper * spread if spread > 0 else 1.0))
    text = pd.Series("", chosen.index) if not words else pd.concat(words, axis=1).agg("\0".join, axis=1)
    return text, np.stack(numbers, axis=1) if numbers else np.zeros((len(chosen), 0))


def _match_block(
    patients: pd.Index, numbers: npt.NDArray[np.float64], carrier: npt.NDArray[np.bool_], ratio: int
) -> dict[str, list[str]]:
    """Partners by carrier among patients whose words are equal."""
    own, others = np.flatnonzero(carrier), np.flatnonzero(~carrier)
    near = dict(zip(own.tolist(), _find_near(numbers[own], numbers[others]), strict=True))
    while True:
        near = {row: found for row, found in near.items() if len(found) >= ratio}
        dealt = _deal(near, numbers, others, ratio)
        short = {row: len(given) for row, given in dealt.items() if len(given) < ratio}
        if not short:
            return {str(patients[row]): [str(patients[one]) for one in given] for row, given in dealt.items()}
        # Leaving them out one at a time would keep a few more now and then, and take a hundred times as long.
        fewest = min(short.values())
        near = {row: found for row, found in near.items() if short.get(row, ratio) > fewest}


def _find_near(own: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> list[npt.NDArray[np.int64]]:
    """Places among ``others`` that differ by one caliper at most in every number."""
    if not own.shape[1] or not len(others):
        return [np.arange(len(others))] * len(own)
    found = KDTree(others).query_ball_point(own, 1 + _TINY, p=np.inf, return_sorted=True)
    return [np.array(places, np.int64) for places in found]


def _deal(
    near: dict[int, npt.NDArray[np.int64]], numbers: npt.NDArray[np.float64], others: npt.NDArray[np.int64], ratio: int
) -> dict[int, list[int]]:
    """Non-carriers by carrier, each given once: as many as can be given, and of those deals the nearest."""
    if not near:
        return {}
    if not numbers.shape[1]:  # all are equally near
        places = iter(others.tolist())
        return {row: [one for _, one in zip(range(ratio), places, strict=False)] for row in near}
    edges = []
    for row, found in near.items():
        distance = np.linalg.norm(numbers[others[found]] - numbers[row], axis=1)
        edges += [(found, distance)] * ratio
    seats = len(edges)
    row_of = np.repeat(np.arange(seats), [len(found) for found, _ in edges])
    row_of = np.concatenate([row_of, np.arange(seats)])
    # Each seat may stay empty, at a price: the matching is then always full.
    column_of = np.concatenate([*(found for found, _ in edges), len(others) + np.arange(seats)])
    price = np.concatenate([*(distance + _TINY for _, distance in edges), np.full(seats, _ALONE)])
    graph = coo_array((price, (row_of, column_of)), shape=(seats, len(others) + seats)).tocsr()
    taken = dict(zip(*(side.tolist() for side in min_weight_full_bipartite_matching(graph)), strict=True))
    dealt: dict[int, list[int]] = {}
    owners = [row for row in near for _ in range(ratio)]
    for seat, owner in enumerate(owners):
        given = dealt.setdefault(owner, [])
        if taken[seat] < len(others):
            given.append(int(others[taken[seat]]))
    return dealt
