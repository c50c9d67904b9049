"""Devices: where tensors are computed."""

import torch

from genovox.core.errors import UsageError

DEVICES = ("auto", "cpu", "cuda")


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
