"""What the machine decides, fixed before the first epoch: device, precision and threads a fold."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from genovox.core.artifacts import recall
from genovox.core.sections import TrainTable
from genovox.core.tasks import available_cores
from genovox.learning.precision import Precision, choose_precision
from genovox.volumes.devices import choose_device

RECORDED = "recorded"
FOLDS_AT_ONCE = 5
"""Folds that share a machine's cores: fixed, so that a study's size never changes the threads of a fold."""


@dataclass(frozen=True)
class Resolution:
    """Everything about the machine that a score may depend on.

    Attributes:
        device: ``cpu`` or ``cuda``.
        precision: Fabric's name of the number format.
        threads: Threads a fold; ``--workers`` never changes it.
        memory_format: Order of a tensor's axes in memory.
        compile: Whether networks are compiled.
        torch: Version of torch.
    """

    device: str
    precision: Precision
    threads: int
    memory_format: str
    compile: bool
    torch: str

    @property
    def default_workers(self) -> int:
        """Folds that run at once unless the user says otherwise; one on a GPU."""
        return 1 if self.device == "cuda" else max(1, available_cores() // self.threads)


def resolve(folder: Path, device: str, table: TrainTable) -> Resolution:
    """What ``resolved.json`` says if it still holds on this machine, else what this machine decides; writes nothing.

    Args:
        folder: ``RUN/train``.
        device: ``auto``, ``cpu`` or ``cuda``; ``recorded`` takes the record as it is, wherever it was made.
        table: The study's ``[train]``: its ``precision`` and ``compile``.

    Raises:
        UsageError: If the device is unknown or not there.
    """
    known = _read_record(folder / "resolved.json")
    if known is not None and device == RECORDED:
        return known
    chosen = choose_device("auto" if device == RECORDED else device)
    if known is not None and known.torch == torch.__version__ and known.compile == table.compile:
        same_device = known.device == chosen or (device == "auto" and known.device == "cpu")
        # "auto" means what was decided first: a machine with bf16 must not change a study that began without.
        if same_device and (table.precision == "auto" or known.precision == choose_precision(table.precision, chosen)):
            return known
    return Resolution(
        device=chosen,
        precision=choose_precision(table.precision, chosen),
        threads=max(1, (os.cpu_count() or 1) // FOLDS_AT_ONCE),
        memory_format="channels_last_3d",
        compile=table.compile,
        torch=torch.__version__,
    )


def _read_record(path: Path) -> Resolution | None:
    try:
        return Resolution(**recall(path))
    except TypeError:
        return None
