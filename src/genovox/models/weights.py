"""Weights from anybody's file: tensors are read, code is never run."""

import pickle
import re
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.serialization import safe_globals

from genovox.core.errors import DataError

WEIGHT_KEYS = (
    "state_dict",
    "model_state_dict",
    "net_state_dict",
    "network_state_dict",
    "encoder_state_dict",
    "model",
    "network",
    "net",
    "network_weights",
    "weights",
)
"""Where checkpoints keep their weights, the first that holds tensors counts; else the file is the state dict itself."""

_ZIP, _LEGACY = b"PK\x03\x04", b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".tar")
_SAVE_ALONE = "where you trust it, save its state_dict() alone, best with safetensors.torch.save_file"
_STRANGERS = (
    (b"version https://git-lfs", "is a pointer of Git LFS, not the file", "fetch it with: git lfs pull"),
    (b"<", "is a web page, as a download page leaves it", "download the file itself in a browser"),
    (b"\x89HDF", "is an HDF5 file, as Keras writes them", "give the weights of a PyTorch network"),
    (b"\x1f\x8b", "is compressed with gzip", "unpack it first"),
)
_DAMAGE = (
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    OSError,
    OverflowError,
    struct.error,
)


class _Dropped:
    """What stands in for data beside the weights: takes anything, keeps nothing."""

    def __init__(self, *values: object) -> None:
        """Forget the values."""

    def __setstate__(self, state: object) -> None:
        """Forget the state."""


