"""Our walk of a header finds what pydicom finds, in everything that it does not leave to pydicom."""

import random
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_files
from pydicom.dataset import FileMetaDataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from genovox.scans import headers
from genovox.scans.elements import read_elements
from genovox.scans.headers import DICOM_ERRORS, parse_with_pydicom

from .conftest import MR

WANTED = frozenset(headers._WANTED)
ROWS, BITS, SIGNED, PATIENT = 0x00280010, 0x00280100, 0x00280103, 0x00100020
SYNTAXES = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)


def _both(content: bytes) -> tuple[headers.Header | None, headers.Header | None]:
    """The header by our walk and by pydicom; None where there is none."""
    ours = read_elements(BytesIO(content), WANTED)
    try:
        theirs = parse_with_pydicom(BytesIO(content))
    except DICOM_ERRORS:
        theirs = None
    return (
        None if ours is None else headers._decode(ours, "", 0, 0),
        None if theirs is None else headers._decode(theirs, "", 0, 0),
    )


def _pydicom_files() -> Iterator[Path]:
    for name in get_testdata_files():
        path = Path(name)
        if path.is_file() and path.stat().st_size < 1 << 20:
            yield path


def test_pydicoms_own_files() -> None:
    plain = odd = 0
    for path in _pydicom_files():
        content = path.read_bytes()
        if not headers._starts_like_dicom(content[:132]):
            continue
        ours, theirs = _both(content)
        if ours is None:
            odd += 1
        else:
            plain += 1
            assert ours == theirs, path.name
    assert plain > 100
    assert odd < plain / 10  # the walk is of use


@pytest.mark.real_data
def test_real_files(real_data: Path) -> None:
    paths = sorted((real_data / "dicom").rglob("*.dcm"))
    for path in paths:
        ours, theirs = _both(path.read_bytes())
        assert ours is not None, path.name
        assert ours == theirs
    assert len(paths) > 30


def test_the_simulated_hospital(simulated_hospital: Path) -> None:
    for path in sorted((simulated_hospital / "dicom").rglob("*.dcm"))[::25]:
        ours, theirs = _both(path.read_bytes())
        assert ours is not None
        assert ours == theirs


def test_damaged_files() -> None:
    """Where both find a header in a file with changed bytes, they find the same one."""
    rng = random.Random(1)
    contents = [path.read_bytes()[:6000] for path in _pydicom_files()]
    contents = [content for content in contents if content[128:132] == b"DICM"]
    found = same = 0
    for _ in range(1500):
        content = bytearray(rng.choice(contents))
        for _ in range(rng.randint(1, 4)):
            content[rng.randrange(132, len(content))] = rng.randrange(256)
        ours, theirs = _both(bytes(content))
        if ours is not None and theirs is not None:
            found += 1
            same += ours == theirs
    assert found > 500
    # What differs are character sets and orders of elements that are themselves the damage.
    assert same >= 0.99 * found


def _dataset() -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.PatientID = MR, "1.2.3", "P1"
    dataset.Rows, dataset.BitsAllocated, dataset.PixelRepresentation = 300, 16, 1
    return dataset


def _write(dataset: Dataset, syntax: str) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _nest(depth: int, *, open_ended: bool) -> Dataset:
    item = Dataset()
    item.CodeValue = "V"
    for _ in range(depth):
        above = Dataset()
        above.add_new(0x00081140, "SQ", [item, item] if depth < 4 else [item])
        above.CodeMeaning = "M"
        if open_ended:
            above[0x00081140].is_undefined_length = True
        item.is_undefined_length_sequence_item = open_ended
        item = above
    return item


@pytest.mark.parametrize("syntax", SYNTAXES)
@pytest.mark.parametrize("open_ended", [False, True])
@pytest.mark.parametrize("depth", [1, 3, 12])
def test_sequences_are_passed_over(syntax: str, open_ended: bool, depth: int) -> None:
    dataset = _dataset()
    dataset.update(_nest(depth, open_ended=open_ended))
    content = _write(dataset, syntax)
    found = read_elements(BytesIO(content), WANTED)
    assert found is not None
    order = "big" if syntax == ExplicitVRBigEndian else "little"
    assert found.values[ROWS] == (300).to_bytes(2, order)  # type: ignore[arg-type]
    assert (found.little_endian, found.syntax) == (order == "little", syntax)
    assert 0x00080100 not in found.values  # of an item


def test_a_sequence_deeper_than_sense_is_left_to_pydicom() -> None:
    dataset = _dataset()
    dataset.update(_nest(40, open_ended=True))
    assert read_elements(BytesIO(_write(dataset, ExplicitVRLittleEndian)), WANTED) is None


@settings(max_examples=60, deadline=None)
@given(size=st.integers(0, 200_000), syntax=st.sampled_from(SYNTAXES), cut=st.integers(0, 1))
def test_a_private_element_of_any_size(size: int, syntax: str, cut: int) -> None:
    """Siemens writes 100 KB before what is wanted; a file that ends within is left to pydicom."""
    dataset = _dataset()
    dataset.private_block(0x0019, "MAKER", create=True).add_new(1, "OB", bytes(size))
    content = _write(dataset, syntax)
    found = read_elements(BytesIO(content), WANTED)
    assert found is not None
    assert set(found.values) >= {ROWS, BITS, SIGNED, PATIENT}
    shorter = read_elements(BytesIO(content[: len(content) - cut]), WANTED)
    assert (shorter is None) == (cut > 0)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        bytes(132),
        bytes(128) + b"DICM",
        _write(_dataset(), DeflatedExplicitVRLittleEndian),
        _write(_dataset(), ExplicitVRLittleEndian).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2\0\0\0"),
        _write(_dataset(), ExplicitVRLittleEndian).replace(b"1.2.840.10008.1.2.1\0", b"1.2.3.4.5.6.7.8.9.0\0"),
        _write(_dataset(), ExplicitVRLittleEndian).replace(b"LO\2\0P1", b"QQ\2\0P1"),
        _write(_dataset(), ExplicitVRLittleEndian).replace(b"LO\2\0P1", b"LO\xff\xffP1"),
        _write(_dataset(), ExplicitVRBigEndian)[132:],
    ],
)
def test_what_is_left_to_pydicom(content: bytes) -> None:
    assert read_elements(BytesIO(content), WANTED) is None


def test_the_pixels_are_not_read() -> None:
    dataset = _dataset()
    del dataset.PixelRepresentation  # without the last wanted element only the pixels end the walk
    dataset.PixelData = bytes(5 << 20)
    file = BytesIO(_write(dataset, ExplicitVRLittleEndian))
    assert read_elements(file, WANTED) is not None
    assert file.tell() < 1 << 20
    assert "PixelData" in dcmread(BytesIO(file.getvalue()))
