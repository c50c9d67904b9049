import dataclasses
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from genovox.core.errors import ImageError
from genovox.core.volume import Volume, read_volume, reorient_to_ras
from genovox.scans.dicom import Series, arrange_series
from genovox.scans.headers import Header, read_header
from genovox.scans.voxels import read_stack

MR = "1.2.840.10008.5.1.4.1.1.4"
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SLICES = 4


def _headers(*paths: Path) -> list[Header]:
    found = [read_header(path) for folder in paths for path in sorted(folder.rglob("*"))]
    return [header for header in found if header is not None]


def _only(headers: list[Header]) -> Series:
    (series,) = arrange_series(headers)
    return series


def _read(series: Series, phase: int = 0) -> Volume:
    stack = series.stacks[phase]
    return read_stack([Path(file) for file in stack.files], stack.affine, stack.shape, stack.frames)


def _made(
    phases: int = 1, slices: int = SLICES, change: Callable[[int, int], dict[str, object]] = lambda p, k: {}
) -> list[Header]:
    """Headers of a series as one sees them after reading; ``change`` gives what phase and slice have of their own."""
    made = []
    for p in range(phases):
        for k in range(slices):
            header = Header(
                path=f"{p}-{k}",
                size=1,
                mtime_ns=1,
                patient_id="Doe^Jane",
                study_uid="1.2.3",
                series_uid="1.2.3.4",
                sop_uid=f"1.2.3.4.{p}.{k}",
                sop_class=MR,
                instance_number=1 + p * slices + k,
                acquisition_s=100.0,
                position=(0.0, 0.0, 2.0 * k),
                orientation=AXIAL,
                pixel_spacing=(1.0, 1.0),
                rows=8,
                columns=6,
                image_type=("ORIGINAL", "PRIMARY"),
            )
            made.append(replace(header, **change(p, k)))  # type: ignore[arg-type]
    return made


def _write(folder: Path, number: int, values: np.ndarray, position: tuple[float, ...], **more: object) -> None:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = MR, f"1.2.3.4.{number}"
    dataset.PatientID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID = "P1", "1.2.3", "1.2.3.4"
    dataset.InstanceNumber = number
    dataset.ImagePositionPatient = list(position)
    dataset.ImageOrientationPatient, dataset.PixelSpacing = list(AXIAL), [0.5, 0.75]
    dataset.Rows, dataset.Columns = values.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    for keyword, value in more.items():
        setattr(dataset, keyword, value)
    dataset.PixelData = values.tobytes()
    name = folder / f"{random.Random(number).random()}"
    if number % 2:  # half of them without preamble and meta information
        dataset.save_as(name, implicit_vr=True, little_endian=True)
    else:
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.save_as(name, enforce_file_format=True)


@pytest.mark.real_data
@pytest.mark.parametrize(
    "name",
    [
        "siemens-anatomical-001",
        "ge-anatomical-001",
        "hitachi-anatomical-001",
        "generic-compressed-001",
        "generic-compressed_rle-001",
        "ge-fmri-001",
    ],
)
def test_real_series_equal_their_conversion(real_data: Path, name: str) -> None:
    series = _only(_headers(real_data / "dicom" / name))
    assert series.problem == ""
    expected = reorient_to_ras(read_volume(real_data / "dicom" / f"{name}.ground_truth.nii.gz"))
    assert len(series.stacks) == len(expected.array)
    for phase, voxels in enumerate(expected.array):
        volume = reorient_to_ras(_read(series, phase))
        np.testing.assert_array_equal(volume.array[0], voxels)
        np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-3)


