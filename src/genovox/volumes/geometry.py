"""Geometry: axes to RAS, then one separable interpolation onto the target spacing.

The grid keeps the scan's own axes (the nearest to right, anterior, superior), so orientation needs no interpolation and
resampling factors into one small matrix an axis.
"""

import numpy as np

from genovox.core.volume import Array, Volume

SAME_SPACING = 1e-4


def resample_volume(volume: Volume, spacing_mm: tuple[float, float, float] | None, *, nearest: bool) -> Volume:
    """Resample every phase onto a grid of the given spacing over the same field of view.

    Args:
        volume: Array (phase, z, y, x).
        spacing_mm: Spacing along x, y, z in mm; None keeps the scan's. An axis within 0.01% of it is not interpolated.
        nearest: Nearest neighbour, for volumes that hold two values; otherwise linear, and where voxels grow, a
            triangle as wide as the new voxel, so that fine structure does not alias.

    Returns:
        A volume whose centre is the scan's; the same voxels where no axis is interpolated.

    References:
        Turkowski (1990), Filters for common resampling tasks, doi:10.1016/B978-0-08-050753-8.50042-5.
    """
    if spacing_mm is None:
        return volume
    array, affine = volume.array, np.eye(4)
    for axis, (old_mm, new_mm) in enumerate(zip(volume.spacing_mm, spacing_mm, strict=True)):
        ratio = new_mm / old_mm
        if abs(ratio - 1) <= SAME_SPACING:
            continue
        size = array.shape[3 - axis]
        new_size = max(1, round(size / ratio))
        start = (size - 1) / 2 - ratio * (new_size - 1) / 2
        weights = interpolation_weights(size, new_size, start, ratio, nearest=nearest)
        array = _apply_along(array, weights, 3 - axis)
        affine[axis, axis], affine[axis, 3] = ratio, start
    return Volume(np.ascontiguousarray(array), volume.affine @ affine)


def interpolation_weights(size: int, new_size: int, start: float, ratio: float, *, nearest: bool) -> Array:
    """Weights that turn ``size`` samples into ``new_size`` at ``start + i * ratio``.

    Returns:
        Shape (new_size, size); every row sums to 1.
    """
    positions = np.clip(start + ratio * np.arange(new_size), 0, size - 1)
    if nearest:
        weights = np.zeros((new_size, size), np.float32)
        weights[np.arange(new_size), np.floor(positions + 0.5).astype(int).clip(0, size - 1)] = 1
        return weights
    distance = np.abs(positions[:, None] - np.arange(size)[None, :]) / max(1.0, ratio)
    triangle = np.maximum(0.0, 1.0 - distance)
    return np.asarray(triangle / triangle.sum(1, keepdims=True), dtype=np.float32)


def _apply_along(array: Array, weights: Array, axis: int) -> Array:
    """Multiply one axis by a matrix, keeping the memory order so that each product is one BLAS call."""
    before, after = array.shape[:axis], array.shape[axis + 1 :]
    if not after:
        return np.asarray(array.reshape(-1, array.shape[axis]) @ weights.T).reshape(*before, -1)
    blocks = array.reshape(int(np.prod(before)), array.shape[axis], int(np.prod(after)))
    return np.asarray(np.matmul(weights, blocks)).reshape(*before, len(weights), *after)


def crop_start(shape: tuple[int, int, int], target: tuple[int, int, int], centre: np.ndarray) -> tuple[int, int, int]:
    """First voxel (x, y, z) of a crop of ``target`` voxels nearest to ``centre``, inside the volume where it fits.

    Args:
        shape: Size of the volume, x, y, z.
        target: Size of the crop, x, y, z.
        centre: Voxel (x, y, z) to centre on.

    Returns:
        Negative where the volume is smaller than the crop and is padded on both sides.
    """
    starts = []
    for size, wanted, middle in zip(shape, target, centre, strict=True):
        if wanted >= size:
            starts.append(-((wanted - size) // 2))
        else:
            starts.append(int(np.clip(np.floor(middle - (wanted - 1) / 2 + 0.5), 0, size - wanted)))
    return starts[0], starts[1], starts[2]


def crop_or_pad(volume: Volume, start: tuple[int, int, int], target: tuple[int, int, int], fill: Array) -> Volume:
    """Cut or pad to ``target`` voxels (x, y, z) from ``start``; outside the scan each channel holds its ``fill``."""
    channels = len(volume.array)
    out = np.empty((channels, *target[::-1]), np.float32)
    out[:] = fill.reshape(channels, 1, 1, 1)
    source, destination = [slice(None)], [slice(None)]
    for begin, wanted, size in zip(start[::-1], target[::-1], volume.array.shape[1:], strict=True):
        first, last = max(begin, 0), min(begin + wanted, size)
        source.append(slice(first, last))
        destination.append(slice(first - begin, last - begin))
    out[tuple(destination)] = volume.array[tuple(source)]
    shift = np.eye(4)
    shift[:3, 3] = start
    return Volume(out, volume.affine @ shift)
