"""Training cases, augmented: what a case draws depends on (seed, epoch, case) alone."""

from collections.abc import Sequence

from torch import Tensor

from genovox.augment.draws import open_generators
from genovox.augment.pipeline import build_augmentation, find_masks
from genovox.dataset.cases import PreparedCase


class Augmented:
    """A preset for the cases of one training.

    Args:
        preset: One of the named augmentations.
        channels: Name of each channel, for what is done to contrast; none leaves contrast alone.
        seed: Of the training.

    Raises:
        UsageError: If there is no such preset.
    """

    def __init__(self, preset: str, channels: tuple[str, ...], seed: int) -> None:
        self._augmentation = build_augmentation(preset, channels)
        self._seed = seed
        self._masks: dict[str, list[bool]] = {}

    def __call__(self, epoch: int, volumes: Tensor, cases: Sequence[PreparedCase]) -> Tensor:
        """The volumes (B, C, D, H, W) of cases as an epoch, from 0, shows them; the input is not changed."""
        for case, volume in zip(cases, volumes, strict=True):
            # Looked for once a case: on a GPU the answer has to be waited for.
            if case.case_id not in self._masks:
                self._masks[case.case_id] = find_masks(volume)
        names = [case.case_id for case in cases]
        generators = open_generators(self._seed, epoch, names)
        return self._augmentation(volumes, generators, [self._masks[name] for name in names])
