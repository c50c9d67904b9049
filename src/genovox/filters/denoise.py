"""Denoising: less noise, the same edges; windows in mm, one strength for all phases of a case.

Every phase is filtered alike, so that enhancement survives: Gaussian, bilateral and non-local means are one linear map
for all phases, median and curvature flow treat each phase by the same rule.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch

from genovox.core.errors import ImageError, UsageError
from genovox.core.volume import Array
from genovox.filters.medians import median_of_window
from genovox.filters.neighbours import average_alike
from genovox.filters.stencils import PIECE_VOXELS, WIDE_PIECE_VOXELS, Row, ball_offsets, lay_out, radius_voxels

KINDS = ("none", "gaussian", "median", "bilateral", "curvature-flow", "non-local-means")
GAUSSIAN_SD_MM = 0.7
MEDIAN_RADIUS_MM = 1.0
BILATERAL_SD_MM = 1.0
BILATERAL_NOISE_SDS = 2.0
FLOW_MM2 = 0.5
SEARCH_MM = 3.0
PATCH_MM = 1.0
NONLOCAL_NOISE_SDS = 0.8

_TAILS_SD = 4.0
_STEP_OF_SPACING = 0.125
_FLAT = 1e-9


def denoise(array: Array, spacing_mm: tuple[float, float, float], kind: str, *, noise_sd: float | None = None) -> Array:
    """Denoise phases that share a grid.

    ``gaussian``
        SD 0.7 mm.
    ``median``
        Window of 1 mm to each side, rounded to voxels.
    ``bilateral``
        Gaussian of 1 mm in place, cut at 2 mm, and of twice the noise in signal.
    ``curvature-flow``
        Iso-surfaces move by their mean curvature for 0.5 mm2: a bright ball of less than 1.4 mm radius vanishes.
    ``non-local-means``
        Patches of 1 mm to each side, compared within 3 mm.

    Args:
        array: Shape (z, y, x) or (phase, z, y, x), pre-contrast first.
        spacing_mm: Spacing along x, y, z.
        kind: One of these, or ``none``.
        noise_sd: SD of the noise for ``bilateral`` and ``non-local-means``; if None, the
            root mean square of what is measured on each phase.

    Returns:
        Shape of ``array``; the array itself where there is nothing to do.

    Raises:
        ImageError: If voxels are not finite.
        UsageError: If there is no such filter.

    References:
        Tomasi & Manduchi (1998), doi:10.1109/ICCV.1998.710815; SD of signal: Zhang & Gunturk (2008),
        doi:10.1109/TIP.2008.2006658. Curvature flow: Malladi & Sethian (1996), doi:10.1109/83.541425.
        Non-local means: Buades, Coll & Morel (2011), doi:10.5201/ipol.2011.bcm_nlm; in 3D MRI: Coupé et al. (2008),
        doi:10.1109/TMI.2007.906087.
    """
    if kind not in KINDS:
        raise UsageError(f"a filter must be one of {', '.join(KINDS)}, got {kind!r}")
    if kind == "none":
        return array
    if not np.isfinite(array).all():
        raise ImageError("voxels must be finite to be denoised, some are not; convert the scan again from its source")
    phases = array.reshape(-1, *array.shape[-3:])
    if kind in {"bilateral", "non-local-means"}:
        if noise_sd is None:
            noise_sd = math.sqrt(sum(estimate_noise_sd(phase) ** 2 for phase in phases) / len(phases))
        filtered = _average(phases, spacing_mm, kind, noise_sd) if noise_sd > 0 else phases
    elif kind == "gaussian":
        filtered = np.stack([_blur(phase, [GAUSSIAN_SD_MM / mm for mm in spacing_mm[::-1]]) for phase in phases])
    elif kind == "median":
        radius = radius_voxels(MEDIAN_RADIUS_MM, spacing_mm)
        filtered = np.stack([median_of_window(phase, radius) for phase in phases])
    else:
        filtered = np.stack([_flow(phase, spacing_mm, FLOW_MM2) for phase in phases])
    return filtered.reshape(array.shape)


def estimate_noise_sd(phase: Array) -> float:
    """SD of white noise, from second differences within slices where the signal is above its mean.

    They vanish on planes and on straight edges along an axis; their median size ignores the edges that remain. Where
    the scanner interpolated or left out the corners of k-space, noise is not white and is estimated too low, so that
    filters do too little rather than too much.

    Args:
        phase: Shape (z, y, x).

    Returns:
        In the unit of the signal; 0 where slices have fewer than three lines or the signal is constant.

    References:
        Immerkaer (1996), Fast noise variance estimation, doi:10.1006/cviu.1996.0060.
    """
    if min(phase.shape[1:]) < 3:
        return 0.0
    along = phase[:, 1:-1] - 0.5 * (phase[:, :-2] + phase[:, 2:])
    size = np.abs(along[..., 1:-1] - 0.5 * (along[..., :-2] + along[..., 2:]))
    tissue = size[phase[:, 1:-1, 1:-1] > phase.mean(dtype=np.float64)]
    # The weights' squares add up to 1.5 * 1.5; half of a normal variable's sizes lie below 0.6745 SD.
    return float(np.median(tissue)) / (1.5 * 0.6745) if tissue.size else 0.0


def _average(phases: Array, spacing_mm: tuple[float, float, float], kind: str, noise_sd: float) -> Array:
    if kind == "bilateral":
        offsets = [
            (offset, math.exp(-0.5 * (distance_mm / BILATERAL_SD_MM) ** 2))
            for offset, distance_mm in ball_offsets(2 * BILATERAL_SD_MM, spacing_mm)
        ]
        scale = 2 * (BILATERAL_NOISE_SDS * noise_sd) ** 2
        return average_alike(phases, offsets, patch_radius=(0, 0, 0), scale_variance=scale, expected_variance=0)
    offsets = [(offset, 1.0) for offset, _ in ball_offsets(SEARCH_MM, spacing_mm)]
    z, y, x = (min(1, r) for r in radius_voxels(PATCH_MM, spacing_mm))
    return average_alike(
        phases,
        offsets,
        patch_radius=(z, y, x),
        scale_variance=(NONLOCAL_NOISE_SDS * noise_sd) ** 2,
        expected_variance=2 * noise_sd**2,
    )


def _blur(phase: Array, sds: Sequence[float]) -> Array:
    """Gaussian of an SD in voxels along z, y, x, cut at four SDs; beyond the edge lie copies of the edge."""
    kernels = []
    for sd in sds:
        places = np.arange(-int(_TAILS_SD * sd + 0.5), int(_TAILS_SD * sd + 0.5) + 1)
        kernel = np.exp(-0.5 * (places / sd) ** 2)
        kernels.append((kernel / kernel.sum()).tolist())
    z, y, x = (len(kernel) // 2 for kernel in kernels)
    row = lay_out(phase, (z, y, x))
    source, out = torch.from_numpy(row.values), torch.empty(row.values.size)
    margins = [y * row.steps[1] + x, x, 0]
    for begin, end in row.pieces(WIDE_PIECE_VOXELS):
        line, start = source, 0
        for kernel, step, margin in zip(kernels, row.steps, margins, strict=True):
            first, last = begin - margin - start, end + margin - start
            reach = len(kernel) // 2
            blurred = line[first - reach * step : last - reach * step] * kernel[0]
            for number, weight in enumerate(kernel[1:], start=1 - reach):
                blurred.add_(line[first + number * step : last + number * step], alpha=weight)
            line, start = blurred, begin - margin
        out[begin:end] = line
    return row.crop(out.numpy())


def _flow(phase: Array, spacing_mm: tuple[float, float, float], duration_mm2: float) -> Array:
    """Move iso-surfaces by their mean curvature, in steps short enough to be stable."""
    count = math.ceil(duration_mm2 / (_STEP_OF_SPACING * min(spacing_mm) ** 2))
    for _ in range(count):
        row = lay_out(phase, (1, 1, 1))
        out = np.empty_like(row.values)
        for begin, end in row.pieces(PIECE_VOXELS):
            out[begin:end] = _flow_piece(row, spacing_mm, duration_mm2 / count, begin, end)
        phase = row.crop(out)
    return phase


def _flow_piece(row: Row, spacing_mm: tuple[float, float, float], step_mm2: float, begin: int, end: int) -> Array:
    def shifted(step: int) -> Array:
        return row.values[begin + step : end + step]

    centre = shifted(0)
    slopes, bends = [], []
    for step, mm in zip(row.steps, spacing_mm[::-1], strict=True):
        before, after = shifted(-step), shifted(step)
        slopes.append((after - before) * np.float32(0.5 / mm))
        bend = before + after
        bend -= centre
        bend -= centre
        bend *= np.float32(1 / mm**2)
        bends.append(bend)
    squares = [slope * slope for slope in slopes]
    steepness = squares[0] + squares[1] + squares[2]
    total = squares[0] * (bends[1] + bends[2])
    total += squares[1] * (bends[0] + bends[2])
    total += squares[2] * (bends[0] + bends[1])
    for one, two in ((0, 1), (0, 2), (1, 2)):
        a, b = row.steps[one], row.steps[two]
        twist = shifted(a + b) - shifted(a - b)
        twist -= shifted(b - a)
        twist += shifted(-a - b)
        twist *= np.float32(0.5 / (spacing_mm[2 - one] * spacing_mm[2 - two]))
        twist *= slopes[one]
        twist *= slopes[two]
        total -= twist
    # Where the signal is flat there is no surface to move.
    total *= np.float32(step_mm2)
    np.divide(total, steepness, out=total, where=steepness > _FLAT)
    total[steepness <= _FLAT] = 0
    total += centre
    return total
