import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from genovox.preprocess.figures import compare_sides, estimate_snr


def _tissue(size: int, seed: int) -> np.ndarray:
    """Smooth tissue about 400."""
    rough = np.random.default_rng(seed).normal(size=(size, size, size))
    smooth = ndimage.gaussian_filter(rough, 4)
    return np.asarray(400 + 60 * smooth / smooth.std(), np.float32)


@settings(max_examples=20, deadline=None)
@given(snr=st.floats(8, 60), seed=st.integers(0, 99))
def test_snr_is_that_of_the_noise_that_was_added(snr: float, seed: int) -> None:
    phase = _tissue(40, seed)
    mask = np.zeros(phase.shape, bool)
    mask[5:35, 5:35, 5:35] = True
    noise = np.random.default_rng(seed + 1).normal(0, np.median(phase[mask]) / snr, phase.shape)
    assert estimate_snr((phase + noise).astype(np.float32), mask) == pytest.approx(snr, rel=0.1)


def test_where_there_is_no_noise_there_is_no_ratio() -> None:
    flat, mask = np.full((8, 8, 8), 7, np.float32), np.ones((8, 8, 8), bool)
    assert np.isnan(estimate_snr(flat, mask))
    assert np.isnan(estimate_snr(flat[:1], mask[:1]))
    assert np.isnan(estimate_snr(_tissue(8, 0), np.zeros((8, 8, 8), bool)))


def test_left_over_right() -> None:
    phase = np.full((4, 20, 100), 100, np.float32)
    phase[..., :50] = 80  # x grows to the right: the first columns are the left side
    mask = np.ones(phase.shape, bool)
    assert compare_sides(phase, mask, 3.0) == pytest.approx(0.8)
    assert np.isnan(compare_sides(phase, mask, 2.0))  # 200 mm hold one breast
    assert np.isnan(compare_sides(phase, np.zeros(phase.shape, bool), 3.0))
    phase[..., 50:] = 0
    assert np.isnan(compare_sides(phase, mask, 3.0))
