"""Grad-CAM in 3D: which places made a network say what it said."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genovox.models.blocks import Network
from genovox.volumes.geometry import axis_weights


@dataclass(frozen=True)
class ClassActivation:
    """Evidence of one case for one answer.

    Attributes:
        map: Shape (z, y, x) of the input, in [0, 1]; all 0 where no place speaks for the answer.
        logit: The network's answer.
    """

    map: np.ndarray
    logit: float


def compute_gradcam(network: Network, volume: Tensor, *, for_positive: bool) -> ClassActivation:
    """Grad-CAM of the last convolutional maps.

    Args:
        network: In evaluation mode.
        volume: One case, shape (C, D, H, W).
        for_positive: Evidence for label 1; otherwise for label 0, the negative logit.

    References:
        Selvaraju et al. (2017), doi:10.1109/ICCV.2017.74.
    """
    with torch.no_grad():
        features = network.features(volume[None])
    features.requires_grad_(True)
    logit = network.classify(features)[0]
    (gradient,) = torch.autograd.grad(logit if for_positive else -logit, features)
    weights = gradient.mean(dim=(2, 3, 4), keepdim=True)
    coarse = torch.relu((weights * features).sum(dim=1)).detach()[0].cpu().numpy()
    fine = spread_cells(coarse, volume.shape[1:], network.stride, network.offset)
    peak = float(fine.max())
    return ClassActivation(fine / peak if peak > 0 else np.zeros_like(fine), float(logit.detach()))


def average_gradcams(networks: Sequence[Network], volume: Tensor, *, for_positive: bool) -> ClassActivation:
    """Evidence of networks whose mean is the answer: the mean of their maps, each scaled to its own peak, scaled again.

    Members differ in the scale of their logits, so that unscaled maps would show the loudest member.

    Args:
        networks: In evaluation mode; at least one.
        volume: One case, shape (C, D, H, W).
        for_positive: As for ``compute_gradcam``.
    """
    found = [compute_gradcam(network, volume, for_positive=for_positive) for network in networks]
    mean = np.mean([one.map for one in found], axis=0)
    peak = float(mean.max())
    return ClassActivation(mean / peak if peak > 0 else mean, float(np.mean([one.logit for one in found])))


def spread_cells(coarse: np.ndarray, shape: Sequence[int], stride: int, offset: int = 0) -> np.ndarray:
    """Interpolate the cells of the last maps back to the voxels they are centred on.

    Resizing by the ratio of the sizes would take a cell for a block of voxels and shift the map by half a cell.

    Args:
        coarse: Shape (d, h, w).
        shape: Shape (z, y, x) of the input.
        stride: Voxels from cell to cell; cell j lies on voxel ``offset + j * stride``.
        offset: Voxel that cell 0 lies on.

    Returns:
        Shape (z, y, x), linear between cells, constant beyond the first and last.
    """
    fine = coarse
    for axis, size in enumerate(shape):
        weights = axis_weights(coarse.shape[axis], size, -offset / stride, 1 / stride, "linear")
        fine = np.moveaxis(np.tensordot(weights, fine, axes=(1, axis)), 0, axis)
    return fine
