"""Flips, rotation, scale, shift and elastic displacement of a sample: one transform, one resampling.

Array axes are (D, H, W) = (z, y, x) of a RAS volume, so left-right is the last axis. A sample's channels always
share its transform: a phase moved on its own would forge enhancement.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Generator, Tensor
from torch.nn import functional

from genovox.augment.draws import (
    AXES,
    DIMENSION,
    Axis,
    check_range,
    check_sample,
    draw_chosen,
    draw_factor,
    draw_number,
    draw_uniform,
    widen,
)
from genovox.core.errors import UsageError

# A cubic B-spline lattice cannot fold while its displacements stay under its spacing divided by this constant.
_FOLDING = 2.479772335
_SLAB_VOXELS = 131_072


@dataclass(frozen=True, kw_only=True)
class Warp:
    """Flips, rotation, scale, translation and elastic displacement, fused into one trilinear resampling.

    A sample that is only flipped is mirrored exactly, without interpolation. Rotations are rigid in voxels, whatever
    the array's shape; they are rigid in the body if voxels are isotropic. Outside the array the nearest border voxel
    is repeated: that is air where a channel shows air, and nothing where a difference channel shows nothing, while
    zeros would paint mean tissue into a z-scored channel and a reflection a second lesion.

    Args:
        flip_axes: Axes to mirror: "x" is left-right, "y" posterior-anterior, "z" inferior-superior.
        flip_probability: Chance an axis, each on its own.
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

    flip_axes: tuple[Axis, ...] = ()
    flip_probability: float = 0.5
    rotation_degrees: float = 0.0
    scale_factor: float = 1.0
    translation_fraction: float = 0.0
    elastic_voxels: float = 0.0
    elastic_spacing_voxels: float = 16.0
    affine_probability: float = 1.0
    elastic_probability: float = 1.0

    def __post_init__(self) -> None:
        check_range("flip_probability", self.flip_probability, 0, 1)
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

    def __call__(self, sample: Tensor, generator: Generator) -> Tensor:
        """Moved sample: (C, D, H, W), same dtype and device; the input is not changed.

        Raises:
            UsageError: If rank or dtype is wrong.
        """
        check_sample(sample)
        shape = (sample.shape[1], sample.shape[2], sample.shape[3])
        flipped = [name for name in AXES if name in self.flip_axes and draw_chosen(generator, self.flip_probability)]
        moved = draw_chosen(generator, self.affine_probability)
        bent = draw_chosen(generator, self.elastic_probability)
        axis, degrees, factor, fractions = self._draw_affine(generator)
        lattice = self._draw_lattice(generator, shape)
        moved &= self.rotation_degrees > 0 or self.scale_factor > 1 or self.translation_fraction > 0
        bent &= self.elastic_voxels > 0
        if not (moved or bent):
            return sample.flip([DIMENSION[axis] for axis in flipped]) if flipped else sample
        matrix = rotation_matrix(axis, degrees) / factor if moved else torch.eye(3, device=axis.device)
        shift = fractions * fractions.new_tensor(shape) if moved else torch.zeros_like(fractions)
        # Mirrored first: the flipped array is read where the map says, which is the array read at the mirrored place.
        signs = torch.tensor([-1.0 if name in flipped else 1.0 for name in ("z", "y", "x")], device=axis.device)
        values = widen(sample)
        places = places_of(
            (signs.view(3, 1) * matrix).to(values.dtype),
            (signs * shift).to(values.dtype),
            lattice.to(values.dtype) if bent else None,
            shape,
            self.elastic_spacing_voxels,
            device=values.device,
        )
        return resample(values, places).to(sample.dtype)

    def _draw_affine(self, generator: Generator) -> tuple[Tensor, float, float, Tensor]:
        """Axis and angle in degrees, magnification, and shift as fractions of the sides."""
        axis = torch.randn(3, generator=generator, device=generator.device)
        degrees = draw_number(generator, -self.rotation_degrees, self.rotation_degrees)
        factor = draw_factor(generator, self.scale_factor)
        return (
            axis,
            degrees,
            factor,
            draw_uniform(generator, (3,), -self.translation_fraction, self.translation_fraction),
        )

    def _draw_lattice(self, generator: Generator, shape: tuple[int, int, int]) -> Tensor:
        points = tuple(lattice_points(side, self.elastic_spacing_voxels) for side in shape)
        limit = draw_number(generator, 0.0, self.elastic_voxels)
        return draw_uniform(generator, (3, *points), -limit, limit)


