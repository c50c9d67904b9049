"""Voxels equal those of independent readers and encoders, and what is not whole is refused with the reason."""

import random
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    RLELossless,
)

from genovox.core.errors import ImageError
from genovox.core.volume import read_volume, reorient_to_ras
from genovox.scans.dicom import arrange_series
from genovox.scans.headers import read_header
from genovox.scans.voxels import read_stack

from .compressions import ENCODERS
from .conftest import (
    MR,
    arrange_one,
    describe_frames,
    describe_image,
    describe_mosaic,
    read_headers,
    read_phase,
    write_image,
)

SLICES = 4
KINDS = [("u1", 8), ("i1", 8), ("u2", 12), ("u2", 16), ("i2", 12), ("i2", 16)]


def _write(folder: Path, number: int, values: np.ndarray, position: tuple[float, ...], **more: object) -> None:
    dataset = describe_image(number, values, position, **more)
    path = folder / f"{random.Random(number).random()}"
    if number % 2:  # half of them without preamble and meta information
        dataset.file_meta = FileMetaDataset()
        dataset.save_as(path, implicit_vr=True, little_endian=True)
    else:
        write_image(path, dataset)


def _draw(kind: str, bits: int, shape: tuple[int, ...]) -> np.ndarray:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if kind[0] == "i" else (0, 2**bits)
    rng = np.random.default_rng(bits)
    values = rng.integers(low, high, shape)
    values[..., 2:, :] = np.sort(values[..., 2:, :], axis=-1)  # half of it smooth, as pictures are
    values[..., 0, :2] = low, high - 1
    return values.astype(kind)


@pytest.mark.parametrize(("kind", "bits"), KINDS)
@pytest.mark.parametrize("syntax", ENCODERS)
def test_every_lossless_compression_of_every_kind_of_voxel(tmp_path: Path, syntax: str, kind: str, bits: int) -> None:
    voxels = _draw(kind, bits, (3, 35, 33))  # JPEG 2000's encoder takes none below 32
    for k, plane in enumerate(voxels):
        dataset = describe_image(k, plane, (0, 0, k), BitsStored=bits, HighBit=bits - 1)
        if plane.nbytes % 2:
            dataset.PixelData += b"\0"
        ENCODERS[syntax](dataset)
        write_image(tmp_path / f"{k}", dataset, syntax)
    np.testing.assert_array_equal(read_phase(arrange_one(read_headers(tmp_path))).array[0], voxels)


@pytest.mark.parametrize("syntax", ENCODERS)
def test_compressed_frames_and_tiles(tmp_path: Path, syntax: str) -> None:
    voxels = _draw("u2", 12, (2, 4, 34, 36))
    frames = describe_frames(voxels)
    frames.BitsStored, frames.HighBit = 12, 11
    ENCODERS[syntax](frames)
    write_image(tmp_path / "enhanced" / "a", frames, syntax)
    series = arrange_one(read_headers(tmp_path / "enhanced"))
    for phase in range(2):
        np.testing.assert_array_equal(read_phase(series, phase).array[0], voxels[phase])
    mosaic = describe_mosaic(voxels[0], np.zeros(3), np.eye(3), (1, 1, 2))
    ENCODERS[syntax](mosaic)
    write_image(tmp_path / "mosaic" / "a", mosaic, syntax)
    np.testing.assert_array_equal(read_phase(arrange_one(read_headers(tmp_path / "mosaic"))).array[0], voxels[0])


@pytest.mark.parametrize("syntax", ENCODERS)
def test_a_compressed_image_that_was_cut(tmp_path: Path, syntax: str) -> None:
    voxels = _draw("u2", 16, (40, 40))
    dataset = describe_image(1, voxels, (0, 0, 0))
    ENCODERS[syntax](dataset)
    whole = dataset.PixelData
    size = int.from_bytes(whole[16:20], "little")  # after the table of offsets
    cut = encapsulate([whole[20 : 20 + size - 600]])
    dataset.PixelData = cut
    path = write_image(tmp_path / "a", dataset, syntax)
    reason = "damaged pixel data" if syntax == RLELossless else "truncated: the compressed image has no end"
    with pytest.raises(ImageError, match=rf"^slice 1 of 1 cannot be decoded \({reason}") as caught:
        read_stack([path], np.eye(4), (1, 40, 40))
    assert str(tmp_path) not in str(caught.value)


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 9), columns=st.integers(1, 9), bits=st.integers(2, 16), seed=st.integers(0, 99))
def test_the_encoder_of_these_tests_is_right(rows: int, columns: int, bits: int, seed: int) -> None:
    """Another decoder, that of SimpleITK, reads what it writes."""
    voxels = np.random.default_rng(seed).integers(0, 2**bits, (rows, columns)).astype(np.uint16)
    dataset = describe_image(1, voxels, (0, 0, 0), BitsStored=bits, HighBit=bits - 1)
    ENCODERS[JPEGLosslessSV1](dataset)
    with tempfile.TemporaryDirectory() as folder:
        path = write_image(Path(folder) / "a.dcm", dataset, JPEGLosslessSV1)
        np.testing.assert_array_equal(read_stack([path], np.eye(4), (1, rows, columns)).array[0, 0], voxels)
        if rows > 1 and columns > 1:
            np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(path))[0], voxels)


