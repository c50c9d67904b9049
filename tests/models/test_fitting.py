"""What fits is loaded whole, what does not is said; counts are made by hand."""

from pathlib import Path
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.networks.nets.resnet import ResNet as MonaiResNet
from torch import Tensor, nn
from torch.nn import functional

from genovox.core.errors import DataError, UsageError
from genovox.models.blocks import Network
from genovox.models.build import build_network
from genovox.models.fitting import PREFIXES, adapt_channels, fit_weights, recognise_network
from genovox.models.weights import read_weights

PROJECTIONS = 64 * 128 + 128 * 256 + 256 * 512 + 2 * (128 + 256 + 512)
"""Parameters of the three projections of shortcut B with basic blocks, counted by hand."""


def blank(name: str, channels: int) -> Network:
    """One of our networks, all zeros: quicker than drawing 33 M weights a test."""
    with torch.device("meta"):
        network = build_network(name, channels)
    network.to_empty(device="cpu")
    for value in network.state_dict().values():
        value.zero_()
    return network


def monai_resnet(
    depth: int, shortcut: Literal["A", "B"], channels: int = 1, *, bias: bool = False, classes: int = 5
) -> MonaiResNet:
    torch.manual_seed(depth)
    return MonaiResNet(
        "basic",
        {10: [1, 1, 1, 1], 18: [2, 2, 2, 2]}[depth],
        [64, 128, 256, 512],
        n_input_channels=channels,
        conv1_t_stride=2,
        shortcut_type=shortcut,
        bias_downsample=bias,
        num_classes=classes,
    ).eval()


def monai_state(depth: int, shortcut: Literal["A", "B"], channels: int = 1, *, bias: bool = False) -> dict[str, Tensor]:
    """MONAI's names and shapes, a number of its own in every tensor: stored once, however large the tensor."""
    with torch.device("meta"):
        described = monai_resnet(depth, shortcut, channels, bias=bias).state_dict()
    return {
        name: torch.tensor(number + 1, dtype=value.dtype).expand(value.shape)
        for number, (name, value) in enumerate(described.items())
    }


def medicalnet_state(depth: int, shortcut: Literal["A", "B"]) -> dict[str, Tensor]:
    """As MedicalNet's own file: DataParallel's prefix, a segmentation head."""
    state = {name: value for name, value in monai_state(depth, shortcut).items() if name[:3] != "fc."}
    state |= {"conv_seg.0.weight": torch.zeros(512, 32, 2, 2, 2), "conv_seg.0.bias": torch.zeros(32)}
    return {f"module.{name}": value for name, value in state.items()}


class Counted(nn.Module):
    """1,000 parameters in its encoder: 54 in ``conv1``, the rest as the test says; a head of 3."""

    def __init__(self, large: int, small: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(1, 2, 3, bias=False)
        self.large = nn.Linear(large, 1, bias=False)
        self.small = nn.Linear(small, 1, bias=False)
        self.bn = nn.BatchNorm3d(3)
        self.fc = nn.Linear(2, 1)


@pytest.mark.parametrize(("depth", "shortcut", "millions"), [(10, "B", 14.36), (18, "A", 32.99)])
def test_medicalnets_file_fits_whole(tmp_path: Path, depth: int, shortcut: Literal["A", "B"], millions: float) -> None:
    state = medicalnet_state(depth, shortcut)
    path = tmp_path / f"resnet_{depth}_23dataset.pth"
    torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=False)
    network = blank(f"resnet{depth}", 1).eval()
    head = network.state_dict()["fc.weight"].clone()
    coverage = fit_weights(network, read_weights(path), source=path.name)
    assert coverage.percent == 100.0
    assert round(coverage.parameters / 1e6, 2) == millions
    assert (coverage.missing, coverage.misfits, coverage.reshaped, coverage.warnings) == ((), (), (), ())
    assert coverage.unexpected == ("conv_seg.0.weight", "conv_seg.0.bias")
    assert coverage.statistics == coverage.statistics_matched == 2 * sum("running_mean" in name for name in state)
    assert torch.equal(network.state_dict()["fc.weight"], head)
    taken = network.state_dict()
    assert all(torch.equal(taken[name], state[f"module.{name}"]) for name in coverage.matched)
    assert set(coverage.matched) == {name for name in taken if name[:3] != "fc." and "num_batches" not in name}


