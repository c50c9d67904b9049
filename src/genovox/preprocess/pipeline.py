"""The road of one case: orientation, one resample a phase, channels, normalisation, crop."""

import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from threadpoolctl import threadpool_limits

from genovox.anatomy.foreground import find_foreground
from genovox.core.artifacts import atomic_path
from genovox.core.errors import ImageError
from genovox.core.sections import PreprocessTable
from genovox.core.volume import Affine, Mask, Volume, holds_point, reorient_to_ras
from genovox.scans.inspection import read_phases
from genovox.volumes.geometry import crop_or_pad, crop_start, resample_volume
from genovox.volumes.intensity import fit_intensity, is_two_valued
from genovox.volumes.kinetics import make_channels

OUTSIDE_WARNING = 0.02


@dataclass(frozen=True)
class Preprocessed:
    """Network input of one case and how it came about.

    Attributes:
        volume: Channels, array (channel, z, y, x) float32 in RAS order.
        mask: Foreground in the crop, shape (z, y, x).
        figures: What ``preprocess/cases.csv`` records.
        warnings: What a person should look at.
    """

    volume: Volume
    mask: Mask
    figures: "Figures"
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Figures:
    """Figures of one case.

    Attributes:
        source_spacing_mm: Spacing of the scan in RAS order.
        source_shape: Size of the scan in RAS order, x, y, z.
        source_orientation: The scan's own axes.
        phases: Number of phases.
        crop_start: First voxel of the crop on the resampled grid, x, y, z.
        foreground_ml: Volume of the whole foreground.
        outside_fraction: Share of the foreground outside the crop.
        intensity_p1, intensity_p50, intensity_p99: Percentiles of the raw signal in the foreground, all phases.
        offset, scale: The intensity map.
        two_valued: Whether the volume passed untouched as a mask.
    """

    source_spacing_mm: tuple[float, float, float]
    source_shape: tuple[int, int, int]
    source_orientation: str
    phases: int
    crop_start: tuple[int, int, int]
    foreground_ml: float
    outside_fraction: float
    intensity_p1: float
    intensity_p50: float
    intensity_p99: float
    offset: float
    scale: float
    two_valued: bool


def preprocess_images(paths: list[Path], table: PreprocessTable, point_mm: tuple[float, ...] = ()) -> Preprocessed:
    """Turn a case's images into network input.

    A removed background and voxels outside the scan count as signal 0, like air. A two-valued volume keeps its values:
    nearest neighbour where it must be resampled, no foreground, no normalisation.

    Args:
        paths: The phases, pre-contrast first.
        table: The study's ``[preprocess]``.
        point_mm: Where to crop around, RAS mm (x, y, z); the middle of the foreground if empty.

    Raises:
        ImageError: If the images are unusable, lack a phase, or show no foreground, or the point lies outside them.
    """
    return preprocess_volume(read_phases(paths), table, point_mm)


def preprocess_volume(source: Volume, table: PreprocessTable, point_mm: tuple[float, ...] = ()) -> Preprocessed:
    """Turn a scan into network input; as ``preprocess_images``.

    Args:
        source: The phases, pre-contrast first, array (phase, z, y, x).
        table: The study's ``[preprocess]``.
        point_mm: Where to crop around, RAS mm; the middle of the foreground if empty.

    Raises:
        ImageError: If the scan lacks a phase or shows no foreground, or the point lies outside it.
    """
    # One thread each: cases run in parallel, and sums do not depend on the number of threads.
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    with threadpool_limits(1):
        return _preprocess(source, table, point_mm)


