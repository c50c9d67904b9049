"""Files that hold many slices: the frames of an enhanced MR image and the tiles of a Siemens mosaic, each as a header.

Functional groups: DICOM PS3.3, C.7.6.16. Mosaic: its position is that of a single slice as large as the whole mosaic,
https://nipy.org/nibabel/dicom/dicom_mosaic.html.
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import Dataset, dcmread

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # nibabel calls its DICOM readers experimental; this one is tested here
    from nibabel.nicom import csareader

from genovox.core.errors import ImageError
from genovox.scans.containers import open_content
from genovox.scans.headers import DICOM_ERRORS, Header, seconds

MR_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
# Enhanced MR Image Storage and Legacy Converted Enhanced MR Image Storage.
ENHANCED = (f"{MR_STORAGE}.1", f"{MR_STORAGE}.4")
_MOST_FRAMES = 100_000
_TEMPORAL_INDEX = 0x00209128
_FAT_SUPPRESSED = ("FAT", "FAT AND WATER", "SILICON AND FAT")
_SIDES = {"L": "left", "R": "right"}


def expand_frames(headers: Iterable[Header]) -> list[Header]:
    """A header a slice: those of classic images as they are, a file of many slices read again for what each one says.

    Raises:
        ImageError: If a file does not say where its slices lie.
        OSError: If a file cannot be read now.
    """
    expanded: list[Header] = []
    for header in headers:
        if header.sop_class in ENHANCED:
            expanded += _read_frames(header)
        elif is_mosaic(header.image_type):
            expanded += _cut_mosaic(header)
        else:
            expanded.append(header)
    return expanded


def is_mosaic(image_type: Sequence[str]) -> bool:
    """Whether an image is one of Siemens's mosaics, all slices of a volume side by side."""
    return "MOSAIC" in image_type


def _read_dataset(header: Header) -> Dataset:
    with open_content(Path(header.path)) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dcmread(file, stop_before_pixels=True, force=True)


def _read_frames(header: Header) -> list[Header]:
    again = "export it again, or as classic MR images"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = _read_dataset(header)
            own = list(dataset.get("PerFrameFunctionalGroupsSequence") or [])
            if not own:
                raise ImageError(f"an enhanced image must say where its frames lie, it has no such groups; {again}")
            if len(own) != header.frames or len(own) > _MOST_FRAMES:
                raise ImageError(
                    f"an enhanced image must describe each frame, got {len(own)} descriptions for {header.frames} "
                    f"frames; {again}"
                )
            shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
            temporal = _find_temporal_dimension(dataset)
            agent = bool(dataset.get("ContrastBolusAgentSequence")) or header.contrast_agent
            header = replace(header, contrast_agent=agent)
            return [_describe_frame(header, k, Groups(frame, shared), temporal) for k, frame in enumerate(own)]
    except DICOM_ERRORS as error:
        if isinstance(error, OSError) and error.errno:
            raise
        raise ImageError(
            f"an enhanced image must say where its frames lie, its functional groups are damaged "
            f"({type(error).__name__}); {again}"
        ) from None


class Groups:
    """The functional groups of one frame, its own before those that all share."""

    def __init__(self, own: Dataset, shared: Dataset) -> None:
        self._own = own
        self._shared = shared

    def find(self, group: str) -> Dataset:
        """The first item of a group; empty where there is none."""
        for place in (self._own, self._shared):
            items = place.get(group)
            if items:
                return items[0]  # type: ignore[no-any-return]
        return Dataset()

    def numbers(self, group: str, keyword: str, count: int) -> tuple[float, ...] | None:
        """Values of an element; None where it is absent or has another number of values."""
        value = self.find(group).get(keyword)
        if value is None or value == "":
            return None
        values = [float(one) for one in (value if count > 1 else [value])]
        return tuple(values) if len(values) == count and np.isfinite(values).all() else None

    def number(self, group: str, keyword: str) -> float | None:
        """The value of an element, or None."""
        values = self.numbers(group, keyword, 1)
        return values[0] if values else None

    def word(self, group: str, keyword: str) -> str:
        """A code, in capitals, or empty."""
        return str(self.find(group).get(keyword) or "").strip().upper()


def _find_temporal_dimension(dataset: Dataset) -> int | None:
    """Which of the dimension index values counts the phases."""
    for place, item in enumerate(dataset.get("DimensionIndexSequence") or []):
        if item.get("DimensionIndexPointer") == _TEMPORAL_INDEX:
            return place
    return None


