"""DICOM headers: what each file says of itself, read without its pixels and whatever is wrong with its values."""

import math
import re
import stat
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Annotated, Any, BinaryIO, get_args, get_type_hints

from pydicom import dcmread
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.multival import MultiValue

from genovox.scans.elements import Elements, read_elements

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
# Where ASCII is ASCII: pydicom need not be asked.
_REMEMBERED = 4096
_ASCII_SETS = frozenset(("", "ISO_IR 6", "ISO_IR 100", "ISO_IR 192"))
_SIDES = {"L": "left", "R": "right"}
_NO_AGENT = {"", "NO", "NONE", "N", "NA", "N/A", "WITHOUT"}


@dataclass(frozen=True)
class Header:
    """What one DICOM file says; ``dataclasses.asdict`` of it can be written as JSON.

    Each attribute is annotated with the DICOM keyword that it holds. A value that is absent or malformed is empty text
    or None. Texts are as stored and may identify a person: nothing here may be shown before it is pseudonymised.

    Attributes:
        path: As given; that of a member of an archive is ``archive!/member``.
        frame: Number of the frame, from 0, where the header is that of one among several images in its file.
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
    frame: int | None = None


def read_header(path: Path) -> Header | None:
    """Read what a file says of itself; its name does not matter, nor whether it has a preamble.

    Returns:
        The header, with what precedes the damage where the file is truncated; None for all that is not DICOM.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
            return None
        with path.open("rb", buffering=0) as file:
            return parse_header(file, str(path), status.st_size, status.st_mtime_ns)
    except DICOM_ERRORS:
        return None


def parse_header(file: BinaryIO, path: str, size: int, mtime_ns: int) -> Header | None:
    """As ``read_header``, of an open file that can be read from its start again.

    Raises:
        OSError: If it cannot be read.
    """
    if not _starts_like_dicom(file.read(132)):
        return None
    file.seek(0)
    elements = read_elements(file, _WANTED)
    if elements is None:
        file.seek(0)
        try:
            elements = parse_with_pydicom(file)
        except DICOM_ERRORS as error:
            if isinstance(error, OSError) and error.errno:
                raise
            return None
    header = _decode(elements, path, size, mtime_ns)
    return header if header.sop_class else None  # a DICOMDIR has none, nor has garbage that begins like a tag


