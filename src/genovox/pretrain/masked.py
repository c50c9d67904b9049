"""Masked volumes: a network learns to fill in what is hidden, and with it what scans look like."""

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from genovox.augment.draws import open_generators
from genovox.core.errors import DataError
from genovox.core.sections import AugmentTable, PretrainTable
from genovox.dataset.augmented import Augmented
from genovox.dataset.cases import PreparedCase, load_batch
from genovox.dataset.loader import iterate_in_order, iterate_training
from genovox.dataset.shelf import Shelf
from genovox.learning.journal import EpochRecord
from genovox.learning.loop import NonFiniteError, TrainedNetwork, open_fabric
from genovox.learning.precision import adapt_to_bf16, choose_layout
from genovox.learning.resolution import Resolution
from genovox.learning.schedule import Schedule
from genovox.models.blocks import Network

HIDDEN = "hidden"
CELL_POINTS = 4
"""Points a side that are filled in for each cell of the last maps; each is the mean of the voxels around it."""
BLOCKS_A_SIDE = 4
"""Blocks that are hidden or shown together, along the shortest side of a volume."""


def pretrain_network(
    network: Network,
    *,
    training: Sequence[PreparedCase],
    validation: Sequence[PreparedCase],
    table: PretrainTable,
    augment: AugmentTable,
    resolution: Resolution,
    seed: int,
    channels: tuple[str, ...] = (),
    follow: Callable[[EpochRecord], None] = lambda _: None,
) -> TrainedNetwork:
    """Train a network's encoder to fill in hidden blocks of volumes; no label is read.

    Args:
        network: With fresh weights; changed in place.
        training: Cases to learn from.
        validation: Cases whose loss is shown; it decides nothing.
        table: The study's ``[pretrain]``.
        augment: The study's ``[augment]``; cases are not mixed.
        resolution: Device, precision and threads.
        seed: Decides order, augmentation and what is hidden.
        channels: Name of each channel.
        follow: Called after each epoch.

    Returns:
        The network with the weights of the last epoch, whose head learnt nothing; a loss of 1 is what guessing each
        channel's mean would cost. If a loss or a gradient stops being a number after good epochs, the last of those
        is kept and ``stopped`` says what happened.

    Raises:
        DataError: If it does in the first epoch.

    References:
        Xie et al. (2022), doi:10.1109/CVPR52688.2022.00943 (masked images with a linear head); Tian et al. (2023),
        doi:10.48550/arXiv.2301.03580 (for convolutional networks).
    """
    fabric = open_fabric(resolution)
    torch.manual_seed(seed)
    order = Generator().manual_seed(seed)
    layout = choose_layout(network, resolution.precision)
    shelf = Shelf(fabric.device)
    model = Filling(network)
    with torch.no_grad():
        model.eval()(load_batch(training[:1]))  # the head's width is that of the maps
    if resolution.precision == "bf16-mixed":
        adapt_to_bf16(network, load_batch(training[:1]))
    model.to(memory_format=layout)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(model.parameters(), table.learning_rate, weight_decay=table.weight_decay, fused=True)
    module, optimizer = fabric.setup(model, optimizer)
    augmented = Augmented(augment.preset, channels, seed)
    schedule = Schedule("cosine", epochs=table.epochs, warmup_epochs=table.warmup_epochs, patience=table.epochs)
    history: list[EpochRecord] = []
    good_state, stopped = network.state_dict(), ""

    def train_epoch(epoch: int) -> float:
        for group in optimizer.param_groups:
            group["lr"] = table.learning_rate * schedule.factor(epoch)
        module.train()
        total = 0.0
        prepare = partial(augmented, epoch)
        for batch, _, case_ids in iterate_training(training, table.batch_size, order, shelf=shelf, prepare=prepare):
            hidden = draw_hidden(batch, table.hidden, open_generators(seed, epoch, case_ids, HIDDEN))
            loss = module(batch.contiguous(memory_format=layout), hidden)
            optimizer.zero_grad(set_to_none=True)
            fabric.backward(loss)
            norm = fabric.clip_gradients(module, optimizer, max_norm=table.gradient_norm, error_if_nonfinite=False)
            assert norm is not None
            optimizer.step()
            shelf.keep_what_fits()
            total += _read_finite("the loss", loss, case_ids) * len(batch)
            _read_finite("the gradient", norm, case_ids)
        return total / len(training)

    for epoch in range(table.epochs):
        try:
            training_loss = train_epoch(epoch)
            validation_loss = _measure(module, validation, table, seed, shelf)
        except NonFiniteError as error:
            stopped = f"stopped in epoch {epoch + 1}: {error}"
            break
        rate = table.learning_rate * schedule.factor(epoch)
        # The last good epoch is the one that is kept, so each is until the next.
        history.append(EpochRecord(epoch + 1, rate, training_loss, validation_loss, best=True))
        good_state = copy.deepcopy(network.state_dict())
        follow(history[-1])
    if not history:
        raise DataError(
            f"pretraining {stopped}; lower pretrain.learning_rate (now {table.learning_rate:g}) or look at those "
            "cases' QC pictures"
        )
    network.load_state_dict(good_state)
    return TrainedNetwork(network.eval(), history, stopped)


