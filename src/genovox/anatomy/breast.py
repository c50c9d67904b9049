"""The breasts: skin to chest wall, left and right, from anatomy alone."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from genovox.anatomy.body import outline_body
from genovox.anatomy.chest import Heights, find_chest_wall
from genovox.anatomy.working import enlarge_mask, shrink_scan, surface_distance_mm
from genovox.core.errors import ImageError
from genovox.core.volume import Mask, Volume
from genovox.volumes.geometry import Grid

# Less than this from skin to muscle is what covers the chest elsewhere.
THINNEST_MM = 12.0
# A breast is as thick as this somewhere, or as its thickest place where that is thinner, and ends this near to it.
THICK_MM = 28.0
EDGE_MM = 15.0
_SHARE_OF_THICKEST = 0.7
# Breasts end before the middle of the chest's side; its front is about twice as deep.
_REACH_BACK_MM = 65.0
_SMALLEST_ML = 20.0
_SMALLEST_EXTENT_MM = 60.0
# Each breast needs this much room beside the breastbone for both to be in the scan.
_HALF_MM = 60.0
_MIDLINE_SEARCH_MM = 40.0
_RIDGE_SD_MM = 10.0


@dataclass(frozen=True)
class Breasts:
    """Both breasts, or the one in the scan.

    Attributes:
        left: The patient's left breast, shape (z, y, x).
        right: The right one.
    """

    left: Mask
    right: Mask

    @property
    def mask(self) -> Mask:
        """Either breast."""
        return self.left | self.right


def find_breasts(volume: Volume) -> Breasts:
    """The breasts with their skin, without chest wall and what lies behind it.

    For a prone patient, in bilateral scans, in scans of one breast, and in one slice from back to front. In front of
    the chest wall, layers thinner than 12 mm are left out, as skin and fat cover the chest outside the breasts too.

    Args:
        volume: Phases in RAS order, pre-contrast first, array (phase, z, y, x).

    Returns:
        Masks on the scan's grid. One of two breasts is the left one if the chest falls off towards the patient's left;
        in a scan less than 60 mm wide, if its middle has an x below 0.

    Raises:
        ImageError: If the scan is too small, is constant, or shows no breast.
    """
    extent = [size * step for size, step in zip(volume.array.shape[:0:-1], volume.spacing_mm, strict=True)]
    if extent[1] < _SMALLEST_EXTENT_MM or max(extent[0], extent[2]) < _SMALLEST_EXTENT_MM:
        raise ImageError(
            f"breasts are sought in scans of at least {_SMALLEST_EXTENT_MM:.0f} mm from back to front and along one "
            f'more axis, got {" x ".join(f"{side:.0f}" for side in extent)} mm; use foreground = "body" or "none"'
        )
    coarse = shrink_scan(volume)
    body = outline_body(Volume(coarse.array.mean(axis=0, keepdims=True), coarse.affine))
    if not body.any() or body[:, -1].mean() > 0.5:
        raise ImageError(
            "breasts are sought where air lies in front of the patient, none was found; "
            'look at the scan or use foreground = "body" or "none"'
        )
    wall = find_chest_wall(coarse, body)
    both = _cut_layers(coarse, body, wall)
    limit_ml = _SMALLEST_ML if min(extent) >= _SMALLEST_EXTENT_MM else 0.0
    if not both.any() or both.sum() * np.prod(coarse.spacing_mm) / 1000 < limit_ml:
        raise ImageError('no breast was found; look at the scan or use foreground = "body" or "none"')
    midline = _find_midline(coarse, both.sum(1), wall)
    mask = enlarge_mask(both, Grid.of(coarse), Grid.of(volume))
    to_coarse = np.linalg.solve(coarse.affine, volume.affine)
    on_right = to_coarse[0, 0] * np.arange(mask.shape[2]) + to_coarse[0, 3] > midline
    return Breasts(mask & ~on_right, mask & on_right)


def _cut_layers(coarse: Volume, body: Mask, wall: Heights) -> Mask:
    """What lies in front of the wall, as thick as a breast's edge and near to what is as thick as a breast."""
    height = coarse.spacing_mm[1] * np.arange(body.shape[1])[None, :, None]
    front = body & (height > wall[:, None]) & (height > wall.max() - _REACH_BACK_MM)
    first = int(front.any((0, 2)).argmax())
    # Beyond the scan the breast goes on.
    margin = [int(np.ceil(THICK_MM / 2 / step)) + 1 for step in coarse.spacing_mm[::-1]]
    padded = np.pad(front[:, first:], [(size, size) for size in margin], mode="edge")
    radius_mm = surface_distance_mm(padded, coarse.spacing_mm)
    thick_mm = min(THICK_MM / 2, _SHARE_OF_THICKEST * float(radius_mm.max()))
    if not THINNEST_MM / 2 < thick_mm < np.inf:
        return np.zeros_like(front)
    # Openings with balls, as distances to their centres; these are voxels, so the way back is half a voxel longer.
    half = max(coarse.spacing_mm) / 2
    near = surface_distance_mm(radius_mm > thick_mm, coarse.spacing_mm) > -thick_mm - half - EDGE_MM
    layer = surface_distance_mm(radius_mm > THINNEST_MM / 2, coarse.spacing_mm) > -THINNEST_MM / 2 - half
    z, y, x = (slice(size, -size) for size in margin)
    front[:, first:] &= (near & layer)[z, y, x]
    return _drop_crumbs(front)


def _drop_crumbs(mask: Mask) -> Mask:
    """Parts of at least a tenth of the largest."""
    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray((sizes >= 0.1 * sizes.max())[parts])


def _find_midline(coarse: Volume, thickness: Heights, wall: Heights) -> float:
    """Column, in voxels, that parts left (below it) from right; infinite if there is one breast only."""
    x_mm = coarse.spacing_mm[0]
    columns = wall.shape[1]
    place = x_mm * np.arange(columns)
    if columns * x_mm < _SMALLEST_EXTENT_MM:
        z, y, x = ((size - 1) / 2 for size in coarse.array.shape[1:])
        return float("inf") if (coarse.affine @ [x, y, z, 1])[0] < 0 else -float("inf")
    ridge = place[ndimage.gaussian_filter1d(wall.mean(0), _RIDGE_SD_MM / x_mm).argmax()]
    if min(ridge, place[-1] - ridge) < _HALF_MM:
        return -float("inf") if ridge < place[-1] / 2 else float("inf")
    near = np.flatnonzero(np.abs(place - ridge) <= _MIDLINE_SEARCH_MM)
    valley = ndimage.gaussian_filter1d(thickness.sum(0), _RIDGE_SD_MM / 2 / x_mm)
    return float(near[valley[near].argmin()])
