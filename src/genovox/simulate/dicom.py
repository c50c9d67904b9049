"""Scans as a hospital's archive would hold them: one DICOM file a slice, with the headers of its vendor."""

import datetime as dt
import hashlib
import io
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    PYDICOM_IMPLEMENTATION_UID,
    UID,
    ExplicitVRLittleEndian,
    MRImageStorage,
    SecondaryCaptureImageStorage,
)

from genovox.simulate.anatomy import Grid, Map
from genovox.simulate.sites import Site

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Slices:
    """A volume cut the way a scanner stores it.

    Attributes:
        pixels: Shape (slice, row, column).
        positions: ImagePositionPatient of each slice, LPS mm, shape (slice, 3).
        orientation: ImageOrientationPatient, LPS.
        spacing_mm: Between rows, columns, slices.
    """

    pixels: Map
    positions: np.ndarray
    orientation: tuple[float, ...]
    spacing_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Study:
    """What the files of one visit share.

    Attributes:
        entropy: What its UIDs are derived from, so that the same cohort has the same UIDs.
        date: Day of the scan.
        start_s: Seconds since midnight.
    """

    patient_id: str
    site: Site
    entropy: str
    name: str
    date: dt.date
    start_s: float
    age: int


@dataclass(frozen=True)
class Series:
    """What the files of one series share.

    Attributes:
        number: Series number, which also names its folder.
        description: Its name.
        image_type: DICOM image type.
        tr_ms: Repetition time.
        te_ms: Echo time.
        flip_deg: Flip angle.
        contrast: Whether contrast agent is on record.
        scanning: DICOM scanning sequence: GR gradient echo, SE spin echo.
        temporal: Whether phases carry temporal positions.
    """

    number: int
    description: str
    image_type: tuple[str, ...]
    tr_ms: float
    te_ms: float
    flip_deg: float
    contrast: bool = False
    scanning: str = "GR"
    temporal: bool = False


def slice_volume(volume: Map, grid: Grid, *, plane: str, rows_from_back: bool = False) -> Slices:
    """Cut a RAS volume into axial, sagittal or coronal slices.

    Args:
        volume: Shape (z, y, x).
        grid: Its grid.
        plane: ``axial``, ``sagittal`` or ``coronal``.
        rows_from_back: Axial slices are stored with the spine in the first row.
    """
    # For each plane: the RAS axis and sign along columns, rows and slices.
    axes = {
        "axial": ((0, 1), (1, 1), (2, 1)) if rows_from_back else ((0, -1), (1, -1), (2, 1)),
        "sagittal": ((1, -1), (2, -1), (0, 1)),
        "coronal": ((0, -1), (2, -1), (1, 1)),
    }[plane]
    order = [2 - axis for axis, _ in reversed(axes)]
    flips = [slice(None, None, sign) for _, sign in reversed(axes)]
    pixels = volume.transpose(order)[tuple(flips)]
    sizes = np.array(grid.shape[::-1])
    first = np.array(grid.origin_mm, float)
    for axis, sign in axes:
        if sign < 0:
            first[axis] += grid.spacing_mm[axis] * (sizes[axis] - 1)
    slice_axis, slice_sign = axes[2]
    steps = np.zeros((pixels.shape[0], 3))
    steps[:, slice_axis] = slice_sign * grid.spacing_mm[slice_axis] * np.arange(pixels.shape[0])
    directions = []
    for axis, sign in axes[:2]:
        direction = np.zeros(3)
        direction[axis] = sign
        directions += (_RAS_TO_LPS @ direction).tolist()
    spacing = tuple(grid.spacing_mm[axis] for axis in (axes[1][0], axes[0][0], slice_axis))
    return Slices(
        np.ascontiguousarray(pixels),
        (first + steps) @ _RAS_TO_LPS,
        tuple(value + 0.0 for value in directions),
        (spacing[0], spacing[1], spacing[2]),
    )


