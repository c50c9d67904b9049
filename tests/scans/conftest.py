"""Small DICOM files as scanners write them: classic images, enhanced multi-frame files and Siemens mosaics."""

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from genovox.core.volume import Volume
from genovox.scans.dicom import Series, arrange_series
from genovox.scans.headers import Header, read_header
from genovox.scans.voxels import read_stack
from tests.cohort.conftest import Tree, count_reads, edit_files, renew_uids
from tests.conftest import on_one_core

__all__ = ["Tree", "count_reads", "edit_files", "renew_uids"]

MR = "1.2.840.10008.5.1.4.1.1.4"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


@pytest.fixture(autouse=True)
def _one_core() -> Iterator[None]:
    with on_one_core():
        yield


@pytest.fixture
def tree(simulated_hospital: Path, tmp_path: Path) -> Tree:
    """An empty tree."""
    return Tree(tmp_path / "study", simulated_hospital)


def describe_image(number: int, values: np.ndarray, position: Sequence[float], **more: Any) -> Dataset:
    """A classic MR image; ``more`` are elements by keyword."""
    dataset = Dataset()
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
    dataset.SOPClassUID, dataset.SOPInstanceUID = MR, f"1.2.3.4.{number}"
    dataset.PatientID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "P1", "1.2.3", "1.2.3.4"
    dataset.Modality = "MR"
    dataset.InstanceNumber = number
    dataset.ImagePositionPatient = list(position)
    dataset.ImageOrientationPatient, dataset.PixelSpacing = list(AXIAL), [0.5, 0.75]
    _describe_pixels(dataset, values)
    for keyword, value in more.items():
        setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


def _describe_pixels(dataset: Dataset, values: np.ndarray) -> None:
    dataset.Rows, dataset.Columns = values.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    bits = values.dtype.itemsize * 8
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = bits, bits, bits - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    dataset.PixelData = values.tobytes()
    dataset["PixelData"].VR = "OB" if bits == 8 else "OW"


def write_image(path: Path, dataset: Dataset, syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write a file with its meta information; the pixels are encoded as ``syntax`` says already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.save_as(path, enforce_file_format=True)
    return path


def describe_frames(voxels: np.ndarray, **frame: Any) -> Dataset:
    """An enhanced MR file, one stack of 2 mm slices a phase.

    Args:
        voxels: (phase, z, y, x).
        frame: Keyword and a function of phase and slice for ``FrameContentSequence`` (or None to leave it out).
    """
    dataset = describe_image(1, voxels.reshape(-1, *voxels.shape[2:]), (0, 0, 0))
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(dataset, keyword)
    dataset.SOPClassUID = f"{MR}.1"
    dataset.NumberOfFrames = voxels.shape[0] * voxels.shape[1]
    shared = Dataset()
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=list(AXIAL))]
    shared.PixelMeasuresSequence = [_item(PixelSpacing=[0.5, 0.75], SliceThickness=2, SpacingBetweenSlices=2)]
    shared.MRTimingAndRelatedParametersSequence = [_item(RepetitionTime=5.5, FlipAngle=12)]
    shared.MRModifierSequence = [_item(SpectrallySelectedSuppression="FAT")]
    shared.FrameAnatomySequence = [_item(FrameLaterality="R")]
    dataset.SharedFunctionalGroupsSequence = [shared]
    own = []
    for p in range(voxels.shape[0]):
        for k in range(voxels.shape[1]):
            group = Dataset()
            content = {"TemporalPositionIndex": lambda p, k: p + 1} | frame
            values = {keyword: value(p, k) for keyword, value in content.items() if value}
            group.FrameContentSequence = [_item(**values)]
            group.PlanePositionSequence = [_item(ImagePositionPatient=[-10.0, 5.0, 2.0 * k])]
            group.MREchoSequence = [_item(EffectiveEchoTime=1.75)]
            group.MRImageFrameTypeSequence = [_item(FrameType=["ORIGINAL", "PRIMARY", "DYNAMIC", "NONE"])]
            own.append(group)
    dataset.PerFrameFunctionalGroupsSequence = own
    return dataset


def _item(**values: Any) -> Dataset:
    item = Dataset()
    for keyword, value in values.items():
        setattr(item, keyword, value)
    return item


def describe_mosaic(voxels: np.ndarray, origin: np.ndarray, axes: np.ndarray, spacing: Sequence[float]) -> Dataset:
    """A volume as Siemens stores it in one image.

    Args:
        voxels: (z, y, x).
        origin: LPS position of the first voxel.
        axes: Columns are the directions of a row, of a column and of the slices.
        spacing: In x, y, z.
    """
    count, rows, columns = voxels.shape
    side = int(np.ceil(np.sqrt(count)))
    mosaic = np.zeros((side * rows, side * columns), voxels.dtype)
    for tile, plane in enumerate(voxels):
        top, left = tile // side * rows, tile % side * columns
        mosaic[top : top + rows, left : left + columns] = plane
    # As if the mosaic were one slice with the same middle.
    corner = (
        origin - axes[:, 0] * spacing[0] * (side - 1) * columns / 2 - axes[:, 1] * spacing[1] * (side - 1) * rows / 2
    )
    dataset = describe_image(1, mosaic, corner.round(8).tolist())
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    dataset.ImageOrientationPatient = [f"{value:.12f}" for value in axes[:, :2].T.ravel()]
    dataset.PixelSpacing = [spacing[1], spacing[0]]
    dataset.SliceThickness = dataset.SpacingBetweenSlices = spacing[2]
    block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
    block.add_new(0x10, "OB", csa_header(NumberOfImagesInMosaic=("US", [count]), SliceNormalVector=("FD", axes[:, 2])))
    return dataset


def csa_header(**tags: tuple[str, Any]) -> bytes:
    """Siemens's private header of version 2; layout: https://nipy.org/nibabel/dicom/siemens_csa.html."""
    tags = {"AcquisitionMatrixText": ("SH", ["64*64"])} | tags
    content = b"SV10\4\3\2\1" + struct.pack("<II", len(tags), 77)
    for name, (vr, values) in tags.items():
        content += struct.pack("<64si4siii", name.encode(), len(values), vr.encode(), 0, 6, 77)
        for place in range(6):
            text = f"{values[place]}\0".encode() if place < len(values) else b""
            content += struct.pack("<4i", len(text), len(text), 77, len(text)) + text + bytes(-len(text) % 4)
    return content


def read_headers(*paths: Path) -> list[Header]:
    """Headers of all DICOM files below folders."""
    found = [read_header(path) for folder in paths for path in sorted(folder.rglob("*"))]
    return [header for header in found if header is not None]


def arrange_one(headers: list[Header]) -> Series:
    """The one series there is."""
    (series,) = arrange_series(headers)
    return series


def read_phase(series: Series, phase: int = 0) -> Volume:
    """The voxels of a phase."""
    stack = series.stacks[phase]
    return read_stack([Path(file) for file in stack.files], stack.affine, stack.shape, stack.frames)
