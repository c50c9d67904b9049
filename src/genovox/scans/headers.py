"""DICOM headers: what each file says of itself, read without its pixels and whatever is wrong with its values."""

import math
import re
import stat
import struct
import warnings
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

from pydicom import Dataset, dcmread
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.errors import BytesLengthException, InvalidDicomError

# What pydicom raises for files that are damaged or not DICOM.
DICOM_ERRORS = (
    InvalidDicomError,
    AttributeError,
    BytesLengthException,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
_TIME = re.compile(r"(\d\d)(?::?(\d\d)(?::?(\d\d(?:\.\d*)?))?)?")
_LENGTHS = {"ImagePositionPatient": 3, "ImageOrientationPatient": 6, "PixelSpacing": 2}
_BINARY = {"US": "H", "FD": "d"}
_SIDES = {"L": "left", "R": "right"}
_NO_AGENT = {"", "NO", "NONE", "N", "NA", "N/A", "WITHOUT"}


@dataclass(frozen=True)
class Header:
    """What one DICOM file says; ``dataclasses.asdict`` of it can be written as JSON.

    Each attribute is annotated with the DICOM keyword that it holds. A value that is absent or malformed is empty text
    or None. Texts are as stored and may identify a person: nothing here may be shown before it is pseudonymised.

    Attributes:
        path: As given.
        position: Centre of the first voxel (x, y, z) in LPS mm.
        orientation: Direction of a row, then of a column, in LPS.
        pixel_spacing: Distance between rows, then between columns, in mm.
        series_s: Start of the series in seconds since midnight, as the other times in seconds are.
        acquisition_s: Acquisition time; ``scans.dicom`` counts it on beyond 86,400 where a series passes midnight.
        trigger_ms: Trigger time; with it GE's scanners time the phases of a dynamic series.
        laterality: ``left``, ``right`` or empty.
        contrast_agent: Whether an agent is named.
        identity_removed: Whether the file says that it is de-identified.
    """

    path: str
    size: int
    mtime_ns: int
    patient_id: Annotated[str, "PatientID"]
    study_uid: Annotated[str, "StudyInstanceUID"]
    series_uid: Annotated[str, "SeriesInstanceUID"]
    sop_uid: Annotated[str, "SOPInstanceUID"]
    sop_class: Annotated[str, "SOPClassUID"]
    transfer_syntax: str = ""
    identity_removed: bool = False
    contrast_agent: bool = False
    laterality: str = ""
    modality: Annotated[str, "Modality"] = ""
    institution: Annotated[str, "InstitutionName"] = ""
    station: Annotated[str, "StationName"] = ""
    manufacturer: Annotated[str, "Manufacturer"] = ""
    model: Annotated[str, "ManufacturerModelName"] = ""
    software: Annotated[str, "SoftwareVersions"] = ""
    study_description: Annotated[str, "StudyDescription"] = ""
    description: Annotated[str, "SeriesDescription"] = ""
    protocol: Annotated[str, "ProtocolName"] = ""
    sequence_name: Annotated[str, "SequenceName"] = ""
    scanning_sequence: Annotated[str, "ScanningSequence"] = ""
    scan_options: Annotated[str, "ScanOptions"] = ""
    body_part: Annotated[str, "BodyPartExamined"] = ""
    study_date: Annotated[str, "StudyDate"] = ""
    series_date: Annotated[str, "SeriesDate"] = ""
    acquisition_date: Annotated[str, "AcquisitionDate"] = ""
    study_time: Annotated[str, "StudyTime"] = ""
    series_time: Annotated[str, "SeriesTime"] = ""
    series_number: Annotated[int | None, "SeriesNumber"] = None
    instance_number: Annotated[int | None, "InstanceNumber"] = None
    temporal_position: Annotated[int | None, "TemporalPositionIdentifier"] = None
    series_s: Annotated[float | None, "SeriesTime"] = None
    acquisition_s: Annotated[float | None, "AcquisitionTime"] = None
    content_s: Annotated[float | None, "ContentTime"] = None
    trigger_ms: Annotated[float | None, "TriggerTime"] = None
    position: Annotated[tuple[float, ...] | None, "ImagePositionPatient"] = None
    orientation: Annotated[tuple[float, ...] | None, "ImageOrientationPatient"] = None
    pixel_spacing: Annotated[tuple[float, ...] | None, "PixelSpacing"] = None
    slice_thickness: Annotated[float | None, "SliceThickness"] = None
    spacing_between_slices: Annotated[float | None, "SpacingBetweenSlices"] = None
    rows: Annotated[int | None, "Rows"] = None
    columns: Annotated[int | None, "Columns"] = None
    frames: Annotated[int | None, "NumberOfFrames"] = None
    samples: Annotated[int | None, "SamplesPerPixel"] = None
    bits_allocated: Annotated[int | None, "BitsAllocated"] = None
    bits_stored: Annotated[int | None, "BitsStored"] = None
    pixel_representation: Annotated[int | None, "PixelRepresentation"] = None
    photometric: Annotated[str, "PhotometricInterpretation"] = ""
    image_type: Annotated[tuple[str, ...], "ImageType"] = ()
    field_strength_t: Annotated[float | None, "MagneticFieldStrength"] = None
    repetition_time_ms: Annotated[float | None, "RepetitionTime"] = None
    echo_time_ms: Annotated[float | None, "EchoTime"] = None
    inversion_time_ms: Annotated[float | None, "InversionTime"] = None
    flip_angle_deg: Annotated[float | None, "FlipAngle"] = None
    b_value: Annotated[float | None, "DiffusionBValue"] = None


def read_header(path: Path) -> Header | None:
    """Read what a file says of itself; its name does not matter, nor whether it has a preamble.

    Returns:
        The header, with what precedes the damage where the file is truncated; None for all that is not DICOM.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            return None
        with path.open("rb") as file:
            if not _starts_like_dicom(file.read(132)):
                return None
            file.seek(0)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dataset = dcmread(file, stop_before_pixels=True, specific_tags=_TAGS, force=True)
                fields = {name: _read(dataset, keyword, kind) for name, keyword, kind in _FIELDS}
                own = _read_own(dataset)
    except DICOM_ERRORS:
        return None
    if not fields["sop_class"]:  # a DICOMDIR has none, nor has garbage that happens to begin like a tag
        return None
    return Header(path=str(path), size=status.st_size, mtime_ns=status.st_mtime_ns, **fields, **own)


def _starts_like_dicom(start: bytes) -> bool:
    """Whether there is a preamble, or a first tag in group 2 or 8."""
    little = start[:2] in {b"\x02\x00", b"\x08\x00"} and start[3:4] == b"\x00"
    big = start[:3] == b"\x00\x08\x00"
    return start[128:132] == b"DICM" or little or big


def _read_own(dataset: Dataset) -> dict[str, Any]:
    """The attributes that are more than one value of the file."""
    acquisition = _read(dataset, "AcquisitionTime", float)
    if acquisition is None:
        acquisition = _seconds(_text(dataset, "AcquisitionDateTime")[8:])
    side = _text(dataset, "ImageLaterality") or _text(dataset, "Laterality")
    return {
        "transfer_syntax": str(dataset.file_meta.get("TransferSyntaxUID", "")),
        "identity_removed": _text(dataset, "PatientIdentityRemoved").upper() == "YES",
        "contrast_agent": _text(dataset, "ContrastBolusAgent").upper() not in _NO_AGENT,
        "laterality": _SIDES.get(side.upper(), ""),
        "acquisition_s": acquisition,
    }


def _read(dataset: Dataset, keyword: str, kind: Any) -> Any:
    """One value as the attribute's type wants it; None, or empty text, where it cannot be had."""
    if kind is str:
        return _text(dataset, keyword)
    if kind == tuple[str, ...]:
        return tuple(part.strip().upper() for part in _text(dataset, keyword).split("\\") if part.strip())
    vr = dictionary_VR(_tag(keyword))
    if vr in _BINARY:
        return _binary(dataset, keyword, _BINARY[vr])
    text = _text(dataset, keyword)
    if vr == "TM":
        return _seconds(text)
    numbers = [_number(part) for part in text.split("\\")]
    if keyword in _LENGTHS:
        return tuple(numbers) if len(numbers) == _LENGTHS[keyword] and None not in numbers else None
    number = numbers[0]
    return number if number is None or kind is float else int(number)


def _text(dataset: Dataset, keyword: str) -> str:
    # The stored bytes, not pydicom's conversion, which stumbles over malformed values and costs more than reading.
    element: Any = dataset.get_item(_tag(keyword))
    value: Any = None if element is None else element.value
    if isinstance(value, bytes):
        try:
            value = decode_bytes(value, convert_encodings(dataset.get("SpecificCharacterSet")), set())
        except (LookupError, ValueError):
            value = value.decode("latin-1")
    return "" if value is None else str(value).strip(" \0\t\r\n")


def _binary(dataset: Dataset, keyword: str, code: str) -> Any:
    element: Any = dataset.get_item(_tag(keyword))
    value = None if element is None else element.value
    size = struct.calcsize(code)
    if not isinstance(value, bytes) or len(value) < size:
        return None
    number = struct.unpack(("<" if element.is_little_endian else ">") + code, value[:size])[0]
    return number if math.isfinite(number) else None


def _number(text: str) -> float | None:
    try:
        number = float(text.strip(" \0"))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _seconds(text: str) -> float | None:
    """Seconds since midnight of a DICOM time, ``HHMMSS.FFFFFF`` down to the hour alone."""
    match = _TIME.match(text)
    if match is None:
        return None
    hours, minutes, seconds = int(match[1]), int(match[2] or 0), float(match[3] or 0)
    return hours * 3600 + minutes * 60 + seconds if hours < 24 and minutes < 60 and seconds < 61 else None


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return tag


def _describe_fields() -> list[tuple[str, str, Any]]:
    """Name, keyword and type of each attribute that holds one DICOM value."""
    found = []
    for name, hint in get_type_hints(Header, include_extras=True).items():
        if hasattr(hint, "__metadata__") and name != "acquisition_s":
            kind = hint.__origin__
            options = [option for option in get_args(kind) if option is not type(None)]
            found.append((name, hint.__metadata__[0], options[0] if type(None) in get_args(kind) else kind))
    return found


_FIELDS = _describe_fields()
_TAGS = [_tag(keyword) for _, keyword, _ in _FIELDS] + [
    _tag(keyword)
    for keyword in (
        "AcquisitionTime",
        "AcquisitionDateTime",
        "ContrastBolusAgent",
        "ImageLaterality",
        "Laterality",
        "PatientIdentityRemoved",
        "SpecificCharacterSet",
    )
]
