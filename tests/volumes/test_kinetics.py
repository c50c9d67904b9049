import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.integrate import trapezoid

from genovox.core.errors import ImageError
from genovox.core.names import CHANNEL_NAMES
from genovox.core.volume import Array
from genovox.simulate.kinetics import Sequence, Tissue, signal_over_time
from genovox.volumes.delays import INJECTION_LEAD_S, TimedPhase, phase_delays_s
from genovox.volumes.kinetics import (
    find_timed_phases,
    is_difference,
    make_channels,
    needs_times,
    parse_channel,
    phases_needed,
    phases_used,
    signal_floor,
)
from genovox.volumes.pharmacokinetics import Protocol

PHASES = np.random.default_rng(0).normal(size=(4, 2, 3, 4)).astype(np.float32)
TIMES_S = (0.0, 100.0, 160.0, 220.0, 280.0)
DELAYS_S = (50.0, 110.0, 170.0, 230.0)
ALL = (
    "pre",
    "post1",
    "post@90s",
    "subtraction2",
    "subtraction@90s",
    "washout",
    "enhancement",
    "enhancement3",
    "washin",
    "ser",
    "time-to-peak",
    "initial-area",
    "initial-area@60s",
    "ktrans",
    "ve",
    "vp",
)


def _curve(*signal: float) -> Array:
    """Phases of one voxel."""
    return np.array(signal, np.float32).reshape(-1, 1, 1, 1)


def _value(channel: str, *signal: float, times_s: tuple[float, ...] = TIMES_S, floor: float = 1.0) -> float:
    return float(make_channels(_curve(*signal), (channel,), times_s[: len(signal)], floor=floor).item())


def test_channels_are_what_their_names_say() -> None:
    made = make_channels(PHASES, ("pre", "post2", "subtraction1", "subtraction3", "washout"))
    pre, post1, post2, post3 = PHASES
    np.testing.assert_array_equal(made, [pre, post2, post1 - pre, post3 - pre, post1 - post3])


def test_washout_is_positive_where_signal_is_lost() -> None:
    phases = np.array([0.0, 10.0, 6.0], np.float32).reshape(3, 1, 1, 1)
    assert make_channels(phases, ("washout",)).item() == 4


def test_a_delay_takes_the_phase_nearest_to_it() -> None:
    times_s = (0.0, 100.0, 160.0, 220.0)
    made = make_channels(PHASES, ("post@90s", "subtraction@90s", "post@60s"), times_s)
    np.testing.assert_array_equal(made, [PHASES[2], PHASES[2] - PHASES[0], PHASES[1]])
    recorded = make_channels(PHASES, ("post@90s",), times_s, injection_s=100)
    np.testing.assert_array_equal(recorded[0], PHASES[2])
    assert find_timed_phases(("pre", "post@90s", "subtraction@60s", "ser"), times_s) == {
        "post@90s": TimedPhase(2, 110),
        "subtraction@60s": TimedPhase(1, 50),
    }
    with pytest.raises(ImageError, match=r"nearest \(phase 3\) lies at 170 s"):
        make_channels(PHASES, ("post@400s",), times_s)


def test_enhancement_is_a_percentage_of_the_pre_contrast_signal() -> None:
    signal = (50.0, 100.0, 150.0, 125.0, 90.0)
    assert [_value(f"enhancement{phase}", *signal) for phase in (1, 2, 3, 4)] == [100, 200, 150, 80]
    assert _value("enhancement", *signal) == 200


def test_air_does_not_explode() -> None:
    assert _value("enhancement", 0.1, 5.1, 4, floor=50.0) == pytest.approx(10)
    assert _value("enhancement1", 1.0, 1e6, floor=1.0) == 500
    assert _value("enhancement1", 10.0, -90.0, floor=1.0) == -100
    nothing = make_channels(np.zeros((5, 1, 1, 1), np.float32), ALL, TIMES_S)
    assert (nothing == 0).all()


def test_the_floor_follows_the_signal() -> None:
    pre = np.random.default_rng(1).uniform(0, 400, (40, 40, 40)).astype(np.float32)
    assert signal_floor(pre) == pytest.approx(0.15 * np.percentile(pre, 99))
    assert signal_floor(7 * pre) == pytest.approx(7 * signal_floor(pre), rel=1e-5)
    large = np.random.default_rng(2).uniform(0, 400, (80, 80, 80)).astype(np.float32)
    assert signal_floor(large) == pytest.approx(0.15 * np.percentile(large, 99), rel=0.01)


