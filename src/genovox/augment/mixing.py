"""Mixing of training cases: two volumes and their labels become one. Off unless asked for.

Only cases of one batch are mixed, and a batch holds training cases alone; never two cases of one patient whose labels
differ, since their mixture would ask the network to tell one body from itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Generator, Tensor

from genovox.augment.draws import check_range, draw_chosen, draw_integer
from genovox.core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Mixup:
    """Add a share of a partner's volume and label to each case.

    Args:
        alpha: Shape of the Beta distribution of the share; small leaves most cases nearly pure.
        probability: Chance a case, 0 to 1.

    References:
        Zhang et al. (2018), mixup: Beyond Empirical Risk Minimization, doi:10.48550/arXiv.1710.09412.
    """

    alpha: float = 0.2
    probability: float = 0.5

    def __post_init__(self) -> None:
        check_range("mixup alpha", self.alpha, 0.01, 10)
        check_range("mixup probability", self.probability, 0, 1)

    def __call__(
        self, batch: Tensor, labels: Tensor, patients: Sequence[str], generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """Mixed batch and soft labels, float32; the input is not changed.

        Args:
            batch: Shape (B, C, D, H, W), floating point.
            labels: Shape (B,), 0 to 1.
            patients: Patient of each case.
            generator: Decides partners and shares; a mixture depends on the batch by its nature.

        Raises:
            UsageError: If the sizes differ.
        """
        mixed, soft = _copy(batch, labels, patients)
        for case, partner in enumerate(draw_partners(labels, patients, generator)):
            share = draw_share(generator, self.alpha)
            if draw_chosen(generator, self.probability):
                mixed[case] = torch.lerp(batch[case], batch[partner], share)
                soft[case] = soft[case] * (1 - share) + labels[partner] * share
        return mixed, soft


@dataclass(frozen=True, kw_only=True)
class Cutmix:
    """Paste a box of a partner's volume into each case; the label follows the share of voxels.

    Args:
        alpha: Shape of the Beta distribution of the box's share of the volume.
        probability: Chance a case, 0 to 1.

    References:
        Yun et al. (2019), doi:10.1109/ICCV.2019.00612.
    """

    alpha: float = 1.0
    probability: float = 0.5

    def __post_init__(self) -> None:
        check_range("cutmix alpha", self.alpha, 0.01, 10)
        check_range("cutmix probability", self.probability, 0, 1)

    def __call__(
        self, batch: Tensor, labels: Tensor, patients: Sequence[str], generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """Mixed batch and soft labels, float32; the input is not changed.

        Args:
            batch: Shape (B, C, D, H, W), floating point.
            labels: Shape (B,), 0 to 1.
            patients: Patient of each case.
            generator: Decides partners and boxes; a mixture depends on the batch by its nature.

        Raises:
            UsageError: If the sizes differ.
        """
        mixed, soft = _copy(batch, labels, patients)
        for case, partner in enumerate(draw_partners(labels, patients, generator)):
            side_share = draw_share(generator, self.alpha) ** (1 / 3)
            z, y, x = (_draw_span(generator, side, side_share) for side in batch.shape[2:])
            if draw_chosen(generator, self.probability):
                mixed[case, :, z, y, x] = batch[partner, :, z, y, x]
                share = batch[case, 0, z, y, x].numel() / batch[case, 0].numel()
                soft[case] = soft[case] * (1 - share) + labels[partner] * share
        return mixed, soft


MIXTURES: Mapping[str, Mixup | Cutmix | None] = MappingProxyType({"none": None, "mixup": Mixup(), "cutmix": Cutmix()})
"""As ``augment.mix`` of a study names them."""


def draw_partners(labels: Tensor, patients: Sequence[str], generator: Generator) -> list[int]:
    """For each case another one of the batch, each allowed one as likely; itself where none is allowed.

    Two cases of one patient are allowed where their labels agree.
    """
    values = labels.tolist()
    partners = []
    for case, patient in enumerate(patients):
        allowed = [
            other
            for other in range(len(patients))
            if other != case and (patients[other] != patient or values[other] == values[case])
        ]
        partners.append(allowed[draw_integer(generator, len(allowed))] if allowed else case)
    return partners


def draw_share(generator: Generator, alpha: float) -> float:
    """A draw of Beta(alpha, alpha), by Jöhnk's rejection.

    References:
        Jöhnk (1964), doi:10.1007/BF02613706.
    """
    while True:
        # From logarithms: for a small alpha both powers round to 0 and their ratio would be lost.
        first, second = torch.rand(2, generator=generator, device=generator.device, dtype=torch.float64).log() / alpha
        if torch.logaddexp(first, second) <= 0:
            return float(torch.sigmoid(first - second))


def _draw_span(generator: Generator, side: int, share: float) -> slice:
    length = round(share * side)
    start = draw_integer(generator, side - length + 1)
    return slice(start, start + length)


def _copy(batch: Tensor, labels: Tensor, patients: Sequence[str]) -> tuple[Tensor, Tensor]:
    if batch.ndim != 5 or not batch.is_floating_point() or labels.shape != (len(batch),) or len(patients) != len(batch):
        raise UsageError(
            "mixing takes a floating-point batch (B, C, D, H, W), a label and a patient a case, got "
            f"{batch.dtype} {tuple(batch.shape)}, labels {tuple(labels.shape)}, {len(patients)} patients; give all"
        )
    return batch.clone(), labels.to(torch.float32, copy=True)
