"""Random intensity transforms that keep what DCE channels mean: sign, zero, rank and the ratio of phases.

Zero is taken for "no signal": ``Augmentation`` moves a normalised signal channel there before it calls these.
"""

import math
from dataclasses import dataclass

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
    draw_integer,
    draw_number,
    widen,
)

SPACE = (1, 2, 3)
# Where a Gaussian is cut, in standard deviations; beyond lie 6 of 100,000 parts.
_REACH = 4.0
_PART_VOXELS = 65_536


@dataclass(frozen=True, kw_only=True)
class Gamma:
    """Bend the intensity curve by one exponent a sample, shared by its channels.

    Args:
        factor: Log-uniform exponent in [1 / factor, factor], 1 or more.
        probability: Chance a sample, 0 to 1.
    """

    factor: float = 1.25
    probability: float = 0.3

    def __post_init__(self) -> None:
        check_range("gamma factor", self.factor, 1)
        check_range("gamma probability", self.probability, 0, 1)

    def __call__(self, sample: Tensor, generator: Generator) -> Tensor:
        """Sample (C, D, H, W), same dtype and device; the input itself where it is not chosen.

        Raises:
            UsageError: If rank or dtype is wrong.
        """
        check_sample(sample)
        exponent = draw_factor(generator, self.factor)
        if not draw_chosen(generator, self.probability) or self.factor == 1:
            return sample
        return signed_gamma(widen(sample), exponent).to(sample.dtype)


