import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genovox.core.errors import ImageError
from genovox.volumes.intensity import PhaseSignal, fit_intensity, is_two_valued, measure_percentiles, measure_phase

NAMES = ("pre", "post1", "subtraction1")


def _phases(seed: int = 0, gain: float = 1, offset: float = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.gamma(4, 60, (2, 6, 7, 8)) * gain + offset).astype(np.float32)


MASK = np.zeros((6, 7, 8), bool)
MASK[1:5, 1:6, 2:7] = True


def _measure(phases: np.ndarray, mask: np.ndarray) -> list[PhaseSignal]:
    voxels = np.flatnonzero(mask).astype(np.int32)
    return [measure_phase(phase, voxels) for phase in phases]


def test_joint_z_is_over_all_phases_of_the_foreground() -> None:
    phases = _phases()
    mapped = fit_intensity(_measure(phases, MASK), "joint-z").apply(phases, ("pre", "post1"))
    assert mapped[:, MASK].mean() == pytest.approx(0, abs=1e-5)
    assert mapped[:, MASK].std() == pytest.approx(1, abs=1e-5)


def test_percentile_is_0_to_1() -> None:
    phases = _phases()
    mapped = fit_intensity(_measure(phases, MASK), "percentile").apply(phases, ("pre", "post1"))
    assert (mapped.min(), mapped.max()) == (0, 1)
    inside = mapped[:, MASK]
    assert ((inside > 0) & (inside < 1)).mean() == pytest.approx(0.98, abs=0.01)


def test_pre_is_the_first_phase_of_the_foreground() -> None:
    phases = _phases()
    mapped = fit_intensity(_measure(phases, MASK), "pre").apply(phases, ("pre", "post1"))
    assert mapped[0, MASK].mean() == pytest.approx(0, abs=1e-5)
    assert mapped[0, MASK].std() == pytest.approx(1, abs=1e-5)
    expected = (phases[1] - phases[0][MASK].mean()) / phases[0][MASK].std()
    np.testing.assert_allclose(mapped[1], expected, rtol=1e-4, atol=1e-4)


def test_uint8_is_whole_numbers_from_0_to_255() -> None:
    phases = _phases()
    uptake = phases[1] - phases[0]
    intensity = fit_intensity(_measure(phases, MASK), "uint8")
    mapped = intensity.apply(np.stack([*phases, uptake]), NAMES)
    np.testing.assert_array_equal(mapped, np.rint(mapped))
    assert mapped.dtype == np.float32
    assert (mapped[:2, MASK].min(), mapped[:2, MASK].max()) == (0, 255)
    assert (mapped[:2].min(), mapped[:2].max()) == (0, 255)  # outside the foreground there is more
    assert mapped[2].min() < 0
    # Three roundings: of each phase by half, of the difference by half.
    assert np.abs(mapped[1] - mapped[0] - mapped[2])[MASK].max() <= 1.5
    assert intensity.clipped_fraction == 0


def test_absolute_channels_are_scaled_alike_in_every_case() -> None:
    phases = _phases()
    for kind in ("joint-z", "pre", "percentile", "uint8", "nyul"):
        mapped = fit_intensity(_measure(phases, MASK), kind).apply(phases[:1], ("enhancement1",))
        np.testing.assert_allclose(mapped, phases[:1] / 500)  # the most that enhancement is let be, in %
    np.testing.assert_array_equal(fit_intensity(_measure(phases, MASK), "none").apply(phases[:1], ("ser",)), phases[:1])


def test_what_is_learnt_later_leaves_the_signal() -> None:
    phases = _phases()
    np.testing.assert_array_equal(fit_intensity(_measure(phases, MASK), "nyul").apply(phases, ("pre", "post1")), phases)


def test_the_clipped_share_is_told() -> None:
    phases = np.random.default_rng(0).normal(100, 20, (2, 30, 40, 50)).astype(np.float32)
    mask = np.ones(phases.shape[1:], bool)
    intensity = fit_intensity(_measure(phases, mask), "percentile")
    mapped = intensity.apply(phases, ("pre", "post1"))
    assert intensity.clipped_fraction == pytest.approx(((mapped == 0) | (mapped == 1)).mean(), abs=1e-4)
    assert intensity.clipped_fraction == pytest.approx(0.02, abs=1e-3)


