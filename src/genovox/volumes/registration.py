"""Registration: the motion of each phase of a dynamic scan against the pre-contrast phase, where there is one.

Whether a motion is believed is decided by another figure than the one that was optimised: the agreement of edges, which
ask for neither brightness nor its sign.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from threadpoolctl import threadpool_limits

from genovox.core.volume import Affine, Array, Mask, Volume
from genovox.volumes.alignment import View, fit_deformation, fit_rigid, image_gradient, open_views
from genovox.volumes.motion import Motion

Floats = npt.NDArray[np.float64]

# Skin that enhances moves its own edge by up to this much, seen in simulated exams without motion.
STILL_MM = 0.3
STILL_VOXELS = 0.1
# What a free-form search finds in the mean where nothing moves, up to 0.3 mm in simulated exams, and a little more.
FREE_STILL_MM = 0.4
FEWEST_VOXELS = 500
FEWEST_SLICES = 4
_POINTS = 40_000
_SMOOTHING_VOXELS = 1.0
_BLOCK_MM = 24.0
_SURE = 3.0
_TINY = 1e-30


def estimate_motion(phases: Volume, mask: Mask, kind: Literal["rigid", "bspline"]) -> list[Motion]:
    """Motion of each phase against the first.

    A motion is kept if something in the mask moves by more than 0.3 mm and a tenth of a voxel (free-form: if the mask
    moves by more than 0.4 mm in the mean), and the edges of both phases agree better with it than without it, by more
    than three standard errors over blocks of 24 mm. Otherwise a free-form motion falls back to the rigid one, a rigid
    one to none, and ``note`` says why. The same scan gives the same motion on any number of threads.

    Args:
        phases: Array (phase, z, y, x), pre-contrast first, on voxels of about 3 mm.
        mask: The patient, shape (z, y, x).
        kind: ``rigid``, or ``bspline`` for a smooth displacement on top of it.

    Returns:
        One a phase; the first is the identity.
    """
    still = [Motion(np.eye(4))] * len(phases.array)
    reason = _refuse_scan(phases, mask)
    if reason:
        return still[:1] + [replace(motion, note=reason) for motion in still[1:]]
    # Sums depend on the number of threads they are split over.
    with threadpool_limits(1):
        return still[:1] + _estimate_each(phases, mask, kind)


def _refuse_scan(phases: Volume, mask: Mask) -> str:
    sides = phases.array.shape[1:]
    if min(sides) < FEWEST_SLICES:
        return f"motion not estimated: it takes {FEWEST_SLICES} voxels along each axis, the scan has {min(sides)}"
    if mask.sum() < FEWEST_VOXELS:
        return f"motion not estimated: it takes a foreground of {FEWEST_VOXELS} voxels, there are {int(mask.sum())}"
    if np.ptp(phases.array[0][mask]) == 0:
        return "motion not estimated: the first phase holds one value only"
    return ""


def _estimate_each(phases: Volume, mask: Mask, kind: str) -> list[Motion]:
    fixed = open_views(phases.array[0], phases.affine, mask)
    edges = _Edges.of(phases, mask)
    motions = []
    for phase in phases.array[1:]:
        if np.ptp(phase[mask]) == 0:
            motions.append(Motion(np.eye(4), note="motion not estimated: the phase holds one value only"))
            continue
        moving = open_views(phase, phases.affine, mask)
        judge = _Judge(edges, phase, phases.affine)
        motions.append(_choose(fixed, moving, judge, kind))
    return motions


def _choose(fixed: tuple[View, View], moving: tuple[View, View], judge: "_Judge", kind: str) -> Motion:
    """The most elaborate motion that the judge believes."""
    chosen = Motion(np.eye(4))
    turned = Motion(fit_rigid(fixed, moving))
    note = judge.doubt(turned, chosen)
    if not note:
        chosen = turned
    elif kind == "rigid":
        note = f"left alone: {note}"
    if kind == "bspline":
        bent = Motion(chosen.matrix, fit_deformation(fixed, moving, chosen.matrix))
        note = judge.doubt(bent, chosen)
        if not note:
            chosen = bent
        else:
            note = f"left alone: {note}" if chosen.is_identity else f"rigid motion kept: {note}"
    return judge.describe(chosen, note)


@dataclass(frozen=True)
class _Edges:
    """Gradients of the first phase at some voxels of the mask.

    Attributes:
        points_mm: RAS, shape (point, 3).
        slopes: RAS, shape (point, 3).
        blocks: Which block of 24 mm each point lies in.
    """

    points_mm: Floats
    slopes: Floats
    blocks: npt.NDArray[np.intp]

    @classmethod
    def of(cls, phases: Volume, mask: Mask) -> "_Edges":
        places = np.argwhere(mask)
        places = places[:: max(1, len(places) // _POINTS)]
        points = places[:, ::-1] @ phases.affine[:3, :3].T + phases.affine[:3, 3]
        slopes = np.stack([part[tuple(places.T)] for part in _smooth_gradient(phases.array[0], phases.affine)], axis=1)
        cubes = np.floor((points - points.min(0)) / _BLOCK_MM).astype(int)
        return cls(points, slopes.astype(np.float64), np.unique(cubes, axis=0, return_inverse=True)[1].ravel())


class _Judge:
    """Tells whether one motion of a phase is better than another."""

    def __init__(self, edges: _Edges, phase: Array, affine: Affine) -> None:
        self.edges, self.inverse = edges, np.linalg.inv(affine)
        self.limit = max(STILL_MM, STILL_VOXELS * float(np.linalg.norm(affine[:3, :3], axis=0).min()))
        self.size = np.array(phase.shape[::-1])
        # Linear interpolation would smooth noise away and so favour any motion over none.
        self.parts = [ndimage.spline_filter(part, output=np.float32) for part in _smooth_gradient(phase, affine)]

    def doubt(self, motion: Motion, other: Motion) -> str:
        """Why ``motion`` is not to be believed rather than ``other``; empty if it is."""
        distance = np.linalg.norm(self._displace(motion) - self._displace(other), axis=1)
        largest = float(distance.max())
        if largest <= self.limit:
            return f"nothing moves by more than {self.limit:.2g} mm"
        if motion.displacement is not None and distance.mean() <= FREE_STILL_MM:
            return f"the foreground bends by no more than {FREE_STILL_MM} mm in the mean"
        after, inside = self._agree(motion)
        before, also_inside = self._agree(other)
        both = inside & also_inside
        blocks = self.edges.blocks
        count = np.bincount(blocks, both)
        gains = np.bincount(blocks, np.where(both, after - before, 0))
        total = max(float(count.sum()), 1.0)
        gain = float(gains.sum()) / total
        error = float(np.sqrt(((gains - gain * count) ** 2).sum())) / total
        if gain <= _SURE * error:
            return f"edges agree no better after a motion of up to {largest:.1f} mm ({gain:+.4f} +- {error:.4f})"
        return ""

    def describe(self, motion: Motion, note: str) -> Motion:
        """The motion with its figures."""
        before, inside = self._agree(Motion(np.eye(4)))
        after, also_inside = self._agree(motion)
        both = inside & also_inside
        distance = np.linalg.norm(self._displace(motion), axis=1)
        return replace(
            motion,
            before=float(before[both].mean()),
            after=float(after[both].mean()),
            mean_displacement_mm=float(distance.mean()),
            largest_displacement_mm=float(distance.max()),
            note=note,
        )

    def _displace(self, motion: Motion) -> Floats:
        return motion.move(self.edges.points_mm) - self.edges.points_mm

    def _agree(self, motion: Motion) -> tuple[Floats, Mask]:
        """Squared cosine between the edges of both phases at each point, less where they are weak; and who is inside.

        References:
            Haber & Modersitzki (2007), doi:10.1160/ME9046.
        """
        index = motion.move(self.edges.points_mm) @ self.inverse[:3, :3].T + self.inverse[:3, 3]
        inside = ((index >= 0) & (index <= self.size - 1)).all(1)
        found = [ndimage.map_coordinates(part, index.T[::-1], prefilter=False, mode="nearest") for part in self.parts]
        # The gradient of a turned image is the image's, turned back; what a smooth displacement adds is left out.
        slopes = np.stack(found, axis=1).astype(np.float64) @ motion.matrix[:3, :3]
        own, other = (self.edges.slopes**2).sum(1), (slopes**2).sum(1)
        product = (self.edges.slopes * slopes).sum(1) ** 2
        return product / ((own + np.median(own) + _TINY) * (other + np.median(other) + _TINY)), inside


def _smooth_gradient(phase: Array, affine: Affine) -> list[Array]:
    return image_gradient(ndimage.gaussian_filter(phase, _SMOOTHING_VOXELS), affine)
