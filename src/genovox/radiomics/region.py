"""Where features are measured: the enhancing part of a crop, its rim and its core, and the tissue around it."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from genovox.core.volume import Array, Mask

AROUND_MM = 5.0
"""How far the tissue around a lesion reaches; most reports on peritumoral enhancement measure 2 to 5 mm."""
_BINS = 256
_CENTRAL = 0.25


@dataclass(frozen=True)
class Region:
    """A lesion, as a rule finds it.

    Attributes:
        lesion: Shape (z, y, x); False everywhere where the crop holds no foreground.
        core: Its voxels deeper than half its greatest depth.
        rim: Its other voxels.
        around: Foreground within ``AROUND_MM`` of it.
    """

    lesion: Mask
    core: Mask
    rim: Mask
    around: Mask


def find_region(guide: Array, foreground: Mask, spacing_mm: tuple[float, float, float]) -> Region:
    """Find the lesion that a crop shows, without a reader's mask.

    What lies above Otsu's threshold of the guiding channel in the foreground falls into parts (neighbours by their
    faces); the lesion is the part with the largest weight, a voxel weighing exp(-d^2 / 2 s^2) at a distance d from the
    middle of the crop, s a quarter of its shortest side: large, and near the middle, where a crop around a mark has it.

    Args:
        guide: The channel in which a lesion is bright, shape (z, y, x).
        foreground: Shape (z, y, x).
        spacing_mm: Voxel size along x, y, z.
    """
    sampling = spacing_mm[::-1]
    lesion = _largest_in_the_middle((guide > otsu_threshold(guide[foreground])) & foreground, sampling)
    if not lesion.any():
        lesion = _largest_in_the_middle(foreground, sampling)
    if not lesion.any():
        return Region(lesion, lesion, lesion, lesion)
    # Distances are told where they matter: near the lesion.
    box = enclose(lesion, tuple(int(np.ceil(AROUND_MM / step)) + 1 for step in sampling))
    inside = np.pad(lesion[box], 1)
    depth_mm = ndimage.distance_transform_edt(inside, sampling)
    outside_mm = ndimage.distance_transform_edt(~inside, sampling)[1:-1, 1:-1, 1:-1]
    core, around = np.zeros_like(lesion), np.zeros_like(lesion)
    core[box] = depth_mm[1:-1, 1:-1, 1:-1] > depth_mm.max() / 2
    around[box] = foreground[box] & ~lesion[box] & (outside_mm <= AROUND_MM)
    return Region(lesion, core, lesion & ~core, around)


def enclose(mask: Mask, room: tuple[int, ...] = (0, 0, 0)) -> tuple[slice, slice, slice]:
    """The smallest box that holds a mask, and room on every side as far as there is any.

    Args:
        mask: Shape (z, y, x).
        room: Voxels along z, y, x.

    Returns:
        Slices along z, y, x; of no voxel where the mask is empty.
    """
    if not mask.any():
        return slice(0, 0), slice(0, 0), slice(0, 0)
    slices = []
    for axis, margin in enumerate(room):
        places = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        slices.append(slice(max(0, int(places[0]) - margin), int(places[-1]) + 1 + margin))
    return slices[0], slices[1], slices[2]


def otsu_threshold(values: Array) -> float:
    """The threshold that divides values into the two classes that differ most, from a histogram of 256 bins.

    Args:
        values: Shape (n,).

    Returns:
        Upper edge of the last bin of the lower class; infinity where there is one value, or none, and nothing stands
        out.

    References:
        Otsu (1979), doi:10.1109/TSMC.1979.4310076.
    """
    if values.size == 0 or values.min() == values.max():
        return float("inf")
    counts, edges = np.histogram(values, _BINS)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)[:-1].astype(float)
    above = values.size - below
    sums = np.cumsum(counts * middles)
    low, high = sums[:-1] / np.maximum(below, 1), (sums[-1] - sums[:-1]) / np.maximum(above, 1)
    between = below * above * (low - high) ** 2
    # Over a gap every threshold is equally good: its middle is.
    best = np.flatnonzero(between >= between.max() * (1 - 1e-12))
    return float(edges[1 + best[len(best) // 2]])


def _largest_in_the_middle(mask: Mask, sampling: tuple[float, ...]) -> Mask:
    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    sides = [size * step for size, step in zip(mask.shape, sampling, strict=True)]
    squared = np.zeros((1, 1, 1))
    for axis, (size, step) in enumerate(zip(mask.shape, sampling, strict=True)):
        offset = (np.arange(size) - (size - 1) / 2) * step
        squared = squared + np.expand_dims(offset**2, tuple({0, 1, 2} - {axis}))
    weight = np.exp(-squared / (2 * (_CENTRAL * min(sides)) ** 2))
    total = np.bincount(parts.ravel(), weights=weight.ravel(), minlength=count + 1)
    total[0] = -1
    return np.asarray(parts == total.argmax())
