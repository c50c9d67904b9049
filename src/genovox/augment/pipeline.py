"""Named augmentations, as ``augment.preset`` of a study names them."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Generator, Tensor

from genovox.augment.draws import check_batch
from genovox.augment.intensity import Gamma, Jitter, Noise
from genovox.augment.spatial import Flips, Warp
from genovox.core.errors import UsageError

FORMAT = 1
"""Raised by one whenever the same seed gives other augmentation: finished folds are then trained anew."""

Transform = Callable[[Tensor, Generator], Tensor]


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Transforms of training batches, in order: intensity, then spatial.

    Intensity leaves a channel of at most two values (a mask) as it is: noise or gain on it would say nothing a
    scanner can say, and would blur what "inside" means. It goes first because a warp gives a mask partial values.

    Args:
        name: The preset's name, for logs and reports.
        intensity: Transforms of values, each ``(batch, generator) -> batch``.
        spatial: Transforms of places, each ``(batch, generator) -> batch``.
    """

    name: str
    intensity: tuple[Transform, ...] = ()
    spatial: tuple[Transform, ...] = ()

    def __call__(self, batch: Tensor, generator: Generator) -> Tensor:
        """Augment a batch; the input is not changed.

        Args:
            batch: Shape (B, C, D, H, W), floating point, CPU or GPU.
            generator: Decides every draw. On the CPU it gives the same transforms on every device.

        Returns:
            Shape, dtype and device of ``batch``.

        Raises:
            UsageError: If rank or dtype is wrong.
        """
        check_batch(batch)
        result = batch
        for transform in self.intensity:
            result = transform(result, generator)
        if result is not batch:
            result = torch.where(two_valued(batch), batch, result)
        for transform in self.spatial:
            result = transform(result, generator)
        return result


def two_valued(batch: Tensor) -> Tensor:
    """Which channels hold at most two values: bool, shape (B, C, 1, 1, 1), of a batch (B, C, D, H, W)."""
    low = batch.amin(dim=(2, 3, 4), keepdim=True)
    high = batch.amax(dim=(2, 3, 4), keepdim=True)
    return ((batch == low) | (batch == high)).flatten(2).all(dim=2).view(*batch.shape[:2], 1, 1, 1)


_INTENSITY: tuple[Transform, ...] = (Gamma(), Jitter(), Noise())

PRESETS: Mapping[str, Augmentation] = MappingProxyType(
    {
        # Posterior is the chest wall and superior is the armpit: where a lesion sits along y and z carries signal.
        "breast-dce": Augmentation(
            name="breast-dce",
            intensity=_INTENSITY,
            spatial=(
                Flips(axes=("x",)),
                Warp(
                    rotation_degrees=10,
                    scale_factor=1.1,
                    translation_fraction=0.05,
                    elastic_voxels=2,
                    affine_probability=0.5,
                    elastic_probability=0.2,
                ),
            ),
        ),
        "isotropic": Augmentation(
            name="isotropic",
            intensity=_INTENSITY,
            spatial=(
                Flips(axes=("x", "y", "z")),
                Warp(
                    rotation_degrees=180,
                    scale_factor=1.1,
                    translation_fraction=0.05,
                    elastic_voxels=2,
                    affine_probability=0.5,
                    elastic_probability=0.2,
                ),
            ),
        ),
        "none": Augmentation(name="none"),
    }
)


def build_augmentation(preset: str) -> Augmentation:
    """Augmentation of a preset's name.

    Raises:
        UsageError: If there is no such preset; the nearest is named.
    """
    if preset not in PRESETS:
        nearest = difflib.get_close_matches(preset, PRESETS, n=1, cutoff=0)[0]
        raise UsageError(
            f"augment.preset must be one of {', '.join(PRESETS)}, got {preset!r}; did you mean {nearest!r}?"
        )
    return PRESETS[preset]
