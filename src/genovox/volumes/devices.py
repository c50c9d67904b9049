"""Devices: where tensors are computed, and that a GPU computes the same twice."""

import os

import torch

from genovox.core.errors import UsageError

DEVICES = ("auto", "cpu", "cuda")
WORKSPACE = ("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
"""Without it cuBLAS may add up in another order each time, https://docs.nvidia.com/cuda/cublas/#results-reproducibility."""


def choose_device(device: str) -> str:
    """The device meant by ``--device``.

    Raises:
        UsageError: If it is unknown or not there.
    """
    if device not in DEVICES:
        raise UsageError(f"--device takes {', '.join(DEVICES)}, got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: this torch sees no GPU; use --device cpu or install a CUDA build of torch")
    chosen = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    if chosen == "cuda":
        # torch looks for it once, at the first product of matrices.
        os.environ.setdefault(*WORKSPACE)
    return chosen


def settle_gpu(device: str) -> None:
    """Let a GPU compute in whole float32 and with the same bits every time, in this process from now on.

    A few 3D gradients have no such form on a GPU: torch then warns.

    Args:
        device: ``cuda``; on any other nothing is done.
    """
    if device != "cuda":
        return
    os.environ.setdefault(*WORKSPACE)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    # All that is allocated would be filled first, to find out who reads what was never written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
