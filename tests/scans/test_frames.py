"""Many slices in one file: each frame and each tile lies where the file says, as independent readers have it."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from genovox.core.volume import reorient_to_ras
from genovox.scans.dicom import Series, arrange_series
from genovox.scans.headers import read_header
from genovox.scans.voxels import read_stack

from .conftest import MR, csa_header, describe_frames, describe_image, describe_mosaic, write_image

VOXELS = np.random.default_rng(5).integers(0, 4000, (3, 4, 6, 8)).astype(np.uint16)


def _arrange(*paths: Path) -> Series:
    headers = [read_header(path) for path in paths]
    (series,) = arrange_series([header for header in headers if header])
    return series


def _voxels(series: Series) -> list[np.ndarray]:
    return [
        read_stack([Path(file) for file in stack.files], stack.affine, stack.shape, stack.frames).array[0]
        for stack in series.stacks
    ]


@pytest.mark.parametrize(
    ("frame", "order", "times"),
    [
        ({}, "temporal position", [None] * 3),
        (
            {"FrameAcquisitionDateTime": lambda p, k: f"2020010223{50 + 2 * p}0{k}.5"},
            "temporal position",
            [85800.5, 85920.5, 86040.5],
        ),
        (
            {"TemporalPositionIndex": None, "FrameReferenceDateTime": lambda p, k: f"202001021{p}0000"},
            "acquisition time",
            [36000, 39600, 43200],
        ),
        ({"TemporalPositionIndex": None}, "instance number", [None] * 3),
    ],
)
def test_phases_of_an_enhanced_file(tmp_path: Path, frame: dict[str, Any], order: str, times: list[float]) -> None:
    series = _arrange(write_image(tmp_path / "a", describe_frames(VOXELS, **frame)))
    assert (series.problem, series.files) == ("", 1)
    assert [stack.order for stack in series.stacks] == [order] * 3
    assert [stack.time_s for stack in series.stacks] == times
    for found, expected in zip(_voxels(series), VOXELS, strict=True):
        np.testing.assert_array_equal(found, expected)
    affine = np.array(series.stacks[2].affine)
    expected_affine = np.array([[-0.75, 0, 0, 10], [0, -0.5, 0, -5], [0, 0, 2, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(affine, expected_affine)


def test_what_the_functional_groups_say(tmp_path: Path) -> None:
    dataset = describe_frames(VOXELS)
    dataset.ContrastBolusAgentSequence = [Dataset()]
    for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        usage = Dataset()
        usage.ContrastBolusAgentAdministered = "YES" if number >= 4 else "NO"
        group.ContrastBolusUsageSequence = [usage]
        position = Dataset()
        position.TemporalPositionTimeOffset = 60.0 * (number // 4)
        group.TemporalPositionSequence = [position]
    series = _arrange(write_image(tmp_path / "a", dataset))
    first = series.stacks[0].first
    assert (first.echo_time_ms, first.repetition_time_ms, first.flip_angle_deg) == (1.75, 5.5, 12)
    assert (first.scan_options, first.laterality) == ("FS", "right")
    assert first.image_type == ("ORIGINAL", "PRIMARY", "DYNAMIC", "NONE")
    assert (first.slice_thickness, first.spacing_between_slices) == (2, 2)
    assert [stack.first.contrast_agent for stack in series.stacks] == [False, True, True]
    assert [stack.first.trigger_ms for stack in series.stacks] == [0, 60_000, 120_000]


def test_phases_counted_by_a_dimension(tmp_path: Path) -> None:
    """Where no index is stated, the dimension that points at it says the same."""
    frame = {"TemporalPositionIndex": None, "DimensionIndexValues": lambda p, k: [k + 1, 9 - p]}
    dataset = describe_frames(VOXELS, **frame)
    pointers = []
    for tag in (0x00200032, 0x00209128):
        item = Dataset()
        item.DimensionIndexPointer = tag
        pointers.append(item)
    dataset.DimensionIndexSequence = pointers
    series = _arrange(write_image(tmp_path / "a", dataset))
    assert [stack.temporal_position for stack in series.stacks] == [7, 8, 9]
    np.testing.assert_array_equal(_voxels(series), VOXELS[::-1])


def test_phases_in_files_of_their_own(tmp_path: Path) -> None:
    paths = []
    for p in range(3):
        dataset = describe_frames(VOXELS[p : p + 1], FrameAcquisitionDateTime=lambda _, k, p=p: f"202001021{p}0000")
        dataset.SOPInstanceUID, dataset.InstanceNumber = f"1.2.3.{p}", p
        paths.append(write_image(tmp_path / str(p), dataset))
    series = _arrange(*reversed(paths))
    assert (series.problem, series.files, len(series.stacks)) == ("", 3, 3)
    np.testing.assert_array_equal(_voxels(series), VOXELS)


def test_each_frame_has_its_own_rescale(tmp_path: Path) -> None:
    """Philips scales every slice by itself; a group that all frames share, or the image's own, stands for them."""
    dataset = describe_frames(VOXELS)
    dataset.RescaleSlope, dataset.RescaleIntercept = 3, 1
    path = write_image(tmp_path / "a", dataset)
    np.testing.assert_array_equal(_voxels(_arrange(path)), VOXELS * 3 + 1.0)
    shared = Dataset()
    shared.RescaleSlope, shared.RescaleIntercept = 2, -7
    dataset.SharedFunctionalGroupsSequence[0].PixelValueTransformationSequence = [shared]
    path = write_image(tmp_path / "a", dataset)
    np.testing.assert_array_equal(_voxels(_arrange(path)), VOXELS * 2 - 7.0)
    for number, group in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        own = Dataset()
        own.RescaleSlope, own.RescaleIntercept = number / 4, number
        group.PixelValueTransformationSequence = [own]
    path = write_image(tmp_path / "a", dataset)
    numbers = np.arange(12).reshape(3, 4, 1, 1)
    np.testing.assert_array_equal(_voxels(_arrange(path)), VOXELS * (numbers / 4) + numbers)