# Numbers and options that training scripts save beside their weights. The unpickler makes our own empty object of
# each, so that not even numpy's code (whose dtypes trust what they are given) runs on the file's bytes.
_DATA = (
    "numpy.dtype",
    "numpy.ndarray",
    *(f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(f"numpy.dtypes.{name}DType" for name in ("Float16", "Float32", "Float64", "Int32", "Int64", "Bool")),
    "argparse.Namespace",
    *(f"pathlib.{name}" for name in ("Path", "PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")),
)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a checkpoint by their names in it, on the CPU, mapped from the file where its format allows that.

    The format is told by the content, never by the suffix: safetensors, or what ``torch.save`` writes (today's zip
    and the format of before torch 1.6, in which MedicalNet and the Kinetics ResNets are published), read with
    ``weights_only``. Of a training checkpoint the weights are taken (``WEIGHT_KEYS``); optimiser states, numpy
    numbers and options beside them are dropped unread.

    Raises:
        DataError: For a file that is missing, damaged, no checkpoint, a TorchScript archive, a whole network, or that
            names any code; nothing of it was run.

    References:
        https://pytorch.org/docs/stable/notes/serialization.html#weights-only,
        https://huggingface.co/docs/safetensors.
    """
    try:
        head, size = _read_head(path)
        if head[8:9] == b"{" and _is_safetensors(head, size):
            return _read_safetensors(path)
        if head.startswith(_ZIP):
            return _read_torch(path, mmap=_check_zip(path))
        if _LEGACY in head[:32]:
            return _read_torch(path, mmap=False)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the path and who may read it") from None
    raise _stranger(path, head)


def _read_head(path: Path) -> tuple[bytes, int]:
    if not path.exists():
        raise DataError(f"no such weights file: {path}; check the path or put the file there")
    if path.is_dir():
        inside = sorted(entry.name for entry in path.iterdir() if entry.suffix in _SUFFIXES)
        advice = f"name a file in it, such as {inside[0]}" if inside else "name a file such as weights.safetensors"
        raise DataError(f"weights must be a file, {path} is a folder; {advice}")
    if not path.is_file():
        raise DataError(f"weights must be a file, {path} is a device or a pipe; give a file")
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        raise DataError(f"weights must hold tensors, {path} is empty; download or copy it again")
    return head, path.stat().st_size


def _is_safetensors(head: bytes, size: int) -> bool:
    # The header's length, then the header: JSON. A cut file has a header that its size does not reach.
    return int.from_bytes(head[:8], "little") < max(size, 1 << 27)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        state = load_file(path, device="cpu")
    except SafetensorError as error:
        raise _damaged(path, error) from None
    return _check_tensors(state, path)


def _check_zip(path: Path) -> bool:
    """Whether a zip's tensors can be mapped; anything but a checkpoint of ``torch.save`` is refused."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, *_DAMAGE) as error:
        raise _damaged(path, error) from None
    places = [PurePosixPath(entry.filename).parts for entry in entries]
    if any(place[-1:] in {("constants.pkl",), ("model.json",)} or place[1:2] == ("code",) for place in places):
        raise DataError(
            f"weights must be plain tensors, {path} is a TorchScript archive, which holds code; {_SAVE_ALONE}"
        )
    if not any(place[1:] == ("data.pkl",) for place in places):
        inside = [entry.filename for entry in entries if entry.filename.endswith(_SUFFIXES)]
        advice = f"unzip it and name one of its files, such as {inside[0]}" if inside else "give a file of torch.save"
        raise DataError(f"weights must be a checkpoint, {path} is a zip of other files; {advice}")
    return all(entry.compress_type == zipfile.ZIP_STORED for entry in entries)


def _read_torch(path: Path, *, mmap: bool) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings(), safe_globals([(_Dropped, name) for name in _DATA]):
            # Of the pickle's protocol and of old storage classes: nothing the reader of a study could act on.
            warnings.simplefilter("ignore")
            if mmap and path.suffix != ".safetensors":
                content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
            else:
                # Opened here: by its path alone torch takes a file for safetensors where its suffix says so.
                with path.open("rb") as file:
                    content = torch.load(file, map_location="cpu", weights_only=True, mmap=False)
    except pickle.UnpicklingError as error:
        raise DataError(
            f"weights must be plain tensors, {path} {_describe_code(str(error))} (nothing was run); {_SAVE_ALONE}"
        ) from None
    except _DAMAGE as error:
        raise _damaged(path, error) from None
    return _check_tensors(_find_state(content, path), path)


def _describe_code(message: str) -> str:
    """What the unpickler stopped at, without torch's advice to switch it off."""
    named = re.search(r"GLOBAL ([\w.]+) w", message)
    if named:
        kind = "a whole network's class" if named[1].startswith("torch.nn.modules.") else "code"
        return f"names {named[1]}, {kind} that loading would run"
    found = re.search(r"WeightsUnpickler error:\s*(.+)", message) or re.search(r"(?:.*load failed\. )?(.+)", message)
    return f"holds more than tensors: {found[1] if found else message:.120}"


def _find_state(content: Any, path: Path) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        kind = "one tensor" if isinstance(content, Tensor) else f"a {type(content).__name__}"
        raise DataError(f"a checkpoint must hold tensors by name, {path} holds {kind}; save a state_dict()")
    for place in (*(content.get(key) for key in WEIGHT_KEYS), content):
        if isinstance(place, Mapping) and any(isinstance(value, Tensor) for value in place.values()):
            return {str(name): value for name, value in place.items() if isinstance(value, Tensor)}
    keys = ", ".join(map(str, list(content)[:8])) or "nothing"
    raise DataError(
        f"a checkpoint must hold its tensors at the top or under {', '.join(WEIGHT_KEYS)}, {path} holds {keys}; "
        "save the weights alone"
    )


def _check_tensors(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    for name, value in state.items():
        if value.layout is not torch.strided or value.device.type != "cpu" or value.is_quantized:
            raise DataError(
                f"weights must be dense tensors with values, {name} of {path} is {value.layout}, {value.dtype}, on "
                f"{value.device.type}; save the network's own weights"
            )
    if not state:
        raise DataError(f"weights must hold tensors, {path} holds none; save a state_dict()")
    return {name: value.detach() for name, value in state.items()}


def _damaged(path: Path, error: Exception) -> DataError:
    reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")[:120]
    return DataError(f"{path} is cut or damaged ({reason}); download or copy it again")


def _stranger(path: Path, head: bytes) -> DataError:
    for start, what, advice in _STRANGERS:
        if head.lstrip().startswith(start):
            return DataError(f"weights must be a PyTorch checkpoint or safetensors, {path} {what}; {advice}")
    if head[257:262] == b"ustar" or tarfile.is_tarfile(path):
        what, advice = (
            "is a tar archive, as torch wrote before 0.2",
            "unpack it, or load and save it with a newer torch",
        )
    elif head[:1] == b"\x80":
        what, advice = "is a bare pickle, which runs code when it is opened (nothing was run)", _SAVE_ALONE
    elif head.isascii() and b"\0" not in head:
        what, advice = "is a text file", "check the path, or download the file itself"
    else:
        what, advice = f"starts with {head[:4].hex(' ')}, which neither does", "check the path, or convert it"
    return DataError(f"weights must be a PyTorch checkpoint or safetensors, {path} {what}; {advice}")
