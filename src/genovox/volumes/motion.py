"""Motion of one phase against the pre-contrast phase, and one interpolation through it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from genovox.core.volume import Affine, Volume
from genovox.volumes.geometry import Grid

_SLAB_VOXELS = 1 << 18
_EDGE = 1e-4


@dataclass(frozen=True)
class Motion:
    """Where the points of the pre-contrast phase lie in another phase: ``matrix (p + displacement(p))``, RAS mm.

    Attributes:
        matrix: Shape (4, 4), RAS mm to RAS mm.
        displacement: RAS mm, array (3, z, y, x) on a grid of its own, linear between its voxels and beyond its edge
            what the edge holds; None where motion is rigid.
        before: Agreement of the edges of both phases without any motion, 0 to 1.
        after: The same with this motion; ``before`` where the phase was left alone.
        mean_displacement_mm: Over the mask.
        largest_displacement_mm: Over the mask.
        note: Why the phase was left alone or treated as rigid; empty where there is nothing to say.
    """

    matrix: Affine
    displacement: Volume | None = None
    before: float = float("nan")
    after: float = float("nan")
    mean_displacement_mm: float = 0.0
    largest_displacement_mm: float = 0.0
    note: str = ""

    @property
    def is_identity(self) -> bool:
        """Whether every point stays exactly where it is."""
        return self.displacement is None and np.array_equal(self.matrix, np.eye(4))

    def move(self, points_mm: np.ndarray) -> np.ndarray:
        """Positions in the phase of points of the pre-contrast phase.

        Args:
            points_mm: RAS mm, shape (..., 3).

        Returns:
            RAS mm, shape (..., 3), float64.
        """
        points = np.asarray(points_mm, np.float64)
        if self.displacement is not None:
            relation = np.linalg.inv(self.displacement.affine)
            index = torch.from_numpy(points.reshape(-1, 3) @ relation[:3, :3].T + relation[:3, 3])
            field = torch.from_numpy(np.ascontiguousarray(self.displacement.array))
            points = points + sample_linear(field, index).T.reshape(points.shape).numpy()
        return np.asarray(points @ self.matrix[:3, :3].T + self.matrix[:3, 3])


def sample_moved(phase: Tensor, source: Grid, target: Grid, motion: Motion) -> Tensor:
    """Values of a phase where the pre-contrast phase's points have moved to, by one linear interpolation.

    Where the target's voxels are larger than the scan's, the phase is first smoothed on its own voxels by a kernel of
    variance (ratio^2 - 1) / 6: with linear interpolation that makes the triangle as wide as the new voxel, which phases
    that did not move are resampled by.

    Args:
        phase: Shape (z, y, x), float32, on any device.
        source: Where its voxels lie.
        target: Where values are wanted, on the pre-contrast phase.
        motion: From ``estimate_motion``.

    Returns:
        Shape (z, y, x) of the target, on the phase's device; half a voxel or more outside the scan 0.
    """
    to_source = np.asarray(np.linalg.inv(source.affine), np.float64)
    steps = np.linalg.norm((to_source @ target.affine)[:3, :3], axis=1)
    smooth = phase
    for axis in range(3):
        smooth = _smooth_axis(smooth, float(steps[axis]), 2 - axis)
    relation = to_source @ motion.matrix @ target.affine
    out = phase.new_empty(target.shape[::-1])
    x, y, z = (torch.arange(size, dtype=phase.dtype, device=phase.device) for size in target.shape)
    field = None if motion.displacement is None else _FieldOnGrid.of(motion, to_source, target, phase)
    size = phase.new_tensor(source.shape)
    thickness = max(1, _SLAB_VOXELS // (len(x) * len(y)))
    for first in range(0, len(z), thickness):
        slab = z[first : first + thickness]
        index = _map_index(relation, x, y, slab)
        if field is not None:
            index += field.sample(x, y, slab)
        inside = ((index >= -0.5 - _EDGE) & (index <= size - 0.5 + _EDGE)).all(-1)
        out[first : first + thickness] = sample_linear(smooth[None], index.view(-1, 3))[0].view(inside.shape) * inside
    return out


def sample_linear(image: Tensor, index: Tensor) -> Tensor:
    """Linear interpolation; beyond the edge the nearest voxel is repeated.

    Args:
        image: Shape (channel, z, y, x).
        index: Voxels x, y, z, shape (point, 3), on the image's device.

    Returns:
        Shape (channel, point).
    """
    size = torch.tensor(image.shape[:0:-1], dtype=image.dtype, device=image.device)
    # Without aligned corners an axis spans [-1, 1] from edge to edge of its voxels.
    places = (index.to(image.dtype) + 0.5) * (2 / size) - 1
    grid = places.view(1, 1, 1, -1, 3)
    return functional.grid_sample(
        image.unsqueeze(0), grid, mode="bilinear", padding_mode="border", align_corners=False
    ).view(len(image), -1)


@dataclass(frozen=True)
class _FieldOnGrid:
    """A displacement field in voxels of the scan, and where the target's voxels lie in it."""

    voxels: Tensor
    relation: Affine

    @classmethod
    def of(cls, motion: Motion, to_source: Affine, target: Grid, like: Tensor) -> "_FieldOnGrid":
        assert motion.displacement is not None
        turn = (to_source @ motion.matrix)[:3, :3]
        voxels = np.einsum("ij,jzyx->izyx", turn, motion.displacement.array)
        relation = np.asarray(np.linalg.solve(motion.displacement.affine, target.affine), np.float64)
        return cls(torch.from_numpy(voxels).to(like.device, like.dtype), relation)

    def sample(self, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
        index = _map_index(self.relation, x, y, z)
        return sample_linear(self.voxels, index.view(-1, 3)).T.reshape(index.shape)


def _map_index(relation: Affine, x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Voxels (z, y, x, 3) that an affine map makes of the voxels x, y, z."""
    rows = [
        float(row[0]) * x + (float(row[1]) * y)[:, None] + (float(row[2]) * z + float(row[3]))[:, None, None]
        for row in relation[:3]
    ]
    return torch.stack(rows, dim=-1)


def _smooth_axis(image: Tensor, ratio: float, axis: int) -> Tensor:
    """Smooth one axis of (z, y, x) by integer triangles mixed so that the variance is (ratio^2 - 1) / 6."""
    if ratio <= 1 + _EDGE:
        return image
    width = int(ratio)
    share = (ratio**2 - width**2) / (2 * width + 1)
    offsets = torch.arange(-width, width + 1, dtype=image.dtype, device=image.device).abs()
    taps = (1 - share) * (1 - offsets / width).clamp(min=0) / width + share * (1 - offsets / (width + 1)) / (width + 1)
    size = image.shape[axis]
    before = image.narrow(axis, 0, 1).repeat_interleave(width, dim=axis)
    after = image.narrow(axis, size - 1, 1).repeat_interleave(width, dim=axis)
    padded = torch.cat([before, image, after], dim=axis)
    out = float(taps[width]) * image
    for offset in range(1, width + 1):
        pair = padded.narrow(axis, width - offset, size) + padded.narrow(axis, width + offset, size)
        out.add_(pair, alpha=float(taps[width + offset]))
    return out
