"""Grad-CAM against MONAI's, and where the answer is known."""

import numpy as np
import pytest
import torch
from monai.visualize.class_activation_maps import GradCAM
from torch import Tensor

from genovox.explain.cam import average_gradcams, compute_gradcam, spread_cells
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


@pytest.mark.parametrize("name", ["light", "resnet10", "densenet121"])
def test_equals_monai_up_to_scale(name: str) -> None:
    torch.manual_seed(0)
    network = build_network(name, 2).eval()
    volume = torch.randn(2, 48, 48, 48)
    ours = compute_gradcam(network, volume, for_positive=True).map
    tool = GradCAM(nn_module=_Head(network).eval(), target_layers="target")
    theirs = tool.compute_map(volume[None], class_idx=0)[0, 0]
    coarse = np.maximum(torch.as_tensor(theirs).detach().numpy(), 0)
    peak = coarse.max()
    cells = ours[(slice(network.offset, None, network.stride),) * 3][tuple(slice(size) for size in coarse.shape)]
    np.testing.assert_allclose(cells, coarse / peak if peak > 0 else coarse, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "axis"),
    [
        ("light-batchnorm", 0),
        ("light-separable-batchnorm", 1),
        ("resnet10", 2),
        ("resnet10-dilated", 0),
        ("resnet18-dilated", 1),
        ("densenet121", 2),
    ],
)
def test_cells_lie_where_their_receptive_fields_are_centred(name: str, axis: int) -> None:
    """The gradient of one cell, in a network whose weights are all alike, is symmetric about the cell's centre."""
    torch.manual_seed(0)
    network = build_network(name, 1).eval()
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.constant_(parameter, 1 / parameter[0].numel())
    shape = [32, 32, 32]
    shape[axis] = 256
    volume = torch.rand(1, 1, *shape, requires_grad=True)
    cell = 128 // network.stride
    line = network.features(volume).movedim(2 + axis, 2)[0, :, cell]
    (gradient,) = torch.autograd.grad(line.sum(), volume)
    profile = gradient[0, 0].double().sum(dim=tuple({0, 1, 2} - {axis}))
    centre = float((profile * torch.arange(256)).sum() / profile.sum())
    # Of voxels alike, the maximum pool picks one by chance, which moves the centre by up to 0.7 voxels.
    assert centre == pytest.approx(network.offset + cell * network.stride, abs=1.2)


@pytest.mark.parametrize("name", [name for name in NETWORKS if not name.startswith(("resnet1", "resnet2"))])
def test_every_convolution_is_padded_to_its_centre(name: str) -> None:
    """Then it leaves the centre of a receptive field where it was, whatever its stride and dilation.

    Araujo et al. (2019), doi:10.23915/distill.00021.
    """
    with torch.device("meta"):
        network = build_network(name, 1)
        size = 4 * network.stride
        assert network.features(torch.zeros(1, 1, size, size, size)).shape[2:] == (4, 4, 4)
    for module in network.modules():
        if isinstance(module, torch.nn.Conv3d):
            for kernel, padding, dilation in zip(module.kernel_size, module.padding, module.dilation, strict=True):
                assert kernel % 2 == 1
                assert padding == dilation * (kernel // 2)


def test_cells_are_spread_from_the_voxel_of_the_first() -> None:
    fine = spread_cells(np.array([0.0, 1.0, 0.0]).reshape(1, 1, 3), (1, 1, 16), 4, 3)
    assert fine[0, 0].argmax() == 7
    np.testing.assert_allclose(fine[0, 0, 3:12], [0, 0.25, 0.5, 0.75, 1, 0.75, 0.5, 0.25, 0], atol=1e-6)
    assert not fine[0, 0, :3].any()
    assert not fine[0, 0, 12:].any()


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


def test_members_weigh_the_same_however_loud_they_are() -> None:
    torch.manual_seed(0)
    networks = [build_network("light", 1).eval() for _ in range(2)]
    volume = torch.randn(1, 16, 24, 16)
    alone = [compute_gradcam(network, volume, for_positive=True) for network in networks]
    with torch.no_grad():
        networks[1].fc.weight.mul_(100)
    together = average_gradcams(networks, volume, for_positive=True)
    mean = (alone[0].map + alone[1].map) / 2
    np.testing.assert_allclose(together.map, mean / mean.max(), atol=1e-4)
    assert together.map.max() == pytest.approx(1)
    assert average_gradcams(networks[:1], volume, for_positive=True).logit == pytest.approx(alone[0].logit)


def test_members_without_evidence_give_an_empty_map() -> None:
    network = build_network("light", 1).eval()
    with torch.no_grad():
        network.fc.weight.zero_()
    assert not average_gradcams([network, network], torch.randn(1, 16, 16, 16), for_positive=True).map.any()
