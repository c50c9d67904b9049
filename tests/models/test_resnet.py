"""ResNets against MONAI's, MedicalNet's names and the known parameter counts."""

from typing import Literal

import pytest
import torch
from monai.networks.nets.resnet import ResNet as MonaiResNet

from genovox.core.errors import UsageError
from genovox.models.resnet import ResNet

REFERENCE: dict[int, tuple[tuple[int, int, int, int], Literal["A", "B"]]] = {
    10: ((1, 1, 1, 1), "B"),
    18: ((2, 2, 2, 2), "A"),
}


def encoder(network: ResNet) -> dict[str, torch.Tensor]:
    return {name: value for name, value in network.state_dict().items() if not name.startswith("fc.")}


@pytest.mark.parametrize(("depth", "millions"), [(10, 14.36), (18, 32.99)])
def test_encoder_has_medicalnets_parameters(depth: int, millions: float) -> None:
    network = ResNet(1, depth=depth)
    count = sum(p.numel() for name, p in network.named_parameters() if not name.startswith("fc."))
    assert round(count / 1e6, 2) == millions


def test_state_dict_has_medicalnets_names() -> None:
    names = set(encoder(ResNet(1, depth=10)))
    assert {
        "conv1.weight",
        "bn1.running_var",
        "layer1.0.conv1.weight",
        "layer1.0.bn2.bias",
        "layer2.0.downsample.0.weight",
        "layer4.0.downsample.1.running_mean",
    } <= names
    assert not any("layer1" in name and "downsample" in name for name in names)
    assert not any("downsample" in name for name in encoder(ResNet(1, depth=18)))
    assert "layer4.1.conv2.weight" in encoder(ResNet(1, depth=18))


@pytest.mark.parametrize("depth", [10, 18])
@pytest.mark.parametrize(("channels", "shape"), [(1, (64, 48, 80)), (3, (33, 64, 47))])
def test_encoder_equals_monais(depth: int, channels: int, shape: tuple[int, int, int]) -> None:
    torch.manual_seed(depth)
    ours = ResNet(channels, depth=depth)
    blocks, shortcut = REFERENCE[depth]
    theirs = MonaiResNet(
        block="basic",
        layers=list(blocks),
        block_inplanes=[64, 128, 256, 512],
        n_input_channels=channels,
        conv1_t_size=7,
        conv1_t_stride=2,
        shortcut_type=shortcut,
        bias_downsample=False,
        feed_forward=False,
    )
    x = torch.randn(2, channels, *shape)
    with torch.no_grad():
        # Moves the running statistics away from 0 and 1, so that the norms take part in the comparison.
        ours.train().features(x)
        theirs.load_state_dict(encoder(ours), strict=True)
        maps = ours.eval().features(x)
        expected = theirs.eval()(x)
    torch.testing.assert_close(maps.mean(dim=(2, 3, 4)), expected, rtol=1e-4, atol=1e-5)
    assert maps.shape[2:] == tuple(-(-side // 32) for side in shape)


def test_training_on_a_single_last_voxel_is_refused() -> None:
    network = ResNet(1, depth=10).train()
    with pytest.raises(UsageError, match="batch of 1 volume of 32x32x32; use batches of 2"):
        network(torch.zeros(1, 1, 32, 32, 32))
    assert network(torch.zeros(2, 1, 32, 32, 32)).shape == (2,)
    assert network(torch.zeros(1, 1, 32, 32, 33)).shape == (1,)
    assert network.eval()(torch.zeros(1, 1, 32, 32, 32)).shape == (1,)
