"""What the machine decides, fixed before the first epoch: device, precision and threads a fold."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from genovox.core.artifacts import recall, write_json
from genovox.core.sections import TrainTable
from genovox.core.tasks import available_cores
from genovox.learning.precision import Precision, choose_precision
from genovox.volumes.devices import choose_device

RECORDED = "recorded"
RECORD = "resolved.json"
ASKED = "asked_precision"
FOLDS_AT_ONCE = 5
"""Folds that share a machine's cores: fixed, so that a study's size never changes the threads of a fold."""


@dataclass(frozen=True)
class Resolution:
    """Everything about the machine that a score may depend on.

    Attributes:
        device: ``cpu`` or ``cuda``.
        precision: Fabric's name of the number format.
        threads: Threads a fold; ``--workers`` never changes it.
        compile: Whether networks are compiled.
        torch: Version of torch.
    """

    device: str
    precision: Precision
    threads: int
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
    known, asked = _read_record(folder / RECORD)
    if known is not None and device == RECORDED:
        return known
    chosen = choose_device("auto" if device == RECORDED else device)
    if known is not None and known.torch == torch.__version__ and known.compile == table.compile:
        same_device = known.device == chosen or (device == "auto" and known.device == "cpu")
        # "auto" means what it first was: a machine with bf16 must not change a study that began without.
        was_auto = table.precision == "auto" and asked in ("auto", "")
        if same_device and (was_auto or known.precision == choose_precision(table.precision, chosen)):
            return known
    return Resolution(
        device=chosen,
        precision=choose_precision(table.precision, chosen),
        threads=max(1, (os.cpu_count() or 1) // FOLDS_AT_ONCE),
        compile=table.compile,
        torch=torch.__version__,
    )


def record_resolution(folder: Path, resolution: Resolution, table: TrainTable) -> None:
    """Write ``resolved.json``: what was decided, and the precision that was asked for.

    Args:
        folder: ``RUN/train`` or ``RUN/pretrain``.
        resolution: From ``resolve``.
        table: The study's ``[train]``.
    """
    write_json(folder / RECORD, asdict(resolution) | {ASKED: table.precision})


def _read_record(path: Path) -> tuple[Resolution | None, str]:
    """What was decided, and the precision that was asked for; empty in a record that does not say."""
    content = recall(path)
    asked = str(content.pop(ASKED, ""))
    try:
        return Resolution(**content), asked
    except TypeError:
        return None, ""
