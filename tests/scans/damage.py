"""Trees with damaged files in them, and what must hold of whatever is made of them."""

import io
import random
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.datadict import keyword_dict
from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from genovox.core.errors import DataError, ImageError
from genovox.scans.index import hash_stacks, index_folder
from genovox.scans.voxels import read_stack

from .compressions import ENCODERS
from .conftest import describe_frames, describe_image, describe_mosaic, write_image

CONTROL, VICTIM = "1.2.3.9", "1.2.3.4"
_SYNTAXES = (RLELossless, JPEG2000Lossless, JPEGLSLossless, JPEGLosslessSV1)
# Elements that decide what a series is, and values that nobody would send.
_KEYWORDS = (
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames",
    "RescaleSlope", "RescaleIntercept", "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID",
    "PatientID", "InstanceNumber", "AcquisitionTime", "TemporalPositionIdentifier", "SpecificCharacterSet",
    "ImageType", "SpacingBetweenSlices", "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence",
)  # fmt: skip
_VALUES: tuple[bytes, ...] = (
    b"", b"0", b"-1", b"1e308", b"nan", b"1\\2\\3\\4\\5\\6", b"0\\0\\0\\0\\0\\0", b"\xff\xff", b"\0\0\0\0", b"7" * 70,
    b"MOSAIC\\MOSAIC", b"1.2.840.10008.5.1.4.1.1.4.1", b"99999999999999999999", b"\x1b$B", b"ISO 2022 IR 87", b"RGB",
)  # fmt: skip


def plant_tree(folder: Path, seed: int) -> None:
    """A whole series and another one that is damaged somehow, as plain files or in an archive."""
    rng = random.Random(seed)
    for k in range(4):
        control = describe_image(k, np.full((4, 5), k + 1, np.uint16), (0, 0, k), SeriesInstanceUID=CONTROL)
        control.SOPInstanceUID, control.StudyInstanceUID, control.PatientID = f"{CONTROL}.{k}", "1.2.99", "control"
        write_image(folder / "control" / f"{k}", control)
    contents = _make_victim(rng)
    for _ in range(rng.choice((1, 1, 2, 4))):
        name = rng.choice(sorted(contents))
        contents[name] = rng.choice(_DAMAGES)(contents[name] or bytes(200), rng)
    place = folder / "victim"
    place.mkdir()
    if rng.random() < 0.6:
        for name, content in contents.items():
            (place / name).write_bytes(content)
        return
    path = place / rng.choice(("a.zip", "a.tar", "a.tar.gz"))
    _pack(path, contents)
    if rng.random() < 0.5:
        path.write_bytes(rng.choice((_flip, _cut))(path.read_bytes(), rng))


def _make_victim(rng: random.Random) -> dict[str, bytes]:
    voxels = np.random.default_rng(rng.randrange(99)).integers(0, 4000, (2, 4, 33, 34)).astype(np.uint16)
    kind = rng.choice(("classic", "classic", "enhanced", "mosaic"))
    if kind == "enhanced":
        datasets = [describe_frames(voxels)]
    elif kind == "mosaic":
        datasets = [describe_mosaic(voxels[0], np.zeros(3), np.eye(3), (1, 1, 2))]
    else:
        datasets = [
            describe_image(4 * p + k, voxels[p, k], (0, 0, 2 * k), TemporalPositionIdentifier=p + 1)
            for p in range(2)
            for k in range(4)
        ]
    syntax = rng.choice(_SYNTAXES) if rng.random() < 0.5 else None
    contents = {}
    for number, dataset in enumerate(datasets):
        if syntax:
            ENCODERS[syntax](dataset)
        contents[f"{number}"] = _write(dataset, syntax)
    return contents


def _write(dataset: Dataset, syntax: str | None) -> bytes:
    buffer = io.BytesIO()
    if syntax:
        dataset.file_meta.TransferSyntaxUID = syntax  # type: ignore[assignment]
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _flip(content: bytes, rng: random.Random) -> bytes:
    changed = bytearray(content)
    reach = rng.choice((400, 2000, len(content)))
    for _ in range(rng.choice((1, 3, 30))):
        changed[rng.randrange(min(reach, len(changed)))] = rng.randrange(256)
    return bytes(changed)


def _cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def _repeat(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(content))
    return content[:start] + content[start : start + rng.randrange(5000)] + content[start:]


def _change_element(content: bytes, rng: random.Random) -> bytes:
    """An element's stored bytes for others, or no element; as no library would write it."""
    tag = keyword_dict[rng.choice(_KEYWORDS)]
    head = tag.to_bytes(4, "big")
    head = bytes((head[1], head[0], head[3], head[2]))
    at = content.find(head, 132)
    if at < 0 or content[at + 4 : at + 6] == b"SQ":
        return _flip(content, rng)
    length = int.from_bytes(content[at + 6 : at + 8], "little")
    value = rng.choice(_VALUES)
    value += b" " * (len(value) % 2)
    new = b"" if rng.random() < 0.2 else content[at : at + 6] + len(value).to_bytes(2, "little") + value
    return content[:at] + new + content[at + 8 + length :]


def _empty(_: bytes, rng: random.Random) -> bytes:
    return rng.choice((b"", bytes(128) + b"DICM", bytes(5000), rng.randbytes(3000)))


_DAMAGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip,
    _flip,
    _cut,
    _repeat,
    _change_element,
    _change_element,
    _empty,
)


def _pack(path: Path, contents: dict[str, bytes]) -> None:
    names = {"0": "../../../../tmp/0", "1": "/etc/1", "2": "C:\\2"}
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in contents.items():
                archive.writestr(names.get(name, name), content)
        return
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as packed:
        for name, content in contents.items():
            member = tarfile.TarInfo(names.get(name, name))
            member.size = len(content)
            packed.addfile(member, io.BytesIO(content))


def check_tree(root: Path) -> str:
    """Index, hash and read everything; returns what became of the damaged series.

    Raises:
        AssertionError: If a file is lost without a word, or the whole series suffered.
        Exception: Whatever else is raised is a fault.
    """
    found = index_folder(root / "dicom", root)
    assert found.files >= 4
    fate = "left out whole"
    for one in found.series:
        assert bool(one.stacks) != bool(one.problem), one.problem
        if one.series_uid == CONTROL and one.patient_id == "control" and one.files == 4:
            assert one.problem == ""
        phases = [(one.series_uid, at) for at in range(len(one.stacks))]
        files = dict(hash_stacks(root, phases))
        for phase in phases:
            stack, names = one.stacks[phase[1]], files[phase]
            paths = [root / name for name in names.files]
            try:
                volume = read_stack(paths, stack.affine, stack.shape, names.frames)
            except ImageError as error:
                _refuse_names(root, error)
                fate = "refused when read"
                continue
            assert np.isfinite(volume.array).all()
            if one.series_uid == CONTROL:
                assert volume.array[0, :, 0, 0].tolist() == [1, 2, 3, 4]
            elif fate == "left out whole":
                fate = "read"
    return fate


def _refuse_names(folder: Path, error: DataError) -> None:
    assert str(folder) not in str(error)


def try_tree(folder: Path, seed: int) -> str:
    """Plant a tree and check it; one clear error is an answer as well."""
    plant_tree(folder / "dicom", seed)
    try:
        return check_tree(folder)
    except DataError as error:
        _refuse_names(folder, error)
        return "one clear error"
