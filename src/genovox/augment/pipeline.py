"""Named augmentations, as ``augment.preset`` of a study names them."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Generator, Tensor

from genovox.augment.artefacts import Bias, Ghosting, Gibbs, Motion, Spike
from genovox.augment.contrast import ContrastDose, ContrastTiming, PhaseDropout
from genovox.augment.draws import widen
from genovox.augment.intensity import Blur, Gain, Gamma, LowResolution, Noise
from genovox.augment.spatial import Warp
from genovox.core.errors import UsageError
from genovox.volumes.kinetics import parse_channel

FORMAT = 2
"""Raised by one whenever the same seed gives other augmentation: finished folds are then trained anew."""

Transform = Callable[[Tensor, Generator], Tensor]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Transforms of training samples in the order of an examination: contrast, pose, scanner.

    Contrast and scanner leave a channel of at most two values (a mask) as it is: noise or gain on it would say nothing
    a scanner can say, and would blur what "inside" means. What is a mask is decided before a warp gives it partial
    values. The scanner also leaves a channel in a unit of its own (relative enhancement, a model's parameter): gain and
    shading cancel in it. A signal channel is moved so that its lowest value, air, is zero while the scanner's
    transforms act: gain, bias and gamma of a z-scored channel would otherwise turn about mean tissue.

    Args:
        name: The preset's name, for logs and reports.
        channels: Name of each channel, or none: all are then taken as measured from zero.
        contrast: Transforms of phases, left out where a sample holds a mask.
        spatial: Transforms of places.
        scanner: Transforms of values.
    """

    name: str
    channels: tuple[str, ...] = ()
    contrast: tuple[Transform, ...] = ()
    spatial: tuple[Transform, ...] = ()
    scanner: tuple[Transform, ...] = ()

    def __call__(
        self, batch: Tensor, generators: Sequence[Generator], masks: Sequence[Sequence[bool]] | None = None
    ) -> Tensor:
        """Augment a batch; the input is not changed.

        A sample's result depends on the sample and its generator alone, bit for bit, whatever its company.

        Args:
            batch: Shape (B, C, D, H, W), floating point, CPU or GPU.
            generators: One a sample. On the CPU they give the same transforms on every device, but for noise, whose
                voxels are drawn where they are added.
            masks: What ``find_masks`` says of each sample, where that is known.

        Returns:
            Shape, dtype and device of ``batch``.

        Raises:
            UsageError: If rank or dtype is wrong, or generators or channel names do not fit the batch.
        """
        self._check(batch, len(generators))
        if not (self.contrast or self.spatial or self.scanner):
            return batch
        known = masks or [find_masks(sample) for sample in batch]
        return torch.stack([self._augment(*each) for each in zip(batch, generators, known, strict=True)])

    def _augment(self, stored: Tensor, generator: Generator, masks: Sequence[bool]) -> Tensor:
        sample = widen(stored)
        if not any(masks):
            sample = _apply(self.contrast, sample, generator)
        sample = _apply(self.spatial, sample, generator)
        images = [index for index, mask in enumerate(masks) if not mask and self._kind(index) != "absolute"]
        whole = len(images) == len(sample)
        if images and self.scanner:
            level = self._air_level(sample, images)
            seen = sample if whole else sample[images]
            seen = _apply(self.scanner, seen if level is None else seen - level, generator)
            seen = seen if level is None else seen + level
            sample = seen if whole else sample.index_copy(0, torch.tensor(images, device=sample.device), seen)
        return sample.to(stored.dtype)

    def _kind(self, index: int) -> str:
        return parse_channel(self.channels[index]).kind if self.channels else "unnamed"

    def _air_level(self, sample: Tensor, images: list[int]) -> Tensor | None:
        """What to subtract of each image channel, shape (channel, 1, 1, 1): one level for all signals."""
        signals = [index for index in images if self._kind(index) == "signal"]
        if not signals:
            return None
        # One level: normalisation maps all phases alike, and their differences have to stay what they are.
        lowest = sample[signals].amin()
        nought = torch.zeros_like(lowest)
        return torch.stack([lowest if index in signals else nought for index in images]).view(-1, 1, 1, 1)

    def _check(self, batch: Tensor, generators: int) -> None:
        if batch.ndim != 5 or not batch.is_floating_point():
            raise UsageError(
                "augmentation takes floating-point batches (B, C, D, H, W), "
                f"got {batch.dtype} of shape {tuple(batch.shape)}; convert or add the missing axes"
            )
        if generators != len(batch):
            raise UsageError(
                f"augmentation needs one generator a sample, got {generators} for {len(batch)}; open one each"
            )
        if self.channels and len(self.channels) != batch.shape[1]:
            raise UsageError(
                f"augmentation was built for {len(self.channels)} channels ({', '.join(self.channels)}), "
                f"the batch has {batch.shape[1]}; name each channel"
            )