@given(
    seed=st.integers(0, 999),
    count=st.integers(1, 3000),
    percents=st.lists(st.floats(0, 100), min_size=1, max_size=5),
    shape=st.sampled_from(["normal", "gamma", "whole", "gap", "far"]),
)
@settings(max_examples=150, deadline=None)
def test_percentiles_are_numpys_to_a_bin(seed: int, count: int, percents: list[float], shape: str) -> None:
    random = np.random.default_rng(seed)
    values = {
        "normal": random.normal(0, 1e3, count),
        "gamma": random.gamma(2, 50, count),
        "whole": random.integers(0, 5, count),
        "gap": random.choice([-1e4, 0, 3, 1e5], count),
        "far": random.normal(1e6, 30, count),
    }[shape].astype(np.float32)
    found = measure_percentiles(values, percents)
    expected = np.percentile(values.astype(np.float64), percents)
    np.testing.assert_allclose(found, expected, rtol=0, atol=np.ptp(values.astype(np.float64)) / 65_536 * (1 + 1e-9))


def test_percentiles_of_more_than_a_piece() -> None:
    values = np.random.default_rng(0).gamma(3, 70, (3, 100_001)).astype(np.float32)
    percents = (0, 1, 50, 99.9, 100)
    expected = np.percentile(values, percents)
    found = np.array(measure_percentiles(values, percents))
    assert np.abs(found - expected).max() <= np.ptp(values) / 65_536


def test_a_foreground_that_cannot_be_used() -> None:
    phases = _phases()
    with pytest.raises(ImageError, match="foreground is empty"):
        fit_intensity(_measure(phases, MASK & False), "pre")
    phases[1, 2, 3, 4] = np.nan
    with pytest.raises(ImageError, match="must be finite"):
        fit_intensity(_measure(phases, MASK), "joint-z")
    speck = np.zeros((1, 6, 7, 8), np.float32)
    speck[0, 2, 3, 4] = 5
    with pytest.raises(ImageError, match="98% of the foreground holds one value, 0"):
        fit_intensity(_measure(np.repeat(speck, 2, axis=0), np.ones_like(MASK)), "percentile")


@given(seed=st.integers(0, 99), offset=st.floats(-1e5, 1e5), count=st.integers(2, 200_000))
@settings(max_examples=30, deadline=None)
def test_mean_and_sd_are_numpys_in_double_precision(seed: int, offset: float, count: int) -> None:
    values = (np.random.default_rng(seed).gamma(3, 100, (1, count)) + offset).astype(np.float32)
    if np.ptp(values) == 0:
        return
    phases = values.reshape(1, 1, 1, -1)
    intensity = fit_intensity(_measure(phases, np.ones(phases.shape[1:], bool)), "joint-z")
    assert intensity.offset == pytest.approx(values.mean(dtype=np.float64), rel=1e-5, abs=1e-2)
    assert intensity.scale == pytest.approx(values.std(dtype=np.float64), rel=1e-3)


@given(kind=st.sampled_from(["joint-z", "pre", "percentile", "none"]), seed=st.integers(0, 99), gain=st.floats(0.1, 50))
@settings(max_examples=50, deadline=None)
def test_kinetics_survive(kind: str, seed: int, gain: float) -> None:
    phases = _phases(seed, gain)
    uptake = phases[1] - phases[0]
    mapped = fit_intensity(_measure(phases, MASK), kind).apply(np.stack([*phases, uptake]), NAMES)
    ratio = uptake / uptake[2, 2, 2]
    np.testing.assert_allclose(mapped[2] / mapped[2, 2, 2, 2], ratio, rtol=1e-4, atol=1e-4)
    if kind != "percentile":  # phases are clipped there, differences are not
        np.testing.assert_allclose(mapped[1] - mapped[0], mapped[2], rtol=1e-3, atol=1e-3 * np.abs(mapped).max())


@pytest.mark.parametrize("kind", ["joint-z", "pre", "percentile", "uint8"])
def test_scanner_gain_and_offset_vanish(kind: str) -> None:
    one, two = _phases(), _phases(gain=3, offset=40)
    names = ("pre", "post1")
    mapped = [fit_intensity(_measure(phases, MASK), kind).apply(phases, names) for phases in (one, two)]
    np.testing.assert_allclose(mapped[0], mapped[1], atol=1 if kind == "uint8" else 1e-4)


@pytest.mark.parametrize("kind", ["joint-z", "pre", "percentile", "uint8"])
def test_a_flat_foreground(kind: str) -> None:
    with pytest.raises(ImageError, match="holds one value only"):
        fit_intensity(_measure(np.ones((1, *MASK.shape), np.float32), MASK), kind)
    assert fit_intensity(_measure(np.ones((1, *MASK.shape), np.float32), MASK), "none").scale == 1


def test_two_values() -> None:
    assert is_two_valued(MASK[np.newaxis].astype(np.float32) * 5 - 2)
    assert not is_two_valued(_phases())
    assert not is_two_valued(np.array([0, 1, 0.5], np.float32))
    assert not is_two_valued(np.zeros(7, np.float32))
