import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genovox.core.errors import ImageError
from genovox.volumes.intensity import fit_intensity, is_two_valued

NAMES = ("pre", "post1", "subtraction1")


def _phases(seed: int = 0, gain: float = 1, offset: float = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.gamma(4, 60, (2, 6, 7, 8)) * gain + offset).astype(np.float32)


MASK = np.zeros((6, 7, 8), bool)
MASK[1:5, 1:6, 2:7] = True


def test_joint_z_is_over_all_phases_of_the_foreground() -> None:
    phases = _phases()
    mapped = fit_intensity(phases, MASK, "joint-z").apply(phases, ("pre", "post1"))
    assert mapped[:, MASK].mean() == pytest.approx(0, abs=1e-5)
    assert mapped[:, MASK].std() == pytest.approx(1, abs=1e-5)


def test_percentile_is_0_to_1() -> None:
    phases = _phases()
    mapped = fit_intensity(phases, MASK, "percentile").apply(phases, ("pre", "post1"))
    assert (mapped.min(), mapped.max()) == (0, 1)
    inside = mapped[:, MASK]
    assert ((inside > 0) & (inside < 1)).mean() == pytest.approx(0.98, abs=0.01)


@given(kind=st.sampled_from(["joint-z", "percentile", "none"]), seed=st.integers(0, 99), gain=st.floats(0.1, 50))
@settings(max_examples=50, deadline=None)
def test_kinetics_survive(kind: str, seed: int, gain: float) -> None:
    phases = _phases(seed, gain)
    uptake = phases[1] - phases[0]
    mapped = fit_intensity(phases, MASK, kind).apply(np.stack([*phases, uptake]), NAMES)
    ratio = uptake / uptake[2, 2, 2]
    np.testing.assert_allclose(mapped[2] / mapped[2, 2, 2, 2], ratio, rtol=1e-4, atol=1e-4)
    if kind != "percentile":  # phases are clipped there, differences are not
        np.testing.assert_allclose(mapped[1] - mapped[0], mapped[2], rtol=1e-3, atol=1e-3 * np.abs(mapped).max())


@pytest.mark.parametrize("kind", ["joint-z", "percentile"])
def test_scanner_gain_and_offset_vanish(kind: str) -> None:
    one, two = _phases(), _phases(gain=3, offset=40)
    names = ("pre", "post1")
    mapped = [fit_intensity(phases, MASK, kind).apply(phases, names) for phases in (one, two)]
    np.testing.assert_allclose(mapped[0], mapped[1], atol=1e-4)


@pytest.mark.parametrize("kind", ["joint-z", "percentile"])
def test_a_flat_foreground(kind: str) -> None:
    with pytest.raises(ImageError, match="holds one value only"):
        fit_intensity(np.ones((1, 6, 7, 8), np.float32), MASK, kind)
    assert fit_intensity(np.ones((1, 6, 7, 8), np.float32), MASK, "none").scale == 1


def test_two_values() -> None:
    assert is_two_valued(MASK[np.newaxis].astype(np.float32) * 5 - 2)
    assert not is_two_valued(_phases())
    assert not is_two_valued(np.array([0, 1, 0.5], np.float32))