def write_series(
    folder: Path,
    study: Study,
    series: Series,
    phases: list[Slices],
    times_s: list[float],
    *,
    first_instance: int = 1,
    rgba: bool = False,
) -> int:
    """Write a series, one file a slice.

    Args:
        folder: Where; files are named by instance number.
        study: The visit.
        series: The series; all phases go into it.
        phases: One or more phases on one grid.
        times_s: Start of each phase, seconds since midnight.
        first_instance: Number of the first file.
        rgba: Store 8-bit RGBA secondary captures instead, as screenshots of a workstation are.

    Returns:
        The number of files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    head = _describe_series(study, series, phases[0], rgba=rgba)
    slope = study.site.slope if not rgba else 1.0
    window = float(np.percentile(phases[-1].pixels[:, ::2, ::2], 99.8))
    instance = first_instance
    for number, (phase, start_s) in enumerate(zip(phases, times_s, strict=True), start=1):
        if series.temporal:
            head.TemporalPositionIdentifier, head.NumberOfTemporalPositions = number, len(phases)
        head.AcquisitionTime = head.ContentTime = _clock(start_s)
        template = _encode_header(head)
        normal = np.cross(phase.orientation[:3], phase.orientation[3:])
        for index, pixels in enumerate(_encode(phase.pixels, slope, window, rgba=rgba)):
            content = template
            for blank, value in zip(
                _BLANKS,
                (
                    _uid(study.entropy, str(series.number), str(instance)),
                    f"{instance:<6d}",
                    "\\".join(_decimal(value) for value in phase.positions[index]),
                    _decimal(float(phase.positions[index] @ normal)),
                ),
                strict=True,
            ):
                content = content.replace(blank.encode(), value.encode())
            voxels = pixels.tobytes()
            tag = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB" if rgba else b"OW", 0, len(voxels))
            (folder / f"{instance:04d}.dcm").write_bytes(content + tag + voxels)
            instance += 1
    return instance - first_instance


# What differs from slice to slice, each as long as what takes its place: UID, instance number, position, location.
# None can stand in a UID, or the digits of a UID would be replaced.
_BLANKS = ("2.25." + "9" * 38, "-88888", "\\".join(["77777.7777"] * 3), "66666.6666")


def _encode_header(head: FileDataset) -> bytes:
    """The file up to its pixels, with blanks: encoding it anew for every slice would take most of a simulation."""
    head.file_meta.MediaStorageSOPInstanceUID = head.SOPInstanceUID = UID(_BLANKS[0])
    head.InstanceNumber = _BLANKS[1]
    head.ImagePositionPatient = _BLANKS[2].split("\\")
    head.SliceLocation = _BLANKS[3]
    content = io.BytesIO()
    head.save_as(content, enforce_file_format=True)
    return content.getvalue()


def _decimal(value: float) -> str:
    """Ten characters, as many as its blank; DICOM allows spaces around a number."""
    return f"{value:<10.4f}"


def _encode(pixels: Map, slope: float, window: float, *, rgba: bool) -> np.ndarray:
    if rgba:
        grey = np.clip(pixels / max(window, 1e-6) * 255, 0, 255).astype(np.uint8)
        return np.stack([grey, grey, grey, np.full_like(grey, 255)], axis=-1)
    return np.asarray(np.clip(np.rint(pixels / slope), 0, 32767), "<u2")


def _describe_series(study: Study, series: Series, slices: Slices, *, rgba: bool) -> FileDataset:
    site = study.site
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage if rgba else MRImageStorage
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = PYDICOM_IMPLEMENTATION_UID
    head = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    day = study.date.strftime("%Y%m%d")
    head.ImageType = list(series.image_type)
    head.SOPClassUID = meta.MediaStorageSOPClassUID
    head.StudyDate = head.SeriesDate = head.AcquisitionDate = head.ContentDate = day
    head.StudyTime = _clock(study.start_s)
    head.SeriesTime = _clock(study.start_s + 60 * series.number)
    head.AccessionNumber = ""
    head.Modality = "OT" if rgba else "MR"
    head.Manufacturer, head.ManufacturerModelName = site.vendor, site.model
    head.InstitutionName, head.StationName = site.hospital, f"{site.hospital.split()[0].upper()}MR1"
    head.StudyDescription, head.SeriesDescription = study.name, series.description
    head.PatientName = head.PatientID = study.patient_id
    head.PatientSex, head.PatientAge = "F", f"{study.age:03d}Y"
    head.PatientIdentityRemoved, head.DeidentificationMethod = "YES", "simulated: there is no such person"
    head.BodyPartExamined, head.PatientPosition = "BREAST", "HFP"
    head.ProtocolName = series.description.split("/")[-1]
    head.ScanningSequence, head.SequenceVariant = series.scanning, "SP"
    head.MRAcquisitionType = "3D" if series.scanning == "GR" else "2D"
    head.RepetitionTime, head.EchoTime = f"{series.tr_ms:g}", f"{series.te_ms:g}"
    head.FlipAngle = f"{series.flip_deg:g}"
    head.MagneticFieldStrength = f"{site.sequence.field_t:g}"
    head.SliceThickness = head.SpacingBetweenSlices = f"{slices.spacing_mm[2]:g}"
    if series.contrast:
        head.ContrastBolusAgent = "contrast agent"
    head.StudyInstanceUID = _uid(study.entropy)
    head.SeriesInstanceUID = _uid(study.entropy, str(series.number))
    head.FrameOfReferenceUID = _uid(study.entropy, "frame")
    head.StudyID, head.SeriesNumber = "1", series.number
    head.ImageOrientationPatient = [f"{value:g}" for value in slices.orientation]
    head.PixelSpacing = [f"{slices.spacing_mm[0]:.6g}", f"{slices.spacing_mm[1]:.6g}"]
    head.Rows, head.Columns = slices.pixels.shape[1:]
    _describe_pixels(head, site.slope, rgba=rgba)
    return head


def _describe_pixels(head: Dataset, slope: float, *, rgba: bool) -> None:
    if rgba:
        # Four samples a pixel: ARGB is retired, which stops no workstation from writing it.
        head.SamplesPerPixel, head.PhotometricInterpretation, head.PlanarConfiguration = 4, "ARGB", 0
        head.BitsAllocated, head.BitsStored, head.HighBit, head.PixelRepresentation = 8, 8, 7, 0
        head.ConversionType = "WSD"
        return
    head.SamplesPerPixel, head.PhotometricInterpretation = 1, "MONOCHROME2"
    head.BitsAllocated, head.BitsStored, head.HighBit, head.PixelRepresentation = 16, 16, 15, 0
    if slope != 1:
        head.RescaleSlope, head.RescaleIntercept = f"{slope:g}", "0"


def _uid(*entropy: str) -> str:
    """A UID under the root for UUIDs, which belongs to everyone (DICOM PS3.5 B.2)."""
    digest = hashlib.blake2b("/".join(entropy).encode(), digest_size=16).digest()
    # Always 38 digits, so that a UID fits its blank.
    return f"2.25.{10**37 + int.from_bytes(digest) % (9 * 10**37)}"


def _clock(seconds: float) -> str:
    whole, thousandths = divmod(round(seconds * 1000), 1000)
    return f"{whole // 3600 % 24:02d}{whole // 60 % 60:02d}{whole % 60:02d}.{thousandths:03d}"
