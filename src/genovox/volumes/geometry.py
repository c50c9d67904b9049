"""Geometry: one separable interpolation from a scan onto a grid with the same axes, or onto a window of it.

The grid keeps the scan's own axes (the nearest to right, anterior, superior), so orientation needs no interpolation,
and crop and resampling together are one short weighted sum an axis.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from genovox.core.errors import ImageError
from genovox.core.volume import Affine, Array, Volume, affine_spacing_mm

Interpolation = Literal["linear", "cubic", "nearest"]

SAME_SPACING = 1e-4
_SAME_AXES = 1e-5
LARGEST_GRID = 2**31
# Each sum of taps is a pass over memory, a dense product is arithmetic: above this many taps the product is faster.
_MOST_TAPS = 12
_SLAB_VOXELS = 2**18
# Weights this small, seen from the largest, change no float32.
_NEGLIGIBLE = 1e-8
# Halfway between two voxels rounding must not decide which is nearer: the later one is.
_TIE = 1e-4


@dataclass(frozen=True)
class Grid:
    """Where voxels lie.

    Attributes:
        affine: Shape (4, 4); voxel (x, y, z) to RAS mm.
        shape: Voxels along x, y, z.
    """

    affine: Affine
    shape: tuple[int, int, int]

    @classmethod
    def of(cls, volume: Volume) -> "Grid":
        """The grid of a volume."""
        z, y, x = volume.array.shape[1:]
        return cls(volume.affine, (x, y, z))

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel size along x, y and z."""
        return affine_spacing_mm(self.affine)

    def rescale(self, spacing_mm: tuple[float, float, float] | None) -> "Grid":
        """The grid of another spacing over the same field of view, about its centre.

        Args:
            spacing_mm: Along x, y, z; None keeps it. An axis within 0.01% of it stays as it is.

        Raises:
            ImageError: If the grid would hold more than 2^31 voxels.
        """
        relation, shape = np.eye(4), list(self.shape)
        for axis, (old_mm, new_mm) in enumerate(zip(self.spacing_mm, spacing_mm or self.spacing_mm, strict=True)):
            ratio = new_mm / old_mm
            if abs(ratio - 1) <= SAME_SPACING:
                continue
            shape[axis] = max(1, round(self.shape[axis] / ratio))
            relation[axis, axis] = ratio
            relation[axis, 3] = (self.shape[axis] - 1) / 2 - ratio * (shape[axis] - 1) / 2
        x, y, z = shape
        if x * y * z > LARGEST_GRID:
            raise ImageError(
                f"a grid must hold at most 2^31 voxels, {x} x {y} x {z} does not; "
                "choose a larger preprocess.spacing_mm, or look at the spacing that the scan states"
            )
        return Grid(self.affine @ relation, (x, y, z))

    def cut(self, start: tuple[int, int, int], shape: tuple[int, int, int]) -> "Grid":
        """The window of ``shape`` voxels (x, y, z) from voxel ``start``, which may lie outside."""
        shift = np.eye(4)
        shift[:3, 3] = start
        return Grid(self.affine @ shift, shape)


def mirror_volume(volume: Volume, orientation: str) -> Volume:
    """A volume in RAS order with its axes mirrored to run to other sides; every voxel stays where it is in the patient.

    Args:
        volume: Array (phase or channel, z, y, x).
        orientation: Three letters such as ``LAS``: right or left, anterior or posterior, superior or inferior.
    """
    mirrored = [axis for axis, (wanted, own) in enumerate(zip(orientation, "RAS", strict=True)) if wanted != own]
    if not mirrored:
        return volume
    relation = np.eye(4)
    for axis in mirrored:
        relation[axis, axis], relation[axis, 3] = -1, volume.array.shape[3 - axis] - 1
    array = np.flip(volume.array, tuple(3 - axis for axis in mirrored))
    return Volume(np.ascontiguousarray(array), volume.affine @ relation)