def _describe_frame(header: Header, number: int, groups: Groups, temporal: int | None) -> Header:
    content = groups.find("FrameContentSequence")
    phase = content.get("TemporalPositionIndex")
    indices = content.get("DimensionIndexValues")
    if phase is None and temporal is not None and indices is not None:
        values = indices if isinstance(indices, Iterable) else [indices]
        phase = list(values)[temporal]
    began = str(content.get("FrameAcquisitionDateTime") or content.get("FrameReferenceDateTime") or "")
    offset_s = groups.number("TemporalPositionSequence", "TemporalPositionTimeOffset")
    delay_ms = groups.number("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime")
    kind = groups.find("MRImageFrameTypeSequence").get("FrameType")
    timing = "MRTimingAndRelatedParametersSequence"
    suppression = groups.word("MRModifierSequence", "SpectrallySelectedSuppression")
    given = groups.word("ContrastBolusUsageSequence", "ContrastBolusAgentAdministered")
    return replace(
        header,
        frame=number,
        # Unique and in the order of files and frames, as the number of a classic image is.
        instance_number=(header.instance_number or 0) * _MOST_FRAMES + number,
        position=groups.numbers("PlanePositionSequence", "ImagePositionPatient", 3),
        orientation=groups.numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6),
        pixel_spacing=groups.numbers("PixelMeasuresSequence", "PixelSpacing", 2),
        slice_thickness=groups.number("PixelMeasuresSequence", "SliceThickness"),
        spacing_between_slices=groups.number("PixelMeasuresSequence", "SpacingBetweenSlices"),
        temporal_position=None if phase is None else int(phase),
        acquisition_s=seconds(began[8:]) if len(began) > 8 else header.acquisition_s,
        trigger_ms=delay_ms if offset_s is None else offset_s * 1000,
        image_type=tuple(str(part).strip().upper() for part in kind) if kind else header.image_type,
        echo_time_ms=_or(groups.number("MREchoSequence", "EffectiveEchoTime"), header.echo_time_ms),
        repetition_time_ms=_or(groups.number(timing, "RepetitionTime"), header.repetition_time_ms),
        flip_angle_deg=_or(groups.number(timing, "FlipAngle"), header.flip_angle_deg),
        b_value=_or(groups.number("MRDiffusionSequence", "DiffusionBValue"), header.b_value),
        scan_options="FS" if suppression in _FAT_SUPPRESSED else header.scan_options,
        contrast_agent=given == "YES" if given else header.contrast_agent,
        laterality=_SIDES.get(groups.word("FrameAnatomySequence", "FrameLaterality"), header.laterality),
    )


def _or(value: float | None, other: float | None) -> float | None:
    return other if value is None else value


def _cut_mosaic(header: Header) -> list[Header]:
    """The tiles of a mosaic, row by row; what each says is computed from the scanner's private header."""
    count, normal = _read_csa(header)
    side = int(np.ceil(np.sqrt(count)))
    spacing_mm = header.spacing_between_slices or header.slice_thickness
    if not (header.rows and header.columns and header.position and header.orientation and header.pixel_spacing):
        raise ImageError("a mosaic must carry position, orientation, pixel spacing and matrix; export it again")
    if not spacing_mm or header.rows % side or header.columns % side:
        raise ImageError(
            f"a mosaic of {count} slices must be {side} x {side} tiles a known distance apart, got {header.columns} x "
            f"{header.rows} voxels and {spacing_mm or 0:g} mm; export the series as one image a slice"
        )
    rows, columns = header.rows // side, header.columns // side
    row, column = np.array(header.orientation).reshape(2, 3)
    between_rows, between_columns = header.pixel_spacing
    corner = (
        np.array(header.position)
        + row * between_columns * (header.columns - columns) / 2
        + column * between_rows * (header.rows - rows) / 2
    )
    return [
        replace(
            header,
            frame=tile,
            instance_number=(header.instance_number or 0) * _MOST_FRAMES + tile,
            position=tuple((corner + normal * spacing_mm * tile).tolist()),
            rows=rows,
            columns=columns,
        )
        for tile in range(count)
    ]


def _read_csa(header: Header) -> tuple[int, np.ndarray]:
    """How many slices a mosaic holds, and along which way they follow each other."""
    try:
        csa: Any = csareader.get_csa_header(_read_dataset(header), "image")
        count = int(csareader.get_n_mosaic(csa))
        normal = np.array(csareader.get_slice_normal(csa), float)
    except (*DICOM_ERRORS, AssertionError, csareader.CSAReadError) as error:
        if isinstance(error, OSError) and error.errno:
            raise
        count, normal = 0, np.zeros(0)
    if not 0 < count <= _MOST_FRAMES or normal.shape != (3,) or not 0.99 < np.linalg.norm(normal) < 1.01:
        raise ImageError(
            "a mosaic must say how many slices it holds and where they lie, its private header (CSA) does not; export "
            "the series as one image a slice"
        )
    return count, normal