@dataclass(frozen=True, kw_only=True)
class Gain:
    """Multiply all channels of a sample by one factor, as receiver gain does: ratios of phases stay.

    Args:
        factor: Log-uniform multiplier in [1 / factor, factor], 1 or more.
        probability: Chance a sample, 0 to 1.
    """

    factor: float = 1.1
    probability: float = 0.3

    def __post_init__(self) -> None:
        check_range("gain factor", self.factor, 1)
        check_range("gain probability", self.probability, 0, 1)

    def __call__(self, sample: Tensor, generator: Generator) -> Tensor:
        """Sample (C, D, H, W), same dtype and device; the input itself where it is not chosen.

        Raises:
            UsageError: If rank or dtype is wrong.
        """
        check_sample(sample)
        factor = draw_factor(generator, self.factor)
        if not draw_chosen(generator, self.probability) or self.factor == 1:
            return sample
        return sample * factor


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Add white Gaussian noise, its SD relative to that of each channel of the sample.

    Args:
        relative_sd: Largest SD as a fraction of the channel's own, uniform from 0; a constant channel gets none.
        probability: Chance a sample, 0 to 1.
    """

    relative_sd: float = 0.1
    probability: float = 0.3

    def __post_init__(self) -> None:
        check_range("noise relative_sd", self.relative_sd, 0)
        check_range("noise probability", self.probability, 0, 1)

    def __call__(self, sample: Tensor, generator: Generator) -> Tensor:
        """Sample (C, D, H, W), same dtype and device; the input itself where it is not chosen.

        Raises:
            UsageError: If rank or dtype is wrong.
        """
        check_sample(sample)
        fraction = draw_number(generator, 0.0, self.relative_sd)
        if not draw_chosen(generator, self.probability) or self.relative_sd == 0:
            return sample
        values = widen(sample)
        sd = values.std(dim=SPACE, keepdim=True, correction=0) * fraction
        noise = torch.randn(values.shape, generator=_beside(values, generator), device=values.device).to(values)
        return noise.mul_(sd).add_(values).to(sample.dtype)


@dataclass(frozen=True, kw_only=True)
class Blur:
    """Smooth by a Gaussian of one width a sample, the same on all axes.

    Args:
        sd_voxels: Largest standard deviation, uniform from a third of it.
        probability: Chance a sample, 0 to 1.
    """

    sd_voxels: float = 0.8
    probability: float = 0.2

    def __post_init__(self) -> None:
        check_range("blur sd_voxels", self.sd_voxels, 0)
        check_range("blur probability", self.probability, 0, 1)

    def __call__(self, sample: Tensor, generator: Generator) -> Tensor:
        """Sample (C, D, H, W), same dtype and device; the input itself where it is not chosen.

        Raises:
            UsageError: If rank or dtype is wrong.
        """
        check_sample(sample)
        sd_voxels = draw_number(generator, self.sd_voxels / 3, self.sd_voxels)
        if not draw_chosen(generator, self.probability) or self.sd_voxels == 0:
            return sample
        return smooth(widen(sample), sd_voxels).to(sample.dtype)


@dataclass(frozen=True, kw_only=True)
class LowResolution:
    """Show a sample as if it had been acquired with thicker voxels along one of the axes, drawn for each sample.

    Voxels are averaged and interpolated back, so the array keeps its shape.

    Args:
        factor: Largest thickness in voxels, uniform from 1.
        axes: Axes to draw from.
        probability: Chance a sample, 0 to 1.
    """

    factor: float = 2.0
    axes: tuple[Axis, ...] = AXES
    probability: float = 0.2

    def __post_init__(self) -> None:
        check_range("low resolution factor", self.factor, 1)
        check_range("low resolution probability", self.probability, 0, 1)

    def __call__(self, sample: Tensor, generator: Generator) -> Tensor:
        """Sample (C, D, H, W), same dtype and device; the input itself where it is not chosen.

        Raises:
            UsageError: If rank or dtype is wrong.
        """
        check_sample(sample)
        factor = draw_number(generator, 1.0, self.factor)
        dimension = DIMENSION[self.axes[draw_integer(generator, len(self.axes))]]
        size = list(sample.shape[1:])
        size[dimension - 1] = max(1, round(sample.shape[dimension] / factor))
        if not draw_chosen(generator, self.probability) or size == list(sample.shape[1:]):
            return sample
        coarse = functional.interpolate(widen(sample).unsqueeze(0), size, mode="area")
        fine = functional.interpolate(coarse, sample.shape[1:], mode="trilinear", align_corners=False)
        return fine.squeeze(0).to(sample.dtype)


def _beside(values: Tensor, generator: Generator) -> Generator:
    """A generator on the device of a sample: millions of voxels drawn on a CPU keep a GPU waiting."""
    if values.device == generator.device:
        return generator
    seed = torch.randint(2**63 - 1, (), generator=generator, device=generator.device)
    return Generator(values.device).manual_seed(int(seed))


def signed_gamma(sample: Tensor, exponent: float) -> Tensor:
    """Power law on each side of zero, scaled so that both ends of a channel's range stay.

    Zero stays zero ("no enhancement" of a difference channel) and no sign changes (wash-out stays wash-out); ranks
    stay, and ``1 / exponent`` undoes it. A rescaling of the whole range to 0..1, the usual way, would move zero.
    Where a channel never reaches zero, its value nearest zero takes that place.

    Args:
        sample: Shape (C, D, H, W), any finite values, float32 or float64.
        exponent: Above 0.

    Returns:
        Shape and range of ``sample``.
    """
    out = torch.empty_like(sample, memory_format=torch.contiguous_format)
    for channel, bent in zip(sample, out, strict=True):
        low, high = torch.aminmax(channel)
        # Part by part: what stays in the processor's cache, and takes no fresh memory, is twice as fast.
        size = _PART_VOXELS if sample.device.type == "cpu" else channel.numel()
        for part, target in zip(channel.reshape(-1).split(size), bent.view(-1).split(size), strict=True):
            _bend(part, low, high, exponent, target)
    return out


def _bend(values: Tensor, low: Tensor, high: Tensor, exponent: float, out: Tensor) -> None:
    tiny = torch.finfo(values.dtype).tiny
    pivot = low.clamp(min=0) + high.clamp(max=0)
    above, below = (high - pivot).clamp(min=tiny), (pivot - low).clamp(min=tiny)
    distance = values - pivot
    negative = distance.lt(0).to(values.dtype)
    scale = (1 - negative).mul_(above).add_(negative.mul_(below))
    # Power by logarithm: a quarter of the time of pow, and equal to 1e-6; the logarithm of 0 gives 0 again.
    torch.abs(distance, out=out).div_(scale).log_().mul_(exponent).exp_().mul_(scale)
    out.copysign_(distance).add_(pivot)


def smooth(sample: Tensor, sd_voxels: float) -> Tensor:
    """Gaussian smoothing, the nearest border voxel repeated, cut at four standard deviations.

    Args:
        sample: Shape (C, D, H, W), float32 or float64.
        sd_voxels: The same on all axes.
    """
    radius = math.floor(_REACH * sd_voxels + 0.5)
    if radius == 0:
        return sample
    places = torch.arange(-radius, radius + 1, dtype=sample.dtype)
    kernel = torch.exp(-0.5 * (places / sd_voxels) ** 2)
    kernel /= kernel.sum()
    # Rows and columns are blurred slice by slice, slices row by row: a planar kernel a group is what runs fast.
    blurred = _smooth_rows(_smooth_rows(sample, kernel, 2), kernel, 3)
    return _smooth_rows(blurred.transpose(1, 2), kernel, 2).transpose(1, 2).contiguous()


def _smooth_rows(planes: Tensor, kernel: Tensor, dimension: int) -> Tensor:
    """Convolve planes (C, groups, H, W) along ``dimension`` 2 or 3, edges repeated."""
    groups, size, radius = planes.shape[1], planes.shape[dimension], len(kernel) // 2
    along = (-1, 1) if dimension == 2 else (1, -1)
    padding = (radius, 0) if dimension == 2 else (0, radius)
    weight = kernel.to(planes.device).view(1, 1, *along).expand(groups, 1, -1, -1)
    out = functional.conv2d(planes, weight, padding=padding, groups=groups)
    # Padding holds zeros: what the kernel has beyond the border belongs to the border voxel.
    # Summed on the CPU: a GPU's running sum has no fixed order.
    tails = kernel.cumsum(0)[:radius].flip(0)[:size].view(1, 1, *along).to(planes.device)
    out.narrow(dimension, 0, tails.numel()).addcmul_(planes.narrow(dimension, 0, 1), tails)
    last = out.narrow(dimension, size - tails.numel(), tails.numel())
    last.addcmul_(planes.narrow(dimension, size - 1, 1), tails.flip(dimension))
    return out