def parse_with_pydicom(file: BinaryIO) -> Elements:
    """The elements of a file whatever its encoding.

    Raises:
        Exception: Any of ``DICOM_ERRORS``.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = dcmread(file, stop_before_pixels=True, specific_tags=list(_WANTED), force=True)
        values: dict[int, bytes] = {}
        little = True
        for tag in _WANTED:
            element: Any = dataset.get_item(tag)
            value = None if element is None else element.value
            if value is None:
                continue
            little = getattr(element, "is_little_endian", little)
            if not isinstance(value, bytes):  # pydicom decodes some at once, such as UIDs and the character set
                texts = value if isinstance(value, list | MultiValue) else [value]
                value = "\\".join(map(str, texts)).encode("latin-1", "replace")
            values[tag] = value
        return Elements(values, little, str(dataset.file_meta.get("TransferSyntaxUID", "")))


def _starts_like_dicom(start: bytes) -> bool:
    """Whether there is a preamble, or a first tag in group 2 or 8."""
    little = start[:2] in {b"\x02\x00", b"\x08\x00"} and start[3:4] == b"\x00"
    big = start[:3] == b"\x00\x08\x00"
    return start[128:132] == b"DICM" or little or big


def _decode(elements: Elements, path: str, size: int, mtime_ns: int) -> Header:
    stored = elements.values
    charset = stored.get(_CHARSET, b"").decode("latin-1").strip(_BLANK)
    little = elements.little_endian
    fields = {name: decode(stored[tag], charset, little) for name, tag, decode in _DECODERS if tag in stored}
    required = {name: fields.pop(name, "") for name in _REQUIRED}

    def text(tag: int) -> str:
        return _text(stored.get(tag, b""), charset)

    if fields.get("acquisition_s") is None:
        fields["acquisition_s"] = seconds(text(_ACQUIRED)[8:])
    return Header(
        path=path,
        size=size,
        mtime_ns=mtime_ns,
        transfer_syntax=elements.syntax,
        identity_removed=text(_REMOVED).upper() == "YES",
        contrast_agent=text(_AGENT).upper() not in _NO_AGENT,
        laterality=_SIDES.get((text(_SIDE) or text(_PAIRED)).upper(), ""),
        **required,
        **fields,
    )


# Decoders take the stored bytes, not pydicom's conversion, which stumbles over malformed values and is slow.
# Most values of a series are the same in each of its files, and are decoded once.
@lru_cache(_REMEMBERED)
def _text(value: bytes, charset: str, _: bool = True) -> str:
    if value.isascii() and charset in _ASCII_SETS and b"\x1b" not in value:
        return value.decode("ascii").strip(_BLANK)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            text = decode_bytes(value, convert_encodings(charset.split("\\")), set())
    except (LookupError, ValueError):
        text = value.decode("latin-1")
    return text.strip(_BLANK)


def _uid(value: bytes, _: str, __: bool) -> str:
    return value.decode("latin-1").strip(_BLANK)


@lru_cache(_REMEMBERED)
def _words(value: bytes, charset: str, _: bool) -> tuple[str, ...]:
    return tuple(part.strip().upper() for part in _text(value, charset).split("\\") if part.strip())


def _binary(value: bytes, _: str, little: bool, *, code: str) -> Any:
    size = struct.calcsize(code)
    if len(value) < size:
        return None
    number = struct.unpack(("<" if little else ">") + code, value[:size])[0]
    return number if math.isfinite(number) else None


@lru_cache(_REMEMBERED)
def _time(value: bytes, charset: str, _: bool) -> float | None:
    return seconds(_text(value, charset))


def _decimals(value: bytes, _: str, __: bool, *, count: int) -> tuple[float, ...] | None:
    numbers = [number for part in value.split(b"\\") if (number := _number(part)) is not None]
    return tuple(numbers) if len(numbers) == count and value.count(b"\\") == count - 1 else None


@lru_cache(_REMEMBERED)
def _decimal(value: bytes, _: str, __: bool) -> float | None:
    return _number(value.split(b"\\", 1)[0])


@lru_cache(_REMEMBERED)
def _integer(value: bytes, _: str, __: bool) -> int | None:
    number = _number(value.split(b"\\", 1)[0])
    return None if number is None else int(number)


def _number(value: bytes) -> float | None:
    try:
        number = float(value.decode("ascii").strip(_BLANK))
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def seconds(text: str) -> float | None:
    """Seconds since midnight of a DICOM time, ``HHMMSS.FFFFFF`` down to the hour alone; None for what is none."""
    match = _TIME.match(text)
    if match is None:
        return None
    hours, minutes, rest = int(match[1]), int(match[2] or 0), float(match[3] or 0)
    return hours * 3600 + minutes * 60 + rest if hours < 24 and minutes < 60 and rest < 61 else None


def _tag(keyword: str) -> int:
    tag = tag_for_keyword(keyword)
    if tag is None:
        raise KeyError(keyword)
    return tag


_Decoder = Callable[[bytes, str, bool], Any]


def _choose_decoder(keyword: str, kind: Any) -> _Decoder:
    if kind is str:
        return _uid if dictionary_VR(_tag(keyword)) == "UI" else _text
    if kind == tuple[str, ...]:
        return _words
    vr = dictionary_VR(_tag(keyword))
    if vr in _BINARY:
        return partial(_binary, code=_BINARY[vr])
    if vr == "TM":
        return _time
    if keyword in _LENGTHS:
        return partial(_decimals, count=_LENGTHS[keyword])
    return _decimal if kind is float else _integer


def _describe_fields() -> list[tuple[str, int, _Decoder]]:
    """Name, tag and decoder of each attribute that holds one DICOM value."""
    found = []
    for name, hint in get_type_hints(Header, include_extras=True).items():
        if hasattr(hint, "__metadata__"):
            kind, keyword = hint.__origin__, hint.__metadata__[0]
            options = [option for option in get_args(kind) if option is not type(None)]
            chosen = options[0] if type(None) in get_args(kind) else kind
            found.append((name, _tag(keyword), _choose_decoder(keyword, chosen)))
    return found


_BLANK = " \0\t\r\n"
_DECODERS = _describe_fields()
_REQUIRED = ("patient_id", "study_uid", "series_uid", "sop_uid", "sop_class")
_CHARSET, _ACQUIRED, _AGENT, _SIDE, _PAIRED, _REMOVED = map(
    _tag,
    (
        "SpecificCharacterSet",
        "AcquisitionDateTime",
        "ContrastBolusAgent",
        "ImageLaterality",
        "Laterality",
        "PatientIdentityRemoved",
    ),
)
_WANTED = frozenset([tag for _, tag, _ in _DECODERS] + [_CHARSET, _ACQUIRED, _AGENT, _SIDE, _PAIRED, _REMOVED])
