"""Names of weights to files; nothing is fetched, everything is said."""

import hashlib
import json
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from genovox.core.errors import DataError, UsageError
from genovox.models.registry import hash_sha256, read_registry, resolve_weights, weights_folder

CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GENOVOX_WEIGHTS", raising=False)
    return tmp_path / "home"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "study").mkdir()
    return tmp_path / "study"


def put(path: Path, content: bytes = CONTENT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_the_shipped_registry_holds_what_was_published(root: Path) -> None:
    sources = read_registry(root)
    files = {name: {network: entry.file for network, entry in one.networks.items()} for name, one in sources.items()}
    depths = (18, 34, 50, 101, 152, 200)
    assert files == {
        "medicalnet": {f"resnet{depth}": f"resnet_{depth}_23dataset.pth" for depth in (10, 18, 34, 50)}
        | {f"resnet{depth}": f"resnet_{depth}.pth" for depth in (101, 152, 200)},
        "kinetics": {f"resnet{depth}": f"r3d{depth}_K_200ep.pth" for depth in depths},
    }
    assert {name: one.channels for name, one in sources.items()} == {"medicalnet": 1, "kinetics": 3}
    assert {network: entry.shortcut for network, entry in sources["medicalnet"].networks.items()} == {
        f"resnet{depth}": "A" if depth in {18, 34} else "B" for depth in (10, *depths)
    }
    assert {entry.shortcut for entry in sources["kinetics"].networks.values()} == {"B"}
    # Nobody published hashes beside the files; one that stands here must come with where it was published.
    assert not any(entry.sha256 for one in sources.values() for entry in one.networks.values())
    assert all(one.page.startswith("https://") and "MIT" in one.licence for one in sources.values())


def test_the_registry_is_part_of_the_package() -> None:
    assert tomllib.loads((resources.files("genovox.models") / "registry.toml").read_text())


def test_a_name_is_a_file_in_the_cache(root: Path, home: Path) -> None:
    path = put(home / ".cache/genovox/weights/medicalnet/resnet_18_23dataset.pth")
    found = resolve_weights("resnet18@medicalnet", root)
    assert (found.network, found.source, found.path, found.sha256) == ("resnet18", "medicalnet", path, SHA256)
    assert (found.checked, found.licence, found.channels, found.shortcut) == (False, "MIT", 1, "A")
    assert found.page == "https://huggingface.co/TencentMedicalNet/MedicalNet-Resnet18"
    assert json.loads(json.dumps(found.as_dict()))["path"] == "resnet_18_23dataset.pth"


def test_a_reading_has_the_weights_of_its_network(root: Path, home: Path) -> None:
    path = put(home / ".cache/genovox/weights/medicalnet/resnet_18_23dataset.pth")
    found = resolve_weights("resnet18-dilated@medicalnet", root)
    assert (found.network, found.path) == ("resnet18-dilated", path)


def test_the_cache_can_be_elsewhere(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENOVOX_WEIGHTS", "~/w")
    assert weights_folder() == Path.home() / "w"
    monkeypatch.setenv("GENOVOX_WEIGHTS", str(tmp_path / "w"))
    path = put(tmp_path / "w/kinetics/r3d18_K_200ep.pth")
    found = resolve_weights("resnet18@kinetics", root)
    assert (found.path, found.channels, found.shortcut) == (path, 3, "B")
    assert found.page == "https://github.com/kenshohara/3D-ResNets-PyTorch"


def test_a_missing_file_is_asked_for_in_one_line(root: Path, home: Path) -> None:
    with pytest.raises(DataError) as error:
        resolve_weights("resnet50@medicalnet", root)
    assert str(error.value) == (
        "resnet50@medicalnet needs the file resnet_50_23dataset.pth, which is not there; get it from "
        "https://huggingface.co/TencentMedicalNet/MedicalNet-Resnet50 (licence: MIT) and put it at "
        f"{home}/.cache/genovox/weights/medicalnet/resnet_50_23dataset.pth, nothing is fetched for you"
    )


@pytest.mark.parametrize("spec", ["best.pth", "./best", "old/best.safetensors", "~/best.pth", "/absolute"])
def test_a_path_is_relative_to_the_study_of_home_or_absolute(root: Path, home: Path, tmp_path: Path, spec: str) -> None:
    if spec == "/absolute":
        spec = str(tmp_path / "best")
    path = put(root / Path(spec).expanduser())
    found = resolve_weights(f"resnet18@{spec}", root)
    assert (found.source, found.path, found.sha256, found.checked, found.page) == ("file", path, SHA256, False, "")


def test_a_path_must_be_a_file(root: Path) -> None:
    with pytest.raises(DataError, match=r"resnet18@a\.pth: .*a\.pth is not there; name a file"):
        resolve_weights("resnet18@a.pth", root)
    with pytest.raises(DataError, match="is a folder; name a file"):
        resolve_weights("resnet18@./", root)


@pytest.mark.parametrize("spec", ["resnet18", "resnet18@", "@medicalnet", ""])
def test_a_spec_has_two_sides(root: Path, spec: str) -> None:
    with pytest.raises(UsageError, match="NETWORK@NAME or NETWORK@PATH"):
        resolve_weights(spec, root)


def test_unknown_names_and_networks(root: Path) -> None:
    with pytest.raises(UsageError, match=r"'medicalnot' are not known, .*did you mean 'medicalnet'.*\./medicalnot"):
        resolve_weights("resnet18@medicalnot", root)
    with pytest.raises(UsageError, match=r"kinetics has weights of resnet18, .*, not of 'resnet10'; use one of those"):
        resolve_weights("resnet10@kinetics", root)


def test_what_pretraining_wrote(root: Path, tmp_path: Path) -> None:
    path = put(tmp_path / "run/pretrain/resnet18.safetensors")
    found = resolve_weights("resnet18@self", root, pretrained={"resnet18": path})
    assert (found.source, found.path, found.checked) == ("self", path, False)
    with pytest.raises(DataError, match=r"there is none; run: genovox pretrain"):
        resolve_weights("resnet18@self", root)
    with pytest.raises(DataError, match=r"none \(there is: resnet18\); run: genovox pretrain"):
        resolve_weights("light@self", root, pretrained={"resnet18": path})


def test_a_stated_hash_is_checked(root: Path, home: Path) -> None:
    path = put(home / ".cache/genovox/weights/medicalnet/resnet_18_23dataset.pth")
    (root / "weights.toml").write_text(f'[medicalnet.networks.resnet18]\nsha256 = "{SHA256}"\n')
    found = resolve_weights("resnet18@medicalnet", root)
    assert (found.path, found.checked, found.licence) == (path, True, "MIT")
    path.write_bytes(b"other")
    with pytest.raises(DataError, match=f"must have the stated sha256 {SHA256}, it has [0-9a-f]{{64}}; get the file"):
        resolve_weights("resnet18@medicalnet", root)


def test_the_users_own_names(root: Path, home: Path, tmp_path: Path) -> None:
    put(home / ".config/genovox/weights.toml", b'[ours]\nlicence = "internal"\n[ours.networks.light]\nfile = "a.pt"\n')
    first = put(home / ".cache/genovox/weights/ours/a.pt", b"a")
    assert resolve_weights("light@ours", root).path == first
    elsewhere = put(tmp_path / "elsewhere/b.pt", b"b")
    (root / "weights.toml").write_text(f'[ours.networks.light]\nfile = "{elsewhere}"\n')
    found = resolve_weights("light@ours", root)
    assert (found.path, found.licence) == (elsewhere, "internal")
    elsewhere.unlink()
    with pytest.raises(DataError, match=r"needs the file b\.pt, .*ask whoever wrote it into weights\.toml"):
        resolve_weights("light@ours", root)
    assert "medicalnet" in read_registry(root)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[ours", "must be TOML"),
        ("[self]\npage = ''", "is not self, got 'self'"),
        ("['a/b']\npage = ''", "got 'a/b'; rename it"),
        ("ours = 1", "ours: must be a table of keys; correct it"),
        ("[ours]\nlicense = 'MIT'", "unknown key ours.license; did you mean 'licence'"),
        ("[ours.networks.light]\nfile = 'a'\nsha = ''", "unknown key ours.networks.light.sha; did you mean 'sha256'"),
        ("[ours.networks.light]\nfile = 'a'\nsha256 = 'abc'", "sha256 must be 64 digits of 0-9 and a-f, got 'abc'"),
        ("[ours.networks.light]\npage = ''", "ours.networks.light.file: field required"),
        ("[ours]\nchannels = 0", "ours.channels: must be 1 or more; correct it"),
    ],
)
def test_a_wrong_registry_is_refused(root: Path, text: str, what: str) -> None:
    (root / "weights.toml").write_text(text)
    with pytest.raises(UsageError, match=what) as error:
        read_registry(root)
    assert "\n" not in str(error.value)
    assert str(root / "weights.toml") in str(error.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        hash_sha256(tmp_path / "none")


def test_a_file_is_read_once_and_again_when_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, digest = [], hashlib.file_digest

    def count(file: Any, name: str) -> Any:
        read.append(name)
        return digest(file, name)

    monkeypatch.setattr("genovox.models.registry.hashlib.file_digest", count)
    path = tmp_path / "a.pth"
    path.write_bytes(b"first")
    assert hash_sha256(path) == hash_sha256(path) == hashlib.sha256(b"first").hexdigest()
    assert len(read) == 1
    path.write_bytes(b"second")
    assert hash_sha256(path) == hashlib.sha256(b"second").hexdigest()
