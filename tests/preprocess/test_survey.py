from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from genovox.core.sections import PreprocessTable
from genovox.core.volume import Volume
from genovox.preprocess.pipeline import Subject, one_thread, preprocess_volume
from genovox.preprocess.survey import Survey, survey_everything, survey_scan
from genovox.preprocess.window import open_window, sample_phases
from genovox.volumes.geometry import Grid
from genovox.volumes.motion import Motion

SPACING = (3.0, 2.0, 2.5)


def _torso(phases: int = 3, width: int = 110, seed: int = 0) -> Volume:
    """A torso of 300 mm with texture, a lesion on the patient's left and a gain that grows to the front."""
    shape = (40, 70, width)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    body = (x / 0.92) ** 4 + (y / 0.8) ** 2 + (z / 0.95) ** 4 < 1
    random = np.random.default_rng(seed)
    texture = 1 + 0.4 * ndimage.gaussian_filter(random.normal(size=shape), 2) * 8
    lesion = np.exp(-(((x + 0.4) / 0.06) ** 2 + ((y - 0.2) / 0.08) ** 2 + (z / 0.15) ** 2))
    gain = np.exp(0.5 * y)
    out = np.stack([400 * body * gain * texture * (1 + k * 0.8 * lesion) for k in range(phases)])
    noise = random.normal(0, 6, (2, *out.shape))
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = (-150, -60, -50)
    return Volume(np.hypot(out + noise[0], noise[1]).astype(np.float32), affine)


def test_a_survey_survives_the_disk(tmp_path: Path) -> None:
    survey = survey_scan(_torso(), PreprocessTable(bias="n4", motion="rigid"))
    field = Volume(np.random.default_rng(0).normal(size=(3, 4, 5, 6)).astype(np.float32), np.diag([30.0, 30, 30, 1]))
    moved = Motion(np.diag([1.0, 1, 1, 1]), field, 0.4, 0.6, 1.5, 3.0, "bent")
    survey = replace(survey, motions=(survey.motions[0], moved))
    record = survey.write(tmp_path)
    again = Survey.read(tmp_path, record)
    for name in ("floor", "snr", "left_right_ratio"):
        assert getattr(again, name) == getattr(survey, name)
    np.testing.assert_array_equal(again.mask, survey.mask)
    assert survey.left is not None
    assert again.left is not None
    np.testing.assert_array_equal(again.left, survey.left)
    assert again.grid.shape == survey.grid.shape
    assert survey.bias is not None
    assert again.bias is not None
    field_of = [one.bias.evaluate(survey.grid.affine, survey.mask.shape) for one in (survey, again) if one.bias]
    torch.testing.assert_close(field_of[0], field_of[1])
    for one, other in zip(survey.motions, again.motions, strict=True):
        for field_ in fields(Motion):
            if field_.name not in {"matrix", "displacement"}:
                assert getattr(one, field_.name) == pytest.approx(getattr(other, field_.name), nan_ok=True)
    points = np.random.default_rng(1).uniform(-40, 40, (20, 3))
    np.testing.assert_allclose(again.motions[1].move(points), moved.move(points))


def test_a_known_survey_gives_the_same_voxels(tmp_path: Path) -> None:
    scan, table = _torso(), PreprocessTable(bias="n4", shape=(64, 48, 40), channels=("pre", "subtraction1"))
    with one_thread():
        survey = survey_scan(scan, table)
    known = Survey.read(tmp_path, survey.write(tmp_path))
    one, other = preprocess_volume(scan, table), preprocess_volume(scan, table, survey=known)
    np.testing.assert_array_equal(one.volume.array, other.volume.array)
    assert one.figures == other.figures


