"""Files as they are published, and files nobody should open."""

import argparse
import pickle
import tarfile
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from genovox.core.errors import DataError
from genovox.learning.checkpoint import save_network
from genovox.models.build import build_network
from genovox.models.weights import _describe_code, read_weights


class Attack:
    """Opened as a pickle, it writes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({str(self.target)!r}, 'w').close()",)


def small() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return OrderedDict(
        (name, torch.randn(shape, generator=generator))
        for name, shape in {"conv1.weight": (4, 1, 3, 3, 3), "bn1.weight": (4,), "bn1.running_var": (4,)}.items()
    )


def same(read: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return list(read) == list(expected) and all(torch.equal(read[name], expected[name]) for name in read)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before-1.6"])
def test_medicalnets_format(tmp_path: Path, legacy: bool) -> None:
    # Keys as MedicalNet's train.py writes them, spelling included; its files are older than torch's zip.
    state = {f"module.{name}": value for name, value in small().items()}
    content = {"ecpoch": 180, "batch_id": 0, "state_dict": state, "optimeizer": {"state": {}, "param_groups": []}}
    torch.save(content, tmp_path / "resnet_10.pth", _use_new_zipfile_serialization=not legacy)
    assert same(read_weights(tmp_path / "resnet_10.pth"), state)


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before-1.6"])
def test_kinetics_format_with_its_scheduler(tmp_path: Path, prefix: str, legacy: bool) -> None:
    network = nn.ModuleDict({"conv1": nn.Conv3d(3, 4, 7, bias=False), "bn1": nn.BatchNorm3d(4), "fc": nn.Linear(4, 7)})
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [50, 100])
    state = {prefix + name: value for name, value in network.state_dict().items()}
    content = {
        "epoch": 200,
        "arch": "resnet-10",
        "state_dict": state,
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
    }
    torch.save(content, tmp_path / "r3d10_K_200ep.pth", _use_new_zipfile_serialization=not legacy)
    assert same(read_weights(tmp_path / "r3d10_K_200ep.pth"), state)


def test_plain_state_dicts_and_parameters(tmp_path: Path) -> None:
    network = nn.Conv3d(1, 2, 3)
    torch.save(network.state_dict(), tmp_path / "plain.pt")
    assert list(read_weights(tmp_path / "plain.pt")) == ["weight", "bias"]
    torch.save(dict(network.named_parameters()) | {"epoch": 3}, tmp_path / "parameters.pt")
    read = read_weights(tmp_path / "parameters.pt")
    assert list(read) == ["weight", "bias"]
    assert not read["weight"].requires_grad


@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth", "weights.pt", "weights"])
def test_safetensors_by_content(tmp_path: Path, name: str) -> None:
    save_file(small(), tmp_path / name)
    assert same(dict(sorted(read_weights(tmp_path / name).items())), dict(sorted(small().items())))


def test_a_fold_of_genovox_itself(tmp_path: Path) -> None:
    network = build_network("light", 2)
    save_network(tmp_path / "network.safetensors", network, name="light", channels=2)
    read = read_weights(tmp_path / "network.safetensors")
    assert {name: value.shape for name, value in read.items()} == {
        name: value.shape for name, value in network.state_dict().items()
    }


def test_torchs_own_format_under_another_suffix(tmp_path: Path) -> None:
    torch.save(small(), tmp_path / "weights.safetensors")
    assert same(read_weights(tmp_path / "weights.safetensors"), small())


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before-1.6"])
def test_numbers_and_options_beside_the_weights_are_dropped(tmp_path: Path, legacy: bool) -> None:
    content = {
        "best_auc": np.float64(0.81),
        "epoch": np.int64(7),
        "class_weights": np.ones(2, dtype=np.float32),
        "args": argparse.Namespace(lr=0.1, out=Path("runs")),
        "model_state_dict": small(),
    }
    torch.save(content, tmp_path / "training.pth", _use_new_zipfile_serialization=not legacy)
    before = set(torch.serialization.get_safe_globals())
    assert same(read_weights(tmp_path / "training.pth"), small())
    # torch's own list of what is safe is as it was: the next reader gets none of our stand-ins.
    assert set(torch.serialization.get_safe_globals()) == before


def test_a_repacked_zip_is_read_not_mapped(tmp_path: Path) -> None:
    torch.save(small(), tmp_path / "stored.pth")
    with (
        zipfile.ZipFile(tmp_path / "stored.pth") as stored,
        zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in stored.namelist():
            packed.writestr(name, stored.read(name))
    assert same(read_weights(tmp_path / "packed.pth"), small())


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before-1.6"])
@pytest.mark.parametrize("place", ["top", "beside"])
def test_code_in_a_pickle_is_refused_and_never_run(tmp_path: Path, legacy: bool, place: str) -> None:
    target = tmp_path / "pwned"
    content = Attack(target) if place == "top" else {"state_dict": small(), "extra": Attack(target)}
    path = tmp_path / "resnet_50_23dataset.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(DataError, match=r"names exec, code that loading would run \(nothing was run\)") as error:
        read_weights(path)
    assert "\n" not in str(error.value)
    assert not target.exists()
    torch.load(path, weights_only=False)
    assert target.exists(), "the attack itself must work, or this test shows nothing"


@pytest.mark.parametrize("module", ["os", "posix", "subprocess"])
def test_system_calls_are_refused(tmp_path: Path, module: str) -> None:
    class Call:
        def __reduce__(self) -> tuple[Any, ...]:
            import os
            import subprocess

            functions: dict[str, Any] = {"os": os.mkdir, "posix": os.mkdir, "subprocess": subprocess.Popen}
            return functions[module], (str(tmp_path / "pwned"),)

    torch.save({"state_dict": small(), "extra": Call()}, tmp_path / "x.pth")
    with pytest.raises(DataError, match=r"names (posix\.mkdir|\w+\.Popen), code"):
        read_weights(tmp_path / "x.pth")
    assert not (tmp_path / "pwned").exists()


def test_a_bare_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    target = tmp_path / "pwned"
    for protocol in range(2, 6):
        (tmp_path / "x.pth").write_bytes(pickle.dumps(Attack(target), protocol=protocol))
        with pytest.raises(DataError, match="bare pickle, which runs code"):
            read_weights(tmp_path / "x.pth")
    (tmp_path / "x.pth").write_bytes(pickle.dumps(Attack(target), protocol=0))
    with pytest.raises(DataError, match="is a text file"):
        read_weights(tmp_path / "x.pth")
    assert not target.exists()


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before-1.6"])
def test_a_whole_network_is_refused(tmp_path: Path, legacy: bool) -> None:
    torch.save(nn.Sequential(nn.Linear(1, 1)), tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(DataError, match=r"names torch\.nn\.modules\.container\.Sequential, a whole network's class"):
        read_weights(tmp_path / "x.pth")
    torch.save({"model": build_network("light", 1)}, tmp_path / "y.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(DataError, match=r"names genovox\.models\.light\.LightNet, code .*state_dict\(\) alone"):
        read_weights(tmp_path / "y.pth")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_refused(tmp_path: Path) -> None:
    jit: Any = torch.jit
    jit.trace(nn.Conv3d(1, 1, 1), torch.zeros(1, 1, 2, 2, 2)).save(str(tmp_path / "traced.pt"))
    jit.script(nn.Conv3d(1, 1, 1)).save(str(tmp_path / "scripted.pth"))
    for name in ("traced.pt", "scripted.pth"):
        with pytest.raises(DataError, match="is a TorchScript archive, which holds code"):
            read_weights(tmp_path / name)


def test_tar_archives_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pickle").write_bytes(b"x")
    for kind in ("w", "w:bz2"):
        with tarfile.open(tmp_path / "old.pth.tar", kind) as archive:
            archive.add(tmp_path / "pickle", "pickle")
        with pytest.raises(DataError, match=r"is a tar archive, as torch wrote before 0\.2"):
            read_weights(tmp_path / "old.pth.tar")


def test_the_published_zip_of_all_networks_asks_to_be_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "MedicalNet_pytorch_files.zip", "w") as archive:
        archive.writestr("pretrain/resnet_10.pth", b"x")
    with pytest.raises(DataError, match=r"zip of other files; unzip it .* such as pretrain/resnet_10\.pth"):
        read_weights(tmp_path / "MedicalNet_pytorch_files.zip")
    np.savez(tmp_path / "x.npz", a=np.ones(2))
    with pytest.raises(DataError, match="zip of other files; give a file of torch"):
        read_weights(tmp_path / "x.npz")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty; download"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "pointer of Git LFS.*git lfs pull"),
        (b"\n<!DOCTYPE html><html>Google Drive - Virus scan warning", "is a web page"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5"),
        (b"\x1f\x8b\x08\x00" + bytes(99), "compressed with gzip; unpack"),
        (b"conv1.weight 1 2 3\n", "is a text file"),
        (b"\x00\x01\x02\x03" * 99, "starts with 00 01 02 03"),
        (b"PK\x03\x04 cut", "is cut or damaged"),
    ],
)
def test_other_files_are_named_for_what_they_are(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(DataError, match=what) as error:
        read_weights(tmp_path / "x.pth")
    assert "\n" not in str(error.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such weights file"):
        read_weights(tmp_path / "x.pth")
    with pytest.raises(DataError, match=r"is a folder; name a file such as weights\.safetensors"):
        read_weights(tmp_path)
    (tmp_path / "b.pth").touch()
    with pytest.raises(DataError, match=r"is a folder; name a file in it, such as b\.pth"):
        read_weights(tmp_path)
    with pytest.raises(DataError, match="is a device or a pipe; give a file"):
        read_weights(Path("/dev/null"))
    # A file that opens and cannot be read, whoever runs the test.
    with pytest.raises(DataError, match=r"/proc/self/mem cannot be read \(.+\); check the path"):
        read_weights(Path("/proc/self/mem"))


@pytest.mark.parametrize("kind", ["zip", "before-1.6", "safetensors"])
def test_cut_files_are_damaged_wherever_they_are_cut(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "x.pth"
    if kind == "safetensors":
        save_file(small(), path)
    else:
        torch.save(small(), path, _use_new_zipfile_serialization=kind == "zip")
    content = path.read_bytes()
    for share in (0.1, 0.5, 0.9, 0.999):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(DataError, match=r"is cut or damaged \(.+\); download or copy it again") as error:
            read_weights(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["zip", "before-1.6", "safetensors"])
@given(data=st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_flipped_bytes_give_tensors_or_one_line(tmp_path: Path, kind: str, data: st.DataObject) -> None:
    path = tmp_path / "x.pth"
    if kind == "safetensors":
        save_file(small(), path)
    else:
        torch.save({"state_dict": small()}, path, _use_new_zipfile_serialization=kind == "zip")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(len(content), 900) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    # Anything but a refusal of ours fails the test.
    with suppress(DataError):
        assert all(isinstance(value, Tensor) for value in read_weights(path).values())


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (torch.ones(3), "holds one tensor; save a state_dict"),
        ([torch.ones(3)], "holds a list; save a state_dict"),
        ({"epoch": 3, "student": {"teacher": {}}}, "holds epoch, student; save the weights alone"),
        ({}, "holds nothing; save the weights alone"),
        ({"a": torch.eye(3).to_sparse()}, "a of .* is torch.sparse_coo"),
        ({"a": torch.empty(3, device="meta")}, "on meta"),
    ],
)
def test_checkpoints_without_weights(tmp_path: Path, content: Any, what: str) -> None:
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(DataError, match=what):
        read_weights(tmp_path / "x.pth")


def test_safetensors_without_tensors(tmp_path: Path) -> None:
    save_file({}, tmp_path / "x.safetensors")
    with pytest.raises(DataError, match="holds none"):
        read_weights(tmp_path / "x.safetensors")


def test_code_in_a_newer_pickle_is_refused_and_never_run(tmp_path: Path) -> None:
    target = tmp_path / "pwned"
    torch.save({"state_dict": small(), "extra": Attack(target)}, tmp_path / "x.pth", pickle_protocol=4)
    with pytest.raises(
        DataError, match=r"holds more than tensors: Unsupported operand 149 \(nothing was run\)"
    ) as error:
        read_weights(tmp_path / "x.pth")
    assert "\n" not in str(error.value)
    assert not target.exists()


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ("Weights only load failed. ``torch.nested`` must be imported\n advice", "``torch.nested`` must be imported"),
        ("strange", "strange"),
        ("", ""),
    ],
)
def test_torchs_advice_to_switch_the_protection_off_is_not_passed_on(message: str, what: str) -> None:
    assert _describe_code(message) == f"holds more than tensors: {what}"
