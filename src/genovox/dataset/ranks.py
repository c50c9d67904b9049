"""Processes that train one network together: each takes its share of every batch, and their sum is the batch's."""

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.nn import functional

Message = TypeVar("Message")


@dataclass(frozen=True)
class Share:
    """One process's part of a batch.

    Attributes:
        rows: Of the batch; never empty, since every process must take part in every step.
        count: How many of the rows count: all, or none where the batch has fewer cases than there are processes.
        weight: Factor of the mean over the rows, so that its mean over all processes is the mean over the batch.
    """

    rows: slice
    count: int
    weight: float


@dataclass(frozen=True)
class Ranks:
    """This process's place among those that train together.

    Attributes:
        rank: From 0; the first decides and writes.
        size: Number of processes.
        devices: How many of them are on this machine.
    """

    rank: int = 0
    size: int = 1
    devices: int = 1

    def take_share(self, cases: int) -> Share:
        """Which of a batch's cases this process works on; every case is one process's, sizes differ by one at most."""
        start, end = (cases * rank // self.size for rank in (self.rank, self.rank + 1))
        if start == end:
            return Share(slice(0, 1), 0, 0.0)
        return Share(slice(start, end), end - start, (end - start) * self.size / cases)

    def add(self, value: float) -> float:
        """Sum of a number over all processes; it is not finite where one of them is not."""
        if self.size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64)
        distributed.all_reduce(total)
        return float(total)

    def hear_first(self, message: Message) -> Message:
        """What the first process says, on every process."""
        if self.size == 1:
            return message
        told = [message]
        distributed.broadcast_object_list(told, src=0, device=torch.device("cpu"))
        return told[0]

    def copy_statistics(self, network: nn.Module) -> None:
        """Give every process the running statistics of the first, as its network is the one that is kept."""
        if self.size > 1:
            for buffer in network.buffers():
                distributed.broadcast(buffer, src=0)


ALONE = Ranks()


class SharedDropout(nn.Dropout):
    """Dropout on a share of a batch, drawn as if the whole batch were here."""

    cases: int
    share: Share

    def forward(self, x: Tensor) -> Tensor:
        """As the plain dropout of the whole batch does to these rows."""
        if not self.training:
            return x
        kept = functional.dropout(torch.ones((self.cases, *x.shape[1:]), device=x.device), self.p)
        return x * kept[self.share.rows].to(x.dtype)


def share_dropout(network: nn.Module) -> list[SharedDropout]:
    """Let a network's dropout draw for whole batches; its state dict stays the same.

    Returns:
        Its dropout layers: the caller sets ``cases`` and ``share`` of each before every batch.
    """
    shared: list[SharedDropout] = []
    for module in network.modules():
        if isinstance(module, nn.Dropout):
            module.__class__ = SharedDropout
            assert isinstance(module, SharedDropout)
            shared.append(module)
    return shared
