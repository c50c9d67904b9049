"""Random MRI artefacts: what coils, moving patients and gaps of k-space do to an image.

Each is one linear map (bias: one factor a voxel), the same for all channels of a sample, so that a difference channel
stays the difference of its phases. A constant image stays what it is, spikes and bias aside: where air lies after
normalisation does not matter. What a magnitude image would fold up stays negative, since differences have a sign.
"""

import math
from dataclasses import dataclass
from itertools import product

import torch
from torch import Generator, Tensor

from genovox.augment.draws import (
    AXES,
    DIMENSION,
    Axis,
    check_range,
    check_sample,
    draw_chosen,
    draw_integer,
    draw_number,
    draw_uniform,
    widen,
)
from genovox.augment.spatial import places_of, resample, rotation_matrix

_COARSE = 12


@dataclass(frozen=True, kw_only=True)
class Bias:
    """Multiply by a smooth positive field of mean 1, as coil sensitivity and dielectric effects do.

    Args:
        strength: Largest coefficient of the logarithm of the field, 0 or more.
        order: Total degree of the polynomial, 1 or more.
        probability: Chance a sample, 0 to 1.
    """

    strength: float = 0.2
    order: int = 3
    probability: float = 0.3

    def __post_init__(self) -> None:
        check_range("bias strength", self.strength, 0)
        check_range("bias order", self.order, 1)
        check_range("bias probability", self.probability, 0, 1)

    def __call__(self, sample: Tensor, generator: Generator) -> Tensor:
        """Sample (C, D, H, W), same dtype and device; the input itself where it is not chosen.

        Raises:
            UsageError: If rank or dtype is wrong.
        """
        check_sample(sample)
        powers = self.order + 1
        coefficients = draw_uniform(generator, (powers,) * 3, -self.strength, self.strength)
        if not draw_chosen(generator, self.probability) or self.strength == 0:
            return sample
        for degrees in product(range(powers), repeat=3):
            if sum(degrees) > self.order:
                coefficients[degrees] = 0
        values = widen(sample)
        field = bias_field(coefficients.to(values), (values.shape[1], values.shape[2], values.shape[3]))
        return field.mul(values).to(sample.dtype)


@dataclass(frozen=True, kw_only=True)
class Ghosting:
    """Faint copies of the body along the phase-encoding axis, as breathing and pulsation make them.

    Args:
        strength: Largest share of the signal that goes into the two ghosts, 0 to 1, uniform from 0.
        axes: Phase-encoding axes to draw from.
        probability: Chance a sample, 0 to 1.
    """

    strength: float = 0.3
    axes: tuple[Axis, ...] = AXES
    probability: float = 0.1

    def __post_init__(self) -> None:
        check_range("ghosting strength", self.strength, 0, 1)
        check_range("ghosting probability", self.probability, 0, 1)

    def __call__(self, sample: Tensor, generator: Generator) -> Tensor:
        """Sample (C, D, H, W), same dtype and device; the input itself where it is not chosen.

        Raises:
            UsageError: If rank or dtype is wrong.
        """
        check_sample(sample)
        strength = draw_number(generator, 0.0, self.strength)
        axis = self.axes[draw_integer(generator, len(self.axes))]
        shift_fraction = draw_number(generator, 0.1, 0.5)
        if not draw_chosen(generator, self.probability) or self.strength == 0:
            return sample
        shift_voxels = max(1, round(shift_fraction * sample.shape[DIMENSION[axis]]))
        return add_ghosts(widen(sample), axis, shift_voxels, strength).to(sample.dtype)