@pytest.mark.real_data
def test_real_series_that_stay_out(real_data: Path, tmp_path: Path) -> None:
    folder = real_data / "dicom"
    problems = {
        Path(series.first.path).parent.name: series.problem
        for name in (
            "failing-slicecount-001",
            "failing-sliceincrement-001",
            "philips_enhanced-anatomical-001",
            "siemens_multiframe-anatomical-001",
        )
        for series in arrange_series(_headers(folder / name))
    }
    assert problems == {
        "failing-slicecount-001": "a volume needs at least 3 slices at different places, got 2 in 2 files; "
        "set the series aside or export it whole",
        "failing-sliceincrement-001": "a volume must be stored as MR Image Storage, got CT Image Storage; it stays out",
        "philips_enhanced-anatomical-001": "multi-frame (enhanced) MR is not read by this version; "
        "export it as classic MR images",
        "siemens_multiframe-anatomical-001": "multi-frame (enhanced) MR is not read by this version; "
        "export it as classic MR images",
    }
    uneven = [replace(header, sop_class=MR) for header in _headers(folder / "failing-sliceincrement-001")]
    assert _only(uneven).problem == (
        "slices must lie at even distances, got 5.000 to 10.000 mm (1 slices missing if 5.000 mm is right); "
        "export the series again"
    )
    short = folder / "emri_small_jpeg_2k_lossless_too_short.dcm"
    with pytest.raises(ImageError, match=r"^slice 1 of 1 holds no whole pixel data; it is truncated"):
        read_stack([short], np.eye(4), (1, 64, 64))


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("siemens-anatomical-001", "slice 2 of 4 cannot be decoded (truncated: too few bytes of pixel data)"),
        ("generic-compressed-001", "slice 2 of 4 holds no whole pixel data; it is truncated or no image"),
        ("generic-compressed_rle-001", "slice 2 of 4 holds no whole pixel data; it is truncated or no image"),
    ],
)
def test_a_real_file_truncated_in_its_pixels(real_data: Path, tmp_path: Path, name: str, reason: str) -> None:
    for path in (real_data / "dicom" / name).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    series = _only(_headers(tmp_path))
    second = Path(series.stacks[0].files[1])
    second.write_bytes(second.read_bytes()[:-1000])
    with pytest.raises(ImageError) as caught:
        _read(series)
    assert str(caught.value).startswith(reason)
    assert second.name not in str(caught.value)


def test_a_written_series(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    voxels = rng.integers(-900, 900, (2, SLICES, 5, 7)).astype(np.int16)
    number = 0
    for phase in range(2):
        for k in range(SLICES):
            number += 1
            more = {"TemporalPositionIdentifier": 2 - phase, "RescaleSlope": 0.5 + k, "RescaleIntercept": -phase}
            _write(tmp_path, number, voxels[phase, k], (10.0, 20.0, 30.0 - 3 * k), **more)
    series = _only(_headers(tmp_path))
    assert (series.problem, series.files, series.patient_id) == ("", 2 * SLICES, "P1")
    assert [stack.temporal_position for stack in series.stacks] == [1, 2]
    assert {stack.order for stack in series.stacks} == {"temporal position"}
    slope = (0.5 + np.arange(SLICES))[:, None, None]
    expected = np.stack([voxels[1] * slope - 1, voxels[0] * slope])[:, ::-1]
    for phase in range(2):
        volume = _read(series, phase)
        np.testing.assert_allclose(volume.array[0], expected[phase])
        np.testing.assert_allclose(volume.affine @ [0, 0, 0, 1], [-10, -20, 21, 1])
        assert volume.spacing_mm == pytest.approx((0.75, 0.5, 3))
        assert volume.orientation == "LPS"


def test_pixels_that_do_not_fit(tmp_path: Path) -> None:
    for k in range(3):
        _write(tmp_path, k, np.zeros((5, 7), np.uint16), (0.0, 0.0, float(k)))
    series = _only(_headers(tmp_path))
    stack = series.stacks[0]
    files = [Path(file) for file in stack.files]
    with pytest.raises(ImageError, match=r"slice 1 of 3 must be 7 x 5, got 5 x 7; export"):
        read_stack(files, stack.affine, (3, 7, 5))
    with pytest.raises(ImageError, match="one file a slice, got 2 files for 3 slices"):
        read_stack(files[:2], stack.affine, stack.shape, stack.frames)
    with pytest.raises(ImageError, match=r"^slice 2 of 3 cannot be read \(No such file or directory\); export"):
        read_stack([files[0], tmp_path / "Doe^Jane", files[2]], stack.affine, stack.shape, stack.frames)
    files[0].write_bytes(b"garbage")
    with pytest.raises(ImageError, match="slice 1 of 3 holds no whole pixel data"):
        _read(series)


@pytest.mark.parametrize(
    ("slope", "problem"),
    [
        ("1e200", "voxels must be finite"),
        ("steep", r"slice 1 of 3 cannot be decoded \(damaged pixel data, ValueError\)"),
    ],
)
def test_a_slope_beyond_sense(tmp_path: Path, slope: str, problem: str) -> None:
    for k in range(3):
        _write(tmp_path, k, np.ones((5, 7), np.uint16), (0.0, 0.0, float(k)), RescaleSlope="7.5e1")
    series = _only(_headers(tmp_path))
    assert _read(series).array.max() == 75
    for file in series.stacks[0].files:
        Path(file).write_bytes(Path(file).read_bytes().replace(b"7.5e1 ", f"{slope:6}".encode()))
    with pytest.raises(ImageError, match=problem):
        _read(series)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.3, 5)] * 3),
    origin=st.tuples(*[st.floats(-300, 300)] * 3),
    seed=st.integers(0, 99),
)
def test_voxels_lie_where_the_headers_say(
    angles: tuple[float, ...], spacing: tuple[float, ...], origin: tuple[float, ...], seed: int
) -> None:
    axes = np.eye(3)
    for axis, angle in enumerate(np.radians(angles)):
        turn = np.eye(3)
        i, j = [n for n in range(3) if n != axis]
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        axes = turn @ axes
    orientation = tuple(np.concatenate([axes[:, 0], axes[:, 1]]).round(6))

    def place(p: int, k: int) -> dict[str, object]:
        position = np.array(origin) + axes[:, 2] * spacing[2] * k
        return {
            "position": tuple(position.round(4)),
            "orientation": orientation,
            "pixel_spacing": spacing[:2],
            "temporal_position": p,
        }

    headers = _made(2, 5, place)
    random.Random(seed).shuffle(headers)
    series = _only(headers)
    assert series.problem == ""
    by_path = {header.path: header for header in headers}
    for stack in series.stacks:
        affine = np.array(stack.affine)
        assert np.linalg.det(affine[:3, :3]) > 0  # the third axis runs along the normal
        for k, file in enumerate(stack.files):
            x, y, z = by_path[file].position or ()
            np.testing.assert_allclose((affine @ [0, 0, k, 1])[:3], [-x, -y, z], atol=0.02)
        rows, columns = affine[:3, 1], affine[:3, 0]
        np.testing.assert_allclose(np.linalg.norm([rows, columns], axis=1), spacing[:2], rtol=1e-4)


