"""Shape of a lesion: size, surface, axes and how convex it is."""

import numpy as np
import SimpleITK as sitk
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from genovox.core.volume import Mask
from genovox.radiomics.region import enclose

NAMES = (
    "diameter_mm",
    "equivalent_diameter_mm",
    "volume_ml",
    "surface_mm2",
    "surface_to_volume",
    "sphericity",
    "major_axis_mm",
    "minor_axis_mm",
    "least_axis_mm",
    "elongation",
    "flatness",
    "solidity",
)


def measure_shape(mask: Mask, spacing_mm: tuple[float, float, float]) -> dict[str, float]:
    """Measure a lesion's shape.

    Volume is that of the voxels; the surface is Crofton's estimate, within 1% on cubes (that of a mesh is biased by the
    staircase of voxels) and a tenth too large in voxels three times as thick as wide; the diameter is the longest
    distance between two points of the surface halfway between voxels, as on the mesh of the reference below. An axis is
    four standard deviations of the voxel centres along a principal direction.

    Args:
        mask: Shape (z, y, x).
        spacing_mm: Voxel size along x, y, z.

    Returns:
        ``NAMES``; NaN where the mask is empty, and elongation and flatness NaN for a single voxel. The sphericity of
        a lesion of a few voxels may exceed 1, since its surface is estimated.

    References:
        Zwanenburg et al. (2020), doi:10.1148/radiol.2020191145; Lehmann & Legland (2012), hdl:10380/3342.
    """
    if not mask.any():
        return dict.fromkeys(NAMES, float("nan"))
    box = np.pad(mask[enclose(mask)], 1)
    sampling = np.array(spacing_mm[::-1])
    volume = float(box.sum() * sampling.prod())
    surface = _measure_surface(box, spacing_mm)
    axes = _principal_axes(np.argwhere(box) * sampling)
    with np.errstate(invalid="ignore", divide="ignore"):
        elongation, flatness = axes[1:] / axes[0]
    return {
        "diameter_mm": _longest(_face_centres(box) * sampling),
        "equivalent_diameter_mm": float((6 * volume / np.pi) ** (1 / 3)),
        "volume_ml": volume / 1000,
        "surface_mm2": surface,
        "surface_to_volume": surface / volume,
        "sphericity": float(np.pi ** (1 / 3) * (6 * volume) ** (2 / 3) / surface),
        "major_axis_mm": float(axes[0]),
        "minor_axis_mm": float(axes[1]),
        "least_axis_mm": float(axes[2]),
        "elongation": float(elongation),
        "flatness": float(flatness),
        "solidity": volume / float(ConvexHull(_corners(box) * sampling).volume),
    }


def _measure_surface(box: Mask, spacing_mm: tuple[float, float, float]) -> float:
    image = sitk.GetImageFromArray(box.astype(np.uint8))
    image.SetSpacing(spacing_mm)
    statistics = sitk.LabelShapeStatisticsImageFilter()
    statistics.Execute(image)
    return float(statistics.GetPerimeter(1))


def _principal_axes(places_mm: np.ndarray) -> np.ndarray:
    """Lengths in mm, longest first."""
    if len(places_mm) < 2:
        return np.zeros(3)
    variances = np.linalg.eigvalsh(np.cov(places_mm.T))[::-1]
    return np.asarray(4 * np.sqrt(np.maximum(variances, 0)))


def _face_centres(box: Mask) -> np.ndarray:
    """Middles of the voxel faces that look outwards, in voxels; the box has room on every side."""
    faces = []
    for axis in range(3):
        for step in (-1, 1):
            places = np.argwhere(box & ~np.roll(box, -step, axis)).astype(float)
            places[:, axis] += step / 2
            faces.append(places)
    return np.concatenate(faces)


def _corners(box: Mask) -> np.ndarray:
    """Corners of the voxels that have a face outside, in voxels."""
    inner = box.copy()
    for axis in range(3):
        inner &= np.roll(box, 1, axis) & np.roll(box, -1, axis)
    offsets = np.stack(np.meshgrid(*[[-0.5, 0.5]] * 3), axis=-1).reshape(-1, 3)
    return np.unique((np.argwhere(box & ~inner)[:, np.newaxis] + offsets).reshape(-1, 3), axis=0)


def _longest(places_mm: np.ndarray) -> float:
    return float(pdist(places_mm[ConvexHull(places_mm).vertices]).max())
