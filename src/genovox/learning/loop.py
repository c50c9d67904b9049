"""One network, one fold: an explicit loop from fresh or given weights to the epoch that is kept."""

import copy
import logging
import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor, nn

from genovox.augment.mixing import MIXTURES
from genovox.core.errors import DataError, UsageError
from genovox.core.sections import AugmentTable, TrainTable
from genovox.dataset.augmented import Augmented
from genovox.dataset.cases import PreparedCase, load_batch
from genovox.dataset.loader import count_batches, iterate_in_order, iterate_training
from genovox.dataset.ranks import ALONE, Ranks, share_dropout
from genovox.dataset.shelf import Shelf
from genovox.learning.averaging import RunningMean
from genovox.learning.journal import EpochRecord
from genovox.learning.losses import BinaryLoss
from genovox.learning.precision import adapt_to_bf16, choose_layout
from genovox.learning.resolution import Resolution
from genovox.learning.schedule import Schedule
from genovox.learning.transfer import group_parameters, thaw
from genovox.models.blocks import Network
from genovox.volumes.devices import settle_gpu

if TYPE_CHECKING:
    from lightning_fabric import Fabric

log = logging.getLogger(__name__)

FORMAT = 2
"""Raised by one whenever the same seed and settings give other weights: finished folds are then trained anew."""
MIRROR_DIMENSION = -1
"""x, left to right, in a batch (B, C, D, H, W)."""


@dataclass(frozen=True)
class TrainedNetwork:
    """The network of the epoch that was kept, and how it got there.

    Attributes:
        stopped: Why training ended before its time through a fault, naming the cases of the batch; empty otherwise.
    """

    network: Network
    history: list[EpochRecord]
    stopped: str = ""

    @property
    def best(self) -> EpochRecord:
        """The epoch whose weights were kept."""
        return [record for record in self.history if record.best][-1]


class NonFiniteError(ArithmeticError):
    """A loss or a gradient that is not a number."""


class DivergedError(DataError):
    """No epoch came to an end with a loss that is a number; every process knows."""


def train_network(
    network: Network,
    *,
    training: Sequence[PreparedCase],
    validation: Sequence[PreparedCase],
    table: TrainTable,
    augment: AugmentTable,
    resolution: Resolution,
    seed: int,
    channels: tuple[str, ...] = (),
    follow: Callable[[EpochRecord], None] = lambda _: None,
    ranks: Ranks = ALONE,
) -> TrainedNetwork:
    """Train a network on one fold; validation patients choose the epoch, unless the last is kept, and nothing else.

    Args:
        network: With fresh or given weights; changed in place.
        training: Cases whose gradients are followed.
        validation: Cases whose loss is watched.
        table: The study's ``[train]``.
        augment: The study's ``[augment]``: what is done to training batches.
        resolution: Device, precision and threads.
        seed: Decides order, augmentation and dropout.
        channels: Name of each channel, for what augmentation does to contrast; none leaves contrast alone.
        follow: Called after each epoch.
        ranks: The processes that train it together, each with the same other arguments; the same network comes out
            as of one process, up to rounding, but for batch norm, whose statistics are of a process's share.

    Raises:
        DivergedError: If the loss stops being a number in the first epoch; later, the last good epoch (or the best) is
            kept and ``stopped`` says what happened.
    """
    fabric = open_fabric(resolution, ranks, thaws=table.thaw_epochs > 0)
    torch.manual_seed(seed)
    running = _Training(
        fabric,
        network,
        training=training,
        table=table,
        augment=augment,
        resolution=resolution,
        seed=seed,
        channels=channels,
        ranks=ranks,
    )
    schedule = Schedule(table.schedule, epochs=table.epochs, warmup_epochs=table.warmup_epochs, patience=table.patience)
    history: list[EpochRecord] = []
    best_loss, best_state, stopped = math.inf, network.state_dict(), ""
    for epoch in range(table.epochs):
        try:
            training_loss = running.train_epoch(epoch, schedule)
            validation_loss = running.measure_loss(validation)
        except NonFiniteError as error:
            stopped = f"stopped in epoch {epoch + 1}: {error}"
            break
        better = table.keep == "last" or validation_loss < best_loss
        rate = table.learning_rate * schedule.factor(epoch)
        record = EpochRecord(epoch + 1, rate, training_loss, validation_loss, better)
        schedule.observe(validation_loss)
        history.append(record)
        follow(record)
        if better:
            best_loss, best_state = validation_loss, copy.deepcopy(running.mean.network.state_dict())
        elif epoch + 1 - max(record.epoch for record in history if record.best) >= table.patience:
            break
    if not history:
        raise DivergedError(
            f"{stopped}; lower train.learning_rate (now {table.learning_rate:g}) or look at those cases' QC pictures"
        )
    network.load_state_dict(best_state)
    network.zero_grad(set_to_none=True)
    return TrainedNetwork(network.eval(), history, stopped)


