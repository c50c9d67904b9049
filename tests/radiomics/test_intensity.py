"""First-order features agree with published values."""

import numpy as np
import pytest

from genovox.radiomics.intensity import NAMES, measure_intensity
from tests.radiomics.phantom import MASK, PHANTOM


def test_phantom_has_the_published_values() -> None:
    found = measure_intensity(PHANTOM[MASK])
    published = {
        "mean": 2.15,
        "skewness": 1.08,
        "kurtosis": -0.355,
        "p10": 1,
        "median": 1,
        "p90": 4,
        "interquartile_range": 3,
        "robust_mean_absolute_deviation": 1.11,
        "entropy": 1.27,
    }
    for name, value in published.items():
        assert found[name] == pytest.approx(value, rel=5e-3), name
    assert found["sd"] ** 2 == pytest.approx(3.05, abs=5e-3)


def test_no_values_mean_nothing() -> None:
    found = measure_intensity(np.zeros(0, np.float32))
    assert tuple(found) == NAMES
    assert np.isnan(list(found.values())).all()


@pytest.mark.parametrize("count", [1, 50])
def test_flat_values_have_no_shape(count: int) -> None:
    found = measure_intensity(np.full(count, 0.1, np.float32))
    assert found["sd"] == pytest.approx(0, abs=1e-7)
    assert found["entropy"] == 0
    assert np.isnan(found["skewness"])
    assert np.isnan(found["kurtosis"])
    assert found["median"] == pytest.approx(0.1)


def test_shift_and_scale_do_what_they_must() -> None:
    values = np.random.default_rng(1).gamma(2, size=400).astype(np.float32)
    one, other = measure_intensity(values), measure_intensity(2 * values + 3)
    assert other["mean"] == pytest.approx(2 * one["mean"] + 3, rel=1e-5)
    assert other["sd"] == pytest.approx(2 * one["sd"], rel=1e-5)
    for name in ("skewness", "kurtosis"):
        assert other[name] == pytest.approx(one[name], rel=1e-4)