def test_wash_in_is_the_slope_to_the_first_peak() -> None:
    minutes = np.array(DELAYS_S) / 60
    assert _value("washin", 100, 200, 180, 170, 160) == pytest.approx(100 / minutes[0])
    assert _value("washin", 100, 150, 250, 240, 300) == pytest.approx(150 / minutes[1])
    assert _value("washin", 100, 110, 120, 130, 140) == pytest.approx(40 / minutes[3])
    assert _value("washin", 100, 150, 150, 200, 210) == pytest.approx(50 / minutes[0])


def test_time_to_peak() -> None:
    assert _value("time-to-peak", 100, 150, 250, 240, 230) == 110
    assert _value("time-to-peak", 100, 150, 250, 250, 230) == 110  # of equal phases the first
    assert _value("time-to-peak", 100, 110, 150, 160, 170) == 230
    assert _value("time-to-peak", 100, 105, 110, 119, 110) == 0  # nothing enhances


def test_signal_enhancement_ratio() -> None:
    assert _value("ser", 100, 200, 250, 300, 180) == pytest.approx(100 / 80)
    assert _value("ser", 100, 150, 250, 300, 200) == pytest.approx(0.5)
    assert _value("ser", 100, 200, 150, 100, 100) == 3
    assert _value("ser", 100, 200, 150, 100, 50) == 3
    assert _value("ser", 100, 90, 150, 200, 200) == 0
    assert _value("ser", 100, 112, 110, 105, 104) == 0


@pytest.mark.parametrize(
    ("channel", "end_s"), [("initial-area", 90), ("initial-area@60s", 60), ("initial-area@20s", 20)]
)
def test_initial_area_is_that_of_the_broken_line(channel: str, end_s: float) -> None:
    signal = np.array([100, 180, 260, 240, 200])
    fine = np.linspace(0, end_s, 100_001)
    line = np.interp(fine, (0, *DELAYS_S), signal - 100)
    assert _value(channel, *signal) == pytest.approx(trapezoid(line, fine / 60), rel=1e-4)


def test_initial_area_needs_a_phase_late_enough() -> None:
    with pytest.raises(
        ImageError, match="initial-area needs a phase 90 s after the injection or later, the last lies at 65"
    ):
        _value("initial-area", 100, 200, times_s=(0, 90))


def test_tofts_parameters_come_from_the_signal() -> None:
    """The simulated signal of a tumour, a parenchyma and fat, as a clinical exam samples it."""
    minutes = np.array([-1.0, *(np.array(phase_delays_s(TIMES_S)) - INJECTION_LEAD_S) / 60])
    sequence = Sequence(1.5, 5.4, 2.6, 12, relaxivity=4.1)
    tissues = [
        Tissue(0.9, (1300, 1), 80, 25, 0.2, 0.4, 0.03),
        Tissue(0.9, (1300, 1), 80, 25, 0.05, 0.4, 0.01),
        Tissue(0.9, (1300, 1), 80, 25),
    ]
    phases = np.stack([signal_over_time(minutes, tissue, sequence) for tissue in tissues], axis=1)
    made = make_channels(
        phases.astype(np.float32)[:, :, np.newaxis, np.newaxis],
        ("ktrans", "ve", "vp"),
        TIMES_S,
        floor=1e-6,
        protocol=Protocol(5.4, 12, 1300, 4.1),
    )
    for index, tissue in enumerate(tissues[:2]):
        truth = (tissue.ktrans, tissue.ve, tissue.vp)
        assert made[:, index, 0, 0].tolist() == pytest.approx(truth, rel=0.03, abs=1e-3)
    assert (made[:, 2] == 0).all()
    assumed = make_channels(phases.astype(np.float32)[:, :, np.newaxis, np.newaxis], ("ktrans",), TIMES_S, floor=1e-6)
    assert assumed[0, 0] > assumed[0, 1] > 0  # relative: the order stays


@settings(deadline=None, max_examples=20)
@given(
    phases=arrays.arrays(np.float32, (5, 2, 2, 3), elements=st.floats(0, 4096, width=32, allow_subnormal=False)),
    gain=st.sampled_from([0.25, 4.0, 64.0]),
)
def test_absolute_channels_stay_within_limits_and_know_no_gain(phases: Array, gain: float) -> None:
    names = tuple(name for name in ALL if parse_channel(name).kind == "absolute")
    made = make_channels(phases, names, TIMES_S)
    assert np.isfinite(made).all()
    for channel, name in zip(made, names, strict=True):
        low, high = parse_channel(name).limits or (0, 0)
        assert low <= channel.min()
        assert channel.max() <= high
    scaled = make_channels(np.float32(gain) * phases, names, TIMES_S)
    np.testing.assert_allclose(scaled, made, rtol=1e-5, atol=1e-5)


