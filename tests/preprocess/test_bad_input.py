"""What no network should be fed: refused in one line that says what is wrong, or handled."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from genovox.core.errors import ImageError, UsageError
from genovox.core.sections import PreprocessTable
from genovox.core.study import Study
from genovox.core.volume import Volume, read_volume
from genovox.preprocess.pipeline import Subject, preprocess_images, preprocess_volume
from genovox.preprocess.stage import open_stage
from genovox.scans.inspection import MOST_PHASES, read_phases


def _scan(shape: tuple[int, ...] = (2, 20, 24, 28), affine: np.ndarray | None = None) -> Volume:
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape[1:]), indexing="ij")
    body = 300.0 * (x**2 + y**2 + z**2 < 0.7)
    noise = np.abs(np.random.default_rng(0).normal(0, 8, shape))
    return Volume((body + noise).astype(np.float32), np.diag([4.0, 4, 4, 1]) if affine is None else affine)


def _table(**settings: Any) -> PreprocessTable:
    return PreprocessTable(**({"shape": (16, 16, 16)} | settings))


EVERYTHING: dict[str, Any] = {"bias": "n4", "motion": "rigid", "foreground": "body", "denoise": "median"}


@pytest.mark.parametrize("normalise", ["joint-z", "pre", "percentile", "uint8", "nyul"])
def test_a_constant_image(normalise: str) -> None:
    flat = Volume(np.full((1, 20, 24, 28), 7, np.float32), np.eye(4))
    with pytest.raises(ImageError, match="one value"):
        preprocess_volume(flat, _table(normalise=normalise, foreground="none"))
    with pytest.raises(ImageError):
        preprocess_volume(flat, _table(normalise=normalise))
    empty_mask = Volume(np.zeros((1, 20, 24, 28), np.float32), np.eye(4))
    with pytest.raises(ImageError):
        preprocess_volume(empty_mask, _table(normalise=normalise, foreground="none"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers(tmp_path: Path, value: float) -> None:
    scan = _scan((1, 8, 8, 8))
    scan.array[0, 1, 2, 3] = value
    nibabel.save(nibabel.Nifti1Image(scan.array[0].T, scan.affine), tmp_path / "scan.nii")
    with pytest.raises(ImageError, match="voxels must be finite"):
        read_volume(tmp_path / "scan.nii")


@pytest.mark.parametrize("shape", [(2, 1, 24, 28), (2, 20, 1, 28), (2, 2, 24, 28)])
def test_one_slice_or_two_are_handled_or_refused(shape: tuple[int, ...]) -> None:
    made = preprocess_volume(_scan(shape), _table(foreground="none"))
    assert made.volume.array.shape == (1, 16, 16, 16)
    assert np.isfinite(made.volume.array).all()
    whole = preprocess_volume(_scan(shape), _table(**EVERYTHING))
    assert np.isfinite(whole.volume.array).all()
    assert any(note.startswith("phase 1: motion not estimated: it takes") for note in whole.notes)


def test_a_flat_picture_is_no_volume(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.ones((8, 8), np.float32), np.eye(4)), tmp_path / "flat.nii")
    with pytest.raises(ImageError, match="must be 3D, or 4D with phases last, got 2D"):
        read_volume(tmp_path / "flat.nii")


def test_three_hundred_phases(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4, 300), np.int16), np.eye(4)), tmp_path / "fast.nii")
    with pytest.raises(ImageError, match=f"at most {MOST_PHASES} phases, got 300"):
        read_phases([tmp_path / "fast.nii"])
    with pytest.raises(ImageError, match=f"at most {MOST_PHASES} phases, got 300"):
        read_phases([tmp_path / "none.nii"] * 300)


def test_zero_spacing(tmp_path: Path) -> None:
    content = bytearray(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4)).to_bytes())
    content[280:292] = bytes(12)  # the first row of the sform
    (tmp_path / "zero.nii").write_bytes(content)
    with pytest.raises(ImageError, match="spacing must be above 0"):
        preprocess_images([tmp_path / "zero.nii"], _table())


def test_a_sheared_grid() -> None:
    sheared = np.diag([4.0, 4, 4, 1])
    sheared[1, 2] = 1.0
    with pytest.raises(ImageError, match=r"must be perpendicular, two of this one meet at 76\.0 degrees"):
        preprocess_volume(_scan(affine=sheared), _table())
    rounded = np.diag([4.0, 4, 4, 1])
    rounded[1, 2] = 0.04  # what a header in single precision, or a table's sag, leaves
    assert preprocess_volume(_scan(affine=rounded), _table(shape=(64, 64, 64))).warnings == ()


def test_a_scan_without_signal() -> None:
    noise = np.abs(np.random.default_rng(0).normal(0, 1, (2, 20, 24, 28))).astype(np.float32)
    empty = Volume(np.where(noise > 4.5, noise, 0).astype(np.float32), np.diag([4.0, 4, 4, 1]))
    with pytest.raises(ImageError):
        preprocess_volume(empty, _table(**EVERYTHING))


def test_a_grid_that_would_fill_the_memory() -> None:
    with pytest.raises(ImageError, match=r"at most 2\^31 voxels"):
        preprocess_volume(_scan(), _table(spacing_mm=(0.01, 0.01, 0.01)))


def test_a_channel_that_needs_times_the_case_does_not_have() -> None:
    with pytest.raises(ImageError, match="needs the time of each phase, got none"):
        preprocess_volume(_scan(), _table(channels=("subtraction@90s",)))
    made = preprocess_volume(_scan(), _table(channels=("subtraction@90s",)), Subject(times_s=(0.0, 80.0)))
    assert made.figures.delays_s == pytest.approx((60.0,))


def test_nothing_in_the_crop() -> None:
    corner = (-0.0, -0.0, -0.0)
    made = preprocess_volume(_scan(), _table(spacing_mm=(1, 1, 1), shape=(4, 4, 4)), Subject(corner))
    assert not made.mask.any()
    assert np.isfinite(made.volume.array).all()
    assert len(np.unique(made.volume.array)) == 1


def test_a_mask_has_no_landmarks() -> None:
    mask = Volume((_scan().array > 100).astype(np.float32), np.eye(4))
    with pytest.raises(ImageError, match="two values has no landmarks"):
        preprocess_volume(mask, _table(normalise="nyul"))


def test_phases_that_a_conversion_spoilt_are_told() -> None:
    sound = _scan((3, 20, 24, 28))
    spoilt = sound.array.copy()
    spoilt[1] = spoilt[0]
    spoilt[2] = 40
    whole = {"shape": (64, 64, 64), "normalise": "pre"}
    warnings = preprocess_volume(Volume(spoilt, sound.affine), _table(**whole)).warnings
    assert "phase 1 is the same as pre-contrast; look at the order of the phases" in warnings
    assert "phase 2 holds one value only in the foreground; convert it again" in warnings
    assert preprocess_volume(sound, _table(**whole)).warnings == ()
    below = Volume(sound.array - 2000, sound.affine)
    assert "a magnitude is never negative" in preprocess_volume(below, _table(foreground="none", **whole)).warnings[0]


def test_a_gpu_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genovox.preprocess.stage.require_stage", lambda *_: {"key": "k"})
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (tmp_path / "study.toml").write_text('[cohort]\nimages = "m.csv"\n')
    with pytest.raises(UsageError, match="this torch sees no GPU"):
        open_stage(Study.load(tmp_path / "study.toml"), tmp_path / "run", "cuda")