def _preprocess(source: Volume, table: PreprocessTable, point_mm: tuple[float, ...]) -> Preprocessed:
    two_valued = is_two_valued(source.array)
    oriented = reorient_to_ras(source)
    spacing_mm = None if table.spacing_mm == "native" else table.spacing_mm
    resampled = resample_volume(oriented, spacing_mm, nearest=two_valued)
    mask = find_foreground(resampled, "none" if two_valued else table.foreground)
    intensity = fit_intensity(resampled.array, mask, "none" if two_valued else table.normalise)
    channels = make_channels(resampled.array, table.channels)
    channels[:, ~mask] = 0
    # Beyond the edge of a mask lies more of its lower value; beyond the edge of a scan lies no signal.
    air = np.full((1, 1, 1, 1), source.array.min() if two_valued else 0, np.float32)
    nothing = intensity.apply(make_channels(air.repeat(len(source.array), axis=0), table.channels), table.channels)
    mapped = Volume(intensity.apply(channels, table.channels), resampled.affine)
    shape_xyz = _reverse(mapped.array.shape[1:])
    centre = _locate(mapped, oriented, point_mm) if point_mm else _middle(mask)
    start = crop_start(shape_xyz, table.shape, centre)
    cropped = crop_or_pad(mapped, start, table.shape, nothing)
    mask_volume = Volume(mask[np.newaxis].astype(np.float32), mapped.affine)
    cropped_mask = crop_or_pad(mask_volume, start, table.shape, np.zeros(1, np.float32)).array[0] > 0
    outside = 1 - cropped_mask.sum() / mask.sum()
    p1, p50, p99 = np.percentile(resampled.array[:, mask], [1, 50, 99])
    figures = Figures(
        source_spacing_mm=oriented.spacing_mm,
        source_shape=_reverse(oriented.array.shape[1:]),
        source_orientation=source.orientation,
        phases=len(source.array),
        crop_start=start,
        foreground_ml=float(mask.sum() * np.prod(mapped.spacing_mm) / 1000),
        outside_fraction=float(outside),
        intensity_p1=float(p1),
        intensity_p50=float(p50),
        intensity_p99=float(p99),
        offset=intensity.offset,
        scale=intensity.scale,
        two_valued=two_valued,
    )
    return Preprocessed(cropped, cropped_mask, figures, () if point_mm else _find_warnings(figures, table))


def _find_warnings(figures: Figures, table: PreprocessTable) -> tuple[str, ...]:
    if table.foreground != "none" and figures.outside_fraction > OUTSIDE_WARNING:
        return (f"{figures.outside_fraction:.1%} of the foreground lies outside the crop; enlarge preprocess.shape",)
    return ()


def _locate(resampled: Volume, scan: Volume, point_mm: tuple[float, ...]) -> np.ndarray:
    """Voxel (x, y, z) of a point on the resampled grid, which may end a little before the scan does.

    Raises:
        ImageError: If it lies outside the scan.
    """
    z, y, x = scan.array.shape[1:]
    if not holds_point(scan.affine, (z, y, x), point_mm):
        place = ", ".join(f"{number:.0f}" for number in point_mm)
        raise ImageError(
            f"a mark must lie inside the scan, {place} mm (right, anterior, superior) does not; correct it"
        )
    return np.asarray(np.linalg.solve(resampled.affine, [*point_mm, 1.0])[:3])


def _middle(mask: Mask) -> np.ndarray:
    """Middle (x, y, z) of the mask's bounding box; of the volume where the mask is empty."""
    if not mask.any():
        return (np.array(mask.shape[::-1]) - 1) / 2
    middles = []
    for axis in (2, 1, 0):
        profile = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        middles.append((profile[0] + profile[-1]) / 2)
    return np.array(middles)


def _reverse(shape: tuple[int, ...]) -> tuple[int, int, int]:
    z, y, x = shape
    return x, y, z


def save_array(path: Path, array: np.ndarray) -> None:
    """Write an ``.npy`` file atomically."""
    content = io.BytesIO()
    np.save(content, array)
    with atomic_path(path) as partial:
        # Not np.save: what it raises on a full disk does not say that the disk is full.
        partial.write_bytes(content.getbuffer())


def save_mask(path: Path, mask: Mask) -> None:
    """Write a mask, eight voxels a byte."""
    save_array(path, np.packbits(mask))


def load_mask(path: Path, shape: tuple[int, ...]) -> Mask:
    """Read a mask of the given (z, y, x) shape."""
    count = int(np.prod(shape))
    return np.unpackbits(np.load(path, allow_pickle=False), count=count).reshape(shape).astype(bool)


def figures_as_row(figures: Figures, affine: Affine) -> dict[str, Any]:
    """Figures as one row of ``cases.csv``; tuples and the affine (row by row) are joined by ``;``."""
    row = asdict(figures) | {"affine": affine.ravel().tolist()}
    return {name: _join(value) for name, value in row.items()}


def _join(value: Any) -> Any:
    return ";".join(f"{entry:.9g}" for entry in value) if isinstance(value, tuple | list) else value