@pytest.mark.parametrize(
    ("order", "change", "times"),
    [
        ("temporal position", lambda p, k: {"temporal_position": 3 - p}, None),
        ("trigger time", lambda p, k: {"trigger_ms": 9e4 * (3 - p)}, [190, 280, 370]),
        ("acquisition time", lambda p, k: {"acquisition_s": 500 - 90.0 * p + k / 9}, [320, 410, 500]),
        ("content time", lambda p, k: {"content_s": 300 - 90.0 * p}, [120, 210, 300]),
        ("instance number", lambda p, k: {"instance_number": 10 * k - p}, None),
    ],
)
def test_phases_are_told_apart(
    order: str, change: Callable[[int, int], dict[str, object]], times: list[float] | None
) -> None:
    series = _only(_made(3, SLICES, change))
    assert series.problem == ""
    assert [stack.order for stack in series.stacks] == [order] * 3
    assert [stack.files[1] for stack in series.stacks] == ["2-1", "1-1", "0-1"]
    assert [stack.time_s for stack in series.stacks] == (times or [100.0] * 3)


def test_phases_by_number_are_timed_by_the_clock_that_moves() -> None:
    series = _only(
        _made(3, SLICES, lambda p, k: {"temporal_position": p, "trigger_ms": 5000.0 * p, "content_s": 1.0 * p})
    )
    assert [stack.time_s for stack in series.stacks] == [100, 105, 110]
    untimed = _only(_made(2, SLICES, lambda p, k: {"temporal_position": p, "acquisition_s": None}))
    assert [stack.time_s for stack in untimed.stacks] == [None, None]