def test_slabs_leave_no_seam() -> None:
    phases = np.random.default_rng(3).uniform(50, 400, (5, 9, 160, 160)).astype(np.float32)
    names = ("subtraction1", "enhancement", "washin", "ser", "time-to-peak", "initial-area")
    made = make_channels(phases, names, TIMES_S, floor=10.0)
    for z in range(9):
        np.testing.assert_array_equal(
            made[:, z : z + 1], make_channels(phases[:, z : z + 1], names, TIMES_S, floor=10.0)
        )


def test_three_hundred_phases() -> None:
    times_s = tuple(float(time) for time in (0, *range(60, 60 + 299 * 2, 2)))
    curve = np.interp(np.arange(300), [0, 40, 299], [100, 300, 200]).astype(np.float32)
    made = make_channels(curve.reshape(300, 1, 1, 1), ALL, times_s)[:, 0, 0, 0]
    assert np.isfinite(made).all()
    assert made[ALL.index("time-to-peak")] == phase_delays_s(times_s)[39]
    assert make_channels(curve.reshape(300, 1, 1, 1), ("post299",)).item() == 200


@pytest.mark.parametrize(
    ("channels", "count"),
    [
        (("pre",), 1),
        (("post1",), 2),
        (("washout",), 3),
        (("pre", "subtraction5"), 6),
        (("post@90s",), 2),
        (("enhancement",), 2),
        (("enhancement4",), 5),
        (("ser",), 3),
        (("ktrans", "pre"), 4),
    ],
)
def test_phases_needed(channels: tuple[str, ...], count: int) -> None:
    assert phases_needed(channels) == count
    with pytest.raises(ImageError, match=f"needs {count} phases, the case has {count - 1}; give every phase"):
        make_channels(np.ones((count - 1, 1, 1, 1), np.float32), channels, TIMES_S[: count - 1])


@pytest.mark.parametrize("channel", ["post@90s", "subtraction@90s", "washin", "time-to-peak", "initial-area", "ktrans"])
def test_missing_or_unusable_times(channel: str) -> None:
    assert needs_times(("pre", channel))
    phases = np.random.default_rng(4).uniform(100, 300, (4, 1, 1, 2)).astype(np.float32)
    with pytest.raises(
        ImageError, match=f"channel {channel} needs the time of each phase, got none; give phase_times_s"
    ):
        make_channels(phases, ("pre", channel))
    with pytest.raises(ImageError, match="got 3 for 4 phases"):
        make_channels(phases, (channel,), (0.0, 60.0, 120.0))
    with pytest.raises(ImageError, match="must rise from phase to phase, got 0;60;50;120"):
        make_channels(phases, (channel,), (0.0, 60.0, 50.0, 120.0))


def test_kinds() -> None:
    assert not needs_times(("pre", "post1", "subtraction1", "washout", "enhancement1", "ser"))
    kinds = [
        parse_channel(name).kind for name in ("pre", "post1", "post@90s", "subtraction1", "washout", "enhancement")
    ]
    assert kinds == ["signal", "signal", "signal", "difference", "difference", "absolute"]
    assert [is_difference(name) for name in ("pre", "post1", "subtraction@90s", "washout", "ser")] == [0, 0, 1, 1, 0]
    assert [parse_channel(name).name for name in CHANNEL_NAMES] == list(CHANNEL_NAMES)


@pytest.mark.parametrize("name", ["", "post", "post0", "post@", "post@0s", "pre1", "ktrans1", "enhancement0", "tofts"])
def test_no_such_channel(name: str) -> None:
    with pytest.raises(ValueError, match="is no channel"):
        parse_channel(name)


@given(
    channels=st.lists(
        st.sampled_from(["pre", "post1", "post3", "post@90s", "subtraction2", "subtraction@180s", "washout", "ser"]),
        min_size=1,
        max_size=4,
        unique=True,
    ),
    seed=st.integers(0, 99),
)
def test_phases_not_used_may_hold_anything(channels: list[str], seed: int) -> None:
    times = (0.0, 100.0, 190.0, 280.0, 370.0)
    phases = np.random.default_rng(seed).uniform(50, 900, (5, 3, 4, 5)).astype(np.float32)
    used = phases_used(tuple(channels), 5, times)
    other = np.stack([phase if number in used else np.full_like(phase, -7) for number, phase in enumerate(phases)])
    arguments = (tuple(channels), times)
    np.testing.assert_array_equal(
        make_channels(phases, *arguments, floor=20.0), make_channels(other, *arguments, floor=20.0)
    )
