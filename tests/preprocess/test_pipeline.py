import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from genovox.core.errors import ImageError
from genovox.core.study import PreprocessTable
from genovox.core.volume import Volume, read_volume, reorient_to_ras, write_nifti
from genovox.preprocess.pipeline import (
    Preprocessed,
    figures_as_row,
    load_mask,
    preprocess_images,
    save_mask,
)

AFFINE = np.array([[1.5, 0, 0, -20], [0, 2, 0, 5], [0, 0, 2.5, 9], [0, 0, 0, 1.0]])


def _body(phases: int = 2, seed: int = 0) -> np.ndarray:
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in (24, 28, 32)), indexing="ij")
    body = (x / 0.8) ** 2 + ((y - 0.1) / 0.7) ** 2 + (z / 0.8) ** 2 < 1
    random = np.random.default_rng(seed)
    noise = np.abs(random.normal(0, 8, (phases, *body.shape)))
    gradient = (300 + 40 * x) * body * np.arange(1, phases + 1).reshape(-1, 1, 1, 1)
    return np.round(gradient + noise).astype(np.float32)


def _write(folder: Path, array: np.ndarray, affine: np.ndarray = AFFINE) -> list[Path]:
    paths = [folder / f"phase{number}.nii" for number in range(len(array))]
    for path, phase in zip(paths, array, strict=True):
        write_nifti(path, Volume(phase[np.newaxis], affine))
    return paths


def _run(folder: Path, array: np.ndarray, **settings: Any) -> Preprocessed:
    return preprocess_images(_write(folder, array), PreprocessTable(**settings))


def test_every_orientation_gives_the_same_input(tmp_path: Path) -> None:
    table = PreprocessTable(spacing_mm=(3, 3, 3), shape=(20, 16, 24), channels=("pre", "post1", "subtraction1"))
    first = preprocess_images(_write(tmp_path, _body()), table)
    images = [sitk.ReadImage(str(tmp_path / f"phase{number}.nii")) for number in range(2)]
    for order, signs in itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)):
        paths = []
        for number, image in enumerate(images):
            paths.append(tmp_path / f"turned{number}.nii")
            turned = sitk.PermuteAxes(image, order)[:: signs[0], :: signs[1], :: signs[2]]
            sitk.WriteImage(turned, str(paths[-1]))
        made = preprocess_images(paths, table)
        np.testing.assert_allclose(made.volume.array, first.volume.array, atol=1e-5)
        np.testing.assert_allclose(made.volume.affine, first.volume.affine, atol=1e-4)
        np.testing.assert_array_equal(made.mask, first.mask)


def test_the_mask_the_fill_and_the_map(tmp_path: Path) -> None:
    made = _run(tmp_path, _body(), spacing_mm=(2, 2, 2), shape=(40, 40, 40), channels=("pre", "post1", "subtraction1"))
    assert made.volume.array.shape == (3, 40, 40, 40)
    assert made.volume.array.dtype == np.float32
    assert made.volume.spacing_mm == pytest.approx((2, 2, 2))
    assert made.volume.orientation == "RAS"
    inside = made.volume.array[:2, made.mask]
    assert inside.mean() == pytest.approx(0, abs=1e-3)
    assert inside.std() == pytest.approx(1, abs=1e-3)
    nothing = np.float32(-made.figures.offset / made.figures.scale)
    np.testing.assert_allclose(made.volume.array[:2, ~made.mask], nothing, rtol=1e-5)
    assert (made.volume.array[2, ~made.mask] == 0).all()
    assert made.figures.outside_fraction == 0
    assert made.warnings == ()
    volume_ml = made.mask.sum() * 8 / 1000
    assert made.figures.foreground_ml == pytest.approx(volume_ml)
    row = figures_as_row(made.figures, made.volume.affine)
    assert row["source_shape"] == "32;28;24"
    assert row["source_orientation"] == "RAS"
    assert len(row["affine"].split(";")) == 16


