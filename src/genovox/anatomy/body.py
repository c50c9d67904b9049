"""The body: everything but the air around it."""

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from genovox.anatomy.working import enlarge_mask, largest_part, shrink_scan
from genovox.core.volume import Array, Mask, Volume
from genovox.volumes.geometry import Grid

CLOSING_MM = 9.0
_TAIL = 99.5
# Of the bright tail, what is added before the logarithm, so that air without any noise is not infinitely dark.
_FLOOR = 0.03
# Air's mean over phases and coarse voxels is nearly normal: one voxel of a million lies this many SDs above it.
_AIR_SDS = 5.0
# A voxel of the rim that holds less than this share of the signal beside it is more air than skin.
_RIM_SHARE = 0.4


def find_body(volume: Volume) -> Mask:
    """The body without the air around it; air enclosed by the body, such as lungs, belongs to it.

    Air is told from tissue on the mean of all phases; the largest part of tissue is closed, and what air in
    front of the body or beside its back cannot reach is filled.

    Args:
        volume: Phases in RAS order, array (phase, z, y, x).

    Returns:
        Shape (z, y, x); False everywhere for an image without contrast.
    """
    coarse = shrink_scan(Volume(volume.array.mean(axis=0, keepdims=True), volume.affine))
    return enlarge_mask(outline_body(coarse), Grid.of(coarse), Grid.of(volume))


def outline_body(coarse: Volume) -> Mask:
    """As ``find_body``, on a grid that is coarse already.

    Args:
        coarse: One phase from ``shrink_scan``.

    Returns:
        Shape (z, y, x).
    """
    signal = coarse.array[0] - coarse.array[0].min()
    tissue: Mask = signal > find_air_limit(signal)
    if not tissue.any():
        return tissue
    radius = [max(1, round(CLOSING_MM / spacing / 2)) for spacing in coarse.spacing_mm]
    padded = sitk.ConstantPad(sitk.GetImageFromArray(largest_part(tissue).astype(np.uint8)), radius, radius, 0)
    closed = sitk.GetArrayFromImage(sitk.Crop(sitk.BinaryMorphologicalClosing(padded, radius), radius, radius)) > 0
    # Noise clings to the surface where the coils end; the body's own parts are thicker.
    body = ndimage.binary_opening(np.pad(_fill(closed), 1, mode="edge"))[1:-1, 1:-1, 1:-1]
    rim = body & ~ndimage.binary_erosion(body, border_value=1)
    faint = signal < _RIM_SHARE * ndimage.maximum_filter(signal, 3, mode="nearest")
    return largest_part(body & ~(rim & faint))


def find_air_limit(signal: Array) -> float:
    """Signal up to which a voxel is air.

    Otsu's threshold on the logarithm, and where the most frequent signal below it tells the level and the spread of
    air, at most five SDs above that: far from the coils tissue is fainter than what Otsu's method parts.

    Args:
        signal: From 0, any shape.

    References:
        Otsu (1979), doi:10.1109/TSMC.1979.4310076.
    """
    tail = float(np.percentile(signal, _TAIL))
    if tail <= 0:
        return float(signal.max())
    logarithm = np.log(np.minimum(signal, tail) / tail + _FLOOR)
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.SetNumberOfHistogramBins(256)
    otsu.Execute(sitk.GetImageFromArray(np.atleast_2d(logarithm).astype(np.float32)))
    limit = float((np.exp(otsu.GetThreshold()) - _FLOOR) * tail)
    dark = signal[(signal > 0) & (signal < limit)]
    if not len(dark):
        return limit
    counts, edges = np.histogram(dark, 64, (0, limit))
    peak = int(ndimage.gaussian_filter1d(counts.astype(float), 1).argmax())
    level = float(edges[peak : peak + 2].mean())
    below = dark[dark < level]
    spread = float(np.sqrt(np.mean((level - below) ** 2))) if len(below) else 0.0
    return min(limit, level + _AIR_SDS * spread) if spread else limit


def _fill(body: Mask) -> Mask:
    """The body and all that air from outside cannot reach, neither in space nor within an axial slice."""
    parts, _ = ndimage.label(~body)
    reached = np.isin(parts, np.setdiff1d(parts[:, -1], 0))
    before = np.logical_or.accumulate(body[:, ::-1], axis=1)[:, ::-1]
    behind = np.logical_or.accumulate(body, axis=1)
    to_left = np.logical_or.accumulate(body, axis=2)
    to_right = np.logical_or.accumulate(body[:, :, ::-1], axis=2)[:, :, ::-1]
    # Where the scan's back is dark, lungs join the air around the body; they have the chest before and beside them.
    within = to_left & to_right
    outside = (reached & ~(before & within)) | ~(behind | within)
    return np.stack([ndimage.binary_fill_holes(axial) for axial in ~outside])