def resample_volume(
    volume: Volume, spacing_mm: tuple[float, float, float] | None, interpolation: Interpolation = "linear"
) -> Volume:
    """Resample every phase onto a grid of the given spacing over the same field of view.

    Args:
        volume: Array (phase, z, y, x).
        spacing_mm: Spacing along x, y, z in mm; None keeps the scan's. An axis within 0.01% of it is not interpolated.
        interpolation: As ``axis_weights`` takes it.

    Returns:
        A volume whose centre is the scan's; the same voxels where no axis is interpolated.
    """
    source = Grid.of(volume)
    target = source.rescale(spacing_mm)
    if target.shape == source.shape and np.array_equal(target.affine, source.affine):
        return volume
    array = np.ascontiguousarray(volume.array) if min(volume.array.strides) < 0 else volume.array
    return Volume(sample_grid(torch.from_numpy(array), source, target, interpolation).numpy(), target.affine)


def sample_grid(array: Tensor, source: Grid, target: Grid, interpolation: Interpolation = "linear") -> Tensor:
    """Values of a scan on a grid along the same axes: orientation, crop and resampling in one interpolation.

    Args:
        array: Shape (..., z, y, x), float32, on any device.
        source: Where its voxels lie.
        target: Where values are wanted, its axes those of the source in any order and direction; beyond the scan, the
            nearest voxel is repeated.
        interpolation: As ``axis_weights`` takes it.

    Returns:
        Shape (..., z, y, x) of the target, on the array's device.

    Raises:
        ValueError: If the target is turned against the source.
    """
    relation = np.linalg.solve(source.affine, target.affine)
    turned = relation[:3, :3]
    partner = np.abs(turned).argmax(1)
    rest = turned.copy()
    rest[range(3), partner] = 0
    if sorted(partner) != [0, 1, 2] or np.abs(rest).max() > _SAME_AXES * np.abs(turned).max():
        raise ValueError(f"the target must lie along the axes of the source, got the relation {turned.tolist()}")
    axes: dict[int, Array] = {}
    for axis, other in enumerate(partner):
        ratio, start = float(turned[axis, other]), float(relation[axis, 3])
        size, new_size = source.shape[axis], target.shape[other]
        whole = round(start)
        if abs(ratio - 1) <= SAME_SPACING and abs(start - whole) <= SAME_SPACING and 0 <= whole <= size - new_size:
            array = array.narrow(array.ndim - 1 - axis, whole, new_size)
        else:
            axes[axis] = axis_weights(size, new_size, start, ratio, interpolation)
    leading = array.shape[:-3]
    if axes:
        phases = [_weigh_phase(phase, axes) for phase in array.reshape(-1, *array.shape[-3:])]
        array = torch.stack(phases).view(*leading, *phases[0].shape) if leading else phases[0]
    first = len(leading)
    # Dimension d holds the source's axis 2 - d; the target wants its own axes z, y, x in this order.
    order = [first + 2 - int(np.flatnonzero(partner == wanted)[0]) for wanted in (2, 1, 0)]
    return array.permute(*range(first), *order).contiguous()


