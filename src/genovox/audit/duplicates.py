"""Copies of a scan under two patients, found after turning, rescaling, compression, resampling or a small crop."""

from collections.abc import Iterator
from functools import partial
from itertools import permutations, product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from genovox.audit.checks import Check
from genovox.cohort.stage import LIKENESS
from genovox.core.log import write_count
from genovox.core.volume import Array

SAME = 0.92
"""From here on two scans are one: unrelated ones reach 0.87, copies fall below after a heavy loss only."""
ALIKE = 0.88
"""From here on a person should look: above all unrelated scans that were measured."""
NEAR_DUPLICATES = "near-duplicates"
_CANDIDATE = 0.40
_WORTH_A_LOOK = 0.70
_NEAREST = 3
"""Candidates a case: of a scan that was copied many times, each copy finds another."""
_BLOCK = 1024
_PAIRS = 128
"""Compared at once."""
_LARGEST_SHIFT, _LARGEST_STRETCH = 2.0, 0.15
_TURNS = tuple(permutations(range(3)))
_FLIPS = tuple(product((False, True), repeat=3))


def find_near_duplicates(likeness: npt.NDArray[np.int8], patients: pd.Series) -> pd.DataFrame:
    """Pairs of cases of different patients that may be one scan, most alike first.

    Every pair is compared in all 48 orientations at half resolution, in blocked matrix products: mirroring only changes
    the sign of the parts that are odd along an axis, so eight products of an eighth of the length give all eight
    mirrored correlations. The three nearest cases of each are then laid on one another (shift and stretch an axis) and
    compared at full resolution.

    Args:
        likeness: ``likeness.npy``, shape (n, 20, 20, 20); a row of 0 is like nothing.
        patients: Patient of each row.

    Returns:
        Columns ``first, second`` (rows of the input), ``similarity`` (correlation, at most 1), from ``ALIKE`` on.

    References:
        Lucas & Kanade (1981), the registration of the second step.
    """
    owner = pd.factorize(patients)[0]
    described = np.flatnonzero(likeness.any(axis=(1, 2, 3)))
    pictures = likeness[described]
    pairs = np.array(find_candidates(pictures, owner[described]), np.int64).reshape(-1, 2)
    chunks = np.split(pairs, range(_PAIRS, len(pairs), _PAIRS))
    similarity = np.concatenate([compare_likeness(pictures[chunk[:, 0]], pictures[chunk[:, 1]]) for chunk in chunks])
    alike = similarity >= ALIKE
    first, second = described[pairs[alike]].T
    table = pd.DataFrame({"first": first, "second": second, "similarity": similarity[alike]})
    return table.sort_values(["similarity", "first"], ascending=[False, True], ignore_index=True)


