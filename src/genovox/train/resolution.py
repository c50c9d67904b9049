"""What the machine decides, fixed before the first epoch: device, precision and threads a fold."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch

from genovox.core.artifacts import read_json, write_json
from genovox.core.errors import UsageError
from genovox.core.tasks import available_cores

DEVICES = ("auto", "cpu", "cuda")


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
    precision: Literal["32-true"]
    threads: int
    memory_format: str
    compile: bool
    torch: str

    @property
    def default_workers(self) -> int:
        """Folds that run at once unless the user says otherwise; one on a GPU."""
        return 1 if self.device == "cuda" else max(1, available_cores() // self.threads)


def resolve(folder: Path, device: str, folds: int) -> Resolution:
    """Read ``resolved.json`` if it still holds on this machine, else decide and write it.

    Args:
        folder: ``RUN/train``.
        device: ``auto``, ``cpu`` or ``cuda``.
        folds: Networks to train in all; they share the cores.

    Raises:
        UsageError: If the device is unknown or not there.
    """
    chosen = choose_device(device)
    path = folder / "resolved.json"
    if path.exists():
        known = Resolution(**read_json(path))
        if known.device == chosen and known.torch == torch.__version__:
            return known
    cores = available_cores()
    resolution = Resolution(
        device=chosen,
        precision="32-true",
        threads=max(1, cores // min(cores, folds)),
        memory_format="contiguous",
        compile=False,
        torch=torch.__version__,
    )
    write_json(path, asdict(resolution))
    return resolution


def choose_device(device: str) -> str:
    """The device meant by ``--device``.

    Raises:
        UsageError: If it is unknown or not there.
    """
    if device not in DEVICES:
        raise UsageError(f"--device takes {', '.join(DEVICES)}, got {device!r}")
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: this torch sees no GPU; use --device cpu or install a CUDA build of torch")
    return device