def rotation_matrix(axis: Tensor, degrees: float) -> Tensor:
    """Rotation about ``axis`` (z, y, x), of any length but zero: shape (3, 3).

    References:
        Rodrigues' formula; Murray, Li & Sastry (1994), A Mathematical Introduction to Robotic Manipulation, 2.2.
    """
    z, y, x = functional.normalize(axis, dim=0).unbind()
    nought = torch.zeros_like(x)
    cross = torch.stack([nought, -x, y, x, nought, -z, -y, z, nought]).view(3, 3)
    angle = math.radians(degrees)
    identity = torch.eye(3, dtype=axis.dtype, device=axis.device)
    return identity + math.sin(angle) * cross + (1 - math.cos(angle)) * (cross @ cross)


def lattice_points(side: int, spacing_voxels: float) -> int:
    """Control points that a cubic B-spline needs to cover ``side`` voxels."""
    return math.floor((side - 1) / spacing_voxels) + 4


def places_of(
    matrix: Tensor,
    shift: Tensor,
    lattice: Tensor | None,
    shape: tuple[int, int, int],
    spacing_voxels: float,
    *,
    device: torch.device | None = None,
) -> Tensor:
    """Where each voxel is read: ``matrix (p + displacement(p)) + shift`` for a voxel p counted from the centre.

    The elastic field is applied first: two maps that do not fold do not fold together. A cubic B-spline reproduces
    linear functions, so the affine map goes into the control points and both become one field: its weights at a
    voxel are not negative and sum to 1, hence no displacement exceeds its control points'.

    Args:
        matrix: From output to input voxels, axes (z, y, x), shape (3, 3).
        shift: Voxels, axes (z, y, x), shape (3,).
        lattice: Control displacements in voxels, axes (z, y, x), shape (3, nd, nh, nw), each n from
            ``lattice_points``; None for an affine map.
        shape: (D, H, W) of the field.
        spacing_voxels: Distance of control points.
        device: Where the field is wanted, if not where ``matrix`` lies: the few control points are computed there.

    Returns:
        Voxel indices from 0 along (z, y, x), which may lie outside the array: shape (D, 3, H, W).

    References:
        Rueckert et al. (1999), doi:10.1109/42.796284.
    """
    spacing = spacing_voxels if lattice is not None else max(shape)
    # A linear function's control points are its values at the knots, the first one knot before the first voxel.
    knots = [
        (torch.arange(lattice_points(side, spacing), dtype=matrix.dtype, device=matrix.device) - 1) * spacing
        - (side - 1) / 2
        for side in shape
    ]
    points = torch.stack(torch.meshgrid(*knots, indexing="ij"))
    if lattice is not None:
        points = points + lattice
    centre = (matrix.new_tensor(shape) - 1) / 2
    control = torch.einsum("ij,jzyx->izyx", matrix, points) + (shift + centre).view(3, 1, 1, 1)
    control = control.to(device or control.device, non_blocking=True)
    depth, height, width = (_spline_weights(side, spacing, control.dtype, control.device) for side in shape)
    field = torch.matmul(control, width.T)
    field = torch.matmul(height, field).transpose(0, 1)
    return (depth @ field.reshape(field.shape[0], -1)).view(shape[0], 3, *shape[1:])