def _weigh_phase(phase: Tensor, axes: dict[int, Array]) -> Tensor:
    """Weighted sums along the given axes (0 is x) of one phase, slab by slab so that what is in work stays in cache."""
    within = [axis for axis in (0, 1) if axis in axes]
    # The axis that loses most goes first: what follows has less to do.
    within.sort(key=lambda axis: len(axes[axis]) / axes[axis].shape[1])
    across_first = 2 in axes and len(axes[2]) < axes[2].shape[1]
    if across_first:
        phase = _weigh_axis(phase, axes[2], 0)
    if within:
        shape = [len(axes[axis]) if axis in axes else phase.shape[2 - axis] for axis in (1, 0)]
        out = phase.new_empty(len(phase), *shape)
        slab = max(1, _SLAB_VOXELS // phase[0].numel())
        for begin in range(0, len(phase), slab):
            part = phase[begin : begin + slab]
            for axis in within:
                part = _weigh_axis(part, axes[axis], 2 - axis)
            out[begin : begin + slab] = part
        phase = out
    return phase if across_first or 2 not in axes else _weigh_axis(phase, axes[2], 0)


def axis_weights(size: int, new_size: int, start: float, ratio: float, interpolation: Interpolation) -> Array:
    """Weights that turn ``size`` samples into ``new_size`` at ``start + i * ratio``.

    Args:
        size: Samples there are.
        new_size: Samples wanted.
        start: Position of the first, in old samples.
        ratio: Old samples a new one; negative for a mirrored axis.
        interpolation: ``nearest``; ``linear``, and where voxels grow, a triangle as wide as the new voxel; ``cubic``
            (interpolating B-spline, mirrored at the ends as ITK does it), and where voxels grow, its mean over a box
            that adds to the old voxel's width what the new one has more. Both keep fine structure from aliasing.

    Returns:
        Shape (new_size, size); every row sums to 1.

    References:
        Turkowski (1990), Filters for common resampling tasks, doi:10.1016/B978-0-08-050753-8.50042-5. Unser (1999),
        Splines: a perfect fit for signal and image processing, doi:10.1109/79.799930.
    """
    positions = start + ratio * np.arange(new_size)
    if interpolation == "cubic" and size > 1:
        return _cubic_weights(np.clip(positions, -0.5, size - 0.5), size, abs(ratio))
    positions = np.clip(positions, 0, size - 1)
    if interpolation == "nearest":
        weights = np.zeros((new_size, size), np.float32)
        weights[np.arange(new_size), np.floor(positions + 0.5 + _TIE).astype(int).clip(0, size - 1)] = 1
        return weights
    distance = np.abs(positions[:, None] - np.arange(size)[None, :]) / max(1.0, abs(ratio))
    triangle = np.maximum(0.0, 1.0 - distance)
    return np.asarray(triangle / triangle.sum(1, keepdims=True), dtype=np.float32)


def _cubic_weights(positions: np.ndarray, size: int, ratio: float) -> Array:
    count = 1 if ratio <= 1 else 4 * int(np.ceil(ratio))
    places = positions[:, None] + ((np.arange(count) + 0.5) / count - 0.5) * np.sqrt(max(ratio**2 - 1, 0))
    values = _spline_values(places.ravel(), size).reshape(*places.shape, size).mean(1)
    to_samples = _spline_values(np.arange(size, dtype=float), size)
    weights = np.linalg.solve(to_samples.T, values.T).T
    weights[np.abs(weights) < _NEGLIGIBLE] = 0
    return np.asarray(weights, dtype=np.float32)


def _spline_values(places: np.ndarray, size: int) -> np.ndarray:
    """What each coefficient of a cubic B-spline, mirrored about its end samples, gives at each place."""
    values = np.zeros((len(places), size))
    first = np.floor(places).astype(int)
    for offset in (-1, 0, 1, 2):
        index = first + offset
        period = 2 * (size - 1)
        mirrored = index % period
        mirrored = np.where(mirrored >= size, period - mirrored, mirrored)
        np.add.at(values, (np.arange(len(places)), mirrored), cubic_spline(np.abs(places - index)))
    return values


def cubic_spline(distance: np.ndarray) -> np.ndarray:
    """The cubic B-spline at a distance from its middle, 0 or more, in knots."""
    inner = 2 / 3 - distance**2 + distance**3 / 2
    return np.where(distance < 1, inner, np.maximum(2 - distance, 0) ** 3 / 6)


def _weigh_axis(array: Tensor, weights: Array, axis: int) -> Tensor:
    """Replace one axis of (z, y, x) by weighted sums of it."""
    used = weights != 0
    first = used.argmax(1)
    last = weights.shape[1] - 1 - used[:, ::-1].argmax(1)
    taps = int((last - first).max()) + 1
    if taps > _MOST_TAPS:
        matrix = torch.from_numpy(weights).to(array.device)
        summed: Tensor = torch.tensordot(array, matrix, dims=([axis], [1]))
        return summed.movedim(-1, axis)
    first = np.minimum(first, weights.shape[1] - taps)
    rows = np.arange(len(weights))
    if axis == 0:
        out = array.new_empty(len(weights), *array.shape[1:])
        for row in rows.tolist():
            begin, factors = int(first[row]), weights[row, first[row] : first[row] + taps].tolist()
            torch.mul(array[begin], factors[0], out=out[row])
            for tap in range(1, taps):
                if factors[tap]:
                    out[row].add_(array[begin + tap], alpha=factors[tap])
        return out
    shape = [1, -1, 1] if axis == 1 else [1, 1, -1]
    total: Tensor | None = None
    for tap in range(taps):
        index = torch.from_numpy(first + tap).to(array.device)
        factor = torch.from_numpy(weights[rows, first + tap]).to(array.device).view(shape)
        taken = array.index_select(axis, index)
        total = taken.mul_(factor) if total is None else total.addcmul_(taken, factor)
    assert total is not None
    return total
