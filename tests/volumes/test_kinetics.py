import numpy as np
import pytest

from genovox.core.errors import ImageError
from genovox.volumes.kinetics import is_difference, make_channels, phases_needed

PHASES = np.random.default_rng(0).normal(size=(4, 2, 3, 4)).astype(np.float32)


def test_channels_are_what_their_names_say() -> None:
    made = make_channels(PHASES, ("pre", "post2", "subtraction1", "subtraction3", "washout"))
    pre, post1, post2, post3 = PHASES
    np.testing.assert_array_equal(made, [pre, post2, post1 - pre, post3 - pre, post1 - post3])


def test_washout_is_positive_where_signal_is_lost() -> None:
    phases = np.array([0.0, 10.0, 6.0], np.float32).reshape(3, 1, 1, 1)
    assert make_channels(phases, ("washout",)).item() == 4


@pytest.mark.parametrize(
    ("channels", "count"), [(("pre",), 1), (("post1",), 2), (("washout",), 3), (("pre", "subtraction5"), 6)]
)
def test_phases_needed(channels: tuple[str, ...], count: int) -> None:
    assert phases_needed(channels) == count


@pytest.mark.parametrize(("channel", "count"), [("post4", 5), ("subtraction7", 8)])
def test_a_missing_phase(channel: str, count: int) -> None:
    with pytest.raises(ImageError, match=f"channel {channel} needs {count} phases, the case has 4; give every phase"):
        make_channels(PHASES, ("pre", channel))
    with pytest.raises(ImageError, match="channel washout needs 3 phases, the case has 2"):
        make_channels(PHASES[:2], ("washout",))


def test_differences() -> None:
    assert [is_difference(name) for name in ("pre", "post1", "subtraction1", "washout")] == [False, False, True, True]
    with pytest.raises(ValueError, match="enhancement"):
        phases_needed(("enhancement",))