def resample(sample: Tensor, places: Tensor) -> Tensor:
    """Trilinear values of a sample; outside the array the nearest border voxel.

    Args:
        sample: Shape (C, D, H, W), float32 or float64.
        places: Voxel indices from 0 along (z, y, x), shape (D', 3, H', W').

    Returns:
        Shape (C, D', H', W').
    """
    if sample.device.type == "cpu" and sample.shape[1] > 1:
        return _resample_in_planes(sample, places)
    scale, shift = _grid_of_voxels(tuple(sample.shape[1:]), places.dtype, places.device)
    grid = torch.addcmul(shift, places, scale).flip(1).permute(0, 2, 3, 1)
    return functional.grid_sample(
        sample.unsqueeze(0), grid.unsqueeze(0), mode="bilinear", padding_mode="border", align_corners=False
    ).squeeze(0)


def _resample_in_planes(sample: Tensor, places: Tensor) -> Tensor:
    """Trilinear as two bilinear values, one slice apart, of the slices laid out as one tall image.

    torch's planar kernel is vectorised on a CPU and its volumetric one is not: 2 to 3 times the speed. The price is
    that a place in the tall image is a float32 of the order of slices x rows: 0.0005 voxels at 128 x 128.
    """
    channels, depth, height, width = sample.shape
    rows = (depth - 1) * height
    pairs = sample.unfold(1, 2, 1).permute(0, 4, 1, 2, 3).reshape(1, 2 * channels, rows, width)
    out = sample.new_empty(channels, places.shape[0], *places.shape[2:])
    # Slab by slab: what stays in the processor's cache, and takes no fresh memory, is twice as fast.
    threads = torch.get_num_threads()
    slab = max(1, threads * _SLAB_VOXELS // (places.shape[2] * places.shape[3]))
    for part, target in zip(torch.split(places, slab), torch.split(out, slab, dim=1), strict=True):
        z, y, x = part.unbind(1)
        z = z.clamp(0, depth - 1)
        below = z.floor().clamp_(max=depth - 2)
        z.sub_(below)
        row = below.mul_(height).add_(y.clamp(0, height - 1))
        grid = part.new_empty(*z.shape, 2)
        torch.mul(x, 2 / width, out=grid[..., 0])
        torch.mul(row, 2 / rows, out=grid[..., 1])
        grid.add_(grid.new_tensor([1 / width - 1, 1 / rows - 1]))
        # The kernel takes a thread an image: the same image for each share of the places.
        lines = z.shape[0] * z.shape[1]
        shares = math.gcd(lines, threads)
        both = functional.grid_sample(
            pairs.expand(shares, -1, -1, -1),
            grid.view(shares, lines // shares, -1, 2),
            mode="bilinear",
            padding_mode="border",
            align_corners=False,
        )
        both = both.view(shares, channels, 2, -1).permute(1, 2, 0, 3)
        torch.lerp(both[:, 0], both[:, 1], z.view(shares, -1), out=target.view(channels, shares, -1))
    return out


@lru_cache(32)
def _grid_of_voxels(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """What scales and shifts voxel indices along (z, y, x) to ``grid_sample``'s places, each (1, 3, 1, 1).

    Without aligned corners an array spans [-1, 1] on each axis: a voxel is 2 / side wide.
    """
    sides = torch.tensor(shape, dtype=dtype).view(1, 3, 1, 1)
    return (2 / sides).to(device), (1 / sides - 1).to(device)


@lru_cache(64)
def _spline_weights(side: int, spacing_voxels: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Weights of the control points at each voxel of an axis, shape (side, points)."""
    places = torch.arange(side, dtype=dtype) / spacing_voxels
    first = places.floor().long()
    t = places - first
    weights = torch.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], dim=1)
    matrix = torch.zeros(side, lattice_points(side, spacing_voxels), dtype=dtype)
    return matrix.scatter_(1, first.unsqueeze(1) + torch.arange(4), weights / 6).to(device)
