"""Weights on disk."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from genovox.core.errors import DataError
from genovox.dataset.cases import PreparedCase
from genovox.learning.checkpoint import NOBODY, STRANGER, load_network, read_lineage, save_network
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


def _case(patient: str, family: str = "") -> PreparedCase:
    return PreparedCase(f"{patient}-left", patient, family, "", 0, "", Path())


def test_a_file_says_whom_its_network_has_met_and_names_nobody(tmp_path: Path) -> None:
    path = tmp_path / "n.safetensors"
    lineage = NOBODY.meet([_case("ANNA-7"), _case("BERTA-8", "F-9")], labels=True).meet(
        [_case("CLARA-5")], labels=False
    )
    save_network(path, build_network("light", 1), name="light", channels=1, lineage=lineage)
    found = read_lineage(path)
    assert found == lineage
    assert found.is_whole
    patients = [_case("ANNA-7"), _case("DORA-2", "F-9"), _case("CLARA-5"), _case("EMMA-1"), _case("ANNA-7")]
    assert found.count_met(patients, labels=True) == 2
    assert found.count_met(patients, labels=False) == 3
    content = path.read_bytes()
    assert not any(name in content for name in (b"ANNA", b"BERTA", b"CLARA", b"F-9"))


def test_a_file_from_elsewhere_does_not_say(tmp_path: Path) -> None:
    path = tmp_path / "n.safetensors"
    save_file(build_network("light", 1).state_dict(), path)
    torch.save({}, tmp_path / "n.pth")
    assert [read_lineage(place) for place in (path, tmp_path / "n.pth", tmp_path / "gone")] == [STRANGER] * 3
    assert not STRANGER.meet([_case("ANNA-7")], labels=True).is_whole
