"""Crops: which window of the grid a network sees."""

import numpy as np

from genovox.core.errors import ImageError
from genovox.core.volume import Array, Mask, Volume, holds_point
from genovox.volumes.geometry import Grid


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
    """Cut or pad to ``target`` voxels (x, y, z) from ``start``; outside the volume each channel holds its ``fill``."""
    channels = len(volume.array)
    out = np.empty((channels, *target[::-1]), np.float32)
    out[:] = fill.reshape(channels, 1, 1, 1)
    source, destination = [slice(None)], [slice(None)]
    for begin, wanted, size in zip(start[::-1], target[::-1], volume.array.shape[1:], strict=True):
        first, last = min(max(begin, 0), size), max(min(begin + wanted, size), 0)
        source.append(slice(first, last))
        destination.append(slice(first - begin, last - begin))
    out[tuple(destination)] = volume.array[tuple(source)]
    shift = np.eye(4)
    shift[:3, 3] = start
    return Volume(out, volume.affine @ shift)


def bounding_box(mask: Mask) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """First voxel and size (x, y, z) of the smallest box that holds a mask (z, y, x); everything if it is empty."""
    if not mask.any():
        z, y, x = mask.shape
        return (0, 0, 0), (x, y, z)
    begins, sizes = [], []
    for axis in (2, 1, 0):
        profile = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        begins.append(int(profile[0]))
        sizes.append(int(profile[-1] - profile[0] + 1))
    return (begins[0], begins[1], begins[2]), (sizes[0], sizes[1], sizes[2])


def locate_point(grid: Grid, scan: Grid, point_mm: tuple[float, ...]) -> np.ndarray:
    """Voxel (x, y, z) of a point on the resampled grid, which may end a little before the scan does.

    Args:
        grid: The resampled grid.
        scan: The scan's own.
        point_mm: RAS mm.

    Raises:
        ImageError: If the point lies outside the scan.
    """
    x, y, z = scan.shape
    if not holds_point(scan.affine, (z, y, x), point_mm):
        place = ", ".join(f"{number:.0f}" for number in point_mm)
        raise ImageError(
            f"a mark must lie inside the scan, {place} mm (right, anterior, superior) does not; correct it"
        )
    return np.asarray(np.linalg.solve(grid.affine, [*point_mm, 1.0])[:3])
