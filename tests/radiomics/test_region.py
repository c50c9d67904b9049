"""The lesion is found where a person would see it."""

import numpy as np
import pytest
import SimpleITK as sitk

from genovox.core.volume import Array, Mask
from genovox.radiomics.region import find_region, otsu_threshold

CUBE = (1.0, 1.0, 1.0)


def _ball(shape: tuple[int, int, int], centre: tuple[float, float, float], radius: float) -> Mask:
    places = np.moveaxis(np.indices(shape), 0, -1)
    return np.asarray(((places - centre) ** 2).sum(-1) <= radius**2)


def _scene(seed: int = 1) -> tuple[Array, Mask]:
    """A lesion in the middle, a bright blob of like size far from it, noise."""
    shape = (40, 40, 40)
    lesion = _ball(shape, (20, 19, 21), 6)
    guide = np.random.default_rng(seed).normal(0, 0.1, shape) + lesion + _ball(shape, (5, 5, 5), 6.5)
    return guide.astype(np.float32), lesion


def test_the_lesion_is_the_bright_part_in_the_middle() -> None:
    guide, lesion = _scene()
    found = find_region(guide, np.ones(guide.shape, bool), CUBE)
    assert (found.lesion & lesion).sum() / (found.lesion | lesion).sum() > 0.98


def test_rim_core_and_surroundings_divide_the_place() -> None:
    guide, _ = _scene()
    foreground = np.ones(guide.shape, bool)
    foreground[:18] = False
    found = find_region(guide, foreground, CUBE)
    assert (found.core ^ found.rim == found.lesion).all()
    assert not (found.around & found.lesion).any()
    assert not (found.around & ~foreground).any()
    assert found.core.any()
    assert found.rim.sum() > found.core.sum()
    assert not (found.around & ~_ball(guide.shape, (20, 19, 21), 13)).any()


def test_spacing_counts_in_mm() -> None:
    """Slices of 5 mm: one slice beside the lesion is around it, two are not."""
    lesion = np.zeros((9, 9, 9), np.float32)
    lesion[4, 3:6, 3:6] = 1
    found = find_region(lesion, np.ones(lesion.shape, bool), (1.0, 1.0, 5.0))
    assert np.flatnonzero(found.around.any(axis=(1, 2))).tolist() == [3, 4, 5]


@pytest.mark.parametrize("axes", [(2, 1, 0), (1, 2, 0)])
def test_turning_turns_the_region(axes: tuple[int, int, int]) -> None:
    guide, _ = _scene(2)
    foreground = np.ones(guide.shape, bool)
    one = find_region(guide, foreground, CUBE)
    other = find_region(np.flip(guide.transpose(axes), 1), foreground, CUBE)
    assert (np.flip(other.lesion, 1) == one.lesion.transpose(axes)).all()


def test_without_foreground_there_is_none() -> None:
    found = find_region(np.ones((4, 4, 4), np.float32), np.zeros((4, 4, 4), bool), CUBE)
    assert not (found.lesion | found.core | found.rim | found.around).any()


@pytest.mark.parametrize("size", [1, 3])
def test_where_nothing_stands_out_the_foreground_is_the_lesion(size: int) -> None:
    foreground = np.zeros((5, 5, 5), bool)
    foreground[:size, :size, :size] = True
    found = find_region(np.ones((5, 5, 5), np.float32), foreground, CUBE)
    assert (found.lesion == foreground).all()
    assert found.core.any()
    assert not found.around.any()


def test_everything_may_be_lesion() -> None:
    found = find_region(np.ones((3, 3, 3), np.float32), np.ones((3, 3, 3), bool), CUBE)
    assert found.lesion.all()
    assert not found.around.any()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_threshold_is_that_of_another_implementation(seed: int) -> None:
    random = np.random.default_rng(seed)
    values = np.concatenate([random.normal(0, 1, 3000), random.normal(6, 1, 1000)]).astype(np.float32)
    otsu = sitk.OtsuThresholdImageFilter()
    otsu.SetNumberOfHistogramBins(256)
    otsu.Execute(sitk.GetImageFromArray(values.reshape(10, 20, 20)))
    assert otsu_threshold(values) == pytest.approx(otsu.GetThreshold(), abs=2 * float(np.ptp(values)) / 256)


def test_two_values_are_divided_between_them() -> None:
    assert 0 < otsu_threshold(np.array([0, 0, 0, 1], np.float32)) < 1
