"""Grad-CAM against MONAI's, and where the answer is known."""

import numpy as np
import pytest
import torch
from monai.visualize.class_activation_maps import GradCAM
from torch import Tensor

from genovox.explain.cam import compute_gradcam
from genovox.models.blocks import Network
from genovox.models.build import NETWORKS, build_network


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
    coarse = np.maximum(torch.as_tensor(theirs).detach().numpy(), 0)
    peak = coarse.max()
    cells = ours[:: network.stride, :: network.stride, :: network.stride]
    np.testing.assert_allclose(cells, coarse / peak if peak > 0 else coarse, atol=1e-4)


def test_cells_lie_where_their_receptive_fields_are_centred() -> None:
    """The input that moves one cell most lies around voxel ``j * stride``: the centre of its gradient's support."""
    torch.manual_seed(0)
    network, shape = build_network("light", 1).eval(), (40, 48, 56)
    volume = torch.randn(1, 1, *shape, requires_grad=True)
    features = network.features(volume)
    cell = tuple(size // 2 for size in features.shape[2:])
    (gradient,) = torch.autograd.grad(features[0, :, cell[0], cell[1], cell[2]].sum(), volume)
    weight = gradient[0, 0].abs().double()
    for axis in range(3):
        profile = weight.sum(dim=tuple({0, 1, 2} - {axis}))
        centre = float((profile * torch.arange(shape[axis])).sum() / profile.sum())
        expected = min(cell[axis] * network.stride, shape[axis] - 1)
        # A receptive field that the border cuts pulls its centre inwards; half a cell would be stride / 2.
        assert abs(centre - expected) < network.stride / 5, (axis, centre, expected)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_convolution_is_padded_to_its_centre(name: str) -> None:
    """Then cell j of the last maps is centred on voxel ``j * stride`` whatever the receptive field.

    Araujo et al. (2019), doi:10.23915/distill.00021.
    """
    network = build_network(name, 1)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv3d):
            for kernel, padding in zip(module.kernel_size, module.padding, strict=True):
                assert kernel % 2 == 1
                assert padding == kernel // 2
    size = 4 * network.stride
    assert network.features(torch.zeros(1, 1, size, size, size)).shape[2:] == (4, 4, 4)


class _Corner(Network):
    """Answers by the sum of one corner's maps: the map must light up there and nowhere else."""

    minimum_side = 1
    stride = 4

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
    assert activation.map[4:, 4:, 4:].max() == 0
    assert activation.logit == pytest.approx(1.0)


def test_no_evidence_is_an_empty_map() -> None:
    volume = torch.ones(1, 16, 16, 16)
    assert compute_gradcam(_Corner(1), volume, for_positive=False).map.max() == 0