def test_the_kinetics_file_answers_as_the_network_it_is_from() -> None:
    theirs = monai_resnet(10, "B", channels=3, classes=700)
    network = blank("resnet10", 1).eval()
    coverage = fit_weights(network, {f"module.{name}": value for name, value in theirs.state_dict().items()})
    assert (coverage.percent, coverage.reshaped) == (100.0, ("conv1.weight",))
    assert coverage.unexpected == ("fc.weight", "fc.bias")
    volume = torch.randn(1, 1, 32, 32, 32)
    theirs.fc = None
    with torch.no_grad():
        maps = network.features(volume)
        expected = theirs(volume.expand(-1, 3, -1, -1, -1))
    torch.testing.assert_close(maps.mean(dim=(2, 3, 4)), expected, rtol=1e-3, atol=1e-4)


def test_shortcuts_of_the_other_type_are_said() -> None:
    projected = fit_weights(blank("resnet18", 4), monai_state(18, "B", channels=3))
    assert projected.percent == 100.0
    assert sum("downsample" in name for name in projected.unexpected) == 3 * 5
    assert "the file's shortcuts are of type B, this network's of type A: 3 projections" in projected.warnings[0]
    plain = fit_weights(blank("resnet10", 1), medicalnet_state(10, "A"))
    assert plain.parameters - plain.parameters_matched == PROJECTIONS == 173_824
    assert plain.percent == 98.7
    assert "the file's shortcuts are of type A (no parameters), this network's of type B: 3" in plain.warnings[0]
    # The projections' norms have running statistics too: three means, three variances.
    assert "6 running statistics are not in the file" in plain.warnings[1]


def test_biases_this_network_has_no_place_for_are_said() -> None:
    coverage = fit_weights(blank("resnet10", 1), monai_state(10, "B", bias=True))
    assert coverage.percent == 100.0
    (warning,) = coverage.warnings
    assert warning == (
        "biases before norms are not used: layer2.0.downsample.0.bias, layer3.0.downsample.0.bias and 1 more; "
        "training adapts, a frozen encoder not"
    )


@pytest.mark.parametrize(("small", "percent", "fits"), [(49, 95.1, True), (50, 95.0, True), (51, 94.9, False)])
def test_the_threshold_to_the_parameter(small: int, percent: float, fits: bool) -> None:
    # 54 + large + small + 2 x 3 of the norm = 1,000; the head and the norm's statistics are not among them.
    network = Counted(1000 - 54 - 6 - small, small)
    state = {name: torch.full_like(value, 2) for name, value in network.state_dict().items() if "small" not in name}
    before = network.large.weight.clone()
    if fits:
        coverage = fit_weights(network, state)
        assert (coverage.parameters, coverage.parameters_matched) == (1000, 1000 - small)
        assert (coverage.percent, coverage.statistics, coverage.statistics_matched) == (percent, 2, 2)
        assert coverage.missing == ("small.weight",)
        assert (network.large.weight == 2).all()
    else:
        with pytest.raises(DataError, match=rf"must fit 95% .* it fits {percent}% \(949 of 1,000; missing: small"):
            fit_weights(network, state)
        assert torch.equal(network.large.weight, before)


def test_rounding_never_lifts_a_share_over_the_threshold() -> None:
    network = Counted(100_000 - 54 - 6 - 5_001, 5_001)
    state = {name: value for name, value in network.state_dict().items() if "small" not in name}
    with pytest.raises(DataError, match=r"it fits 94\.9% \(94,999 of 100,000"):
        fit_weights(network, state)


def test_the_file_of_a_larger_network_is_refused_though_it_covers_all() -> None:
    with pytest.raises(DataError, match=r"^a\.pth holds a larger network, .*looks like a resnet18") as error:
        fit_weights(blank("resnet10", 1), medicalnet_state(18, "A"), source="a.pth")
    assert "\n" not in str(error.value)
    # Not layer1: half of the file's would be left over there too.
    assert str(error.value).endswith("or name the part meant: conv1, bn1 fit")