def compare_likeness(first: npt.NDArray[np.int8], second: npt.NDArray[np.int8]) -> npt.NDArray[np.float64]:
    """Correlations of pairs, laid on one another as well as shift and stretch allow, in the best orientation.

    Args:
        first: Shape (n, 20, 20, 20); a few hundred at most, the memory grows with them.
        second: The same.

    Returns:
        Shape (n,), -1 to 1; that of the half resolution where it shows already that they have nothing in common.
    """
    if not len(first):
        return np.zeros(0)
    one, other = _halve(first.astype(np.float32)), _halve(second.astype(np.float32))
    views = np.stack([_turn(other, turn, flips) for turn in _TURNS for flips in _FLIPS])
    best = np.einsum("vnzyx,nzyx->vn", views, one).argmax(axis=0)
    with threadpool_limits(1):  # products this small take longer to share out than to make
        similarity, place = _lay_over(one, views[best, np.arange(len(one))], np.zeros((len(one), 6)), steps=5)
        near = np.flatnonzero(similarity >= _WORTH_A_LOOK)
        if len(near):
            moving = [
                _turn(second[[pair]].astype(np.float32), _TURNS[way // len(_FLIPS)], _FLIPS[way % len(_FLIPS)])
                for pair, way in zip(near, best[near], strict=True)
            ]
            start = place[near] * [2, 2, 2, 1, 1, 1]
            similarity[near] = _lay_over(first[near].astype(np.float32), np.concatenate(moving), start, steps=4)[0]
    return similarity


def read_likeness(run: Path) -> npt.NDArray[np.int8] | None:
    """Descriptions of a run's cases, a row a case of ``cases.csv``; None where there are none."""
    path = run / "cohort" / LIKENESS
    if not path.exists():
        return None
    likeness: npt.NDArray[np.int8] = np.load(path, allow_pickle=False)
    return likeness


def check_near_duplicates(cases: pd.DataFrame, likeness: npt.NDArray[np.int8] | None, accepted: str = "") -> Check:
    """Look for copies of a scan under two patients, however they were converted.

    Args:
        cases: ``cases.csv``: ``case_id, patient_id``.
        likeness: ``likeness.npy``, a row a case; None where there are no images.
        accepted: The user's reason to go on all the same, or empty.
    """
    question = "Does a copy of a scan, converted in another way, stand under two patients?"
    threshold = (
        f"from a correlation of {SAME:.2f} of the scans' fine structure on it is a leak, from {ALIKE:.2f} on a person "
        "should look: unrelated scans stayed below 0.87, copies that were turned, compressed or resampled above"
    )
    say = partial(Check, NEAR_DUPLICATES, question, threshold=threshold)
    described = 0 if likeness is None else int(likeness.any(axis=(1, 2, 3)).sum())
    if likeness is None or described < 2:
        what = "no images to compare" if likeness is None else "masks have no structure to compare"
        return say("not-assessed", what)
    pairs = find_near_duplicates(likeness, cases["patient_id"])
    masks = f"; {write_count(len(cases) - described, 'mask')} not compared" if described < len(cases) else ""
    if pairs.empty:
        finding = f"no two of {described} scans of different patients are alike (48 orientations each){masks}"
        return say("pass", finding, figure=0.0)
    names = cases["case_id"].to_numpy()
    shown = ", ".join(
        f"{names[first]} and {names[second]} ({similarity:.2f})"
        for first, second, similarity in zip(
            pairs["first"], pairs["second"], pairs["similarity"].iloc[:3], strict=False
        )
    )
    same = int((pairs["similarity"] >= SAME).sum())
    finding = f"{write_count(len(pairs), 'pair')} of like scans of different patients: {shown}{masks}"
    return say(
        "fail" if same else "warn",
        finding + (f"; accepted by the user: {accepted}" if accepted else ""),
        figure=float(pairs["similarity"].iloc[0]),
        advice="Look at each pair of like scans; give both one patient_id or remove the wrong one, then run again.",
    )


def _halve(picture: Array) -> Array:
    """Means over 2 x 2 x 2 cells, mean 0 and length 1."""
    z, y, x = (size // 2 for size in picture.shape[-3:])
    small = picture.reshape(*picture.shape[:-3], z, 2, y, 2, x, 2).mean(axis=(-5, -3, -1))
    small -= small.mean(axis=(-3, -2, -1), keepdims=True)
    length = np.sqrt((small**2).sum(axis=(-3, -2, -1), keepdims=True))
    return np.asarray(small / np.maximum(length, np.finfo(np.float32).tiny), np.float32)


def _turn(pictures: Array, turn: tuple[int, ...], flips: tuple[bool, ...]) -> Array:
    turned = np.transpose(pictures, (0, *np.add(turn, 1)))
    return np.asarray(np.flip(turned, tuple(axis + 1 for axis, flipped in enumerate(flips) if flipped)))


def _split_parity(pictures: Array) -> Array:
    """Even and odd parts along each axis: shape (8, n, cells of an octant), of the same length as before."""
    parts = pictures
    for axis in (1, 2, 3):
        low, high = np.split(parts, 2, axis=axis)
        high = np.flip(high, axis)
        parts = np.asarray(np.concatenate([low + high, low - high], axis=axis) / np.sqrt(2), np.float32)
    half = parts.shape[1] // 2
    octants = parts.reshape(len(parts), 2, half, 2, half, 2, half).transpose(1, 3, 5, 0, 2, 4, 6)
    return np.ascontiguousarray(octants.reshape(8, len(parts), half**3))


def _correlate_all(first: Array, second: Array) -> Array:
    """Largest correlation of each pair over the eight mirrorings of each of the six turns.

    Args:
        first: Parity parts, shape (8, n, cells).
        second: The same of each turn, shape (6, 8, m, cells).

    Returns:
        Shape (n, m).
    """
    best = np.full((first.shape[1], second.shape[2]), -1, np.float32)
    for turned in second:
        parts = first @ turned.transpose(0, 2, 1)
        for stride in (1, 2, 4):
            # A flip along an axis changes the sign of the odd part: sums and differences give both.
            pairs = parts.reshape(-1, 2, stride, *best.shape)
            parts = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1).reshape(8, *best.shape)
        np.maximum(best, parts.max(axis=0), out=best)
    return best


def find_candidates(pictures: npt.NDArray[np.int8], owner: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """The nearest cases of other patients of each case, as pairs in order."""
    nearest: list[tuple[int, int, float]] = []
    blocks = [slice(start, start + _BLOCK) for start in range(0, len(pictures), _BLOCK)]
    small = [_halve(pictures[block].astype(np.float32)) for block in blocks]
    for number, block in enumerate(blocks):
        turned = np.stack([_split_parity(np.transpose(small[number], (0, *np.add(turn, 1)))) for turn in _TURNS])
        for other in range(number + 1):
            table = _correlate_all(_split_parity(small[other]), turned)
            table[owner[blocks[other], np.newaxis] == owner[np.newaxis, block]] = -1
            nearest += _take_nearest(table, blocks[other].start, block.start)
    columns = pd.DataFrame(nearest, columns=["first", "second", "value"]).drop_duplicates(["first", "second"])
    both = pd.concat(
        [columns.assign(case=columns["first"]), columns.assign(case=columns["second"])], ignore_index=True
    ).sort_values(["value", "first", "second"], ascending=[False, True, True])
    kept = both.groupby("case").head(_NEAREST).drop_duplicates(["first", "second"])
    return sorted(zip(kept["first"].tolist(), kept["second"].tolist(), strict=True))


def _take_nearest(table: Array, row: int, column: int) -> Iterator[tuple[int, int, float]]:
    """The largest entries of each row and each column of a block that may be a copy; within a case's own, once."""
    for axis in (0, 1):
        count = min(_NEAREST, table.shape[axis])
        order = np.argpartition(-table, count - 1, axis=axis).take(range(count), axis=axis)
        values = np.take_along_axis(table, order, axis=axis)
        for place in np.argwhere(values >= _CANDIDATE):
            at = int(order[tuple(place)])
            first, second = (at + row, int(place[1]) + column) if axis == 0 else (int(place[0]) + row, at + column)
            yield min(first, second), max(first, second), float(values[tuple(place)])


def _lay_over(
    still: Array, moving: Array, place: npt.NDArray[np.float64], *, steps: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Shift and stretch pictures onto others by Gauss-Newton steps.

    Args:
        still: Shape (pairs, n, n, n).
        moving: The same.
        place: Start, shape (pairs, 6): shift along z, y, x in cells, then stretch.
        steps: How many.

    Returns:
        Largest correlation of each pair on the way, over cells that both cover, and where it was.
    """
    count, size = still.shape[:2]
    offsets = np.arange(size) - (size - 1) / 2
    limits = np.repeat([_LARGEST_SHIFT * size / 20, _LARGEST_STRETCH], 3)
    best, best_place = np.full(count, -1.0), place
    for _ in range(steps):
        target = offsets * (1 + place[:, 3:, np.newaxis]) + place[:, :3, np.newaxis] + (size - 1) / 2
        weights = np.maximum(0, 1 - np.abs(target[..., np.newaxis] - np.arange(size))).astype(np.float32)
        along_z, along_y, along_x = np.moveaxis(weights, 1, 0)
        rows = along_y[:, np.newaxis] @ (moving @ along_x.transpose(0, 2, 1)[:, np.newaxis])
        moved = (along_z @ rows.reshape(count, size, -1)).reshape(rows.shape)
        inside = np.moveaxis(weights.sum(axis=-1) > 0.99, 1, 0)
        covered = np.einsum("nz,ny,nx->nzyx", *inside.astype(np.float32)).reshape(count, -1)
        one, other = _centre(still, covered), _centre(moved, covered)
        shared, own = (one * other).sum(axis=1), (other**2).sum(axis=1)
        length = np.sqrt((one**2).sum(axis=1) * own)
        correlation = np.divide(shared, length, out=np.full(count, -1.0), where=length > 0)
        best_place = np.where((correlation > best)[:, np.newaxis], place, best_place)
        best = np.maximum(correlation, best)
        slopes = np.gradient(moved, axis=(1, 2, 3))
        stretched = [slope * _along(offsets, axis) for axis, slope in enumerate(slopes)]
        jacobian = np.stack([*slopes, *stretched], axis=1, dtype=np.float32).reshape(count, 6, -1)
        jacobian *= covered[:, np.newaxis]
        normal = (jacobian @ jacobian.transpose(0, 2, 1)).astype(np.float64)
        ridge = 1e-6 * np.trace(normal, axis1=1, axis2=2) / 6 + np.finfo(np.float32).tiny
        gain = np.maximum(np.divide(shared, own, out=np.zeros(count), where=own > 0), 0.1)
        residual = (one / gain[:, np.newaxis] - other)[..., np.newaxis]
        step = np.linalg.solve(normal + ridge[:, np.newaxis, np.newaxis] * np.eye(6), jacobian @ residual)
        place = np.clip(place + step[..., 0], -limits, limits)
    return best, best_place


def _centre(pictures: Array, covered: Array) -> Array:
    """Cells less their mean, 0 where they do not count: shape (pairs, cells)."""
    cells = pictures.reshape(covered.shape)
    mean = (cells * covered).sum(axis=1) / np.maximum(covered.sum(axis=1), 1)
    return np.asarray((cells - mean[:, np.newaxis]) * covered, np.float32)


def _along(values: npt.NDArray[np.float64], axis: int) -> npt.NDArray[np.float64]:
    return values.reshape([-1 if axis == other else 1 for other in range(3)])
