"""The coarse grid that anatomy is sought on, and the way back to the scan's own."""

import numpy as np
import SimpleITK as sitk
import torch
from scipy import ndimage

from genovox.core.volume import Array, Mask, Volume
from genovox.volumes.geometry import Grid, resample_volume, sample_grid

WORKING_SPACING_MM = 3.0


def shrink_scan(volume: Volume) -> Volume:
    """Every phase on a grid of 3 mm, or of the scan's own spacing where that is larger.

    Args:
        volume: Array (phase, z, y, x).
    """
    x, y, z = (max(WORKING_SPACING_MM, spacing) for spacing in volume.spacing_mm)
    return resample_volume(volume, (x, y, z))


def enlarge_mask(mask: Mask, coarse: Grid, fine: Grid) -> Mask:
    """A mask of the coarse grid on the fine one, with edges as smooth as the organ's and not in steps of 3 mm.

    The distance to the mask's surface is interpolated, which moves a flat surface nowhere.

    Args:
        mask: Shape (z, y, x) of ``coarse``.
        coarse: Of ``shrink_scan``.
        fine: Along the same axes, such as the scan's own, or a window of it.

    Returns:
        Shape (z, y, x) of ``fine``.
    """
    if mask.all() or not mask.any():
        return np.full(fine.shape[::-1], bool(mask.any()))
    distance = torch.from_numpy(surface_distance_mm(mask, coarse.spacing_mm))
    return np.asarray(sample_grid(distance, coarse, fine).numpy() > 0)


def largest_part(mask: Mask) -> Mask:
    """The largest connected part; the mask itself where there is no other."""
    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return np.asarray(parts == sizes.argmax())


def surface_distance_mm(mask: Mask, spacing_mm: tuple[float, float, float]) -> Array:
    """Distance of every voxel to the mask's surface, which lies between voxels; positive inside.

    Args:
        mask: Shape (z, y, x).
        spacing_mm: Along x, y, z.

    References:
        Maurer et al. (2003), doi:10.1109/TPAMI.2003.1177156.
    """
    if mask.all() or not mask.any():
        return np.where(mask, np.float32(np.inf), np.float32(-np.inf))
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(spacing_mm)
    distance = sitk.SignedMaurerDistanceMap(image, insideIsPositive=True, squaredDistance=False, useImageSpacing=True)
    # ITK measures from the centres of the mask's outermost voxels.
    return np.asarray(sitk.GetArrayFromImage(distance) + min(spacing_mm) / 2, np.float32)