class _Unread:
    """A number that a step made, on its way from the device: a loss, the mean over some cases, or a gradient's norm."""

    def __init__(self, what: str, value: Tensor, case_ids: list[str], cases: int | None = None) -> None:
        self.what, self.case_ids, self.cases = what, case_ids, cases
        self._value = value.detach().to("cpu", non_blocking=True)
        self._arrived = torch.cuda.current_stream(value.device).record_event() if value.is_cuda else None

    def read(self) -> float:
        """Wait for this number, not for what was begun after it."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return float(self._value)


class _Training:
    """What the epochs of one training share."""

    def __init__(
        self,
        fabric: "Fabric",
        network: Network,
        *,
        training: Sequence[PreparedCase],
        table: TrainTable,
        augment: AugmentTable,
        resolution: Resolution,
        seed: int,
        channels: tuple[str, ...],
        ranks: Ranks,
    ) -> None:
        self.ranks = ranks
        self.fabric, self.training, self.table, self.seed = fabric, training, table, seed
        self.network = network
        self.layout = choose_layout(network, resolution.precision)
        self.shelf = Shelf(fabric.device)
        self.order = Generator().manual_seed(seed)
        self.augmented = Augmented(augment.preset, channels, seed)
        self.mix = MIXTURES[augment.mix]
        self.patients = {case.case_id: case.patient_id for case in training}
        positives = sum(case.label for case in training)
        self.loss = BinaryLoss(table.loss, positives, len(training) - positives, smoothing=table.label_smoothing).to(
            fabric.device
        )
        network.to(memory_format=self.layout)  # type: ignore[call-overload]
        if resolution.precision == "bf16-mixed":
            adapt_to_bf16(network, load_batch(training[:1]))
        self.dropouts = share_dropout(network) if ranks.size > 1 else []
        # The fused step is one pass over the weights: 0.03 s instead of 0.19 s a batch for resnet18 on one core.
        optimizer = torch.optim.AdamW(
            group_parameters(network, table.learning_rate, table.layer_decay),
            weight_decay=table.weight_decay,
            fused=True,
        )
        module: nn.Module = torch.compile(network) if resolution.compile else network  # type: ignore[assignment]
        self.module, self.optimizer = fabric.setup(module, optimizer)
        # A GPU is asked for the loss and the gradient of a step only while it works on the next.
        self.patience = 2 if fabric.device.type == "cuda" else 0
        self.unread: deque[_Unread] = deque()
        self.mean = RunningMean(network, table.average)

    def train_epoch(self, epoch: int, schedule: Schedule) -> float:
        """Mean training loss of one epoch.

        Raises:
            NonFiniteError: Naming the cases of the batch.
        """
        self.module.train()
        self.loss.train()
        thaw(self.network, epoch, self.table.thaw_epochs)
        total = 0.0
        in_step: list[str] = []
        count = count_batches(len(self.training), self.table.batch_size)
        # A mixture needs partners: each process then reads the whole batch, and takes its share of what was mixed.
        readers = ALONE if self.mix else self.ranks
        batches = iterate_training(
            self.training,
            self.table.batch_size,
            self.order,
            ranks=readers,
            shelf=self.shelf,
            prepare=partial(self.augmented, epoch),
        )
        for number, (volumes, labels, case_ids) in enumerate(batches):
            place = number % self.table.accumulate
            if place == 0:
                self._set_rate(schedule.factor(epoch + number / count))
                self.optimizer.zero_grad(set_to_none=True)
                in_step = []
            in_step += case_ids
            batches_a_step = min(self.table.accumulate, count - number + place)
            self._follow_gradient(volumes, labels, case_ids, batches_a_step)
            total += self._look_back(self.patience)
            if place + 1 == batches_a_step:
                self._step(in_step)
                # What is frozen takes no memory yet.
                if all(parameter.requires_grad for parameter in self.network.parameters()):
                    self.shelf.keep_what_fits()
        return (total + self._look_back(0)) / len(self.training)

    def _follow_gradient(self, batch: Tensor, labels: Tensor, case_ids: list[str], batches_a_step: int) -> None:
        """Add a batch's part of a step's gradient."""
        share = self.ranks.take_share(len(case_ids))
        targets = labels
        if self.mix is not None:
            batch, targets = self.mix(batch, labels, [self.patients[name] for name in case_ids], self.order)
            batch, targets = batch[share.rows], targets[share.rows]
        for dropout in self.dropouts:
            dropout.cases, dropout.share = len(case_ids), share
        logits = self.module(batch.contiguous(memory_format=self.layout))
        loss = self.loss(logits, self.fabric.to_device(targets))
        self.unread.append(_Unread("the loss", loss, case_ids, share.count))
        self.fabric.backward(loss * share.weight / batches_a_step)

    def _step(self, case_ids: list[str]) -> None:
        norm = self.fabric.clip_gradients(
            self.module, self.optimizer, max_norm=self.table.gradient_norm, error_if_nonfinite=False
        )
        assert norm is not None
        self.unread.append(_Unread("the gradient", norm, case_ids))
        self.optimizer.step()
        self.mean.update()

    def _look_back(self, patience: int) -> float:
        """Loss, summed over cases, of what is looked at now.

        Args:
            patience: How much of the newest is left for later.

        Raises:
            NonFiniteError: Naming the cases of the batch.
        """
        total = 0.0
        while len(self.unread) > patience:
            unread = self.unread.popleft()
            value = unread.read()
            if unread.cases is not None:
                value = self.ranks.add(value * unread.cases)
                total += value
            if not math.isfinite(value):
                names = ", ".join(unread.case_ids)
                raise NonFiniteError(f"{unread.what} must stay finite, it did not in the batch of {names}")
        return total

    def _set_rate(self, factor: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * factor

    @torch.inference_mode()
    def measure_loss(self, cases: Sequence[PreparedCase]) -> float:
        """Mean loss of the network to be kept.

        Raises:
            NonFiniteError: Naming the cases of the batch.
        """
        network = self.mean.network.eval()
        self.ranks.copy_statistics(network)
        self.loss.eval()
        total = 0.0
        size = self.table.batch_size
        batches = iterate_in_order(cases, size, ranks=self.ranks, shelf=self.shelf)
        for number, (volumes, labels) in enumerate(batches):
            batch = cases[number * size : (number + 1) * size]
            with self.fabric.autocast():
                logits = network(volumes.contiguous(memory_format=self.layout))
            loss = float(self.loss(logits.float(), self.fabric.to_device(labels)).item())
            value = self.ranks.add(loss * self.ranks.take_share(len(batch)).count)
            if not math.isfinite(value):
                names = ", ".join(case.case_id for case in batch)
                raise NonFiniteError(f"the validation loss must stay finite, it did not in the batch of {names}")
            total += value
        return self.ranks.hear_first(total / len(cases))


def open_fabric(resolution: Resolution, ranks: Ranks = ALONE, *, thaws: bool = False) -> "Fabric":
    """Fabric on the resolved device, with threads and determinism set for this process.

    Args:
        resolution: Device, precision and threads.
        ranks: The processes that train one network together; a device of its own each.
        thaws: Whether parameters take turns to learn.

    Raises:
        UsageError: If there are more processes than GPUs.
    """
    from lightning_fabric import Fabric  # noqa: PLC0415 - brings torch's compiler, which scoring need not wait for
    from lightning_fabric.strategies.ddp import DDPStrategy  # noqa: PLC0415

    torch.set_num_threads(resolution.threads)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it tells of every network what resolved.json says
    on_gpu = resolution.device == "cuda"
    if on_gpu:
        settle_gpu(resolution.device)
    else:
        torch.use_deterministic_algorithms(True)
    if ranks.size == 1:
        return Fabric(accelerator=resolution.device, devices=1, precision=resolution.precision)
    if on_gpu and ranks.devices > torch.cuda.device_count():
        raise UsageError(
            f"each process needs a GPU of its own, got {ranks.devices} processes and {torch.cuda.device_count()} GPUs; "
            "lower torchrun's --nproc-per-node, or use --device cpu"
        )
    fabric = Fabric(
        accelerator=resolution.device,
        devices=ranks.devices,
        num_nodes=ranks.size // ranks.devices,
        strategy=DDPStrategy(find_unused_parameters=thaws),
        precision=resolution.precision,
    )
    fabric.launch()
    return fabric


@torch.inference_mode()
def score_cases(
    network: nn.Module, cases: Sequence[PreparedCase], device: str, batch_size: int, *, flips: bool = False
) -> list[float]:
    """Raw score (probability of label 1) of each case, in order; company in a batch changes it by rounding at most.

    Args:
        network: Put into evaluation mode; computes in fp32 whatever it was trained in.
        cases: To be scored.
        device: ``cpu`` or ``cuda``.
        batch_size: Cases at once.
        flips: Whether a score is the mean over the volume and its left-right mirror image.
    """
    settle_gpu(device)
    network = network.to(device).eval()
    scores: list[float] = []
    for batch, _ in iterate_in_order(cases, batch_size, shelf=Shelf(device)):
        score = torch.sigmoid(network(batch).double())
        if flips:
            score = (score + torch.sigmoid(network(batch.flip(MIRROR_DIMENSION)).double())) / 2
        scores += score.tolist()
    return scores


def count_channels(cases: Sequence[PreparedCase]) -> int:
    """Channels of the cases' volumes."""
    return load_batch(cases[:1]).shape[1]
