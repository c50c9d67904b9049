"""Grad-CAM against MONAI's, and where the answer is known."""

import numpy as np
import pytest
import torch
from monai.visualize.class_activation_maps import GradCAM
from torch import Tensor

from genovox.explain.cam import compute_gradcam
from genovox.models.blocks import Network
from genovox.models.build import build_network


class _Head(torch.nn.Module):
    """A network in the form MONAI's tool wants: a named layer and a vector of classes."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        self.target = torch.nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.network.classify(self.target(self.network.features(x)))[:, None]


@pytest.mark.parametrize("name", ["light", "resnet10"])
def test_equals_monai_up_to_scale(name: str) -> None:
    torch.manual_seed(0)
    network = build_network(name, 2).eval()
    volume = torch.randn(2, 48, 48, 48)
    ours = compute_gradcam(network, volume, for_positive=True).map
    tool = GradCAM(nn_module=_Head(network).eval(), target_layers="target")
    theirs = tool.compute_map(volume[None], class_idx=0)[0, 0]
    fine = (
        torch.nn.functional.interpolate(
            torch.relu(torch.as_tensor(theirs))[None, None], size=(48, 48, 48), mode="trilinear", align_corners=False
        )[0, 0]
        .detach()
        .numpy()
    )
    if fine.max() > 0:
        fine = fine / fine.max()
    np.testing.assert_allclose(ours, fine, atol=1e-4)


class _Corner(Network):
    """Answers by the sum of one corner's maps: the map must light up there and nowhere else."""

    minimum_side = 1

    def features(self, x: Tensor) -> Tensor:
        return torch.nn.functional.avg_pool3d(x, 4)

    def classify(self, features: Tensor) -> Tensor:
        return features[:, :, 0, 0, 0].sum(1)


def test_lights_up_where_the_network_looks() -> None:
    volume = torch.zeros(1, 16, 16, 16)
    volume[:, :4, :4, :4] = 1
    activation = compute_gradcam(_Corner(1), volume, for_positive=True)
    assert max(np.unravel_index(int(activation.map.argmax()), activation.map.shape)) <= 3
    assert activation.map.max() == 1
    assert activation.map[8:, 8:, 8:].max() == 0
    assert activation.logit == pytest.approx(1.0)


def test_no_evidence_is_an_empty_map() -> None:
    volume = torch.ones(1, 16, 16, 16)
    assert compute_gradcam(_Corner(1), volume, for_positive=False).map.max() == 0
