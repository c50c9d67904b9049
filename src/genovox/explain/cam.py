"""Grad-CAM in 3D: which places made a network say what it said."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from genovox.models.blocks import Network


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
    coarse = torch.relu((weights * features).sum(dim=1, keepdim=True)).detach()
    fine = torch.nn.functional.interpolate(coarse, size=volume.shape[1:], mode="trilinear", align_corners=False)
    peak = float(fine.max())
    scaled = fine / peak if peak > 0 else torch.zeros_like(fine)
    return ClassActivation(scaled[0, 0].cpu().numpy(), float(logit.detach()))
