"""Weights on disk."""

from pathlib import Path

import pytest
import torch

from genovox.core.errors import DataError
from genovox.learning.checkpoint import load_network, save_network
from genovox.models.build import build_network


def test_round_trip_gives_the_same_scores(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = build_network("light", 2).eval()
    save_network(tmp_path / "n.safetensors", network, name="light", channels=2)
    again = load_network(tmp_path / "n.safetensors", name="light", channels=2)
    batch = torch.randn(2, 2, 24, 24, 24)
    with torch.inference_mode():
        assert torch.equal(network(batch), again(batch))
    assert not again.training


@pytest.mark.parametrize("content", [None, b"", b"not safetensors at all", b"\x80\x04pickle"])
def test_anything_else_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "n.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match="train again"):
        load_network(path, name="light", channels=1)


def test_other_channels_are_refused(tmp_path: Path) -> None:
    network = build_network("light", 2)
    save_network(tmp_path / "n.safetensors", network, name="light", channels=2)
    with pytest.raises(DataError, match="3 channels"):
        load_network(tmp_path / "n.safetensors", name="light", channels=3)


def test_the_same_weights_are_the_same_bytes(tmp_path: Path) -> None:
    network = build_network("light", 1)
    files = [tmp_path / f"{number}.safetensors" for number in range(12)]
    for path in files:
        save_network(path, network, name="light", channels=1)
    assert len({path.read_bytes() for path in files}) == 1
