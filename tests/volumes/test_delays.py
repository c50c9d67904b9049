import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genovox.core.errors import ImageError
from genovox.volumes.delays import LARGEST_TOLERANCE_S, TimedPhase, find_phase, phase_delays_s


@pytest.mark.parametrize(
    ("times_s", "delays_s"),
    [
        ((0, 100, 160, 220), (50, 110, 170)),  # 20 s from the injection to the first, half of 60 s to its middle
        ((0, 300, 360, 420), (50, 110, 170)),  # a longer pause before the injection changes nothing
        ((1000, 1100, 1160, 1220), (50, 110, 170)),  # nor does the clock
        ((0, 120, 240), (80, 200)),
        ((0, 90), (65,)),
        ((0, 400), (95,)),  # no phase lasts longer than 150 s
        ((0, 60, 65, 70, 130), (22.5, 27.5, 60, 120)),  # an ultrafast start
    ],
)
def test_a_delay_runs_from_the_injection_to_the_middle_of_the_phase(
    times_s: tuple[float, ...], delays_s: tuple[float, ...]
) -> None:
    assert phase_delays_s(times_s) == delays_s


def test_a_recorded_injection_counts() -> None:
    assert phase_delays_s((0, 100, 160), 95) == (35, 95)
    assert find_phase((0, 100, 160, 220), 90, injection_s=95) == TimedPhase(2, 95)


@pytest.mark.parametrize(
    ("spacing_s", "phase", "delay_s"), [(25, 3, 82.5), (45, 2, 87.5), (60, 2, 110), (90, 1, 65), (120, 1, 80)]
)
def test_protocols_compare(spacing_s: float, phase: int, delay_s: float) -> None:
    """The phase around 90 s, whatever the phases last; counted from the first phase's start, 90 s would be 155 s."""
    times_s = (0, *(200 + spacing_s * k for k in range(6)))
    assert find_phase(times_s, 90) == TimedPhase(phase, delay_s)


@given(
    pause=st.floats(5, 600),
    steps=st.lists(st.floats(2, 80), min_size=1, max_size=40),
    clock=st.floats(-1e4, 1e4),
    share=st.floats(0, 1),
)
def test_no_delay_within_an_exam_is_lost(pause: float, steps: list[float], clock: float, share: float) -> None:
    times_s = tuple(float(time) for time in clock + np.cumsum([0, pause, *steps]))
    delays = phase_delays_s(times_s)
    assert len(delays) == len(times_s) - 1
    wanted = delays[0] + share * (delays[-1] - delays[0])
    found = find_phase(times_s, wanted)
    assert abs(found.delay_s - wanted) == min(abs(delay - wanted) for delay in delays)
    assert delays[found.phase - 1] == found.delay_s


def test_of_two_as_near_the_earlier_is_taken() -> None:
    assert find_phase((0, 100, 160, 220), 80).phase == 1


def test_too_far_off_is_refused_with_the_nearest() -> None:
    times_s = (0, 100, 160, 220)
    assert find_phase(times_s, 200).phase == 3
    with pytest.raises(
        ImageError, match=r"within 30 s of 201 s after the injection, the nearest \(phase 3\) lies at 170"
    ):
        find_phase(times_s, 201)
    assert find_phase(times_s, 201, tolerance_s=31).phase == 3
    with pytest.raises(ImageError, match=rf"within {LARGEST_TOLERANCE_S:g} s of 200 s .* \(phase 1\) lies at 95 s"):
        find_phase((0, 300, 600), 200)
    with pytest.raises(ImageError, match=r"within 45 s of 20 s .* lies at 65 s|within 45 s"):
        find_phase((0, 90), 10)


@pytest.mark.parametrize(
    ("times_s", "reason"),
    [
        ((), "got none"),
        ((5.0,), "got 5"),
        ((0.0, 60.0, 60.0), "must rise from phase to phase, got 0;60;60"),
        ((0.0, 60.0, 30.0), "must rise"),
        ((0.0, float("nan"), 90.0), "must rise"),
        ((0.0, 60.0, float("inf")), "must rise"),
    ],
)
def test_unusable_times(times_s: tuple[float, ...], reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        phase_delays_s(times_s)


def test_an_injection_after_the_first_phase() -> None:
    with pytest.raises(ImageError, match="injection must come before the first post-contrast phase, got 200 s"):
        phase_delays_s((0, 100, 160), 200)
