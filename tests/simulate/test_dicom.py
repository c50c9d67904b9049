"""DICOM files hold the voxels at the positions they were rendered at, for two independent readers."""

import datetime as dt
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.dataset import FileDataset
from pydicom.uid import UID

from genovox.simulate.anatomy import Grid, Map
from genovox.simulate.dicom import Series, Study, slice_volume, write_series
from genovox.simulate.sites import open_sites

SITES = open_sites(4)
STUDY = Study(
    patient_id="SIM-0001",
    site=SITES[0],
    entropy="7/SIM-0001",
    name="MRI BREAST",
    date=dt.date(2021, 3, 6),
    start_s=9 * 3600.0,
    age=48,
)
SERIES = Series(3, "dynamic", ("ORIGINAL", "PRIMARY", "M", "ND"), 4.5, 1.7, 10)
GRID = Grid((5, 7, 9), (2.4, 1.5, 3.1), (-30.25, -7.5, 11.125))
CUTS = [("axial", False), ("axial", True), ("sagittal", False), ("coronal", False)]


@pytest.fixture
def volume() -> Map:
    return np.random.default_rng(1).uniform(0, 4000, GRID.shape).astype(np.float32)


def _read(folder: Path) -> list[FileDataset]:
    return [pydicom.dcmread(path) for path in sorted(folder.iterdir())]


def _place(header: FileDataset) -> np.ndarray:
    """RAS position of each pixel, shape (rows, columns, 3), by the DICOM standard's equation C.7.6.2.1-1."""
    orientation = np.array(header.ImageOrientationPatient, float)
    between_rows, between_columns = (float(value) for value in header.PixelSpacing)
    rows, columns = np.mgrid[: header.Rows, : header.Columns]
    lps = (
        np.array(header.ImagePositionPatient, float)
        + columns[..., None] * between_columns * orientation[:3]
        + rows[..., None] * between_rows * orientation[3:]
    )
    return np.asarray(lps * [-1, -1, 1])


