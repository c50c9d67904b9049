"""Which number format a machine trains well in, and which layers must not follow."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from genovox.models.folding import fold_stems

Precision = Literal["32-true", "bf16-mixed"]

TINY_VOXELS = 8
"""Largest output grid, in voxels, of a convolution that stays in fp32."""


def choose_precision(wanted: Literal["auto", "fp32", "bf16"], device: str) -> Precision:
    """Fabric's name of the format: bf16 where the processor multiplies in it, else fp32.

    Args:
        wanted: The study's ``train.precision``; ``bf16`` without such a processor is slow, but gives the same kind of
            scores.
        device: ``cpu`` or ``cuda``.
    """
    if wanted == "auto":
        able = torch.cuda.is_bf16_supported(including_emulation=False) if device == "cuda" else _multiplies_bf16()
        return "bf16-mixed" if able else "32-true"
    return "bf16-mixed" if wanted == "bf16" else "32-true"


def choose_layout(network: nn.Module, precision: Precision) -> torch.memory_format:
    """Order of axes in memory a network trains fast in: channels last, save for group norm in bf16.

    On processors the gradient of torch's group norm takes 15 times as long with channels last in bf16 (2.11 and 2.13),
    half of a small network's step; what a GPU would rather have was not measured.
    """
    has_group_norm = any(isinstance(module, nn.GroupNorm) for module in network.modules())
    return torch.contiguous_format if has_group_norm and precision == "bf16-mixed" else torch.channels_last_3d


def _multiplies_bf16() -> bool:
    # torch computes in bf16 on every CPU, but converts at each step where there is no instruction: slower than fp32.
    return bool(torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001


class Float32Conv3d(nn.Conv3d):
    """A convolution that autocast leaves alone."""

    def forward(self, x: Tensor) -> Tensor:
        """As the plain convolution, in fp32."""
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.float())


def adapt_to_bf16(network: nn.Module, example: Tensor) -> None:
    """Make a network train in bf16 safely and fast.

    Args:
        network: Changed in place; its state dict keeps its names and values.
        example: A batch as training has it, shape (B, C, D, H, W).
    """
    keep_tiny_grids_in_fp32(network, example)
    if _multiplies_bf16():
        fold_stems(network)


@torch.no_grad()
def keep_tiny_grids_in_fp32(network: nn.Module, example: Tensor) -> list[str]:
    """Take convolutions with a tiny output grid out of autocast, for good.

    On CPUs with AVX512-BF16, torch 2.13 gives NaN for the bf16 weight gradient of a 3x3x3 convolution of 128 channels
    on a grid of 2x2x2; larger grids are right. Such layers take next to no time, so fp32 costs nothing there.

    Args:
        network: Changed in place; its state dict keeps its names, and its copies keep the change.
        example: A batch as training has it, shape (B, C, D, H, W).

    Returns:
        Names of the layers.
    """
    sizes: dict[str, int] = {}

    def watch(name: str) -> Callable[[nn.Module, object, Tensor], None]:
        def note(_: nn.Module, __: object, output: Tensor) -> None:
            sizes[name] = output.shape[2:].numel()

        return note

    convolutions = {name: module for name, module in network.named_modules() if type(module) is nn.Conv3d}
    handles = [module.register_forward_hook(watch(name)) for name, module in convolutions.items()]
    was_training = network.training
    network.eval()(example.to(next(network.parameters()).device))
    network.train(was_training)
    for handle in handles:
        handle.remove()
    tiny = [name for name, size in sizes.items() if size <= TINY_VOXELS]
    for name in tiny:
        convolutions[name].__class__ = Float32Conv3d
    return tiny
