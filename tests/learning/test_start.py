"""What a network starts from."""

from pathlib import Path

import pytest
import torch

from genovox.learning.checkpoint import STRANGER, load_network, save_network
from genovox.learning.start import build_start, open_start
from genovox.models.build import build_network
from genovox.models.resnet import ResNet


@pytest.mark.parametrize("reading", ["", "-dilated"])
@pytest.mark.parametrize(("depth", "shortcut"), [(18, "B"), (18, "A"), (10, "A")])
def test_a_resnet_has_the_shortcuts_of_its_file(tmp_path: Path, depth: int, shortcut: str, reading: str) -> None:
    torch.manual_seed(1)
    theirs = ResNet(1, depth=depth, shortcut=shortcut, reading="dilated" if reading else "classification")  # type: ignore[arg-type]
    for name, value in theirs.state_dict().items():
        if name.endswith(("running_mean", "running_var")):
            value.uniform_(0.5, 1.5)
    torch.save(
        {"state_dict": {f"module.{name}": value for name, value in theirs.state_dict().items()}}, tmp_path / "w.pth"
    )
    ours, coverage = build_start(open_start(f"resnet{depth}{reading}@w.pth", tmp_path, {}), 1, seed=2)
    assert coverage is not None
    assert coverage.is_whole
    volume = torch.randn(1, 1, 32, 32, 32)
    with torch.inference_mode():
        assert torch.equal(ours.eval().features(volume), theirs.eval().features(volume))
    save_network(tmp_path / "n.safetensors", ours, name=f"resnet{depth}{reading}", channels=1)
    again = load_network(tmp_path / "n.safetensors", name=f"resnet{depth}{reading}", channels=1)
    with torch.inference_mode():
        assert torch.equal(again(volume), ours(volume))


def test_a_part_without_shortcuts_leaves_them_to_the_depth(tmp_path: Path) -> None:
    torch.save(ResNet(1, depth=18, shortcut="B").state_dict(), tmp_path / "w.pth")
    start = open_start("resnet18@w.pth", tmp_path, {"resnet18@w.pth": ("conv1", "bn1")})
    network, _ = build_start(start, 1, seed=2)
    assert network.state_dict().keys() == build_network("resnet18", 1).state_dict().keys()


def test_a_file_by_its_path_is_a_stranger_and_no_weights_have_met_nobody(tmp_path: Path) -> None:
    torch.save(build_network("light", 1).state_dict(), tmp_path / "w.pth")
    assert open_start("light@w.pth", tmp_path, {}).lineage == STRANGER
    assert open_start("light", tmp_path, {}).lineage.is_whole
