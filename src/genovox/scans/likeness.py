"""A small picture of a scan's fine structure, by which copies of a scan are known again however they were converted."""

import base64

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from genovox.core.volume import Array

Likeness = npt.NDArray[np.int8]

SIZE = 20
"""Cells an axis."""
_HALF_WIDTH_SD = 1.8
_FINE, _COARSE = 0.45, 0.9
"""SDs of the two Gaussians whose difference is kept, in cells."""
_NEIGHBOURHOOD = 2.0
"""SD, in cells, over which structure is brought to equal strength."""
_ENOUGH = 96
"""Voxels an axis that carry all the structure that 20 cells can show."""
_SAMPLE = 200_000
_FULL_SCALE = 4.0
"""In RMS of the structure: what the largest byte stands for."""


def describe_likeness(phase: Array) -> Likeness:
    """Describe the fine structure of a scan in a frame that its own content sets.

    The frame is the centre and the spread of the voxels above Otsu's threshold along each array axis, so that spacing,
    empty borders and the place of the grid drop out, and turning or mirroring the array turns or mirrors the
    description. What is kept is a band of fine structure (a difference of Gaussians), brought to equal strength
    everywhere, so that contrast, brightness and coil profile drop out too, and body shape, which is alike in all,
    hardly counts.

    Args:
        phase: Shape (z, y, x), any spacing; more than one value.

    Returns:
        Shape (20, 20, 20), int8; nothing but 0 where there is no structure.

    References:
        Otsu (1979), doi:10.1109/TSMC.1979.4310076.
    """
    pooled = _pool(phase)
    sample = pooled.ravel()[:: max(1, pooled.size // _SAMPLE)]
    low, high = (float(value) for value in np.percentile(sample, (1, 99)))
    if high <= low:
        low, high = float(pooled.min()), float(pooled.max())
    if high <= low:
        return np.zeros((SIZE, SIZE, SIZE), np.int8)
    signal = np.clip(pooled, np.float32(low), np.float32(high)) - np.float32(low)
    body = signal > np.float32(_find_threshold(np.clip(sample, low, high), low, high) - low)
    kernels = [_open_axis(np.asarray(body.sum(_others(axis)), np.int64)) for axis in range(3)]
    fine, coarse = (_blur(signal, [pair[number] for pair in kernels]) for number in range(2))
    structure = (fine - coarse) / (coarse + 0.1 * coarse.max() + np.finfo(np.float32).tiny)
    energy = ndimage.gaussian_filter(structure**2, _NEIGHBOURHOOD, mode="nearest")
    structure /= np.sqrt(energy + 0.01 * energy.mean() + np.finfo(np.float32).tiny)
    structure *= np.clip(coarse / (0.5 * np.median(coarse[coarse >= 0.3 * coarse.max()])), 0, 1)
    structure -= structure.mean()
    spread = float(np.sqrt((structure**2).mean()))
    if not spread > 0:
        return np.zeros((SIZE, SIZE, SIZE), np.int8)
    return np.asarray(np.rint(np.clip(structure / (_FULL_SCALE * spread), -1, 1) * 127), np.int8)


def pack_likeness(likeness: Likeness) -> str:
    """A description as text."""
    return base64.b64encode(likeness.tobytes()).decode("ascii")


def unpack_likeness(text: str) -> Likeness:
    """A description from its text; all 0, which is like nothing, from an empty one."""
    if not text:
        return np.zeros((SIZE, SIZE, SIZE), np.int8)
    return np.frombuffer(base64.b64decode(text), np.int8).reshape(SIZE, SIZE, SIZE)


def _pool(phase: Array) -> Array:
    """Sums of whole blocks that leave 96 voxels or more an axis; what is left over is cut from both ends."""
    for axis in (1, 0, 2):  # rows are added fastest, so they go first, and neighbours in a row last
        width = max(1, phase.shape[axis] // _ENOUGH)
        first = phase.shape[axis] % width // 2
        end = first + phase.shape[axis] // width * width
        around = (slice(None),) * axis
        pooled = phase[*around, first:end:width]
        for offset in range(1, width):
            pooled = pooled + phase[*around, first + offset : end : width]
        phase = pooled
    return phase


def _others(axis: int) -> tuple[int, ...]:
    return tuple(other for other in range(3) if other != axis)


def _find_threshold(values: npt.NDArray[np.floating], low: float, high: float) -> float:
    """Otsu's threshold between air and body, of values between two bounds."""
    counts, edges = np.histogram(values, 256, (low, high))
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1] / counts.sum()
    mass = np.cumsum(counts * centres)[:-1] / counts.sum()
    mean = (counts * centres).sum() / counts.sum()
    spread = below * (1 - below)
    between = np.divide((mean * below - mass) ** 2, spread, out=np.zeros_like(spread), where=spread > 0)
    # Between two peaks the criterion is flat: its middle does not jump with a voxel.
    best = np.flatnonzero(between >= between.max() * (1 - 1e-9))
    return float(edges[1:-1][best].mean())


def _open_axis(counts: npt.NDArray[np.int64]) -> tuple[Array, Array]:
    """Weights, shape (20, voxels), of the fine and the coarse Gaussian of each cell along one axis."""
    places = np.arange(len(counts))
    total = counts.sum()
    centre = float((counts * places).sum() / total)
    spread = float(np.sqrt((counts * (places - centre) ** 2).sum() / total + 1 / 12))
    cell = 2 * _HALF_WIDTH_SD * spread / SIZE
    middles = np.asarray(centre + (np.arange(SIZE) - (SIZE - 1) / 2) * cell, np.float64)
    fine, coarse = (_weigh(places, middles, max(width * cell, 0.4)) for width in (_FINE, _COARSE))
    return fine, coarse


def _weigh(places: npt.NDArray[np.int64], middles: npt.NDArray[np.float64], width: float) -> Array:
    """Gaussian weights; beyond the scan lies nothing, so they add up to less than 1 there."""
    weights = np.exp(-0.5 * ((places - middles[:, np.newaxis]) / width) ** 2)
    beyond = np.arange(int(np.floor(middles[0] - 5 * width)), int(np.ceil(middles[-1] + 5 * width)) + 1)
    whole = np.exp(-0.5 * ((beyond - middles[:, np.newaxis]) / width) ** 2).sum(axis=1, keepdims=True)
    return np.asarray(weights / whole, np.float32)


def _blur(signal: Array, kernels: list[Array]) -> Array:
    """Weighted means of all cells, one axis after the other."""
    rows = signal @ kernels[2].T
    return np.asarray(np.tensordot(kernels[0], kernels[1] @ rows, 1), np.float32)