def find_masks(sample: Tensor) -> list[bool]:
    """Whether each channel of a sample (C, D, H, W) is a mask."""
    return [is_mask(channel) for channel in sample]


def is_mask(channel: Tensor) -> bool:
    """Whether a channel (D, H, W) holds at most two values."""
    # A few voxels tell an image from a mask in nearly every case, without reading it all.
    if torch.unique(channel[channel.shape[0] // 2, ::7, ::7]).numel() > 2:
        return False
    low, high = torch.aminmax(channel)
    return bool(((channel == low) | (channel == high)).all())


def _apply(transforms: tuple[Transform, ...], sample: Tensor, generator: Generator) -> Tensor:
    for transform in transforms:
        sample = transform(sample, generator)
    return sample


def _build_none(channels: tuple[str, ...]) -> Augmentation:
    return Augmentation(name="none", channels=channels)


def _build_light(channels: tuple[str, ...]) -> Augmentation:
    return Augmentation(
        name="light",
        channels=channels,
        spatial=(Warp(flip_axes=("x",), rotation_degrees=5, scale_factor=1.05, translation_fraction=0.03),),
        scanner=(Gain(factor=1.1), Noise(relative_sd=0.05)),
    )


def _build_breast_dce(channels: tuple[str, ...]) -> Augmentation:
    # Posterior is the chest wall and superior is the armpit: where a lesion sits along y and z carries signal.
    return Augmentation(
        name="breast-dce",
        channels=channels,
        contrast=_possible(
            ContrastDose(channels=channels, factor=1.25, probability=0.3),
            ContrastTiming(channels=channels, interval_fraction=0.15, probability=0.2),
        ),
        spatial=(
            Warp(
                flip_axes=("x",),
                rotation_degrees=10,
                scale_factor=1.1,
                translation_fraction=0.05,
                elastic_voxels=2,
                affine_probability=0.5,
                elastic_probability=0.2,
            ),
        ),
        scanner=(Bias(strength=0.2, probability=0.2), Gamma(), Gain(), Noise()),
    )


def _build_strong(channels: tuple[str, ...]) -> Augmentation:
    return Augmentation(
        name="strong",
        channels=channels,
        contrast=_possible(
            ContrastDose(channels=channels, factor=1.5, probability=0.5),
            ContrastTiming(channels=channels, interval_fraction=0.3, probability=0.3),
            PhaseDropout(channels=channels, probability=0.1),
        ),
        spatial=(
            Warp(
                flip_axes=("x",),
                rotation_degrees=20,
                scale_factor=1.25,
                translation_fraction=0.1,
                elastic_voxels=5,
                affine_probability=0.8,
                elastic_probability=0.4,
            ),
        ),
        scanner=(
            Bias(strength=0.5, probability=0.3),
            Motion(rotation_degrees=3, translation_voxels=3, probability=0.1),
            Ghosting(strength=0.4, probability=0.1),
            LowResolution(factor=3, probability=0.15),
            Gibbs(kept_fraction=0.5, probability=0.1),
            Blur(sd_voxels=1.2, probability=0.2),
            Spike(relative_amplitude=0.4, probability=0.05),
            Gamma(factor=1.5, probability=0.3),
            Gain(factor=1.25, probability=0.5),
            Noise(relative_sd=0.2, probability=0.4),
        ),
    )


def _build_isotropic(channels: tuple[str, ...]) -> Augmentation:
    return Augmentation(
        name="isotropic",
        channels=channels,
        spatial=(
            Warp(
                flip_axes=("x", "y", "z"),
                rotation_degrees=180,
                scale_factor=1.1,
                translation_fraction=0.05,
                elastic_voxels=2,
                affine_probability=0.5,
                elastic_probability=0.2,
            ),
        ),
        scanner=(Gamma(), Gain(), Noise()),
    )


def _possible(*transforms: ContrastDose | ContrastTiming | PhaseDropout) -> tuple[Transform, ...]:
    return tuple(transform for transform in transforms if transform.is_possible())


PRESETS: Mapping[str, Callable[[tuple[str, ...]], Augmentation]] = MappingProxyType(
    {
        "none": _build_none,
        "light": _build_light,
        "breast-dce": _build_breast_dce,
        "strong": _build_strong,
        "isotropic": _build_isotropic,
    }
)


def build_augmentation(preset: str, channels: tuple[str, ...] = ()) -> Augmentation:
    """Augmentation of a preset's name.

    Args:
        preset: One of ``PRESETS``.
        channels: Name of each channel; without them contrast is left as it is and signal is taken as measured from 0.

    Raises:
        UsageError: If there is no such preset; the nearest is named.
    """
    if preset not in PRESETS:
        nearest = difflib.get_close_matches(preset, PRESETS, n=1, cutoff=0)[0]
        raise UsageError(
            f"augment.preset must be one of {', '.join(PRESETS)}, got {preset!r}; did you mean {nearest!r}?"
        )
    return PRESETS[preset](channels)
