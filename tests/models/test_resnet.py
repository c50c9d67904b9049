"""ResNets against MONAI's, MedicalNet's names and the known parameter counts."""

from functools import partial

import pytest
import torch
from monai.networks.nets.resnet import ResNet as MonaiResNet
from monai.networks.nets.resnet import resnet_params

from genovox.core.errors import UsageError
from genovox.models.resnet import LAYOUTS, Reading, ResNet

READINGS: tuple[Reading, ...] = ("classification", "dilated")


def encoder(network: ResNet) -> dict[str, torch.Tensor]:
    return {name: value for name, value in network.state_dict().items() if not name.startswith("fc.")}


def monais(depth: int, channels: int, reading: Reading = "classification") -> MonaiResNet:
    """MONAI's encoder; it has no dilation of its own, so that MedicalNet's is set on its convolutions."""
    block, blocks, shortcut, *_ = resnet_params[f"resnet{depth}"]
    network = MonaiResNet(
        block=block,
        layers=blocks,
        block_inplanes=[64, 128, 256, 512],
        n_input_channels=channels,
        conv1_t_size=7,
        conv1_t_stride=2,
        shortcut_type=shortcut,
        bias_downsample=False,
        feed_forward=False,
    )
    if reading == "dilated":
        for layer, dilation in ((network.layer3, 2), (network.layer4, 4)):
            for module in layer.modules():
                if isinstance(module, torch.nn.Conv3d):
                    module.stride = (1, 1, 1)
                if isinstance(module, torch.nn.Conv3d) and module.kernel_size == (3, 3, 3):
                    module.dilation = module.padding = (dilation,) * 3
            if isinstance(layer[0].downsample, partial):
                layer[0].downsample.keywords["stride"] = 1
    return network


@pytest.mark.parametrize(
    ("depth", "millions"),
    [(10, 14.36), (18, 32.99), (34, 63.31), (50, 46.21), (101, 85.31), (152, 117.51), (200, 126.74)],
)
@pytest.mark.parametrize("reading", READINGS)
def test_encoder_has_medicalnets_parameters(depth: int, millions: float, reading: Reading) -> None:
    """The table of https://github.com/Tencent/MedicalNet counts the norms' running statistics too."""
    with torch.device("meta"):
        network = ResNet(1, depth=depth, reading=reading)
    count = sum(value.numel() for name, value in encoder(network).items() if "num_batches" not in name)
    assert round(count / 1e6, 2) == millions


@pytest.mark.parametrize("depth", LAYOUTS)
@pytest.mark.parametrize("reading", READINGS)
def test_encoder_has_monais_names_and_shapes(depth: int, reading: Reading) -> None:
    with torch.device("meta"):
        ours, theirs = ResNet(1, depth=depth, reading=reading), monais(depth, 1)
    assert {name: value.shape for name, value in encoder(ours).items()} == {
        name: value.shape for name, value in theirs.state_dict().items()
    }


def test_state_dict_has_medicalnets_names() -> None:
    with torch.device("meta"):
        names, basic, bottleneck = (set(encoder(ResNet(1, depth=depth))) for depth in (10, 18, 50))
    assert {
        "conv1.weight",
        "bn1.running_var",
        "layer1.0.conv1.weight",
        "layer1.0.bn2.bias",
        "layer2.0.downsample.0.weight",
        "layer4.0.downsample.1.running_mean",
    } <= names
    assert not any("layer1" in name and "downsample" in name for name in names)
    assert not any("downsample" in name for name in basic)
    assert "layer4.1.conv2.weight" in basic
    assert {"layer1.0.downsample.0.weight", "layer3.5.bn3.running_var", "layer4.2.conv3.weight"} <= bottleneck
    assert not any("bias" in name and "conv" in name for name in bottleneck)


@pytest.mark.parametrize(
    ("depth", "channels", "shape", "reading"),
    [
        (10, 1, (64, 48, 80), "classification"),
        (10, 3, (33, 40, 32), "dilated"),
        (18, 3, (33, 64, 47), "classification"),
        (18, 1, (32, 35, 41), "dilated"),
        (50, 2, (33, 48, 40), "classification"),
        (50, 1, (32, 33, 40), "dilated"),
    ],
)
def test_encoder_equals_monais(depth: int, channels: int, shape: tuple[int, int, int], reading: Reading) -> None:
    torch.manual_seed(depth)
    ours = ResNet(channels, depth=depth, reading=reading)
    with torch.device("meta"):
        theirs = monais(depth, channels, reading)
    x = torch.randn(2, channels, *shape)
    with torch.no_grad():
        # Moves the running statistics away from 0 and 1, so that the norms take part in the comparison.
        ours.train().features(x)
        theirs.load_state_dict(encoder(ours), strict=True, assign=True)
        maps = ours.eval().features(x)
        expected = theirs.eval()(x)
    torch.testing.assert_close(maps.mean(dim=(2, 3, 4)), expected, rtol=1e-4, atol=1e-5)
    assert maps.shape[2:] == tuple(-(-side // ours.stride) for side in shape)


def test_readings_differ_in_their_maps_alone() -> None:
    with torch.device("meta"):
        plain, dilated = (ResNet(1, depth=50, reading=reading) for reading in READINGS)
    assert (plain.stride, dilated.stride) == (32, 8)
    x = torch.zeros(2, 1, 64, 64, 96, device="meta")
    assert plain.features(x).shape == (2, 2048, 2, 2, 3)
    assert dilated.features(x).shape == (2, 2048, 8, 8, 12)


def test_training_on_a_single_last_voxel_is_refused() -> None:
    network = ResNet(1, depth=10).train()
    with pytest.raises(UsageError, match="batch of 1 volume of 32x32x32; use batches of 2"):
        network(torch.zeros(1, 1, 32, 32, 32))
    assert network(torch.zeros(2, 1, 32, 32, 32)).shape == (2,)
    assert network(torch.zeros(1, 1, 32, 32, 33)).shape == (1,)
    assert network.eval()(torch.zeros(1, 1, 32, 32, 32)).shape == (1,)
