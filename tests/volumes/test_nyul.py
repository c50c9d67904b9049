import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genovox.core.errors import DataError, ImageError
from genovox.volumes.nyul import LANDMARK_NAMES, PERCENTS, StandardScale, learn_scale, measure_landmarks

LANDMARKS = st.lists(st.floats(1, 400), min_size=11, max_size=11).map(lambda steps: tuple(np.cumsum(steps).tolist()))


def _case(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return (random.gamma(random.uniform(2, 6), random.uniform(30, 90), 20_000) + random.uniform(0, 50)).astype(
        np.float32
    )


def test_landmarks_are_percentiles() -> None:
    signal = _case(0)
    np.testing.assert_allclose(measure_landmarks(signal), np.percentile(signal, PERCENTS), atol=np.ptp(signal) / 65_536)
    assert (LANDMARK_NAMES[0], LANDMARK_NAMES[1], LANDMARK_NAMES[-1]) == ("l01", "l10", "l99")


@pytest.mark.parametrize("signal", [np.zeros(0), np.array([1, np.nan, 2]), np.ones(50)])
def test_no_landmarks(signal: np.ndarray) -> None:
    with pytest.raises(ImageError, match="landmarks"):
        measure_landmarks(signal.astype(np.float32))


def test_the_scale_is_the_mean_place_between_the_outer_landmarks() -> None:
    """By hand: 0, 2/10, 1 and 0, 30/50, 1 of three landmarks."""
    assert learn_scale([(5.0, 7.0, 15.0), (100.0, 130.0, 150.0)]).values == pytest.approx((0, 0.4, 1))


@given(cases=st.lists(LANDMARKS, min_size=1, max_size=6))
@settings(deadline=None)
def test_landmarks_land_on_the_scale_and_gain_and_offset_vanish(cases: list[tuple[float, ...]]) -> None:
    scale = learn_scale(cases)
    for case in cases:
        np.testing.assert_allclose(scale.map(np.array(case, np.float32), case), scale.values, atol=2e-4)
    scaled = [tuple((np.array(case) * 3 + 40).tolist()) for case in cases]
    np.testing.assert_allclose(learn_scale(scaled).values, scale.values, atol=1e-9)


@given(landmarks=LANDMARKS, seed=st.integers(0, 99))
@settings(deadline=None)
def test_the_map_is_numpys_interpolation_and_goes_on_straight(landmarks: tuple[float, ...], seed: int) -> None:
    scale = learn_scale([landmarks, tuple((np.array(landmarks) ** 1.5).tolist())])
    low, high = landmarks[0], landmarks[-1]
    inside = np.random.default_rng(seed).uniform(low, high, 500).astype(np.float32)
    np.testing.assert_allclose(scale.map(inside, landmarks), np.interp(inside, landmarks, scale.values), atol=2e-4)
    for end, step in ((0, -1), (-1, 1)):
        slope = (scale.values[end] - scale.values[end - step]) / (landmarks[end] - landmarks[end - step])
        far = np.array([landmarks[end] + step * 50], np.float32)
        expected = scale.values[end] + slope * step * 50
        np.testing.assert_allclose(scale.map(far, landmarks), expected, rtol=1e-3, atol=1e-3)


@given(seed=st.integers(0, 99), coarse=st.booleans())
@settings(deadline=None, max_examples=40)
def test_larger_signal_never_becomes_smaller(seed: int, coarse: bool) -> None:
    """Also where whole numbers make landmarks equal, and to the last bit."""
    signal = np.sort(_case(seed) // (60 if coarse else 1))
    landmarks = measure_landmarks(signal)
    scale = learn_scale([landmarks, measure_landmarks(_case(seed + 1))])
    grid = np.linspace(-1000, signal.max() * 3, 100_000, dtype=np.float32)
    assert (np.diff(scale.map(np.sort(np.concatenate([grid, signal])), landmarks)) >= 0).all()


def test_different_scanners_agree_afterwards() -> None:
    """The same tissue through two receivers of different gamma: medians and quartiles meet."""
    tissue = np.random.default_rng(0).beta(2, 4, 50_000)
    seen = [(500 * tissue**0.7 + 20).astype(np.float32), (90 * tissue**1.4).astype(np.float32)]
    landmarks = [measure_landmarks(signal) for signal in seen]
    scale = learn_scale(landmarks)
    one, two = (scale.map(signal, marks) for signal, marks in zip(seen, landmarks, strict=True))
    assert np.abs(one - two).mean() < 0.01
    linear = [(signal - marks[0]) / (marks[-1] - marks[0]) for signal, marks in zip(seen, landmarks, strict=True)]
    assert np.abs(linear[0] - linear[1]).mean() > 0.1


def test_phases_keep_their_order_and_differences_their_ratios() -> None:
    pre = _case(0).reshape(20, 25, 40)
    landmarks = measure_landmarks(pre)
    scale = learn_scale([landmarks, measure_landmarks(_case(1))])
    post = pre * 1.5
    names = ("pre", "post1", "subtraction1", "enhancement1")
    mapped = scale.map_channels(np.stack([pre, post, post - pre, post / pre]), names, landmarks)
    assert (mapped[1] >= mapped[0]).all()
    np.testing.assert_array_equal(mapped[0], scale.map(pre, landmarks))
    np.testing.assert_allclose(mapped[2], (post - pre) / (landmarks[-1] - landmarks[0]), rtol=1e-6)
    np.testing.assert_array_equal(mapped[3], post / pre)


def test_a_scale_survives_json() -> None:
    scale = learn_scale([measure_landmarks(_case(seed)) for seed in range(3)])
    assert StandardScale.from_dict(json.loads(json.dumps(scale.as_dict()))) == scale
    assert all(one <= two for one, two in pairwise(scale.values))


def test_what_is_refused() -> None:
    good = tuple(float(number) for number in range(11))
    for wrong in ([], [[1.0, 1.0]], [[2.0, 1.0, 3.0]], [[1.0, np.nan]]):
        with pytest.raises(DataError):
            learn_scale(wrong)
    for values in ((0.0, 0.5), (0.0, 0.8, 0.6, 1.0), (0.1, 1.0), (0.0,)):
        with pytest.raises(DataError, match="must rise from 0 to 1"):
            StandardScale(values)
    scale = learn_scale([good])
    with pytest.raises(DataError, match="needs 11 landmarks, got 3"):
        scale.map(np.ones(3, np.float32), (1.0, 2.0, 3.0))
    for content in ({}, {"percents": [1, 99], "values": [0, 1]}, scale.as_dict() | {"values": [0, 1]}):
        with pytest.raises(DataError, match="train again"):
            StandardScale.from_dict(content)
