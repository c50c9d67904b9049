"""Random intensity transforms that keep what DCE channels mean: sign, zero, rank and the ratio of phases."""

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from genovox.augment.draws import check_batch, check_range, draw_chosen, draw_factors, draw_uniform


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

    def __call__(self, batch: Tensor, generator: Generator) -> Tensor:
        """Batch (B, C, D, H, W), same dtype and device; samples not chosen are bit for bit the input's.

        Raises:
            UsageError: If rank or dtype is wrong.
        """
        check_batch(batch)
        exponents = draw_factors(generator, len(batch), self.factor)
        chosen = draw_chosen(generator, len(batch), self.probability)
        if self.factor == 1 or not chosen.any():
            return batch
        dtype = torch.promote_types(batch.dtype, torch.float32)
        selected = batch[chosen.to(batch.device)].to(dtype)
        return _replace(batch, chosen, signed_gamma(selected, exponents[chosen].to(batch.device, dtype)))


@dataclass(frozen=True, kw_only=True)
class Jitter:
    """Multiply all channels of a sample by one factor, as receiver gain does: ratios of phases stay.

    Args:
        factor: Log-uniform multiplier in [1 / factor, factor], 1 or more.
        probability: Chance a sample, 0 to 1.
    """

    factor: float = 1.1
    probability: float = 0.3

    def __post_init__(self) -> None:
        check_range("jitter factor", self.factor, 1)
        check_range("jitter probability", self.probability, 0, 1)

    def __call__(self, batch: Tensor, generator: Generator) -> Tensor:
        """Batch (B, C, D, H, W), same dtype and device; samples not chosen are bit for bit the input's.

        Raises:
            UsageError: If rank or dtype is wrong.
        """
        check_batch(batch)
        factors = draw_factors(generator, len(batch), self.factor)
        chosen = draw_chosen(generator, len(batch), self.probability)
        if self.factor == 1 or not chosen.any():
            return batch
        selected = batch[chosen.to(batch.device)]
        return _replace(batch, chosen, selected * factors[chosen].to(batch.device).view(-1, 1, 1, 1, 1))


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

    def __call__(self, batch: Tensor, generator: Generator) -> Tensor:
        """Batch (B, C, D, H, W), same dtype and device; samples not chosen are bit for bit the input's.

        Raises:
            UsageError: If rank or dtype is wrong.
        """
        check_batch(batch)
        fractions = draw_uniform(generator, (len(batch),), 0.0, self.relative_sd)
        chosen = draw_chosen(generator, len(batch), self.probability)
        if self.relative_sd == 0 or not chosen.any():
            return batch
        dtype = torch.promote_types(batch.dtype, torch.float32)
        selected = batch[chosen.to(batch.device)].to(dtype)
        sd = selected.std(dim=(2, 3, 4), keepdim=True, correction=0)
        sd = sd * fractions[chosen].to(batch.device, dtype).view(-1, 1, 1, 1, 1)
        noise = torch.randn(selected.shape, generator=generator, device=generator.device)
        return _replace(batch, chosen, selected + noise.to(batch.device, dtype) * sd)


def signed_gamma(batch: Tensor, exponents: Tensor) -> Tensor:
    """Power law on each side of zero, scaled so that both ends of a channel's range stay.

    Zero stays zero ("no enhancement" of a difference channel) and no sign changes (wash-out stays wash-out); ranks
    stay, and ``1 / exponents`` undoes it. A rescaling of the whole range to 0..1, the usual way, would move zero.
    Where a channel never reaches zero, its value nearest zero takes that place.

    Args:
        batch: Shape (B, C, D, H, W), any finite values, float32 or float64.
        exponents: Shape (B,), above 0.

    Returns:
        Shape and range of ``batch``.
    """
    powers = exponents.view(-1, 1, 1, 1, 1)
    tiny = torch.finfo(batch.dtype).tiny
    highest = batch.amax(dim=(2, 3, 4), keepdim=True)
    lowest = batch.amin(dim=(2, 3, 4), keepdim=True)
    pivot = lowest.clamp(min=0) + highest.clamp(max=0)
    distance = batch - pivot
    scale = torch.where(distance < 0, pivot - lowest, highest - pivot).clamp(min=tiny)
    return pivot + torch.copysign(scale * (distance.abs() / scale).pow(powers), distance)


def _replace(batch: Tensor, chosen: Tensor, samples: Tensor) -> Tensor:
    result = batch.clone()
    result[chosen.to(batch.device)] = samples.to(batch.dtype)
    return result