@pytest.mark.parametrize(("side", "is_left"), [("left", True), ("right", False)])
@pytest.mark.parametrize("foreground", ["body", "none"])
def test_one_side_of_a_scan_of_both(side: str, is_left: bool, foreground: str) -> None:
    scan = _torso()
    table = PreprocessTable(shape=(60, 60, 50), spacing_mm=(2.5, 2.5, 2.5), foreground=foreground)
    made = preprocess_volume(scan, table, Subject(side=side))
    whole = preprocess_volume(scan, table, Subject(side="bilateral"))
    middle_x = (made.volume.affine @ (29.5, 29.5, 24.5, 1))[0]
    centre_x = (whole.volume.affine @ (29.5, 29.5, 24.5, 1))[0]
    assert (middle_x < centre_x - 40) == is_left
    assert (middle_x > centre_x + 40) != is_left
    assert made.figures.foreground_ml == pytest.approx(whole.figures.foreground_ml / 2, rel=0.05)


def test_a_scan_of_one_breast_has_no_sides() -> None:
    scan = _torso(width=60)
    assert survey_scan(scan, PreprocessTable()).left is None
    assert survey_everything(scan).left is None


def test_the_field_is_taken_out_and_intensities_keep_their_scale() -> None:
    scan = _torso(1)
    table = PreprocessTable(spacing_mm=SPACING, shape=(110, 70, 40), normalise="none")
    plain, mended = preprocess_volume(scan, table), preprocess_volume(scan, table.model_copy(update={"bias": "n4"}))
    rows = np.meshgrid(np.arange(40), np.arange(70), np.arange(110), indexing="ij")[1][plain.mask]
    slopes = [np.polyfit(rows, np.log(one.volume.array[0][plain.mask] + 1), 1)[0] for one in (plain, mended)]
    assert slopes[0] == pytest.approx(0.5 * 2 / 69, rel=0.2)  # the gain that was put in, a row
    assert abs(slopes[1]) < 0.25 * slopes[0]
    means = [np.log(one.volume.array[0][plain.mask] + 1).mean() for one in (plain, mended)]
    assert means[1] == pytest.approx(means[0], abs=0.05)
    assert mended.figures.bias_strength > 1.3
    assert plain.figures.bias_strength == 1


def test_division_by_the_field_may_follow_the_interpolation() -> None:
    scan, table = _torso(1), PreprocessTable(bias="n4")
    survey = survey_scan(scan, table)
    assert survey.bias is not None
    window = open_window(survey, Grid.of(scan).rescale((1.5, 1.5, 1.5)), "")
    (after,) = sample_phases(scan, survey, window.grid, "linear", torch.device("cpu"))
    gain = torch.exp(survey.bias.evaluate(scan.affine, scan.array.shape[1:])).numpy()
    mended = Volume(scan.array / gain, scan.affine)
    (before,) = sample_phases(mended, replace(survey, bias=None), window.grid, "linear", torch.device("cpu"))
    apart = np.abs(after - before)[window.mask]
    assert np.percentile(apart, 99) < 1e-3 * scan.array.max()


def test_a_phase_that_moved_is_laid_on_the_first() -> None:
    scan = _torso(2)
    shifted = ndimage.shift(scan.array[1], (0, 2, 0), order=1)  # 4 mm to the front
    moved = Volume(np.stack([scan.array[0], shifted]).astype(np.float32), scan.affine)
    table = PreprocessTable(
        spacing_mm=SPACING, shape=(110, 70, 40), normalise="none", channels=("subtraction1",), motion="rigid"
    )
    made = preprocess_volume(moved, table)
    left_alone = preprocess_volume(moved, table.model_copy(update={"motion": "none"}))
    at_rest = preprocess_volume(scan, table)
    assert made.figures.motion_mm == pytest.approx(4, abs=0.7)
    assert made.figures.motion_gain > 0
    assert at_rest.figures.motion_mm == 0
    inside = ndimage.binary_erosion(made.mask, iterations=4)
    error = [np.abs(one.volume.array - at_rest.volume.array)[0][inside].mean() for one in (left_alone, made)]
    assert error[1] < 0.35 * error[0]