def test_a_series_may_pass_midnight() -> None:
    series = _only(_made(3, SLICES, lambda p, k: {"acquisition_s": (86_300.0 + 90 * p) % 86_400}))
    assert series.problem == ""
    assert [stack.time_s for stack in series.stacks] == [86_300, 86_390, 86_480]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            lambda p, k: {"sop_class": "1.2.840.10008.5.1.4.1.1.88.33"},
            "MR Image Storage, got Comprehensive SR Storage;",
        ),
        (lambda p, k: {"sop_class": "1.2.3.4567"}, "MR Image Storage, got another class;"),
        (lambda p, k: {"samples": 3, "photometric": "RGB"}, "got a secondary capture in RGB; it stays out"),
        (lambda p, k: {"sop_class": MR + ".1"}, "multi-frame (enhanced) MR is not read by this version"),
        (lambda p, k: {"frames": 40}, "multi-frame (enhanced) MR is not read by this version"),
        (lambda p, k: {"patient_id": f"Doe^{k}"}, "a series must belong to one patient, got 4"),
        (lambda p, k: {"study_uid": f"1.{p}"}, "a series must belong to one study, got 2"),
        (lambda p, k: {"series_uid": ""}, "a series must carry its identifier"),
        (lambda p, k: {"sop_uid": f"1.{k}"}, "4 of 8 files repeat another; delete the copies"),
        (lambda p, k: {"position": None} if k else {}, "each slice must carry a position, 6 of 8 do not"),
        (lambda p, k: {"orientation": None}, "each slice must carry an orientation, 8 of 8 do not"),
        (lambda p, k: {"pixel_spacing": None}, "each slice must carry a pixel spacing"),
        (lambda p, k: {"rows": 0 if k else 8}, "each slice must carry a matrix, 6 of 8 do not"),
        (lambda p, k: {"rows": 8 + k}, "slices must share one matrix, got 4"),
        (
            lambda p, k: {"orientation": (1.0, 0.0, 0.0, 0.0, 0.0, -1.0 if k else 1.0)},
            "share one orientation, got 2: a",
        ),
        (lambda p, k: {"orientation": (0.0,) * 6}, "an orientation must be two unit vectors at right angles"),
        (lambda p, k: {"pixel_spacing": (1.0, 1.0 + k)}, "slices must share one pixel spacing above 0 mm, got 1 to 4"),
        (lambda p, k: {"pixel_spacing": (0.0, 0.0)}, "slices must share one pixel spacing above 0 mm, got 0 to 0"),
        (lambda p, k: {"echo_time_ms": 1.0 + p}, "a series must hold one kind of image, got 2"),
        (lambda p, k: {"image_type": ("M",) if p else ("P",)}, "a series must hold one kind of image, got 2"),
        (lambda p, k: {"position": (0.0, 0.0, 7.0)}, "needs at least 3 slices at different places, got 1 in 8 files"),
        (lambda p, k: {"position": (0.0, 0.0, 2.0 * k + 2 * (k == 3))}, "got 2.000 to 4.000 mm (1 slices missing if 2"),
        (lambda p, k: {"position": (0.0, 0.3 * k, 2.0 * k)}, "stacked along their normal, got some 0.90 mm beside it"),
        (lambda p, k: {"position": (90.0 * p, 0.0, 2.0 * k)}, "got some 90.00 mm beside it (gantry tilt, or several"),
        (lambda p, k: {"position": (0.0, 0.0, 2.0 * min(k + p, 3))}, "hold each slice once, got 1 to 3 files a place"),
        (
            lambda p, k: {"instance_number": k},
            "2 files a place that no phase number, time or instance number tells apart",
        ),
        (lambda p, k: {"temporal_position": p if k else 7}, "got 3 phases by temporal position and places without one"),
        (lambda p, k: {"temporal_position": (p + k) * 10 + k}, "temporal positions that differ between slices"),
        (lambda p, k: {"acquisition_s": 1.0 * (p or not k)}, "got 2 phases by acquisition time and places without"),
        (
            lambda p, k: {"temporal_position": p, "acquisition_s": 9.0 - p},
            "temporal position and acquisition time order",
        ),
    ],
)
def test_a_series_that_stays_out_says_why(change: Callable[[int, int], dict[str, object]], problem: str) -> None:
    series = _only(_made(2, SLICES, change))
    assert problem in series.problem
    assert series.stacks == ()
    assert "Doe" not in series.problem
    assert "1.2.3" not in series.problem


def test_series_are_in_order_and_one_bad_one_harms_no_other() -> None:
    good = [
        replace(header, series_uid="9", series_number=2) for header in _made(change=lambda p, k: {"sop_uid": f"9.{k}"})
    ]
    bad = _made(change=lambda p, k: {"position": None, "series_number": 10})
    headers = good + bad
    random.Random(1).shuffle(headers)
    series = arrange_series(headers)
    assert [(one.first.series_number, len(one.stacks), bool(one.problem)) for one in series] == [
        (2, 1, False),
        (10, 0, True),
    ]
    assert dataclasses.asdict(series[0].stacks[0].first)["series_uid"] == "9"
    assert arrange_series([]) == []
