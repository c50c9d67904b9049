"""Foreground: what belongs to the patient."""

import numpy as np
import SimpleITK as sitk

from genovox.core.errors import ImageError
from genovox.core.volume import Mask, Volume
from genovox.volumes.geometry import resample_volume

WORKING_SPACING_MM = 3.0
CLOSING_MM = 9.0
_TAIL = 99.5


def find_foreground(volume: Volume, kind: str) -> Mask:
    """Mask of the foreground.

    Args:
        volume: Phases in RAS order, array (phase, z, y, x).
        kind: ``body`` (air removed) or ``none`` (everything).

    Returns:
        Shape (z, y, x).

    Raises:
        ImageError: If there is no foreground.
    """
    if kind == "none":
        return np.ones(volume.array.shape[1:], bool)
    mask = find_body(volume)
    if not mask.any():
        raise ImageError('the foreground is empty; look at the scan or use foreground = "none"')
    return mask


def find_body(volume: Volume) -> Mask:
    """The body without the air around it; air enclosed by the body belongs to it.

    The mean of all phases is thresholded by Otsu's method on the square root of the signal, which evens out the spread
    of air (Rician noise) and tissue; the largest connected part is closed, and holes of its axial slices are filled.

    Args:
        volume: Phases in RAS order, array (phase, z, y, x).

    Returns:
        Shape (z, y, x).

    References:
        Otsu (1979), doi:10.1109/TSMC.1979.4310076.
    """
    mean = Volume(volume.array.mean(axis=0, keepdims=True), volume.affine)
    coarse_spacing = tuple(max(WORKING_SPACING_MM, spacing) for spacing in volume.spacing_mm)
    coarse = resample_volume(mean, (coarse_spacing[0], coarse_spacing[1], coarse_spacing[2]))
    signal = coarse.array[0] - coarse.array.min()
    signal = np.sqrt(np.minimum(signal, np.percentile(signal, _TAIL)))
    image = sitk.GetImageFromArray(signal)
    body = sitk.OtsuThreshold(image, 0, 1, 256)
    radius = [max(1, round(CLOSING_MM / spacing / 2)) for spacing in coarse_spacing]
    padded = sitk.ConstantPad(body, radius, radius, 0)
    closed = sitk.Crop(sitk.BinaryMorphologicalClosing(padded, radius), radius, radius)
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(closed), sortByObjectSize=True)
    largest = sitk.GetArrayFromImage(parts == 1)
    filled = np.stack([_fill_slice(axial) for axial in largest])
    return _enlarge(filled, volume, coarse)


def _fill_slice(axial: np.ndarray) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.BinaryFillhole(sitk.GetImageFromArray(axial)))


def _enlarge(mask: np.ndarray, fine: Volume, coarse: Volume) -> Mask:
    """Back to the fine grid: each fine voxel takes the coarse voxel nearest to it."""
    to_coarse = np.linalg.inv(coarse.affine) @ fine.affine
    indices = []
    for axis in (2, 1, 0):
        positions = to_coarse[axis, axis] * np.arange(fine.array.shape[3 - axis]) + to_coarse[axis, 3]
        indices.append(np.clip(np.rint(positions).astype(int), 0, mask.shape[2 - axis] - 1))
    return np.asarray(mask[np.ix_(*indices)] > 0)