def test_the_file_of_a_smaller_network_is_refused_by_name() -> None:
    network = blank("resnet18", 1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(DataError) as error:
        fit_weights(network, medicalnet_state(10, "B"), source="resnet_10.pth")
    message = str(error.value)
    # By hand: 343 x 64 and the 3^3 convolutions between 64, 128, 256 and 512 maps, two numbers a map and norm.
    assert message.startswith(
        "resnet_10.pth must fit 95% of the encoder's parameters, it fits 42.9% (14,181,696 of 32,986,176; "
    )
    assert "missing: layer1.1.conv1.weight, layer1.1.bn1.weight and 38 more" in message
    assert "; the file looks like a resnet10, use it with that network, or name the part meant: conv1, bn1" in message
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_tensors_of_other_shapes_are_shown() -> None:
    state = dict(blank("resnet10", 1).state_dict())
    for name in ("layer3.0.conv1.weight", "layer4.0.conv1.weight", "layer4.0.conv2.weight", "layer2.0.conv2.weight"):
        state[name] = state[name][:, :, 0]
    del state["layer1.0.bn1.weight"]
    with pytest.raises(DataError) as error:
        fit_weights(blank("resnet10", 1), state)
    assert "layer2.0.conv2.weight is 128x128x3x3, not 128x128x3x3x3, layer3.0" in str(error.value)
    assert "missing: layer1.0.bn1.weight (and 2 more of other shapes)" in str(error.value)


def test_weights_of_2d_networks_are_recognised() -> None:
    state = {name: value[:, :, 0] if value.ndim == 5 else value for name, value in medicalnet_state(18, "A").items()}
    with pytest.raises(DataError, match="its convolutions are 2D, use the weights of a 3D network"):
        fit_weights(blank("resnet18", 1), state)


def test_strange_weights_show_their_names() -> None:
    with pytest.raises(DataError, match=r"it fits 0\.0% .*its first tensors are a\.b, use the weights"):
        fit_weights(build_network("light", 1), {"a.b": torch.ones(2)})


@pytest.mark.parametrize("name", ["light", "resnet10", "resnet18"])
def test_networks_are_recognised_whatever_channels_and_prefix(name: str) -> None:
    state = {f"module.encoder.{key}": value for key, value in blank(name, 3).state_dict().items()}
    torch.manual_seed(3)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert recognise_network(state) == name
    assert torch.equal(torch.rand(1), drawn), "asking must not move the global generator"
    assert recognise_network({"a": torch.ones(1)}) is None


@given(prefixes=st.lists(st.sampled_from(PREFIXES), max_size=3))
@settings(max_examples=10, deadline=None)
def test_prefixes_are_taken_off_in_any_order(prefixes: list[str]) -> None:
    source = build_network("light", 1).state_dict()
    network = build_network("light", 1)
    coverage = fit_weights(network, {"".join(prefixes) + name: value for name, value in source.items()}, head=True)
    assert coverage.percent == 100.0
    assert all(torch.equal(value, source[name]) for name, value in network.state_dict().items())


def test_a_prefix_the_network_itself_has_stays() -> None:
    network = nn.ModuleDict({"model": nn.Linear(3, 3)})
    assert fit_weights(network, {f"module.{name}": v for name, v in network.state_dict().items()}).percent == 100.0


def test_two_tensors_for_one_name_are_refused() -> None:
    state = {"encoder.conv1.weight": torch.ones(1), "model.conv1.weight": torch.ones(1)}
    with pytest.raises(DataError, match=r"has encoder\.conv1\.weight and model\.conv1\.weight for conv1\.weight"):
        fit_weights(build_network("light", 1), state)


def test_a_part_by_name() -> None:
    state = medicalnet_state(18, "A")
    network = blank("resnet10", 1)
    rest = network.state_dict()["layer4.0.conv1.weight"].clone()
    coverage = fit_weights(network, state, part=("conv1", "bn1", "layer1.0"))
    # 7^3 x 64, two convolutions of 3^3 x 64 x 64, three norms of 2 x 64.
    assert coverage.parameters == coverage.parameters_matched == 343 * 64 + 2 * 27 * 64 * 64 + 3 * 128
    assert coverage.encoder_parameters > 14_000_000
    assert (coverage.missing, coverage.warnings) == ((), ())
    assert torch.equal(network.state_dict()["layer1.0.conv1.weight"], state["module.layer1.0.conv1.weight"])
    assert torch.equal(network.state_dict()["layer4.0.conv1.weight"], rest)
    with pytest.raises(DataError, match=r"holds a larger network, 221,440 parameters more in layer1.1.conv1.weight"):
        fit_weights(network, state, part=("layer1",))
    with pytest.raises(DataError, match=r"must fit 95% of the part layer1, it fits 50\.0%"):
        fit_weights(blank("resnet18", 1), medicalnet_state(10, "B"), part=("layer1",))


@pytest.mark.parametrize(("module", "nearest"), [("layer5", "layer"), ("fc", "conv1|bn1"), ("layer1.9", "layer1.0")])
def test_a_part_must_be_of_the_encoder(module: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=rf"module of the encoder, got '{module}'; did you mean '({nearest})"):
        fit_weights(blank("resnet10", 1), medicalnet_state(10, "B"), part=(module,))


def test_the_head_only_when_asked() -> None:
    source = build_network("light", 2).state_dict()
    network = build_network("light", 2)
    coverage = fit_weights(network, source)
    assert coverage.unexpected == ("fc.weight", "fc.bias")
    assert not torch.equal(network.state_dict()["fc.weight"], source["fc.weight"])
    assert "fc.bias" in fit_weights(network, source, head=True).matched
    assert torch.equal(network.state_dict()["fc.weight"], source["fc.weight"])
    del source["fc.bias"]
    with pytest.raises(DataError, match=r"the head was asked for, the file has no fc\.bias that fits"):
        fit_weights(network, source, head=True)
    source["fc.bias"] = torch.zeros(700)
    with pytest.raises(DataError, match=r"no fc\.bias that fits"):
        fit_weights(network, source, head=True)


def test_missing_statistics_are_counted_apart() -> None:
    state = dict(blank("resnet10", 1).named_parameters())
    coverage = fit_weights(blank("resnet10", 1), {name: value.detach() for name, value in state.items()})
    assert (coverage.percent, coverage.statistics, coverage.statistics_matched) == (100.0, 24, 0)
    assert coverage.warnings[0].startswith("24 running statistics are not in the file")


def test_half_precision_is_taken_and_nonsense_is_not() -> None:
    state = build_network("light", 1).state_dict()
    network = build_network("light", 1)
    fit_weights(network, {name: value.bfloat16() for name, value in state.items()})
    taken = network.state_dict()["conv1.weight"]
    assert taken.dtype == torch.float32
    torch.testing.assert_close(taken, state["conv1.weight"], rtol=1e-2, atol=1e-3)
    with pytest.raises(DataError, match=r"must be floating-point numbers, block1\.norm1\.weight of the file is not"):
        fit_weights(network, state | {"block1.norm1.weight": torch.ones(32, dtype=torch.int64)})
    with pytest.raises(DataError, match=r"must be finite, block1\.norm1\.weight of the file is not; give another"):
        fit_weights(network, state | {"block1.norm1.weight": torch.full((32,), float("nan"))})
    assert torch.equal(network.state_dict()["conv1.weight"], taken)


@given(before=st.integers(1, 6), after=st.integers(1, 6), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_equal_channels_are_answered_as_before(before: int, after: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(3, before, 3, 3, 3, generator=generator)
    adapted = adapt_channels(weight, after)
    assert adapted.shape == (3, after, 3, 3, 3)
    volume = torch.randn(1, 1, 5, 5, 5, generator=generator)
    old = functional.conv3d(volume.expand(-1, before, -1, -1, -1), weight)
    new = functional.conv3d(volume.expand(-1, after, -1, -1, -1), adapted)
    torch.testing.assert_close(new, old, rtol=1e-4, atol=1e-5)


def test_channels_by_hand() -> None:
    rgb = torch.tensor([1.0, 2.0, 6.0]).view(1, 3, 1, 1, 1)
    assert torch.equal(adapt_channels(rgb, 3), rgb)
    assert adapt_channels(rgb, 1).flatten().tolist() == [9.0]
    assert adapt_channels(rgb, 2).flatten().tolist() == [4.5, 4.5]
    assert adapt_channels(torch.full((1, 1, 1, 1, 1), 8.0), 4).flatten().tolist() == [2.0] * 4
    assert adapt_channels(rgb.half(), 2).dtype == torch.float16
