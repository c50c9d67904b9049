"""How the breast enhances: the early uptake of every voxel, against the tissue around it, on a grid of 2 mm."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from genovox.anatomy.body import find_body
from genovox.anatomy.breast import Breasts, find_breasts
from genovox.core.errors import ImageError
from genovox.core.volume import Affine, Array, Mask, Volume, reorient_to_ras
from genovox.preprocess.crop import bounding_box
from genovox.volumes.geometry import Grid, resample_volume
from genovox.volumes.kinetics import signal_floor

# A lesion of 5 mm is two and a half voxels wide.
SPACING_MM = 2.0
# Skin is up to 3 mm thick and lights up; half a voxel more is its blur.
SKIN_MM = 4.0
# The nipple stands out of the breast: what a ball of this radius cannot reach is left out with the skin.
NIPPLE_MM = 12.0
_REFERENCE_MM = 20.0
_NOISE_MM = 1.2
_ROOM_MM = 12.0


@dataclass(frozen=True)
class Uptake:
    """An exam as lesions are sought in it.

    Attributes:
        phases: Pre-contrast first, array (phase, z, y, x), on a grid of about 2 mm around the breasts, RAS order.
        affine: Voxel (x, y, z) to RAS mm.
        early: Signal gained in the first one or two phases after contrast over the pre-contrast signal of the tissue
            around, shape (z, y, x); 1 is a doubling.
        floor: Least pre-contrast signal that enhancement is divided by.
        tissue: The breasts without skin and nipple, shape (z, y, x).
        depth_mm: Distance to the air, shape (z, y, x).
        on_left: Voxels of the left breast, shape (z, y, x).
        body: The patient, shape (z, y, x).
        level: Usual early uptake of the tissue.
        spread: How much it varies from place to place, noise and background enhancement together.
    """

    phases: Array
    affine: Affine
    early: Array
    floor: float
    tissue: Mask
    depth_mm: Array
    on_left: Mask
    body: Mask
    level: float
    spread: float

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Along x, y and z."""
        return Volume(self.phases, self.affine).spacing_mm

    @property
    def grid(self) -> Grid:
        """Where the voxels lie."""
        return Grid.of(Volume(self.phases, self.affine))


def measure_uptake(volume: Volume) -> Uptake:
    """See how an exam enhances.

    Args:
        volume: Phases, pre-contrast first, array (phase, z, y, x), in any orientation.

    Raises:
        ImageError: If there is no phase after contrast, or no breast is found.
    """
    if len(volume.array) < 2:
        raise ImageError("lesions are sought by how they enhance, the exam has one phase; give every phase")
    ras = reorient_to_ras(volume)
    x, y, z = (max(SPACING_MM, spacing) for spacing in ras.spacing_mm)
    scan = resample_volume(ras, (x, y, z))
    breasts, body = find_breasts(scan), find_body(scan)
    window = _enclose(breasts.mask, scan.spacing_mm)
    return _measure_window(scan, breasts, body, window)


def _measure_window(scan: Volume, breasts: Breasts, body: Mask, window: tuple[slice, slice, slice]) -> Uptake:
    z, y, x = window
    affine = Grid.of(scan).cut((x.start, y.start, z.start), (1, 1, 1)).affine
    phases = np.ascontiguousarray(scan.array[:, z, y, x])
    sampling = scan.spacing_mm[::-1]
    depth_mm, outer_mm = _measure_depth(body[window], sampling)
    breast = breasts.mask[window]
    tissue = breast & (outer_mm > SKIN_MM)
    if not tissue.any():
        raise ImageError("no breast tissue is left under the skin; look at the scan")
    early = _early_uptake(phases, breast, sampling)
    inside = early[tissue]
    level = float(np.median(inside))
    # Lesions and vessels are few: the spread of what lies below the median is that of the tissue without them.
    below = level - inside[inside < level]
    spread = float(1.4826 * np.median(below)) if len(below) else 0.0
    return Uptake(
        phases,
        affine,
        early,
        signal_floor(scan.array[0]),
        tissue,
        depth_mm,
        breasts.left[window],
        body[window],
        level,
        max(spread, 1e-3),
    )


def _enclose(mask: Mask, spacing_mm: tuple[float, float, float]) -> tuple[slice, slice, slice]:
    slices = []
    start, size = bounding_box(mask)
    for axis, (first, length, step) in enumerate(zip(start[::-1], size[::-1], spacing_mm[::-1], strict=True)):
        room = int(np.ceil(_ROOM_MM / step))
        slices.append(slice(max(0, first - room), min(mask.shape[axis], first + length + room)))
    return slices[0], slices[1], slices[2]


def _measure_depth(body: Mask, sampling: tuple[float, ...]) -> tuple[Array, Array]:
    """Distance to the air, and the same of the body without what stands out of it; the body goes on beyond the scan."""
    room = [int(np.ceil(2 * NIPPLE_MM / step)) for step in sampling]
    padded = np.pad(body, [(size, size) for size in room], mode="edge")
    depth = ndimage.distance_transform_edt(padded, sampling)
    plain = ndimage.distance_transform_edt(depth <= NIPPLE_MM, sampling) <= NIPPLE_MM
    outer = ndimage.distance_transform_edt(plain, sampling)
    inner = tuple(slice(size, -size) for size in room)
    return np.asarray(depth[inner], np.float32), np.asarray(outer[inner], np.float32)


def _early_uptake(phases: Array, breast: Mask, sampling: tuple[float, ...]) -> Array:
    """Gain of signal over the signal of the tissue around, which tells a lesion in fat from noise in it.

    Divided by a voxel's own signal, whatever is dark before contrast (suppressed fat, vessels in it) would outshine
    lesions; the mean over 20 mm follows the coil all the same.
    """
    reference = [_REFERENCE_MM / step for step in sampling]
    weight = ndimage.gaussian_filter(breast.astype(np.float32), reference, truncate=2)
    around = ndimage.gaussian_filter(phases[0] * breast, reference, truncate=2) / np.maximum(weight, 1e-3)
    gain = phases[1:3].mean(axis=0) - phases[0]
    smooth = ndimage.gaussian_filter(gain, [_NOISE_MM / step for step in sampling], truncate=3)
    # Far from the breast the mean is of nothing.
    usual = float(np.median(around[breast]))
    return np.asarray(smooth / np.maximum(np.maximum(around, phases[0]), 0.2 * max(usual, 1e-6)), np.float32)