def _drop(keyword: str) -> Callable[[Dataset], None]:
    return lambda dataset: delattr(dataset, keyword)


def _set(keyword: str, value: Any) -> Callable[[Dataset], None]:
    return lambda dataset: setattr(dataset, keyword, value)


def _spoil(dataset: Dataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence[0].ImagePositionPatient = [1, 2]


def _mix(dataset: Dataset) -> None:
    dataset.PerFrameFunctionalGroupsSequence[3].MRImageFrameTypeSequence[0].FrameType = ["DERIVED", "PRIMARY"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_drop("PerFrameFunctionalGroupsSequence"), "must say where its frames lie, it has no such groups; export it"),
        (_set("NumberOfFrames", 13), "must describe each frame, got 12 descriptions for 13 frames"),
        (_set("SharedFunctionalGroupsSequence", []), "each slice must carry an orientation, 12 of 12 do not"),
        (_spoil, "each slice must carry a position, 1 of 12 do not"),
        (_mix, "a series must hold one kind of image, got 2"),
        (_set("SOPClassUID", MR), "a classic MR image with more than one; export it as enhanced MR"),
        (_set("SOPClassUID", f"{MR}.3"), "stored as MR Image Storage, got Enhanced MR Color Image Storage"),
    ],
)
def test_an_enhanced_file_that_stays_out_says_why(
    tmp_path: Path, change: Callable[[Dataset], None], problem: str
) -> None:
    dataset = describe_frames(VOXELS)
    change(dataset)
    assert problem in _arrange(write_image(tmp_path / "a", dataset)).problem


