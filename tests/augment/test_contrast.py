"""Contrast transforms of channels against the same change made to the phases the channels come from."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from genovox.augment.contrast import ContrastDose, ContrastTiming, PhaseDropout, read_phases
from genovox.core.errors import UsageError
from genovox.volumes.kinetics import make_channels

Contrast = ContrastDose | ContrastTiming | PhaseDropout
FULL = ("pre", "post1", "subtraction1", "post2", "washout")


def seeded(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def draw_phases(count: int = 3) -> Tensor:
    phases = torch.rand((count, 4, 5, 6), generator=seeded()) + 0.5
    phases[1:] += torch.arange(1.0, count).view(-1, 1, 1, 1) * 0.3
    return phases


def channels_of(phases: Tensor, names: tuple[str, ...]) -> Tensor:
    made: Any = make_channels(phases.numpy(), names)
    return torch.from_numpy(np.asarray(made))


@pytest.mark.parametrize(
    "names", [("pre", "post1"), ("subtraction1",), ("pre", "subtraction1", "washout"), FULL, ("post2", "subtraction2")]
)
def test_a_dose_scales_enhancement_in_every_channel(names: tuple[str, ...]) -> None:
    phases = draw_phases()
    dose = ContrastDose(channels=names, factor=1.5, probability=1)
    assert dose.is_possible()
    out = dose(channels_of(phases, names), seeded(3))
    factor = float(
        (dose_of := ContrastDose(channels=("subtraction1",), factor=1.5, probability=1))(
            torch.ones(1, 1, 1, 1), seeded(3)
        )
    )
    assert dose_of.is_possible()
    assert 1 / 1.5 <= factor <= 1.5
    changed = phases.clone()
    changed[1:] = phases[0] + factor * (phases[1:] - phases[0])
    torch.testing.assert_close(out, channels_of(changed, names), atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("names", [("pre", "post1", "post2"), ("subtraction1", "subtraction2"), FULL[:4]])
def test_timing_moves_along_the_curve(names: tuple[str, ...], seed: int) -> None:
    phases = draw_phases()
    timing = ContrastTiming(channels=names, interval_fraction=0.4, probability=1)
    assert timing.is_possible()
    out = timing(channels_of(phases, names), seeded(seed))
    fraction = float(torch.rand((), generator=seeded(seed)) * 0.8 - 0.4)
    curve = torch.cat([phases, phases[-1:]])
    changed = phases.clone()
    for phase in (1, 2):
        neighbour = curve[phase + 1] if fraction > 0 else curve[phase - 1]
        changed[phase] = torch.lerp(phases[phase], neighbour, abs(fraction))
    torch.testing.assert_close(out, channels_of(changed, names), atol=1e-5, rtol=0)


def test_a_dropped_phase_is_the_one_before() -> None:
    phases, names = draw_phases(), ("pre", "post1", "post2", "subtraction2")
    dropout = PhaseDropout(channels=names, probability=1)
    seen = set()
    for seed in range(20):
        out = dropout(channels_of(phases, names), seeded(seed))
        first = torch.allclose(out, channels_of(phases[[0, 0, 2]], names), atol=1e-5)
        second = torch.allclose(out, channels_of(phases[[0, 1, 1]], names), atol=1e-5)
        assert first != second
        seen.add(first)
    assert seen == {True, False}


@pytest.mark.parametrize(
    ("names", "dose", "timing", "dropout"),
    [
        ((), False, False, False),
        (("pre",), True, True, False),
        (("post1",), False, False, False),
        (("post1", "post2"), False, False, True),
        (("pre", "post1"), True, True, False),
        (("pre", "subtraction@90s", "subtraction@300s"), True, True, True),
        (("pre", "subtraction@90s", "washout"), True, False, False),
        (("subtraction1", "ser", "enhancement"), True, False, False),
        (("pre", "enhancement1", "enhancement2"), True, True, True),
        (("pre", "ktrans"), False, False, False),
    ],
)
def test_what_channels_can_follow(names: tuple[str, ...], dose: bool, timing: bool, dropout: bool) -> None:
    assert ContrastDose(channels=names).is_possible() == dose
    assert ContrastTiming(channels=names).is_possible() == timing
    assert PhaseDropout(channels=names).is_possible() == dropout


def test_a_dose_scales_relative_enhancement_and_leaves_a_ratio_of_differences() -> None:
    sample = torch.rand((3, 2, 2, 2), generator=seeded())
    out = ContrastDose(channels=("subtraction1", "ser", "enhancement"), factor=2, probability=1)(sample, seeded(1))
    torch.testing.assert_close(out[1], sample[1])
    torch.testing.assert_close(out[2] / sample[2], out[0] / sample[0])
    assert not torch.allclose(out[0], sample[0])


ALWAYS: list[Contrast] = [
    ContrastDose(channels=FULL, probability=1),
    ContrastTiming(channels=FULL, probability=1),
    PhaseDropout(channels=FULL, probability=1),
]


@pytest.mark.parametrize("transform", ALWAYS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_dtype_and_input_are_kept_and_the_generator_decides(transform: Contrast, dtype: torch.dtype) -> None:
    sample = channels_of(draw_phases(), FULL).to(dtype)
    before = sample.clone()
    out = transform(sample, seeded(1))
    assert (out.dtype, out.shape, out.device) == (dtype, sample.shape, sample.device)
    assert torch.isfinite(out).all()
    assert torch.equal(sample, before)
    assert torch.equal(out, transform(sample, seeded(1)))
    assert any(not torch.equal(out, transform(sample, seeded(seed))) for seed in range(2, 6))


@pytest.mark.parametrize(
    "transform",
    [
        *(type(transform)(channels=FULL, probability=0) for transform in ALWAYS),
        ContrastDose(channels=FULL, factor=1, probability=1),
        ContrastTiming(channels=FULL, interval_fraction=0, probability=1),
    ],
)
def test_never_and_nothing_are_the_identity(transform: Contrast) -> None:
    sample = channels_of(draw_phases(), FULL)
    assert transform(sample, seeded()) is sample


@pytest.mark.parametrize("names", [("post1",), ("ktrans",)])
@pytest.mark.parametrize("kind", [ContrastDose, ContrastTiming, PhaseDropout])
def test_channels_that_cannot_follow_are_refused(kind: Any, names: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=f"before and after contrast, got {names[0]}; add pre"):
        kind(channels=names, probability=1)(torch.ones(1, 2, 2, 2), seeded(1))


def test_a_sample_of_other_channels_is_refused() -> None:
    with pytest.raises(UsageError, match="must hold the channels pre, post1, got 3"):
        ContrastDose(channels=("pre", "post1"), probability=1)(torch.ones(3, 2, 2, 2), seeded())


def test_channel_weights() -> None:
    phases = read_phases(("pre", "subtraction2", "washout"))
    assert phases is not None
    assert phases.weights.tolist() == [[1, 0, 0, 0], [-1, 0, 1, 0], [0, 1, 0, -1]]
