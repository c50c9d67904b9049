import dataclasses
import json
import os
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    generate_uid,
)

from genovox.scans.headers import Header, read_header

MR = "1.2.840.10008.5.1.4.1.1.4"


def _dataset() -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.SOPClassUID = MR
    dataset.SOPInstanceUID = generate_uid(entropy_srcs=["a"])
    dataset.PatientID = "P1"
    dataset.SeriesDescription = "Brüste pré"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    dataset.ImagePositionPatient = [1.5, -2, 3e1]
    dataset.PixelSpacing = [0.5, 0.75]
    dataset.Rows = 300
    dataset.AcquisitionTime = "143001.25"
    dataset.TemporalPositionIdentifier = 3
    dataset.ContrastBolusAgent = "NONE"
    dataset.DiffusionBValue = 800.0
    dataset.Laterality = "R"
    dataset.PatientIdentityRemoved = "YES"
    return dataset


def _bytes(dataset: Dataset, syntax: str = ExplicitVRLittleEndian, *, bare: bool = False) -> bytes:
    buffer = BytesIO()
    if bare:
        dataset.save_as(
            buffer, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=syntax != ExplicitVRBigEndian
        )
    else:
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _read(folder: Path, content: bytes) -> Header | None:
    path = folder / "any name, no suffix"
    path.write_bytes(content)
    return read_header(path)


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_header_whatever_its_encoding(tmp_path: Path, syntax: str, bare: bool) -> None:
    header = _read(tmp_path, _bytes(_dataset(), syntax, bare=bare))
    assert header is not None
    assert (header.patient_id, header.description) == ("P1", "Brüste pré")
    assert header.image_type == ("ORIGINAL", "PRIMARY", "M")
    assert header.position == (1.5, -2.0, 30.0)
    assert header.pixel_spacing == (0.5, 0.75)
    assert (header.rows, header.columns, header.temporal_position) == (300, None, 3)
    assert header.acquisition_s == 14 * 3600 + 30 * 60 + 1.25
    assert header.b_value == 800
    assert header.laterality == "right"
    assert header.identity_removed
    assert not header.contrast_agent
    assert header.transfer_syntax == ("" if bare else syntax)
    assert json.loads(json.dumps(dataclasses.asdict(header)))["position"] == [1.5, -2.0, 30.0]


@pytest.mark.parametrize(
    ("keyword", "vr", "value", "field", "expected"),
    [
        ("ImagePositionPatient", "DS", b"1.0\\x\\3 ", "position", None),
        ("ImagePositionPatient", "DS", b"1.0\\2.0 ", "position", None),
        ("ImagePositionPatient", "DS", b"1\\2\\nan ", "position", None),
        ("EchoTime", "DS", b"long 4", "echo_time_ms", None),
        ("EchoTime", "DS", b"", "echo_time_ms", None),
        ("EchoTime", "DS", b" 2,5", "echo_time_ms", None),
        ("SeriesNumber", "IS", b"7.0 ", "series_number", 7),
        ("SeriesNumber", "IS", b"1e999", "series_number", None),
        ("Rows", "US", b"\x05", "rows", None),
        ("AcquisitionTime", "TM", b"10:20:30", "acquisition_s", 37230.0),
        ("AcquisitionTime", "TM", b"1020", "acquisition_s", 37200.0),
        ("AcquisitionTime", "TM", b"998877", "acquisition_s", None),
        ("AcquisitionTime", "TM", b"noon", "acquisition_s", None),
        ("ContentTime", "TM", b"24", "content_s", None),
        ("SeriesDescription", "LO", b"\xff\xfe\x00", "description", "ÿþ"),
        ("SpecificCharacterSet", "CS", b"MARTIAN", "patient_id", "P1"),
    ],
)
def test_malformed_values_are_none(
    tmp_path: Path, *, keyword: str, vr: str, value: bytes, field: str, expected: object
) -> None:
    dataset = _dataset()
    del dataset[keyword if keyword in dataset else "Laterality"]
    content = _bytes(dataset, bare=True)
    tag = Tag(keyword)
    raw = tag.group.to_bytes(2, "little") + tag.element.to_bytes(2, "little") + vr.encode()
    raw += len(value).to_bytes(2, "little") + value
    header = _read(tmp_path, raw + content if keyword == "SpecificCharacterSet" else content + raw)
    assert header is not None
    assert getattr(header, field) == expected


def test_a_time_may_stand_with_its_date(tmp_path: Path) -> None:
    dataset = _dataset()
    del dataset.AcquisitionTime
    dataset.AcquisitionDateTime = "20200101101500.5+0100"
    header = _read(tmp_path, _bytes(dataset))
    assert header is not None
    assert header.acquisition_s == 10 * 3600 + 15 * 60 + 0.5


def test_what_is_no_dicom(tmp_path: Path) -> None:
    assert read_header(tmp_path) is None
    assert read_header(tmp_path / "gone") is None
    assert read_header(tmp_path / ("long" * 100)) is None
    os.mkfifo(tmp_path / "pipe")
    assert read_header(tmp_path / "pipe") is None
    for content in (b"", b"\x89PNG\r\n\x1a\n", b"a,b\n1,2\n", bytes(200), bytes(128) + b"DICM", b"\x08\x00\x16\x00UI"):
        assert _read(tmp_path, content) is None


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.sampled_from([b"", bytes(128) + b"DICM", b"\x08\x00\x05\x00", b"\x00\x08\x00\x05"]), rest=st.binary())
def test_garbage_never_raises(tmp_path: Path, start: bytes, rest: bytes) -> None:
    _read(tmp_path, start + rest)


def test_truncation_never_raises(tmp_path: Path) -> None:
    for bare in (False, True):
        content = _bytes(_dataset(), bare=bare)
        headers = [_read(tmp_path, content[:length]) for length in range(0, len(content), 3)]
        assert headers[0] is None
        assert any(header is not None and header.rows is None for header in headers)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bytes_never_raise(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(_bytes(_dataset()))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(132, len(content) - 1))] = data.draw(st.integers(0, 255))
    header = _read(tmp_path, bytes(content))
    if header is not None:
        json.dumps(dataclasses.asdict(header), allow_nan=False)