@pytest.mark.parametrize(("kind", "bits"), KINDS)
def test_less_is_brighter(tmp_path: Path, kind: str, bits: int) -> None:
    """MONOCHROME1 as ITK reads it: the signal is what is shown bright."""
    voxels = _draw(kind, bits, (9, 12))
    more = {"BitsStored": bits, "HighBit": bits - 1, "PhotometricInterpretation": "MONOCHROME1"}
    path = write_image(tmp_path / "a.dcm", describe_image(1, voxels, (0, 0, 0), **more))
    found = read_stack([path], np.eye(4), (1, 9, 12)).array[0, 0]
    np.testing.assert_array_equal(found, (-1 if kind[0] == "i" else 2**bits - 1) - voxels.astype(float))
    if (kind, bits) != ("i2", 12):  # which ITK does not read
        np.testing.assert_array_equal(found, sitk.GetArrayFromImage(sitk.ReadImage(path))[0])


@pytest.mark.parametrize("syntax", [ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize(("kind", "bits"), KINDS)
def test_every_encoding_without_compression(tmp_path: Path, syntax: str, kind: str, bits: int) -> None:
    voxels = _draw(kind, bits, (3, 6, 4))
    for k, plane in enumerate(voxels):
        dataset = describe_image(k, plane, (0, 0, k), BitsStored=bits, HighBit=bits - 1)
        if syntax == ExplicitVRBigEndian:  # words of two bytes each, for 8 bits too
            dataset.PixelData = plane.astype(plane.dtype.newbyteorder(">")).tobytes()
            dataset["PixelData"].VR = "OB" if bits == 8 else "OW"
        write_image(tmp_path / f"{k}", dataset, syntax)
    np.testing.assert_array_equal(read_phase(arrange_one(read_headers(tmp_path))).array[0], voxels)


def test_bits_that_are_not_stored_do_not_count(tmp_path: Path) -> None:
    voxels = np.array([[0xF123, 0x0FFF], [0x8800, 0x0001]], np.uint16)  # an overlay in the upper four bits
    for signed, expected in ((0, [[0x123, 0xFFF], [0x800, 1]]), (1, [[0x123, -1], [-0x800, 1]])):
        more = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": signed}
        path = write_image(tmp_path / "a", describe_image(1, voxels, (0, 0, 0), **more))
        np.testing.assert_array_equal(read_stack([path], np.eye(4), (1, 2, 2)).array[0, 0], expected)
    path = write_image(tmp_path / "a", describe_image(1, voxels, (0, 0, 0), BitsStored=12, HighBit=15))
    with pytest.raises(ImageError, match="must hold its 12 bits from bit 11 down, got high bit 15"):
        read_stack([path], np.eye(4), (1, 2, 2))


def test_a_compression_that_is_not_read_is_named(tmp_path: Path) -> None:
    dataset = describe_image(1, np.zeros((8, 8), np.uint16), (0, 0, 0), BitsStored=12, HighBit=11)
    dataset.PixelData = encapsulate([b"\xff\xd8\xff\xd9"])
    dataset["PixelData"].is_undefined_length = True
    path = write_image(tmp_path / "a", dataset, JPEGBaseline8Bit)
    with pytest.raises(ImageError, match=r"^slice 1 of 1 cannot be decoded \(damaged pixel data"):
        read_stack([path], np.eye(4), (1, 8, 8))
    for syntax, name in ((JPEGExtended12Bit, "JPEG Extended"), ("1.2.840.10008.1.2.4.100", "MPEG2")):
        path = write_image(tmp_path / "a", dataset, syntax)
        with pytest.raises(ImageError, match=rf"is compressed as {name} .*, which this version does not read"):
            read_stack([path], np.eye(4), (1, 8, 8))


def test_slices_that_their_files_do_not_hold(tmp_path: Path) -> None:
    voxels = _draw("u2", 16, (1, 4, 6, 8))
    path = write_image(tmp_path / "a", describe_frames(voxels))
    with pytest.raises(ImageError, match="slice 1 of 2 is frame 8, its file holds 4"):
        read_stack([path] * 2, np.eye(4), (2, 6, 8), [0, 7])
    path = write_image(tmp_path / "a", describe_mosaic(voxels[0], np.zeros(3), np.eye(3), (1, 1, 2)))
    with pytest.raises(ImageError, match="slice 1 of 2 is tile 8, its mosaic holds 4"):
        read_stack([path] * 2, np.eye(4), (2, 6, 8), [0, 7])
    with pytest.raises(ImageError, match="one file a slice, got 2 files for 2 slices"):
        read_stack([path] * 2, np.eye(4), (2, 6, 8), [0])


def test_slices_in_an_archive(tmp_path: Path) -> None:
    voxels = _draw("u2", 16, (3, 5, 7))
    with zipfile.ZipFile(tmp_path / "all.ZIP", "w", zipfile.ZIP_DEFLATED) as archive:
        for k, plane in enumerate(voxels):
            archive.write(write_image(tmp_path / f"{k}", describe_image(k, plane, (0, 0, k))), f"in/{2 - k}")
    files = [Path(f"{tmp_path}/all.ZIP!/in/{2 - k}") for k in range(3)]
    np.testing.assert_array_equal(read_stack(files, np.eye(4), (3, 5, 7)).array[0], voxels)
    files[1] = Path(f"{tmp_path}/all.ZIP!/in/Doe")
    with pytest.raises(
        ImageError, match=r"^slice \d of 3 cannot be read \(a member is no longer in its archive\)"
    ) as no:
        read_stack(files, np.eye(4), (3, 5, 7))
    assert "Doe" not in str(no.value)


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
        "philips_enhanced-anatomical-001",
        "siemens_multiframe-anatomical-001",
    ],
)
def test_real_series_equal_their_conversion(real_data: Path, name: str) -> None:
    series = arrange_one(read_headers(real_data / "dicom" / name))
    assert series.problem == ""
    expected = reorient_to_ras(read_volume(real_data / "dicom" / f"{name}.ground_truth.nii.gz"))
    assert len(series.stacks) == len(expected.array)
    for phase, voxels in enumerate(expected.array):
        volume = reorient_to_ras(read_phase(series, phase))
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
        )
        for series in arrange_series(read_headers(folder / name))
    }
    assert problems == {
        "failing-slicecount-001": "a volume needs at least 3 slices at different places, got 2 in 2 files; "
        "set the series aside or export it whole",
        "failing-sliceincrement-001": "a volume must be stored as MR Image Storage, got CT Image Storage; it stays out",
    }
    uneven = [replace(header, sop_class=MR) for header in read_headers(folder / "failing-sliceincrement-001")]
    assert arrange_one(uneven).problem == (
        "slices must lie at even distances, got 5.000 to 10.000 mm (1 slices missing if 5.000 mm is right); "
        "export the series again"
    )
    for name in ("emri_small.dcm", "emri_small_jpeg_2k_lossless_too_short.dcm"):
        header = read_header(folder / name)
        assert header
        assert "an enhanced image must say where its frames lie" in arrange_one([header]).problem
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
    series = arrange_one(read_headers(tmp_path))
    second = Path(series.stacks[0].files[1])
    second.write_bytes(second.read_bytes()[:-1000])
    with pytest.raises(ImageError) as caught:
        read_phase(series)
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
    series = arrange_one(read_headers(tmp_path))
    assert (series.problem, series.files, series.patient_id) == ("", 2 * SLICES, "P1")
    assert [stack.temporal_position for stack in series.stacks] == [1, 2]
    assert {stack.order for stack in series.stacks} == {"temporal position"}
    slope = (0.5 + np.arange(SLICES))[:, None, None]
    expected = np.stack([voxels[1] * slope - 1, voxels[0] * slope])[:, ::-1]
    for phase in range(2):
        volume = read_phase(series, phase)
        np.testing.assert_allclose(volume.array[0], expected[phase])
        np.testing.assert_allclose(volume.affine @ [0, 0, 0, 1], [-10, -20, 21, 1])
        assert volume.spacing_mm == pytest.approx((0.75, 0.5, 3))
        assert volume.orientation == "LPS"


def test_pixels_that_do_not_fit(tmp_path: Path) -> None:
    for k in range(3):
        _write(tmp_path, k, np.zeros((5, 7), np.uint16), (0.0, 0.0, float(k)))
    series = arrange_one(read_headers(tmp_path))
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
        read_phase(series)


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
    series = arrange_one(read_headers(tmp_path))
    assert read_phase(series).array.max() == 75
    for file in series.stacks[0].files:
        Path(file).write_bytes(Path(file).read_bytes().replace(b"7.5e1 ", f"{slope:6}".encode()))
    with pytest.raises(ImageError, match=problem):
        read_phase(series)