def test_foreground_outside_the_crop_is_warned_of(tmp_path: Path) -> None:
    made = _run(tmp_path, _body(), spacing_mm=(2, 2, 2), shape=(12, 12, 12))
    assert made.figures.outside_fraction > 0.5
    assert made.warnings[0].endswith("of the foreground lies outside the crop; enlarge preprocess.shape")
    assert _run(tmp_path, _body(), shape=(12, 12, 12), foreground="none").warnings == ()


@pytest.mark.parametrize("normalise", ["joint-z", "percentile", "none"])
@pytest.mark.parametrize("foreground", ["body", "none"])
def test_a_two_valued_volume_passes_untouched(tmp_path: Path, normalise: str, foreground: str) -> None:
    mask = (_body(1) > 150).astype(np.float32)
    made = _run(tmp_path, mask, spacing_mm="native", shape=(32, 28, 24), normalise=normalise, foreground=foreground)
    np.testing.assert_array_equal(made.volume.array, mask)
    assert made.figures.two_valued
    finer = _run(tmp_path, mask, spacing_mm=(1, 1, 1), shape=(48, 56, 60), normalise=normalise, foreground=foreground)
    assert set(np.unique(finer.volume.array)) == {0, 1}


def test_a_case_that_cannot_be_done(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="channel post3 needs 4 phases"):
        _run(tmp_path, _body(), channels=("post3",))
    with pytest.raises(ImageError, match="foreground is empty"):
        _run(tmp_path, np.stack([_body(1)[0], -_body(1)[0]]), normalise="none")
    assert _run(tmp_path, _body(1), shape=(4, 4, 4)).volume.array.shape == (1, 4, 4, 4)


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 1, 1), (8, 8, 8)])
def test_masks_survive_the_disk(tmp_path: Path, shape: tuple[int, ...]) -> None:
    mask = np.random.default_rng(0).random(shape) > 0.4
    save_mask(tmp_path / "mask.npy", mask)
    np.testing.assert_array_equal(load_mask(tmp_path / "mask.npy", shape), mask)


@pytest.mark.real_data
@pytest.mark.parametrize("side", ["left", "right"])
def test_subtraction_of_real_phases_is_exact(real_data: Path, side: str) -> None:
    folder = real_data / "tcga-ao-a03m"
    paths = [folder / f"{side}_{name}.nii.gz" for name in ("pre", "post1", "post2")]
    table = PreprocessTable(
        spacing_mm="native",
        shape=(30, 200, 120),
        normalise="none",
        foreground="none",
        channels=("subtraction1", "washout"),
    )
    made = preprocess_images(paths, table)
    pre, post1, post2 = (reorient_to_ras(read_volume(path)) for path in paths)
    x, y, z = made.figures.crop_start
    crop = np.s_[0, z : z + 120, y : y + 200, x : x + 30]
    np.testing.assert_array_equal(made.volume.array[0], (post1.array - pre.array)[crop])
    np.testing.assert_array_equal(made.volume.array[1], (post1.array - post2.array)[crop])
    np.testing.assert_allclose(made.volume.affine[:3, 3], (pre.affine @ (x, y, z, 1))[:3])


@pytest.mark.real_data
def test_the_left_breast_stays_left(real_data: Path) -> None:
    folder = real_data / "tcga-ao-a03m"
    made = {
        side: preprocess_images([folder / f"{side}_pre.nii.gz"], PreprocessTable(shape=(80, 112, 112)))
        for side in ("left", "right")
    }
    centres = {side: (one.volume.affine @ (40, 56, 56, 1))[0] for side, one in made.items()}
    assert centres["left"] < centres["right"]  # x runs to the patient's right
    for one in made.values():
        assert one.figures.source_orientation == "PIR"
        assert one.volume.orientation == "RAS"
        assert one.volume.spacing_mm == pytest.approx((2, 2, 2))
        extent = np.array(one.figures.source_shape) * one.figures.source_spacing_mm
        assert 0.2 < one.figures.foreground_ml * 1000 / extent.prod() < 0.8