@dataclass(frozen=True, kw_only=True)
class Motion:
    """A patient who moves once before and once after the centre of k-space is read.

    Lines are read in order along the phase-encoding axis; those of the centre are the unmoved sample's, so that
    the image keeps its place.

    Args:
        rotation_degrees: Largest rotation, uniform, about an axis uniform on the sphere.
        translation_voxels: Largest shift on each axis, uniform.
        axes: Phase-encoding axes to draw from.
        probability: Chance a sample, 0 to 1.
    """

    rotation_degrees: float = 2.0
    translation_voxels: float = 2.0
    axes: tuple[Axis, ...] = AXES
    probability: float = 0.1

    def __post_init__(self) -> None:
        check_range("motion rotation_degrees", self.rotation_degrees, 0, 180)
        check_range("motion translation_voxels", self.translation_voxels, 0)
        check_range("motion probability", self.probability, 0, 1)

    def __call__(self, sample: Tensor, generator: Generator) -> Tensor:
        """Sample (C, D, H, W), same dtype and device; the input itself where it is not chosen.

        Raises:
            UsageError: If rank or dtype is wrong.
        """
        check_sample(sample)
        axis = self.axes[draw_integer(generator, len(self.axes))]
        before, after = (self._draw_pose(generator) for _ in range(2))
        # As shares of the way from the centre of k-space to its edge: the centre fifth is never torn.
        starts = (draw_number(generator, 0.1, 1.0), draw_number(generator, 0.1, 1.0))
        if not draw_chosen(generator, self.probability) or self.rotation_degrees == self.translation_voxels == 0:
            return sample
        values = widen(sample)
        shape = (values.shape[1], values.shape[2], values.shape[3])
        moved = [
            resample(
                values,
                places_of(matrix.to(values.dtype), shift.to(values.dtype), None, shape, 1.0, device=values.device),
            )
            for matrix, shift in (before, after)
        ]
        return join_poses(values, moved[0], moved[1], starts, axis).to(sample.dtype)

    def _draw_pose(self, generator: Generator) -> tuple[Tensor, Tensor]:
        axis = torch.randn(3, generator=generator, device=generator.device)
        degrees = draw_number(generator, -self.rotation_degrees, self.rotation_degrees)
        shift = draw_uniform(generator, (3,), -self.translation_voxels, self.translation_voxels)
        return rotation_matrix(axis, degrees), shift


@dataclass(frozen=True, kw_only=True)
class Spike:
    """A plane wave through the image: one point of k-space struck by a discharge.

    Args:
        relative_amplitude: Largest amplitude as a fraction of the channel's SD, uniform from 0.
        probability: Chance a sample, 0 to 1.
    """

    relative_amplitude: float = 0.3
    probability: float = 0.05

    def __post_init__(self) -> None:
        check_range("spike relative_amplitude", self.relative_amplitude, 0)
        check_range("spike probability", self.probability, 0, 1)

    def __call__(self, sample: Tensor, generator: Generator) -> Tensor:
        """Sample (C, D, H, W), same dtype and device; the input itself where it is not chosen.

        Raises:
            UsageError: If rank or dtype is wrong.
        """
        check_sample(sample)
        fraction = draw_number(generator, 0.0, self.relative_amplitude)
        phase = draw_number(generator, 0.0, 2 * math.pi)
        # From a tenth of the sampling rate up: slower waves are shading, which is the bias field's.
        rates = draw_uniform(generator, (3,), -0.4, 0.4)
        rates[draw_integer(generator, 3)] = draw_number(generator, 0.1, 0.4)
        if not draw_chosen(generator, self.probability) or self.relative_amplitude == 0:
            return sample
        values = widen(sample)
        cycles = [round(rate * side) for rate, side in zip(rates.tolist(), values.shape[1:], strict=True)]
        sd = values.std(dim=(1, 2, 3), keepdim=True, correction=0) * fraction
        return (plane_wave(values, (cycles[0], cycles[1], cycles[2]), phase) * sd).add_(values).to(sample.dtype)


@dataclass(frozen=True, kw_only=True)
class Gibbs:
    """Ringing beside edges: the outer part of k-space was never read and is filled with zeros.

    Args:
        kept_fraction: Smallest part of k-space kept along an axis, above 0 to 1, uniform up to 1.
        axes: Axes that are cut.
        probability: Chance a sample, 0 to 1.
    """

    kept_fraction: float = 0.6
    axes: tuple[Axis, ...] = AXES
    probability: float = 0.1

    def __post_init__(self) -> None:
        check_range("Gibbs kept_fraction", self.kept_fraction, 0.01, 1)
        check_range("Gibbs probability", self.probability, 0, 1)

    def __call__(self, sample: Tensor, generator: Generator) -> Tensor:
        """Sample (C, D, H, W), same dtype and device; the input itself where it is not chosen.

        Raises:
            UsageError: If rank or dtype is wrong.
        """
        check_sample(sample)
        kept_fraction = draw_number(generator, self.kept_fraction, 1.0)
        if not draw_chosen(generator, self.probability) or self.kept_fraction == 1:
            return sample
        return truncate_lines(widen(sample), self.axes, kept_fraction).to(sample.dtype)


