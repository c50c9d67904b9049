"""Candidates: bright blobs of any size in the early uptake, each with the mask that belongs to it.

Tubes (vessels) and sheets (skin, the front of the chest wall) bend in one or two directions only; a blob bends in all
three, so the least bent direction tells them apart.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from genovox.core.volume import Array, Mask
from genovox.lesions.enhancement import Uptake

# Standard deviations of the blobs sought: lesions of about 7 to 60 mm (a ball of radius r answers most at r / sqrt 3).
_SCALES_MM = (2.0, 3.0, 4.5, 6.5, 9.5, 13.5)
_BALL = 3**0.5
MOST_CANDIDATES = 24
# A lesion is where the uptake is more than half way from its surroundings to its brightest part.
_HALF = 0.5
_BRIGHT_PERCENTILE = 90
_REACH = 2.4
_LEAST_REACH_MM = 8.0
_SMALLEST_ML = 0.03
_SAME = 0.3

Box = tuple[slice, slice, slice]


class Seed(NamedTuple):
    """A blob: its voxel (z, y, x), its radius in mm and how strongly it stands out."""

    voxel: tuple[int, int, int]
    radius_mm: float
    response: float


@dataclass(frozen=True)
class Candidate:
    """A place that may be a lesion.

    Attributes:
        seed: The blob it grew from.
        box: The part of the exam's grid that holds the mask.
        mask: Shape (z, y, x) of the box.
        threshold: Early uptake at its edge.
    """

    seed: Seed
    box: Box
    mask: Mask
    threshold: float

    def on_grid(self, shape: tuple[int, ...]) -> Mask:
        """The mask on the whole grid of the exam, shape (z, y, x)."""
        whole = np.zeros(shape, bool)
        whole[self.box] = self.mask
        return whole


def find_candidates(uptake: Uptake) -> list[Candidate]:
    """Blobs that enhance more than their surroundings, the strongest first; of those that share tissue, the stronger.

    Args:
        uptake: The exam.
    """
    taken = np.zeros(uptake.tissue.shape, bool)
    found: list[Candidate] = []
    for seed in find_seeds(uptake):
        if taken[seed.voxel]:
            continue
        candidate = grow_candidate(uptake, seed)
        if candidate is None or np.count_nonzero(taken[candidate.box] & candidate.mask) > _SAME * candidate.mask.sum():
            continue
        taken[candidate.box] |= candidate.mask
        found.append(candidate)
        if len(found) == MOST_CANDIDATES:
            break
    return found


def find_seeds(uptake: Uptake) -> list[Seed]:
    """Local maxima of blobness over place and size, the strongest first.

    References:
        Scale-normalised derivatives: Lindeberg (1998), doi:10.1023/A:1008045108935. The least curvature as a measure of
        blobs: Sato et al. (2000), doi:10.1109/2945.856997.
    """
    signal = np.where(uptake.tissue, uptake.early, uptake.level) - np.float32(uptake.level)
    best = np.zeros(signal.shape, np.float32)
    radius = np.zeros(signal.shape, np.float32)
    for scale_mm in _SCALES_MM:
        response = measure_blobness(signal, scale_mm, uptake.spacing_mm)
        better = response > best
        best[better] = response[better]
        radius[better] = scale_mm * _BALL
    best[~uptake.tissue] = 0
    size = [2 * max(1, round(3.0 / step)) + 1 for step in uptake.spacing_mm[::-1]]
    peaks = (best == ndimage.maximum_filter(best, size)) & (best > 0)
    places = np.argwhere(peaks)
    seeds = [
        Seed((int(z), int(y), int(x)), float(radius[z, y, x]), float(best[z, y, x] / uptake.spread))
        for z, y, x in places
    ]
    return sorted(seeds, key=lambda seed: -seed.response)[: 8 * MOST_CANDIDATES]


def measure_blobness(signal: Array, scale_mm: float, spacing_mm: tuple[float, float, float]) -> Array:
    """The least of the three downward curvatures of the smoothed signal, in units of the signal; 0 if any is upward.

    Args:
        signal: Shape (z, y, x).
        scale_mm: Standard deviation of the smoothing.
        spacing_mm: Along x, y, z.

    Returns:
        Shape (z, y, x), float32.
    """
    steps = np.array(spacing_mm[::-1])
    sigma = scale_mm / steps
    smooth = ndimage.gaussian_filter(signal, sigma, truncate=3, mode="nearest")
    first = [
        np.gradient(smooth, steps[axis], axis=axis) if smooth.shape[axis] > 1 else np.zeros_like(smooth)
        for axis in range(3)
    ]
    downward = np.zeros_like(smooth)
    for axis in range(3):
        if smooth.shape[axis] > 1:
            downward -= np.gradient(first[axis], steps[axis], axis=axis)
    out = np.zeros(signal.shape, np.float32)
    at = downward > 0
    matrix = np.zeros((int(at.sum()), 3, 3), np.float32)
    for i in range(3):
        for j in range(i, 3):
            if smooth.shape[j] > 1:
                matrix[:, i, j] = matrix[:, j, i] = -np.gradient(first[i], steps[j], axis=j)[at]
    # Smoothing takes (1 + s^2/r^2) from a blob; s^2 makes what is left comparable between scales.
    out[at] = np.maximum(_least_eigenvalue(matrix), 0) * np.float32(scale_mm**2)
    return out


def _least_eigenvalue(matrix: Array) -> Array:
    """Of symmetric matrices (n, 3, 3), by Cardano's formula, ten times as fast as LAPACK on many small ones.

    References:
        Smith (1961), doi:10.1145/355578.366316.
    """
    mean = np.trace(matrix, axis1=1, axis2=2) / 3
    rest = matrix - mean[:, None, None] * np.eye(3, dtype=np.float32)
    size = np.sqrt(np.einsum("nij,nij->n", rest, rest) / 6)
    a, b, c = rest[:, 0, 0], rest[:, 1, 1], rest[:, 2, 2]
    d, e, f = rest[:, 0, 1], rest[:, 0, 2], rest[:, 1, 2]
    half = (a * (b * c - f * f) - d * (d * c - f * e) + e * (d * f - b * e)) / 2
    angle = np.arccos(np.clip(half / np.maximum(size**3, np.finfo(np.float32).tiny), -1, 1)) / 3
    return np.asarray(mean + 2 * size * np.cos(angle + 2 * np.pi / 3))


def grow_candidate(uptake: Uptake, seed: Seed) -> Candidate | None:
    """The connected tissue around a seed that enhances more than half as much above the surroundings as its core.

    Returns:
        None if there is next to nothing.
    """
    reach_mm = max(_REACH * seed.radius_mm, _LEAST_REACH_MM)
    box, distance_mm = _surround(uptake, seed, reach_mm)
    early, tissue = uptake.early[box], uptake.tissue[box]
    core = tissue & (distance_mm <= max(seed.radius_mm, 2.5))
    shell = tissue & (distance_mm > 1.5 * seed.radius_mm) & (distance_mm <= reach_mm)
    if not core.any():
        return None
    bright = float(np.percentile(early[core], _BRIGHT_PERCENTILE))
    around = float(np.median(early[shell])) if shell.any() else uptake.level
    threshold = max(around + _HALF * (bright - around), uptake.level + uptake.spread)
    above = (early > threshold) & tissue & (distance_mm <= reach_mm)
    parts, count = ndimage.label(above)
    if not count:
        return None
    sizes = np.bincount(parts[core], minlength=count + 1)
    sizes[0] = 0
    if not sizes.any():
        return None
    # A rim may be open where it is thin, and its core belongs to it all the same.
    part = np.pad(parts == sizes.argmax(), 2)
    closed = ndimage.binary_closing(part, ndimage.generate_binary_structure(3, 1), 2)[2:-2, 2:-2, 2:-2]
    mask = np.asarray(ndimage.binary_fill_holes(closed) & tissue)
    if mask.sum() * np.prod(uptake.spacing_mm) / 1000 < _SMALLEST_ML:
        return None
    return Candidate(seed, box, mask, threshold)


def _surround(uptake: Uptake, seed: Seed, reach_mm: float) -> tuple[Box, Array]:
    """The box that holds a ball around a seed, and the distance to it."""
    slices, squares = [], []
    for axis, place in enumerate(seed.voxel):
        step = uptake.spacing_mm[2 - axis]
        half = int(np.ceil(reach_mm / step))
        begin, end = max(0, place - half), min(uptake.tissue.shape[axis], place + half + 1)
        slices.append(slice(begin, end))
        shape = [1, 1, 1]
        shape[axis] = -1
        squares.append((((np.arange(begin, end) - place) * step) ** 2).reshape(shape))
    return (slices[0], slices[1], slices[2]), np.sqrt(squares[0] + squares[1] + squares[2]).astype(np.float32)
