"""Contrast: histogram equalisation in the foreground, of the whole or of tiles (CLAHE).

Both bend the signal differently in every patient, so they are no place to read kinetics from afterwards.
"""

import numpy as np
import numpy.typing as npt

from genovox.core.errors import ImageError, UsageError
from genovox.core.volume import Array, Mask

KINDS = ("none", "equalise", "clahe")
TILE_MM = 40.0
CONTRAST_LIMIT = 3.0

_LEVELS = {"equalise": 65_536, "clahe": 1024}
# Levels that share a bin of a tile's histogram: signal in whole numbers must not look like peaks to the limit.
_LEVELS_A_BIN = {"equalise": 1, "clahe": 4}
_HALVINGS = 30


def enhance_contrast(
    array: Array,
    mask: Mask,
    kind: str,
    *,
    spacing_mm: tuple[float, float, float],
    tile_mm: float = TILE_MM,
    contrast_limit: float = CONTRAST_LIMIT,
) -> Array:
    """Spread the signal of each channel evenly over the range it has in the foreground.

    ``equalise``
        Each value becomes its rank in the foreground, on a scale from the lowest to the highest value there.
    ``clahe``
        The same in tiles along z, y and x, with a limit to the contrast, and between the tiles' centres a linear blend
        of their maps along all three axes. A tile without foreground takes the map of the whole.

    Args:
        array: Shape (z, y, x) or (channel, z, y, x); each channel is treated on its own.
        mask: Foreground, shape (z, y, x); voxels outside keep their values.
        kind: One of these, or ``none``.
        spacing_mm: Spacing along x, y, z.
        tile_mm: Size of a tile along each axis, rounded so that whole tiles fill the volume.
        contrast_limit: By what factor a tile's map may stretch differences at most, at least 1.

    Returns:
        Shape of ``array``; the array itself where there is nothing to do.

    Raises:
        ImageError: If the mask is empty, or the foreground is not finite or holds one value only.
        UsageError: If there is no such kind or the limit is below 1.

    References:
        Pizer et al. (1987), doi:10.1016/S0734-189X(87)80186-X. Clipping: Zuiderveld (1994), Graphics Gems IV,
        doi:10.1016/B978-0-12-336156-1.50061-6.
    """
    if kind not in KINDS:
        raise UsageError(f"contrast must be one of {', '.join(KINDS)}, got {kind!r}")
    if contrast_limit < 1:
        raise UsageError(f"a contrast limit must be at least 1, got {contrast_limit:g}; 1 changes nothing")
    if kind == "none":
        return array
    if not mask.any():
        raise ImageError("contrast needs a foreground, the mask is empty; look at the scan or use another foreground")
    tiles, limit = (1, 1, 1), np.inf
    if kind == "clahe":
        z, y, x = (max(1, round(size * mm / tile_mm)) for size, mm in zip(mask.shape, spacing_mm[::-1], strict=True))
        tiles, limit = (z, y, x), contrast_limit
    channels = array.reshape(-1, *mask.shape)
    done = [_equalise(channel, mask, kind, tiles, limit) for channel in channels]
    return np.stack(done).reshape(array.shape)


def _equalise(channel: Array, mask: Mask, kind: str, tiles: tuple[int, int, int], limit: float) -> Array:
    inside = channel[mask]
    low, high = float(inside.min()), float(inside.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ImageError("the foreground must be finite, some voxels are not; convert the scan again from its source")
    if low == high:
        raise ImageError('the foreground holds one value only, there is no contrast; use contrast = "none"')
    levels = _LEVELS[kind]
    scaled = np.where(mask, channel, np.float32(low))
    scaled -= np.float32(low)
    scaled *= np.float32((levels - 1) / (high - low))
    scaled += np.float32(0.5)
    bins = scaled.astype(np.uint16)
    maps = _map_tiles(_count_tiles(bins, mask, tiles, levels), limit, _LEVELS_A_BIN[kind])
    maps = maps * np.float32(high - low) + np.float32(low)
    out = channel.copy()
    for plane, (below, above, share) in enumerate(zip(*_place(mask.shape[0], tiles[0]), strict=True)):
        if mask[plane].any():
            blended = maps[below] if below == above else maps[below] * (1 - share) + maps[above] * share
            np.copyto(out[plane], _map_plane(bins[plane], blended, tiles), where=mask[plane])
    return out


def _count_tiles(
    bins: npt.NDArray[np.uint16], mask: Mask, tiles: tuple[int, int, int], levels: int
) -> npt.NDArray[np.int64]:
    """Histogram of the foreground in each tile, shape (z, y, x, levels)."""
    deep, high, wide = tiles
    rows, columns = (np.arange(size) * count // size for size, count in zip(mask.shape[1:], tiles[1:], strict=True))
    tile = (rows[:, None] * wide + columns[None, :]) * levels
    counts = np.zeros((deep, high * wide * levels), np.int64)
    for plane in range(len(mask)):
        inside = mask[plane]
        if inside.any():
            found = np.bincount(tile[inside] + bins[plane][inside], minlength=counts.shape[1])
            counts[plane * deep // len(mask)] += found
    return counts.reshape(deep, high, wide, levels)


def _map_tiles(counts: npt.NDArray[np.int64], limit: float, levels_a_bin: int) -> Array:
    """Map of each tile, in [0, 1]: the share of its voxels below a level and half of those on it."""
    counts = np.where(counts.any(-1, keepdims=True), counts, counts.sum((0, 1, 2)))
    shares = counts.reshape(*counts.shape[:-1], -1, levels_a_bin).sum(-1) / counts.sum(-1, keepdims=True)
    if np.isfinite(limit):
        # What stands above the limit is spread evenly over the bins that have room: a water level, by bisection.
        ceiling = min(1.0, limit / shares.shape[-1])
        low, high = np.zeros((*shares.shape[:-1], 1)), np.full((*shares.shape[:-1], 1), ceiling)
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            short = np.minimum(shares + middle, ceiling).sum(-1, keepdims=True) < 1
            low, high = np.where(short, middle, low), np.where(short, high, middle)
        shares = np.minimum(shares + high, ceiling)
    shares = np.repeat(shares / levels_a_bin, levels_a_bin, axis=-1)
    return np.asarray(shares.cumsum(-1) - shares / 2, dtype=np.float32)


def _map_plane(bins: npt.NDArray[np.uint16], maps: Array, tiles: tuple[int, int, int]) -> Array:
    """One plane through the maps (y, x, levels) of the tiles around each voxel."""
    if tiles[1:] == (1, 1):
        return np.asarray(maps.ravel().take(bins))
    levels = maps.shape[-1]
    (top, bottom, down), (left, right, along) = (_place(n, t) for n, t in zip(bins.shape, tiles[1:], strict=True))
    lines = []
    for row in (top, bottom):
        one, two = (maps.ravel().take((row[:, None] * tiles[2] + side) * levels + bins) for side in (left, right))
        two -= one
        two *= along
        two += one
        lines.append(two)
    lines[1] -= lines[0]
    lines[1] *= down[:, None]
    return np.asarray(lines[0] + lines[1])


def _place(size: int, tiles: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Array]:
    """For each voxel of an axis the tiles whose centres lie before and after it, and the share of the second."""
    position = np.clip((np.arange(size) + 0.5) * tiles / size - 0.5, 0, tiles - 1)
    before = position.astype(np.intp)
    return before, np.minimum(before + 1, tiles - 1), (position - before).astype(np.float32)