def bias_field(coefficients: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """A positive field of mean about 1 whose logarithm is a sum of products of Legendre polynomials.

    Args:
        coefficients: Of each degree along z, y, x; shape (n, n, n).
        shape: (D, H, W) of the field.
    """
    depth, height, width = (_legendre(side, coefficients) for side in shape)
    planes = torch.matmul(height, torch.matmul(coefficients, width.T))
    # The constant term moves the mean, which a coarse grid tells of a smooth field.
    coarse = _legendre(_COARSE, coefficients)
    mean = torch.einsum("abc,za,yb,xc->zyx", coefficients, coarse, coarse, coarse).exp().mean()
    planes[0] -= mean.log()
    return (depth @ planes.view(len(coefficients), -1)).view(shape).exp_()


def _legendre(side: int, coefficients: Tensor) -> Tensor:
    """Legendre polynomials up to the coefficients' degree at voxel centres of an axis that spans [-1, 1]."""
    line = (torch.arange(side, dtype=coefficients.dtype, device=coefficients.device) + 0.5) * (2 / side) - 1
    found = [torch.ones_like(line), line]
    for degree in range(2, len(coefficients)):
        found.append(((2 * degree - 1) * line * found[-1] - (degree - 1) * found[-2]) / degree)
    return torch.stack(found, dim=1)


def add_ghosts(sample: Tensor, axis: Axis, shift_voxels: int, strength: float) -> Tensor:
    """Two copies at ``shift_voxels`` to either side, which take ``strength`` of the signal; edges wrap around.

    Line k of k-space along the axis is weighted by ``1 - strength (1 - cos(2 pi k shift / side))``: a modulation
    that comes back every side / shift lines. The centre keeps its weight, so the mean stays.

    References:
        Wood & Henkelman (1985), MR image artifacts from periodic motion, doi:10.1118/1.595783.
    """
    dimension = DIMENSION[axis]
    ghosts = sample.roll(shift_voxels, dimension).add_(sample.roll(-shift_voxels, dimension))
    return ghosts.mul_(strength / 2).add_(sample, alpha=1 - strength)


def join_poses(sample: Tensor, before: Tensor, after: Tensor, starts: tuple[float, float], axis: Axis) -> Tensor:
    """One image whose k-space lines along ``axis`` come from three poses.

    Args:
        sample: The pose while the centre is read, shape (C, D, H, W).
        before: The pose at lines k < -starts[0] of the way to the edge.
        after: The pose at lines k > starts[1] of the way to the edge.
        starts: Each 0 to 1.
        axis: Phase encoding.

    Returns:
        The real part.
    """
    dimension = DIMENSION[axis]
    side = sample.shape[dimension]
    lines = torch.arange(side // 2 + 1, dtype=sample.dtype, device=sample.device) / max(1, side // 2)
    shape = [-1 if index == dimension else 1 for index in range(4)]
    # The real part takes lines k and -k at half weight each, so positive lines alone are needed.
    spectrum = torch.fft.rfft(before - sample, dim=dimension).mul_(0.5 * (lines > starts[0]).to(lines).view(shape))
    spectrum += torch.fft.rfft(after - sample, dim=dimension).mul_(0.5 * (lines > starts[1]).to(lines).view(shape))
    change: Tensor = torch.fft.irfft(spectrum, n=side, dim=dimension)
    return change.add_(sample)


def plane_wave(like: Tensor, cycles: tuple[int, int, int], phase: float) -> Tensor:
    """A cosine of amplitude 1 and whole ``cycles`` along (z, y, x): shape (D, H, W) of a sample (C, D, H, W)."""
    angles = [
        torch.arange(side, dtype=like.dtype, device=like.device) * (2 * math.pi * count / side)
        for side, count in zip(like.shape[1:], cycles, strict=True)
    ]
    plane = angles[1].view(-1, 1) + angles[2] + phase
    depth = angles[0].view(-1, 1, 1)
    return torch.cos(depth) * torch.cos(plane) - torch.sin(depth) * torch.sin(plane)


def truncate_lines(sample: Tensor, axes: tuple[Axis, ...], kept_fraction: float) -> Tensor:
    """Zero-fill k-space of a sample (C, D, H, W) beyond ``kept_fraction`` of the way from its centre to its edge."""
    for axis in axes:
        dimension = DIMENSION[axis]
        side = sample.shape[dimension]
        spectrum = torch.fft.rfft(sample, dim=dimension)
        kept = math.floor(kept_fraction * (side // 2)) + 1
        spectrum.narrow(dimension, kept, spectrum.shape[dimension] - kept).zero_()
        sample = torch.fft.irfft(spectrum, n=side, dim=dimension)
    return sample
