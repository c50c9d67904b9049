"""Which candidates are lesions: what a reader looks at, as figures, and how sure they make one.

The confidence orders proposals and says where to look first. It is no probability of cancer: a benign mass is found as
well as a malignant one.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from genovox.core.volume import Array
from genovox.lesions.candidates import Candidate
from genovox.lesions.enhancement import Uptake
from genovox.volumes.kinetics import ENHANCEMENT_LIMITS

_SHELL_MM = 8.0
_GAP_MM = 2.0
_SKIN_MM = 5.0
_LARGEST_MM = 60.0
_OFFSET = -1.0
# A ball of 10 mm.
_USUAL_ML = 0.5
_DIRECTIONS = 200
_BRIGHTEST_PERCENTILE = 75
WASHOUT, PLATEAU = 1.1, 0.9
"""Signal enhancement ratios above which a curve falls, and from which it stays level."""


@dataclass(frozen=True)
class Figures:
    """What can be measured of a candidate.

    Attributes:
        centre_mm: RAS mm, x, y, z.
        box_mm: The corners, RAS mm: x0, y0, z0, x1, y1, z1.
        diameter_mm: Longest extent.
        volume_ml: Of the mask.
        peak_percent: Largest enhancement over the phases, mean of the brightest quarter of the mask, %.
        ser: Signal enhancement ratio of the brightest quarter, first over last phase; NaN with fewer than three phases.
        contrast: Early uptake above the shell around it, in spreads of the breast's tissue.
        distinction: Blobness over that of the patient's ordinary candidates.
        compactness: Volume over that of the ball of the longest extent, to the power of a third; 1 is a ball.
        depth_mm: Of its nearest voxel under the skin's surface.
        leak: Volume beside it that enhances as much and is no breast tissue (skin, chest), over its own.
        side: ``left`` or ``right``.
        asymmetry: Blobness over the largest of the other breast's candidates; NaN in a scan of one breast.
    """

    centre_mm: tuple[float, float, float]
    box_mm: tuple[float, ...]
    diameter_mm: float
    volume_ml: float
    peak_percent: float
    ser: float
    contrast: float
    distinction: float
    compactness: float
    depth_mm: float
    leak: float
    side: str
    asymmetry: float


@dataclass(frozen=True)
class Proposal:
    """A candidate with its figures, how sure it is, and why.

    Attributes:
        candidate: Where.
        figures: What was measured.
        confidence: 0 to 1.
        evidence: In words.
    """

    candidate: Candidate
    figures: Figures
    confidence: float
    evidence: str


def rank_candidates(uptake: Uptake, candidates: list[Candidate]) -> list[Proposal]:
    """Proposals, the surest first.

    The log odds of the confidence are a sum of points, from figures known to tell lesions from vessels, skin and
    background enhancement; none was fitted to patients.

    Args:
        uptake: The exam.
        candidates: Of ``find_candidates``.

    References:
        Kinetics: Kuhl et al. (1999), doi:10.1148/radiology.211.1.r99ap38101; signal enhancement ratio: Hylton et al.
        (2012), doi:10.1148/radiol.12110748. Symmetry tells background enhancement: Giess et al. (2014),
        doi:10.1148/rg.341135034.
    """
    if not candidates:
        return []
    ordinary = float(np.median([candidate.seed.response for candidate in candidates]))
    sides = [_find_side(uptake, candidate) for candidate in candidates]
    scored = []
    for candidate, side in zip(candidates, sides, strict=True):
        others = [one.seed.response for one, other in zip(candidates, sides, strict=True) if other != side]
        figures = measure_candidate(uptake, candidate, ordinary, max(others, default=float("nan")))
        scored.append((_add_points(figures), candidate, figures))
    scored.sort(key=lambda entry: -entry[0])
    return [
        Proposal(candidate, figures, float(1 / (1 + np.exp(-points))), describe_figures(figures))
        for points, candidate, figures in scored
    ]


def measure_candidate(uptake: Uptake, candidate: Candidate, ordinary: float, other_side: float) -> Figures:
    """The figures of a candidate.

    Args:
        uptake: The exam.
        candidate: Of ``find_candidates``.
        ordinary: Response of the exam's ordinary candidate.
        other_side: Largest response in the other breast, NaN where there is none.
    """
    sampling = np.array(uptake.spacing_mm[::-1])
    room = np.ceil(_SHELL_MM / sampling).astype(int)
    box = tuple(
        slice(max(0, part.start - extra), part.stop + int(extra))
        for part, extra in zip(candidate.box, room, strict=True)
    )
    mask, tissue = candidate.on_grid(uptake.tissue.shape)[box], uptake.tissue[box]
    early = uptake.early[box]
    beside_mm = ndimage.distance_transform_edt(~mask, sampling)
    shell = tissue & (beside_mm > _GAP_MM) & (beside_mm <= _SHELL_MM)
    around = float(np.median(early[shell])) if shell.any() else uptake.level
    beside = ~mask & (beside_mm <= max(_GAP_MM, 1.5 * sampling.max())) & (early > candidate.threshold)
    places = np.argwhere(mask) + [part.start for part in box]
    points_mm = places[:, ::-1] @ uptake.affine[:3, :3].T + uptake.affine[:3, 3]
    half = np.array(uptake.spacing_mm) / 2
    diameter_mm = _measure_diameter(points_mm) + float(np.cbrt(np.prod(sampling)))
    volume_mm3 = len(places) * float(np.prod(sampling))
    middle = points_mm.mean(0)
    brightest = early[mask] >= np.percentile(early[mask], _BRIGHTEST_PERCENTILE)
    curve = uptake.phases[(slice(None), *box)][:, mask][:, brightest].mean(axis=1)
    return Figures(
        centre_mm=(float(middle[0]), float(middle[1]), float(middle[2])),
        box_mm=tuple(float(edge) for edge in (*(points_mm.min(0) - half), *(points_mm.max(0) + half))),
        diameter_mm=diameter_mm,
        volume_ml=volume_mm3 / 1000,
        peak_percent=_measure_peak(curve, uptake.floor),
        ser=_measure_ser(curve),
        contrast=(float(early[mask].mean()) - around) / uptake.spread,
        distinction=candidate.seed.response / max(ordinary, 1e-9),
        compactness=float(np.cbrt(volume_mm3 / (np.pi / 6 * diameter_mm**3))),
        depth_mm=float(uptake.depth_mm[box][mask].min()),
        leak=float((beside & ~tissue & uptake.body[box]).sum() / mask.sum()),
        side=_find_side(uptake, candidate),
        asymmetry=candidate.seed.response / other_side if other_side > 0 else float("nan"),
    )


def _find_side(uptake: Uptake, candidate: Candidate) -> str:
    return "left" if uptake.on_left[candidate.box][candidate.mask].mean() >= 0.5 else "right"


def _measure_diameter(points_mm: Array) -> float:
    """Longest extent along any of many directions, 1% off at most."""
    steps = np.arange(_DIRECTIONS) + 0.5
    height, turn = 1 - steps / _DIRECTIONS, np.pi * (1 + 5**0.5) * steps
    flat = np.sqrt(1 - height**2)
    along = points_mm @ np.stack([flat * np.cos(turn), flat * np.sin(turn), height])
    return float(np.ptp(along, axis=0).max())


def _measure_peak(curve: Array, floor: float) -> float:
    percent = 100 * (float(curve[1:].max()) - float(curve[0])) / max(float(curve[0]), floor, 1e-6)
    return float(np.clip(percent, *ENHANCEMENT_LIMITS))


def _measure_ser(curve: Array) -> float:
    if len(curve) < 3:
        return float("nan")
    first, last = float(curve[1] - curve[0]), float(curve[-1] - curve[0])
    return float(np.clip(first / max(last, 1e-6), 0, 3))


def _add_points(figures: Figures) -> float:
    """Log odds. Weights are round numbers, each point from the ordinary candidate to a clear lesion."""
    points = _OFFSET
    points += 2.5 * float(np.log(max(figures.distinction, 0.1) / 3))
    points += 10 * float(np.clip(figures.compactness - 0.6, -0.25, 0.15))
    if np.isfinite(figures.ser):
        points += 8 * float(np.clip(figures.ser - 0.95, -0.3, 0.2))
    if np.isfinite(figures.asymmetry):
        points += float(np.clip(np.log(figures.asymmetry / 2), -1, 1))
    points += float(np.clip(np.log(figures.volume_ml / _USUAL_ML), -1.5, 0.5))
    points -= 3 * max(0.0, float(np.log(figures.diameter_mm / _LARGEST_MM)))
    points -= 3 * min(figures.leak, 1.0)
    if figures.depth_mm < _SKIN_MM and figures.diameter_mm < 2 * _SKIN_MM:
        points -= 2
    return points


def describe_figures(figures: Figures) -> str:
    """What speaks for a proposal and against it, in words."""
    words = [f"stands out {figures.distinction:.1f} times as much as the ordinary candidate of this exam"]
    if np.isfinite(figures.ser):
        kind = "washout" if figures.ser > WASHOUT else "plateau" if figures.ser >= PLATEAU else "persistent"
        words.append(f"{kind} (SER {figures.ser:.2f})")
    words.append(
        "compact"
        if figures.compactness > 0.65
        else "long or branched, as vessels are"
        if figures.compactness < 0.5
        else "irregular"
    )
    if figures.asymmetry < 1.5:
        words.append("the other breast has as much")
    if figures.leak > 0.1:
        words.append("goes on outside the breast tissue")
    if figures.depth_mm < _SKIN_MM:
        words.append("at the skin")
    return "; ".join(words)
