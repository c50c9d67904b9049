"""Random flips, and one warp a batch: affine and elastic displacement through a single resampling.

Array axes are (D, H, W) = (z, y, x) of a RAS volume, so left-right is the last axis. A sample's channels always
share its transform: a phase moved on its own would forge enhancement.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor
from torch.nn import functional

from genovox.augment.draws import check_batch, check_range, draw_chosen, draw_factors, draw_uniform
from genovox.core.errors import UsageError

Axis = Literal["x", "y", "z"]
_DIMENSION: dict[Axis, int] = {"z": 2, "y": 3, "x": 4}

# A cubic B-spline lattice cannot fold while its displacements stay under its spacing divided by this constant.
_FOLDING = 2.479772335


@dataclass(frozen=True, kw_only=True)
class Flips:
    """Mirror each named axis of each sample on its own, exactly (no resampling).

    Args:
        axes: "x" is left-right, "y" posterior-anterior, "z" inferior-superior.
        probability: Chance a sample and axis, 0 to 1.
    """

    axes: tuple[Axis, ...]
    probability: float = 0.5

    def __post_init__(self) -> None:
        check_range("flip probability", self.probability, 0, 1)

    def __call__(self, batch: Tensor, generator: Generator) -> Tensor:
        """Flipped batch: (B, C, D, H, W), same dtype and device; the input is not changed.

        Raises:
            UsageError: If rank or dtype is wrong.
        """
        check_batch(batch)
        for axis in self.axes:
            chosen = draw_chosen(generator, len(batch), self.probability).to(batch.device)
            batch = torch.where(chosen.view(-1, 1, 1, 1, 1), batch.flip(_DIMENSION[axis]), batch)
        return batch


@dataclass(frozen=True, kw_only=True)
class Warp:
    """Rotation, scale, translation and elastic displacement, fused into one trilinear resampling.

    Rotations are rigid in voxels, whatever the array's shape; they are rigid in the body if voxels are isotropic.
    Outside the array the nearest border voxel is repeated: that is air where a channel shows air, and nothing
    where a difference channel shows nothing, while zeros would paint mean tissue into a z-scored channel and a
    reflection a second lesion.

    Args:
        rotation_degrees: Largest angle, 0 to 180, uniform, about an axis uniform on the sphere.
        scale_factor: Log-uniform magnification in [1 / factor, factor], the same on all axes.
        translation_fraction: Largest shift on each axis as a fraction of its side, 0 to 1.
        elastic_voxels: Largest displacement on each axis; each sample draws its own limit up to it.
        elastic_spacing_voxels: Distance of the control points of the displacement field.
        affine_probability: Chance a sample of rotation, scale and translation together.
        elastic_probability: Chance a sample of the elastic displacement.

    Raises:
        UsageError: If a setting is out of range, or the elastic field could fold.

    References:
        Rueckert et al. (1999), doi:10.1109/42.796284 (B-spline fields). Choi & Lee (2000),
        doi:10.1006/gmod.2000.0531 (the bound that keeps them from folding).
    """

    rotation_degrees: float = 0.0
    scale_factor: float = 1.0
    translation_fraction: float = 0.0
    elastic_voxels: float = 0.0
    elastic_spacing_voxels: float = 16.0
    affine_probability: float = 1.0
    elastic_probability: float = 1.0

    def __post_init__(self) -> None:
        check_range("rotation_degrees", self.rotation_degrees, 0, 180)
        check_range("scale_factor", self.scale_factor, 1)
        check_range("translation_fraction", self.translation_fraction, 0, 1)
        check_range("elastic_spacing_voxels", self.elastic_spacing_voxels, 1)
        check_range("elastic_voxels", self.elastic_voxels, 0)
        check_range("affine_probability", self.affine_probability, 0, 1)
        check_range("elastic_probability", self.elastic_probability, 0, 1)
        limit = self.elastic_spacing_voxels / _FOLDING
        if self.elastic_voxels > limit:
            raise UsageError(
                f"elastic_voxels must stay under {limit:.2f} at elastic_spacing_voxels = "
                f"{self.elastic_spacing_voxels:g}, or the field folds, got {self.elastic_voxels:g}; "
                "displace less or space the control points further apart"
            )

    def __call__(self, batch: Tensor, generator: Generator) -> Tensor:
        """Warped batch: (B, C, D, H, W), same dtype and device; samples not chosen are bit for bit the input's.

        Raises:
            UsageError: If rank or dtype is wrong.
        """
        check_batch(batch)
        shape = (batch.shape[2], batch.shape[3], batch.shape[4])
        moved = draw_chosen(generator, len(batch), self.affine_probability)
        bent = draw_chosen(generator, len(batch), self.elastic_probability)
        matrices, shifts = self._draw_affine(generator, len(batch), shape)
        lattices = self._draw_lattice(generator, len(batch), shape)
        moved &= self.rotation_degrees > 0 or self.scale_factor > 1 or self.translation_fraction > 0
        bent &= self.elastic_voxels > 0
        chosen = moved | bent
        if not chosen.any():
            return batch
        matrices = torch.where(moved.view(-1, 1, 1), matrices, torch.eye(3, device=moved.device))[chosen]
        shifts = (shifts * moved.view(-1, 1))[chosen]
        device, dtype = batch.device, torch.promote_types(batch.dtype, torch.float32)
        displacement = None
        if bent.any():
            lattices = (lattices * bent.view(-1, 1, 1, 1, 1))[chosen]
            displacement = spline_field(lattices.to(device, dtype), shape, self.elastic_spacing_voxels)
        chosen = chosen.to(device)
        warped = resample(batch[chosen].to(dtype), matrices.to(device, dtype), shifts.to(device, dtype), displacement)
        result = batch.clone()
        result[chosen] = warped.to(batch.dtype)
        return result

    def _draw_affine(self, generator: Generator, count: int, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
        axes = torch.randn((count, 3), generator=generator, device=generator.device)
        degrees = draw_uniform(generator, (count,), -self.rotation_degrees, self.rotation_degrees)
        factors = draw_factors(generator, count, self.scale_factor)
        fractions = draw_uniform(generator, (count, 3), -self.translation_fraction, self.translation_fraction)
        matrices = rotation_matrices(axes, degrees) / factors.view(-1, 1, 1)
        return matrices, fractions * fractions.new_tensor(shape)

    def _draw_lattice(self, generator: Generator, count: int, shape: tuple[int, int, int]) -> Tensor:
        points = tuple(lattice_points(side, self.elastic_spacing_voxels) for side in shape)
        limits = draw_uniform(generator, (count, 1, 1, 1, 1), 0.0, self.elastic_voxels)
        return draw_uniform(generator, (count, 3, *points), -1.0, 1.0) * limits


def rotation_matrices(axes: Tensor, degrees: Tensor) -> Tensor:
    """Rotations about ``axes`` (B, 3), of any length but zero, by ``degrees`` (B,): shape (B, 3, 3).

    References:
        Rodrigues' formula; Murray, Li & Sastry (1994), A Mathematical Introduction to Robotic Manipulation, 2.2.
    """
    z, y, x = functional.normalize(axes, dim=1).unbind(1)
    nought = torch.zeros_like(x)
    cross = torch.stack([nought, -x, y, x, nought, -z, -y, z, nought], dim=1).view(-1, 3, 3)
    angle = torch.deg2rad(degrees).view(-1, 1, 1)
    identity = torch.eye(3, dtype=axes.dtype, device=axes.device)
    return identity + torch.sin(angle) * cross + (1 - torch.cos(angle)) * (cross @ cross)


def lattice_points(side: int, spacing_voxels: float) -> int:
    """Control points that a cubic B-spline needs to cover ``side`` voxels."""
    return math.floor((side - 1) / spacing_voxels) + 4


def spline_field(lattice: Tensor, shape: tuple[int, int, int], spacing_voxels: float) -> Tensor:
    """Dense displacement field of a control lattice.

    The weights at a voxel are not negative and sum to 1, so no displacement exceeds its control points'.

    Args:
        lattice: Control displacements in voxels, shape (B, 3, nd, nh, nw), each n from ``lattice_points``.
        shape: (D, H, W) of the field.
        spacing_voxels: Distance of control points.

    Returns:
        Displacements in voxels, shape (B, D, H, W, 3).

    References:
        Rueckert et al. (1999), doi:10.1109/42.796284.
    """
    depth, height, width = (_spline_weights(side, spacing_voxels, lattice) for side in shape)
    field = torch.einsum("bkzyx,wx->bkzyw", lattice, width)
    field = torch.einsum("bkzyw,hy->bkzhw", field, height)
    return torch.einsum("bkzhw,dz->bdhwk", field, depth)


def resample(batch: Tensor, matrices: Tensor, shifts: Tensor, displacement: Tensor | None) -> Tensor:
    """Trilinear values at ``matrix (p + displacement(p)) + shift`` for each voxel p counted from the centre.

    The elastic field is applied first: two maps that do not fold do not fold together.

    Args:
        batch: Shape (B, C, D, H, W), float32 or float64.
        matrices: From output to input voxels, axes (z, y, x), shape (B, 3, 3).
        shifts: Voxels, axes (z, y, x), shape (B, 3).
        displacement: Voxels, axes (z, y, x), shape (B, D, H, W, 3), or None.

    Returns:
        Shape (B, C, D, H, W); outside the array the nearest border voxel.
    """
    sides = batch.new_tensor(batch.shape[2:])
    lines = [torch.arange(side, dtype=batch.dtype, device=batch.device) - (side - 1) / 2 for side in batch.shape[2:]]
    points = torch.stack(torch.meshgrid(*lines, indexing="ij"), dim=-1)
    moving = points.expand(len(batch), *points.shape) if displacement is None else points + displacement
    places = moving.flatten(1, 3) @ matrices.transpose(1, 2) + shifts.unsqueeze(1)
    # grid_sample without aligned corners: an array spans [-1, 1] on each axis, so voxels scale by 2 / side.
    grid = (places * (2 / sides)).flip(-1).view(len(batch), *points.shape)
    return functional.grid_sample(batch, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _spline_weights(side: int, spacing_voxels: float, like: Tensor) -> Tensor:
    places = torch.arange(side, dtype=like.dtype, device=like.device) / spacing_voxels
    first = places.floor().long()
    t = places - first
    weights = torch.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], dim=1)
    matrix = like.new_zeros(side, lattice_points(side, spacing_voxels))
    return matrix.scatter_(1, first.unsqueeze(1) + torch.arange(4, device=like.device), weights / 6)
