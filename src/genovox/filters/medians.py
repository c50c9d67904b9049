"""The median of a 3 x 3 x 3 window: minima and maxima of whole rows instead of a sort a voxel.

Neighbouring windows share their sorted lines: what is sorted along z is sorted along y and then along x, each once for
all windows that hold it. What is then known of the order leaves a few of the 27 that can be the median, and a fixed
list of exchanges, found once, selects it among them.
"""

import itertools
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import SimpleITK as sitk

from genovox.core.volume import Array
from genovox.filters.stencils import PIECE_VOXELS, Radius, Row, lay_out

Cell = tuple[int, ...]
"""Rank along z, y and x in a window whose lines are sorted along each axis."""


def median_of_window(array: Array, radius: Radius) -> Array:
    """The median of the window around each voxel; beyond the edge lie copies of the edge.

    Args:
        array: Shape (z, y, x), finite.
        radius: Voxels to each side. Windows of one or three voxels along each axis take the fast road.

    Returns:
        Shape (z, y, x).

    References:
        Adams (2021), Fast median filters using separable sorting networks, doi:10.1145/3450626.3459773.
    """
    if max(radius) > 1:
        median = sitk.Median(sitk.GetImageFromArray(array), radius[::-1])
        return np.asarray(sitk.GetArrayFromImage(median), dtype=np.float32)
    row = lay_out(array, radius)
    plan = plan_selection(radius)
    out = np.empty_like(row.values)
    for begin, end in row.pieces(PIECE_VOXELS):
        out[begin:end] = _select(row, plan, begin, end)
    return row.crop(out)


@dataclass(frozen=True)
class Selection:
    """How to find the median in a window whose lines are sorted along every axis.

    Attributes:
        exchanges: Pairs of cells in order; the first takes the smaller value, if it is needed, the second the larger.
        result: The cell that holds the median at last.
    """

    exchanges: tuple[tuple[Cell, Cell, bool, bool], ...]
    result: Cell


@lru_cache(maxsize=8)
def plan_selection(radius: Radius) -> Selection:
    """Find the exchanges for a window with 0 or 1 voxel to each side along z, y, x.

    A cell leaves once more than half of the cells are known to lie on one side of it. Of the pairs whose order is
    open, that is exchanged next whose cells are most alike in what lies below and above them, and most in the middle.
    """
    cells = list(itertools.product(*[range(1 + 2 * r) for r in radius]))
    below = {c: {d for d in cells if d != c and all(i <= j for i, j in zip(d, c, strict=True))} for c in cells}
    alive, rank = _drop_decided(set(cells), below, len(cells) // 2)
    pairs: list[tuple[Cell, Cell]] = []
    while len(alive) > 1:
        low, high = _choose_pair(alive, below)
        _exchange(low, high, below)
        pairs.append((low, high))
        alive, rank = _drop_decided(alive, below, rank)
    result = alive.pop()
    needed, exchanges = {result}, []
    for low, high in reversed(pairs):
        if low in needed or high in needed:
            exchanges.append((low, high, low in needed, high in needed))
            needed |= {low, high}
    return Selection(tuple(reversed(exchanges)), result)


def _drop_decided(alive: set[Cell], below: dict[Cell, set[Cell]], rank: int) -> tuple[set[Cell], int]:
    """Drop the cells that cannot have the rank; what is dropped from below lowers the rank looked for."""
    alive = set(alive)
    while True:
        too_high = {c for c in alive if len(below[c] & alive) > rank}
        too_low = {c for c in alive if sum(c in below[d] for d in alive) > len(alive) - 1 - rank}
        if not too_high and not too_low:
            return alive, rank
        alive -= too_high | too_low
        rank -= len(too_low)


def _choose_pair(alive: set[Cell], below: dict[Cell, set[Cell]]) -> tuple[Cell, Cell]:
    under = {c: len(below[c] & alive) for c in alive}
    over = {c: sum(c in below[d] for d in alive) for c in alive}
    open_pairs = [
        (a, b) for a, b in itertools.combinations(sorted(alive), 2) if a not in below[b] and b not in below[a]
    ]
    return min(
        open_pairs,
        key=lambda pair: (
            sum(abs(under[c] - over[c]) for c in pair)
            + abs(under[pair[0]] - under[pair[1]])
            + abs(over[pair[0]] - over[pair[1]])
        ),
    )


def _exchange(low: Cell, high: Cell, below: dict[Cell, set[Cell]]) -> None:
    """What is known of the order after ``low`` took the smaller and ``high`` the larger of their values."""
    both, either = below[low] & below[high], below[low] | below[high]
    for under in below.values():
        has_low, has_high = low in under, high in under
        if has_low or has_high:
            under.add(low)
        if not (has_low and has_high):
            under.discard(high)
    below[low], below[high] = both, (either | {low}) - {high}


def _select(row: Row, plan: Selection, begin: int, end: int) -> Array:
    # Sorted lines along z over all places that windows along y and x need, then along y, then along x.
    margins = [sum(row.radius[i] * row.steps[i] for i in range(axis + 1, 3)) for axis in range(3)]
    lines: dict[Cell, Array] = {(): row.values}
    start = 0
    for axis, margin in enumerate(margins):
        first, last = begin - margin - start, end + margin - start
        step = row.steps[axis]
        sorted_lines: dict[Cell, Array] = {}
        for cell, line in lines.items():
            if row.radius[axis] == 0:
                sorted_lines[*cell, 0] = line[first:last]
                continue
            ordered = _sort_three(line[first - step : last - step], line[first:last], line[first + step : last + step])
            sorted_lines |= {(*cell, position): values for position, values in enumerate(ordered)}
        lines, start = sorted_lines, begin - margin
    for low, high, needs_low, needs_high in plan.exchanges:
        one, two = lines[low], lines[high]
        if needs_low:
            lines[low] = np.minimum(one, two)
        if needs_high:
            lines[high] = np.maximum(one, two)
    return lines[plan.result]


def _sort_three(one: Array, two: Array, three: Array) -> tuple[Array, Array, Array]:
    low, high = np.minimum(one, two), np.maximum(one, two)
    middle = np.minimum(high, three)
    return np.minimum(low, middle), np.maximum(low, middle), np.maximum(high, three)