@pytest.mark.parametrize("count", [4, 5, 9, 11])
@pytest.mark.parametrize("back", [False, True])
def test_a_mosaic_is_the_volume_it_was_made_of(tmp_path: Path, count: int, back: bool) -> None:
    rng = np.random.default_rng(count)
    voxels = rng.integers(0, 4000, (count, 6, 8)).astype(np.uint16)
    axes = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    axes *= np.sign(np.linalg.det(axes)) * np.array([1, 1, 1])
    if back:
        axes[:, 2] *= -1  # slices that follow each other against the normal
    origin, spacing = np.array([-40.0, 12.0, 7.0]), (1.5, 1.25, 3.0)
    path = write_image(tmp_path / "mosaic", describe_mosaic(voxels, origin, axes, spacing))
    series = _arrange(path)
    assert (series.problem, series.files, len(series.stacks)) == ("", 1, 1)
    found = reorient_to_ras(_volume(series))

    planes = []
    for k, plane in enumerate(voxels):
        dataset = describe_image(k, plane, (origin + axes[:, 2] * spacing[2] * k).round(8).tolist())
        dataset.ImageOrientationPatient = [f"{value:.12f}" for value in axes[:, :2].T.ravel()]
        dataset.PixelSpacing = [spacing[1], spacing[0]]
        planes.append(write_image(tmp_path / f"{k}", dataset))
    expected = reorient_to_ras(_volume(_arrange(*planes)))
    np.testing.assert_array_equal(found.array, expected.array)
    np.testing.assert_allclose(found.affine, expected.affine, atol=1e-4)

    from nibabel.nicom.dicomwrappers import wrapper_from_data  # its warning was heard when frames was imported

    other: Any = wrapper_from_data(dcmread(path))
    theirs = np.moveaxis(np.asarray(other.get_data()), 2, 0)  # nibabel's axes are rows, columns, slices
    np.testing.assert_array_equal(theirs, voxels)
    ours = _volume(series)
    corners = list(itertools.product((0, 7), (0, 5), (0, count - 1)))
    for x, y, z in corners:
        place = np.diag([-1, -1, 1, 1]) @ other.affine @ [y, x, z, 1]
        index = np.linalg.solve(ours.affine, place)[:3].round(3)
        np.testing.assert_allclose(index, index.round(), atol=2e-3)
        i, j, k = index.round().astype(int)
        assert ours.array[0, k, j, i] == theirs[z, y, x]


def _volume(series: Series) -> Any:
    stack = series.stacks[0]
    return read_stack([Path(file) for file in stack.files], stack.affine, stack.shape, stack.frames)


def test_mosaics_are_phases_by_time(tmp_path: Path) -> None:
    paths = []
    for p in range(3):
        dataset = describe_mosaic(VOXELS[p], np.zeros(3), np.eye(3), (1, 1, 2))
        dataset.SOPInstanceUID, dataset.InstanceNumber = f"1.2.3.{p}", p
        dataset.AcquisitionTime = f"10{p:02d}00"
        paths.append(write_image(tmp_path / str(p), dataset))
    series = _arrange(*reversed(paths))
    assert [stack.time_s for stack in series.stacks] == [36000, 36060, 36120]
    np.testing.assert_array_equal(_voxels(series), VOXELS)


@pytest.mark.parametrize(
    ("csa", "problem"),
    [
        (None, "a mosaic must say how many slices it holds"),
        (b"", "its private header (CSA) does not"),
        (b"SV10\4\3\2\1\xff\xff\xff\xff", "its private header (CSA) does not"),
        (csa_header(NumberOfImagesInMosaic=("US", [4])), "its private header (CSA) does not"),
        (csa_header(NumberOfImagesInMosaic=("US", [0]), SliceNormalVector=("FD", [0, 0, 1])), "(CSA) does not"),
        (csa_header(NumberOfImagesInMosaic=("US", [4]), SliceNormalVector=("FD", [0, 0, 7])), "(CSA) does not"),
        (
            csa_header(NumberOfImagesInMosaic=("US", [30]), SliceNormalVector=("FD", [0, 0, 1])),
            "a mosaic of 30 slices must be 6 x 6 tiles a known distance apart, got 16 x 12 voxels and 2 mm",
        ),
    ],
)
def test_a_mosaic_that_stays_out_says_why(tmp_path: Path, csa: bytes | None, problem: str) -> None:
    dataset = describe_mosaic(VOXELS[0], np.zeros(3), np.eye(3), (1, 1, 2))
    del dataset[0x00291010]
    if csa is not None:
        dataset.private_block(0x0029, "SIEMENS CSA HEADER").add_new(0x10, "OB", csa)
    series = _arrange(write_image(tmp_path / "a", dataset))
    assert problem in series.problem
    assert series.stacks == ()


def test_a_mosaic_without_its_place(tmp_path: Path) -> None:
    dataset = describe_mosaic(VOXELS[0], np.zeros(3), np.eye(3), (1, 1, 2))
    del dataset.ImagePositionPatient
    assert "a mosaic must carry position" in _arrange(write_image(tmp_path / "a", dataset)).problem


def test_a_file_that_the_machine_cannot_read_now_is_no_verdict(tmp_path: Path) -> None:
    for dataset in (describe_frames(VOXELS), describe_mosaic(VOXELS[0], np.zeros(3), np.eye(3), (1, 1, 2))):
        path = write_image(tmp_path / "a", dataset)
        header = read_header(path)
        path.unlink()
        assert header
        with pytest.raises(FileNotFoundError):
            arrange_series([header])
