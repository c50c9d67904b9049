"""Averages over neighbours that look alike: bilateral filter and non-local means.

What two places have in common is measured over all phases together, so every phase is averaged with the same weights:
the filter is one linear map for all of them, and a filtered difference is the difference of the filtered.
"""

import math

import numpy as np
import torch
from torch import Tensor

from genovox.core.volume import Array
from genovox.filters.stencils import WIDE_PIECE_VOXELS, Radius, Row, lay_out


def average_alike(
    phases: Array,
    offsets: list[tuple[Radius, float]],
    *,
    patch_radius: Radius,
    scale_variance: float,
    expected_variance: float,
) -> Array:
    """Average each voxel with neighbours, each weighted by how alike it is and by a factor of its place.

    The weight of a neighbour is ``factor * exp(-max(d - expected, 0) / scale)``, where d is the mean squared difference
    of the two patches over their voxels and all phases. The voxel itself has the weight 1.

    Args:
        phases: Shape (phase, z, y, x), finite.
        offsets: Half of the neighbours (z, y, x), at least one, each with its factor; the others are their opposites.
        patch_radius: Voxels of a patch to each side, 0 or 1 along each axis.
        scale_variance: Mean squared difference, beyond the expected one, at which the weight falls to 1/e.
        expected_variance: Mean squared difference that noise alone gives.

    Returns:
        Shape (phase, z, y, x).
    """
    reach = np.abs([offset for offset, _ in offsets]).max(axis=0)
    # Room for the patch around the farthest neighbour.
    radius = tuple(int(far + patch) for far, patch in zip(reach, patch_radius, strict=True))
    rows = [lay_out(phase, (radius[0], radius[1], radius[2])) for phase in phases]
    values = [torch.from_numpy(row.values) for row in rows]
    sums = [value.clone() for value in values]
    weights = torch.ones_like(values[0])
    layout = rows[0]
    voxels = math.prod(1 + 2 * r for r in patch_radius) * len(phases)
    steps = [step for step, r in zip(layout.steps, patch_radius, strict=True) if r]
    # Piece by piece, not offset by offset: a piece and its neighbours stay in the cache.
    far = max(_step(offset, layout) for offset, _ in offsets)
    for begin, end in layout.pieces(WIDE_PIECE_VOXELS, early=far):
        for offset, factor in offsets:
            step = _step(offset, layout)
            alike = _patch_distance(values, begin, end, step, steps)
            # exp(-max(d / n - expected, 0) / scale), in place.
            alike.mul_(-1 / (voxels * scale_variance))
            if expected_variance:
                alike.add_(expected_variance / scale_variance).clamp_(max=0)
            alike.exp_()
            # One weight serves both ways; what falls on the padding is thrown away.
            weights[begin:end].add_(alike, alpha=factor)
            weights[begin + step : end + step].add_(alike, alpha=factor)
            for value, total in zip(values, sums, strict=True):
                total[begin:end].addcmul_(alike, value[begin + step : end + step], value=factor)
                total[begin + step : end + step].addcmul_(alike, value[begin:end], value=factor)
    return np.stack([layout.crop(total.div_(weights).numpy()) for total in sums])


def _step(offset: Radius, row: Row) -> int:
    return sum(o * step for o, step in zip(offset, row.steps, strict=True))


def _patch_distance(values: list[Tensor], begin: int, end: int, step: int, steps: list[int]) -> Tensor:
    """Sum of squared differences between the patches around places and around those ``step`` further on."""
    if not steps:
        return _sum_squares(values, begin, end, step)
    # The widest step first: only there whole pieces are computed anew for each of the three.
    wide, *rest = steps
    margin = sum(rest)
    first, last = begin - margin, end + margin
    distance = _sum_squares(values, first, last, step)
    distance += _sum_squares(values, first - wide, last - wide, step)
    distance += _sum_squares(values, first + wide, last + wide, step)
    for narrow in rest:
        distance = (distance[: -2 * narrow] + distance[narrow:-narrow]).add_(distance[2 * narrow :])
    return distance


def _sum_squares(values: list[Tensor], begin: int, end: int, step: int) -> Tensor:
    differences = [value[begin + step : end + step] - value[begin:end] for value in values]
    total = differences[0].square_()
    for difference in differences[1:]:
        total.addcmul_(difference, difference)
    return total