class Filling(nn.Module):
    """An encoder with a linear head that fills in each cell of its last maps."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.head = nn.LazyConv3d(network.channels * CELL_POINTS**3, 1)

    def forward(self, volumes: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Mean squared error on what is hidden, in units of the volume's own variance.

        Args:
            volumes: Shape (B, C, D, H, W).
            hidden: Which voxels the network does not see, (B, 1, D, H, W); None hides nothing and measures all.

        Returns:
            The loss, a scalar.
        """
        mean = volumes.mean(dim=(2, 3, 4), keepdim=True)
        seen = volumes if hidden is None else torch.where(hidden, mean, volumes)
        maps: Tensor = self.head(self.network.features(seen))
        target, weight = self._make_target(volumes, hidden, maps.shape[2:])
        error = (self._unfold(maps.float()) - target).square().mean(dim=1, keepdim=True)
        return (error * weight).sum() / weight.sum()

    def _make_target(self, volumes: Tensor, hidden: Tensor | None, cells: torch.Size) -> tuple[Tensor, Tensor]:
        """Means around each point, scaled by the volume's own spread, and how much of each point was hidden."""
        size = tuple(cell * CELL_POINTS for cell in cells)
        mean = volumes.mean(dim=(2, 3, 4), keepdim=True)
        spread = volumes.std(dim=(2, 3, 4), keepdim=True) + 1e-6
        points = functional.interpolate((volumes - mean) / spread, size=size, mode="area")
        if hidden is None:
            return points, torch.ones_like(points[:, :1])
        return points, functional.interpolate(hidden.to(points.dtype), size=size, mode="area")

    def _unfold(self, maps: Tensor) -> Tensor:
        """(B, C * p^3, d, h, w) to (B, C, d * p, h * p, w * p)."""
        batch, _, d, h, w = maps.shape
        p = CELL_POINTS
        parts = maps.reshape(batch, self.network.channels, p, p, p, d, h, w)
        return parts.permute(0, 1, 5, 2, 6, 3, 7, 4).reshape(batch, self.network.channels, d * p, h * p, w * p)


def draw_hidden(volumes: Tensor, share: float, generators: Sequence[Generator]) -> Tensor:
    """Which blocks of each volume are hidden.

    Args:
        volumes: Shape (B, C, D, H, W).
        share: Of the blocks, in (0, 1); at least one is hidden and one is seen.
        generators: One a volume.

    Returns:
        True where hidden, shape (B, 1, D, H, W).
    """
    side = max(2, min(volumes.shape[2:]) // BLOCKS_A_SIDE)
    blocks = [-(-size // side) for size in volumes.shape[2:]]
    count = math.prod(blocks)
    hide = min(max(1, round(share * count)), count - 1)
    masks = []
    for generator in generators:
        mask = torch.zeros(count, dtype=torch.bool)
        mask[torch.randperm(count, generator=generator)[:hide]] = True
        masks.append(mask.reshape(1, *blocks))
    mask = torch.stack(masks)
    for dim in (2, 3, 4):
        mask = mask.repeat_interleave(side, dim=dim)
    d, h, w = volumes.shape[2:]
    return mask[:, :, :d, :h, :w].to(volumes.device)


@torch.inference_mode()
def _measure(module: nn.Module, cases: Sequence[PreparedCase], table: PretrainTable, seed: int, shelf: Shelf) -> float:
    """Mean loss of cases, the same blocks hidden in every epoch."""
    module.eval()
    total = 0.0
    for number, (volumes, _) in enumerate(iterate_in_order(cases, table.batch_size, shelf=shelf)):
        names = [case.case_id for case in cases[number * table.batch_size :][: len(volumes)]]
        hidden = draw_hidden(volumes, table.hidden, open_generators(seed, 0, names, HIDDEN))
        total += _read_finite("the validation loss", module(volumes, hidden), names) * len(volumes)
    return total / len(cases)


def _read_finite(what: str, value: Tensor, case_ids: Sequence[str]) -> float:
    """A number that a batch made.

    Raises:
        NonFiniteError: Naming the cases of the batch.
    """
    number = float(value.item())
    if not math.isfinite(number):
        raise NonFiniteError(f"{what} must stay finite, it did not in the batch of {', '.join(case_ids)}")
    return number
