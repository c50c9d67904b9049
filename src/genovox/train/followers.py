"""One study on several processes, as torchrun starts them: the first does everything, the others help it train.

The first process runs the command, writes every file and scores every case. The others wait for a network, train it
with the first in lockstep, forget it, and wait for the next. What goes wrong in all of them alike (a loss that is no
number) ends a network. What goes wrong in one ends them all: its connections close, and nobody waits for it.
"""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed
from torch.distributed.rendezvous import rendezvous

from genovox.core.errors import DataError, GenovoxError
from genovox.core.log import log_line
from genovox.dataset.ranks import ALONE, Ranks
from genovox.learning.loop import DivergedError, TrainedNetwork, train_network

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

PATIENCE = timedelta(days=30)
"""The others wait while the first reads scans; a process that ends is noticed at once all the same."""
FAILURE = "genovox/failure"


class _Lockstep:
    """The processes of this command, and whether they are still of one mind."""

    def __init__(self) -> None:
        self.ranks = ALONE
        self.store: Store | None = None
        self.is_broken = False


_lockstep = _Lockstep()


def current_ranks() -> Ranks:
    """This process's place among those that train together in this command."""
    return _lockstep.ranks


def are_together() -> bool:
    """Whether no process of this command has failed without the others."""
    return not _lockstep.is_broken


def run_together(command: Callable[[], int]) -> int:
    """Run a command on the first process, with the others as its followers.

    Args:
        command: What the first process does; returns its exit code.

    Returns:
        The exit code of this process.
    """
    with _open_lockstep() as ranks:
        if ranks.rank:
            return _follow(ranks)
        try:
            return command()
        finally:
            if not _lockstep.is_broken:
                # A follower that is gone by now is missed by nobody.
                with suppress(RuntimeError):
                    ranks.hear_first(None)


def train_together(**job: Any) -> TrainedNetwork:
    """``train_network`` with the help of all processes of this command; the first process calls it.

    Raises:
        DivergedError: As ``train_network``; the processes go on together.
        DataError: If one of the processes ended.
    """
    ranks = _lockstep.ranks
    if ranks.size == 1:
        return train_network(**job)
    try:
        ranks.hear_first({name: value for name, value in job.items() if name != "follow"})
        return train_network(**job, ranks=ranks)
    except DivergedError:
        raise
    except BaseException as error:
        _lockstep.is_broken = True
        # torchrun ends all as soon as one has ended; this one does so by itself, with a word on what happened.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if _is_disconnection(error):
            raise DataError(
                f"training on {ranks.size} processes needs all of them, {_read_failure()}; run the same command "
                "again, finished folds are kept"
            ) from error
        raise


def _follow(ranks: Ranks) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with the first process, which says how to go on
    try:
        while (job := ranks.hear_first(None)) is not None:
            with suppress(DivergedError):
                train_network(**job, ranks=ranks)
    except Exception as error:  # noqa: BLE001 - the first process must hear of it, whatever it is
        if _is_disconnection(error):
            return GenovoxError.exit_code  # the first process has ended, and said why
        # Its connections close as it ends; to take leave of the others in order, as NCCL does, it would wait for them.
        _lockstep.is_broken = True
        reason = f"process {ranks.rank}: {type(error).__name__ if not str(error) else error}"
        log_line(f"error: {reason}")
        assert _lockstep.store is not None
        _lockstep.store.set(FAILURE, reason)
        return GenovoxError.exit_code
    return 0


def _read_failure() -> str:
    store = _lockstep.store
    assert store is not None
    with suppress(RuntimeError):
        if store.check([FAILURE]):
            return f"one failed ({store.get(FAILURE).decode()})"
    return "one ended before the others"


def _is_disconnection(error: BaseException) -> bool:
    return isinstance(error, distributed.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


@contextmanager
def _open_lockstep() -> Iterator[Ranks]:
    """Meet the other processes."""
    store, rank, size = next(rendezvous("env://", timeout=PATIENCE))
    _lockstep.store = store
    # Numbers and messages travel between processors, gradients between devices.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() and distributed.is_nccl_available() else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE)
    _lockstep.ranks = Ranks(rank, size, int(os.environ.get("LOCAL_WORLD_SIZE", size)))
    try:
        yield _lockstep.ranks
    finally:
        _lockstep.ranks = ALONE
        if distributed.is_initialized() and not _lockstep.is_broken:
            distributed.destroy_process_group()