def _find(positions_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Voxels (z, y, x) at RAS positions and how far they are from them."""
    voxels = (positions_mm - GRID.origin_mm) / np.array(GRID.spacing_mm)
    nearest = np.rint(voxels).astype(int)
    return nearest[..., ::-1], np.abs(voxels - nearest).max(axis=-1)


@pytest.mark.parametrize(("plane", "rows_from_back"), CUTS)
def test_pydicom_finds_every_voxel_in_its_place(
    plane: str,
    rows_from_back: bool,
    volume: Map,
    tmp_path: Path,
) -> None:
    cut = slice_volume(volume, GRID, plane=plane, rows_from_back=rows_from_back)
    assert write_series(tmp_path, STUDY, SERIES, [cut], [100.0]) == len(cut.pixels)
    seen = np.zeros(GRID.shape, int)
    for header in _read(tmp_path):
        voxels, miss = _find(_place(header))
        assert miss.max() < 1e-3
        index = tuple(np.moveaxis(voxels, -1, 0))
        assert np.array_equal(header.pixel_array, np.rint(volume[index]))
        np.add.at(seen, index, 1)
        normal = np.cross(*np.array(header.ImageOrientationPatient, float).reshape(2, 3))
        location = float(np.array(header.ImagePositionPatient, float) @ normal)
        assert float(header.SliceLocation) == pytest.approx(location, abs=1e-3)
    assert (seen == 1).all()


@pytest.mark.parametrize(("plane", "rows_from_back"), CUTS)
def test_gdcm_finds_every_voxel_in_its_place(
    plane: str,
    rows_from_back: bool,
    volume: Map,
    tmp_path: Path,
) -> None:
    cut = slice_volume(volume, GRID, plane=plane, rows_from_back=rows_from_back)
    write_series(tmp_path, STUDY, SERIES, [cut], [100.0])
    reader = sitk.ImageSeriesReader()
    (uid,) = reader.GetGDCMSeriesIDs(str(tmp_path))
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path), uid))
    image = reader.Execute()
    pixels = sitk.GetArrayFromImage(image)
    direction = np.array(image.GetDirection()).reshape(3, 3)
    place = np.moveaxis(np.indices(pixels.shape)[::-1], 0, -1) * np.array(image.GetSpacing())
    lps = place @ direction.T + np.array(image.GetOrigin())
    voxels, miss = _find(lps * [-1, -1, 1])
    assert miss.max() < 1e-3
    assert np.array_equal(pixels, np.rint(volume[tuple(np.moveaxis(voxels, -1, 0))]))
    assert len(np.unique(voxels.reshape(-1, 3), axis=0)) == volume.size


def test_planes_are_stored_as_scanners_store_them(volume: Map) -> None:
    first = {
        (plane, back): slice_volume(volume, GRID, plane=plane, rows_from_back=back).orientation for plane, back in CUTS
    }
    assert first["axial", False] == (1, 0, 0, 0, 1, 0)
    assert first["axial", True] == (-1, 0, 0, 0, -1, 0)
    assert first["sagittal", False] == (0, 1, 0, 0, 0, -1)
    assert first["coronal", False] == (1, 0, 0, 0, 0, -1)


def test_phases_of_one_series_are_told_apart(volume: Map, tmp_path: Path) -> None:
    cut = slice_volume(volume, GRID, plane="axial")
    phases = [replace(cut, pixels=cut.pixels * factor) for factor in (1.0, 1.5, 2.0)]
    times = [36_000.0, 36_090.5, 36_165.0]
    for temporal in (True, False):
        folder = tmp_path / str(temporal)
        count = write_series(folder, STUDY, replace(SERIES, temporal=temporal), phases, times)
        headers = _read(folder)
        assert count == len(headers) == 3 * GRID.shape[0]
        assert [header.InstanceNumber for header in headers] == list(range(1, count + 1))
        assert [path.name for path in sorted(folder.iterdir())] == [
            f"{number:04d}.dcm" for number in range(1, count + 1)
        ]
        for number, (phase, clock) in enumerate(
            zip(phases, ("100000.000", "100130.500", "100245.000"), strict=True), start=1
        ):
            part = headers[(number - 1) * GRID.shape[0] : number * GRID.shape[0]]
            assert {header.AcquisitionTime for header in part} == {clock}
            assert np.array_equal([header.pixel_array for header in part], np.rint(phase.pixels))
            if temporal:
                assert {header.TemporalPositionIdentifier for header in part} == {number}
                assert {header.NumberOfTemporalPositions for header in part} == {3}
            else:
                assert not any("TemporalPositionIdentifier" in header for header in part)
        assert len({header.SeriesInstanceUID for header in headers}) == 1


@pytest.mark.parametrize(
    ("seconds", "clock"),
    [(0.0, "000000.000"), (59.9996, "000100.000"), (3599.25, "005959.250"), (86_400.0, "000000.000")],
)
def test_times_are_clock_times(seconds: float, clock: str, volume: Map, tmp_path: Path) -> None:
    write_series(tmp_path, STUDY, SERIES, [slice_volume(volume, GRID, plane="axial")], [seconds])
    assert {header.AcquisitionTime for header in _read(tmp_path)} == {clock}


def test_headers_say_what_was_done(volume: Map, tmp_path: Path) -> None:
    for number, site in enumerate(SITES):
        study = replace(STUDY, site=site)
        series = replace(SERIES, number=4, description="Ph1/Sag VIBRANT", contrast=True)
        write_series(tmp_path / str(number), study, series, [slice_volume(volume, GRID, plane="sagittal")], [100.0])
        header = _read(tmp_path / str(number))[0]
        assert (header.Manufacturer, header.ManufacturerModelName) == (site.vendor, site.model)
        assert header.InstitutionName == site.hospital
        assert float(header.MagneticFieldStrength) == site.sequence.field_t
        assert (header.RepetitionTime, header.EchoTime, header.FlipAngle) == (4.5, 1.7, 10)
        assert (header.PatientID, header.PatientAge, header.PatientSex) == ("SIM-0001", "048Y", "F")
        assert (header.StudyDate, header.Modality) == ("20210306", "MR")
        assert header.SeriesDescription == "Ph1/Sag VIBRANT"
        assert header.SliceThickness == header.SpacingBetweenSlices == pytest.approx(2.4)
        assert [float(value) for value in header.PixelSpacing] == pytest.approx([3.1, 1.5])
        assert header.PatientPosition == "HFP"
        assert "ContrastBolusAgent" in header
        slope = float(header.get("RescaleSlope", 1))
        assert slope == pytest.approx(site.slope)
        stored = slice_volume(volume, GRID, plane="sagittal").pixels[0]
        assert header.pixel_array * slope == pytest.approx(stored, abs=slope / 2 + 1e-3)


def test_values_beyond_sixteen_bits_are_cut_not_wrapped(tmp_path: Path) -> None:
    volume = np.full(GRID.shape, 1e6, np.float32)
    volume[0] = -5
    write_series(tmp_path, STUDY, SERIES, [slice_volume(volume, GRID, plane="axial")], [100.0])
    assert [header.pixel_array.max() for header in _read(tmp_path)] == [0, *[32767] * (GRID.shape[0] - 1)]


def test_screenshots_have_four_samples(volume: Map, tmp_path: Path) -> None:
    cut = slice_volume(volume, GRID, plane="axial")
    write_series(tmp_path, replace(STUDY, site=SITES[3]), SERIES, [cut], [100.0], rgba=True)
    for header, pixels in zip(_read(tmp_path), cut.pixels, strict=True):
        assert header.SamplesPerPixel == 4
        assert header.BitsAllocated == 8
        assert header.SOPClassUID.name == "Secondary Capture Image Storage"
        assert "RescaleSlope" not in header
        samples = np.frombuffer(header.PixelData, np.uint8).reshape(*pixels.shape, 4)
        assert (samples[..., 3] == 255).all()
        assert np.array_equal(samples[..., 0], samples[..., 1])
        assert np.array_equal(samples[..., 0], samples[..., 2])
        assert np.corrcoef(samples[..., 0].ravel(), pixels.ravel())[0, 1] > 0.99


def _uids(header: FileDataset) -> list[str]:
    return [
        header.SOPInstanceUID,
        header.file_meta.MediaStorageSOPInstanceUID,
        header.SeriesInstanceUID,
        header.StudyInstanceUID,
        header.FrameOfReferenceUID,
    ]


def test_uids_are_valid_and_unique(volume: Map, tmp_path: Path) -> None:
    cut = slice_volume(volume, GRID, plane="axial")
    for patient in ("7/SIM-0001", "7/SIM-0002", "8/SIM-0001", "7/SIM-0001/biopsy"):
        for number in (3, 4):
            folder = tmp_path / patient.replace("/", "-") / str(number)
            write_series(
                folder, replace(STUDY, entropy=patient), replace(SERIES, number=number), [cut, cut], [1.0, 2.0]
            )
    headers = [pydicom.dcmread(path) for path in tmp_path.rglob("*.dcm")]
    for header in headers:
        assert all(UID(uid).is_valid and len(uid) <= 64 for uid in _uids(header))
        assert header.file_meta.MediaStorageSOPInstanceUID == header.SOPInstanceUID
    assert len(headers) == 4 * 2 * 2 * GRID.shape[0] == len({header.SOPInstanceUID for header in headers})
    assert len({header.SeriesInstanceUID for header in headers}) == 8
    assert len({header.StudyInstanceUID for header in headers}) == 4
    assert not {header.SeriesInstanceUID for header in headers} & {header.StudyInstanceUID for header in headers}


@pytest.mark.parametrize("entropy", ["16975", "22465", "33101"])
def test_uids_that_look_like_a_blank_are_left_alone(entropy: str, volume: Map, tmp_path: Path) -> None:
    """These studies' UIDs hold the digits 888888, once the blank of the instance number."""
    write_series(tmp_path, replace(STUDY, entropy=entropy), SERIES, [slice_volume(volume, GRID, plane="axial")], [1.0])
    headers = _read(tmp_path)
    assert "888888" in headers[0].StudyInstanceUID
    assert all(UID(uid).is_valid for header in headers for uid in _uids(header))
    assert [header.InstanceNumber for header in headers] == list(range(1, GRID.shape[0] + 1))


def test_first_instance_continues_a_series(volume: Map, tmp_path: Path) -> None:
    cut = slice_volume(volume, GRID, plane="axial")
    count = write_series(tmp_path, STUDY, SERIES, [cut], [1.0])
    write_series(tmp_path, STUDY, SERIES, [cut], [1.0], first_instance=1 + count)
    headers = _read(tmp_path)
    assert [header.InstanceNumber for header in headers] == list(range(1, 2 * count + 1))
    assert len({header.SOPInstanceUID for header in headers}) == 2 * count


@pytest.mark.parametrize("rgba", [False, True])
def test_same_cohort_same_bytes(rgba: bool, volume: Map, tmp_path: Path) -> None:
    for name in ("one", "two"):
        cut = slice_volume(volume, GRID, plane="sagittal")
        write_series(tmp_path / name, STUDY, replace(SERIES, temporal=True), [cut, cut], [1.0, 2.5], rgba=rgba)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
