"""Figures of a case: what preprocessing met and did, for the table, the audit and the eye."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from genovox.core.volume import Affine, Array, Mask

# The median of the absolute value of a standard normal variable.
_NORMAL_MEDIAN = 0.6745
BILATERAL_MM = 250.0


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
        intensity_p1, intensity_p50, intensity_p99: Percentiles of the signal in the foreground, all phases.
        offset, scale: The intensity map.
        clipped_fraction: Share of the foreground's signal that the intensity map cuts off.
        two_valued: Whether the volume passed untouched as a mask.
        snr: Median signal over noise of the first phase in the foreground; NaN where it cannot be told.
        left_right_ratio: Median signal of the first phase left over right, NaN in a scan of one breast.
        bias_strength: 95th over 5th percentile of the bias field in the body; 1 without correction.
        motion_mm: Largest mean displacement of a phase that was moved back.
        motion_gain: Mean gain of the similarity to the first phase over the phases that were moved back.
        delays_s: Real delay of each channel that was asked for at a time.
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
    clipped_fraction: float
    two_valued: bool
    snr: float
    left_right_ratio: float
    bias_strength: float
    motion_mm: float
    motion_gain: float
    delays_s: tuple[float, ...]


def figures_as_row(figures: Figures, affine: Affine) -> dict[str, Any]:
    """Figures as one row of ``cases.csv``; tuples and the affine (row by row) are joined by ``;``, NaN is empty."""
    row = asdict(figures) | {"affine": affine.ravel().tolist()}
    return {name: _as_cell(value) for name, value in row.items()}


def _as_cell(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return ";".join(f"{entry:.9g}" for entry in value)
    return "" if isinstance(value, float) and np.isnan(value) else value


def estimate_snr(phase: Array, mask: Mask) -> float:
    """Signal-to-noise ratio from the finest diagonal details, which hold noise and hardly anything of the body.

    Unlike the air around the patient, which many scanners set to zero, they are always there; where the scanner
    interpolated its voxels, the ratio comes out too high.

    Args:
        phase: Shape (z, y, x).
        mask: Foreground, shape (z, y, x).

    Returns:
        Median signal in the mask over the noise's SD; NaN where the mask holds no whole 2 x 2 x 2 block or no noise.

    References:
        Donoho & Johnstone (1994), doi:10.1093/biomet/81.3.425 (the robust estimate from Haar wavelets).
    """
    z, y, x = (size // 2 * 2 for size in phase.shape)
    if min(z, y, x) == 0:
        return float("nan")
    details, whole = phase[:z, :y, :x], mask[:z, :y, :x]
    for axis in range(3):
        first = (slice(None),) * axis + (slice(0, None, 2),)
        second = (slice(None),) * axis + (slice(1, None, 2),)
        details = (details[first] - details[second]) / np.sqrt(np.float32(2))
        whole = whole[first] & whole[second]
    if not whole.any():
        return float("nan")
    noise = float(np.median(np.abs(details[whole]))) / _NORMAL_MEDIAN
    return float(np.median(phase[mask])) / noise if noise > 0 else float("nan")


def compare_sides(phase: Array, mask: Mask, spacing_x_mm: float) -> float:
    """Median signal of the patient's left over the right; uneven coils, shims and transmit fields show here.

    Args:
        phase: First phase in RAS order, shape (z, y, x).
        mask: Foreground, shape (z, y, x).
        spacing_x_mm: Voxel size along x.

    Returns:
        NaN where the foreground is narrower than 250 mm, as in a scan of one breast.
    """
    columns = np.flatnonzero(mask.any(axis=(0, 1)))
    if not len(columns) or (columns[-1] - columns[0] + 1) * spacing_x_mm < BILATERAL_MM:
        return float("nan")
    middle = int(columns[0] + columns[-1] + 1) // 2
    low, high = phase[..., :middle][mask[..., :middle]], phase[..., middle:][mask[..., middle:]]
    # x grows to the patient's right.
    right, left = float(np.median(high)) if len(high) else 0.0, float(np.median(low)) if len(low) else 0.0
    return left / right if right > 0 else float("nan")
