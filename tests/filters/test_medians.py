import itertools

import numpy as np
import pytest
import scipy.ndimage
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from genovox.filters import medians
from genovox.filters.medians import median_of_window, plan_selection


@given(
    shape=st.tuples(*[st.integers(1, 7)] * 3),
    radius=st.tuples(*[st.integers(0, 1)] * 3),
    values=st.integers(2, 200),
    seed=st.integers(0, 999),
)
@settings(max_examples=150, deadline=None)
def test_is_scipys_to_the_bit(
    shape: tuple[int, int, int], radius: tuple[int, int, int], values: int, seed: int
) -> None:
    array = np.random.default_rng(seed).integers(0, values, shape).astype(np.float32)
    expected = scipy.ndimage.median_filter(array, size=[2 * r + 1 for r in radius], mode="nearest")
    np.testing.assert_array_equal(median_of_window(array, radius), expected)


def test_pieces_meet_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    array = np.random.default_rng(0).normal(size=(6, 9, 11)).astype(np.float32)
    expected = sitk.GetArrayFromImage(sitk.Median(sitk.GetImageFromArray(array), (1, 1, 1)))
    for size in (1, 7, 100, 10_000):
        monkeypatch.setattr(medians, "PIECE_VOXELS", size)
        np.testing.assert_array_equal(median_of_window(array, (1, 1, 1)), expected)


def test_larger_windows() -> None:
    array = np.random.default_rng(0).normal(size=(6, 9, 11)).astype(np.float32)
    expected = scipy.ndimage.median_filter(array, size=(3, 5, 7), mode="nearest")
    np.testing.assert_array_equal(median_of_window(array, (1, 2, 3)), expected)


@pytest.mark.parametrize("radius", list(itertools.product((0, 1), repeat=3)))
def test_every_order_of_zeros_and_ones_is_selected_right(radius: tuple[int, int, int]) -> None:
    """What selects the right one of all zeros and ones that its sorted window can hold selects it always."""
    plan = plan_selection(radius)
    windows = np.random.default_rng(1).random((20_000, *[1 + 2 * r for r in radius]))
    windows = (windows < np.linspace(0.3, 0.7, len(windows))[:, None, None, None]).astype(np.float32)
    expected = np.median(windows.reshape(len(windows), -1), axis=1)
    for axis in (1, 2, 3):
        windows = np.sort(windows, axis=axis)
    cells = {index: windows[(slice(None), *index)] for index in np.ndindex(windows.shape[1:])}
    for low, high, _, _ in plan.exchanges:
        cells[low], cells[high] = np.minimum(cells[low], cells[high]), np.maximum(cells[low], cells[high])
    np.testing.assert_array_equal(cells[plan.result], expected)


def test_the_cube_needs_few_passes() -> None:
    assert sum(low + high for _, _, low, high in plan_selection((1, 1, 1)).exchanges) < 90
    assert len(plan_selection((0, 1, 1)).exchanges) == 3  # the known best for 3 x 3
