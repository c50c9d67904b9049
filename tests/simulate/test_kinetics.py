"""Contrast agent and signal agree with the published curves and with independent calculations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from genovox.simulate.kinetics import (
    HAEMATOCRIT,
    Sequence,
    Tissue,
    arterial_input,
    gradient_echo_signal,
    signal_over_time,
    spin_echo_signal,
    tissue_concentration,
)

REFERENCE = Sequence(3.0, 5.0, 0.0, 10, relaxivity=5.0)


def _plasma(minute: float) -> float:
    """Parker's input over plasma, written anew."""
    first = 0.809 / (0.0563 * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((minute - 0.17046) / 0.0563) ** 2)
    second = 0.330 / (0.132 * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((minute - 0.365) / 0.132) ** 2)
    washout = 1.050 * np.exp(-0.1685 * minute) / (1 + np.exp(-38.078 * (minute - 0.483)))
    return float(first + second + washout) / (1 - 0.42)


def _bloch_signal(t1_ms: float, *, tr_ms: float, flip_deg: float, pulses: int = 6000) -> float:
    """Transverse magnetisation after a pulse, by letting pulses and relaxation alternate until nothing changes."""
    along, flip, left = 1.0, np.radians(flip_deg), np.exp(-tr_ms / t1_ms)
    for _ in range(pulses):
        across = along * np.sin(flip)  # spoiled: none of it comes back
        along = 1 + (along * np.cos(flip) - 1) * left
    return float(across)


@pytest.mark.parametrize(
    ("tissue", "percent"),
    [
        pytest.param(Tissue(0.9, (1300, 1612), 80, 25, 0.4, 0.35, 0.05), (217, 127), id="washout"),
        pytest.param(Tissue(0.9, (1300, 1612), 80, 25, 0.2, 0.4, 0.03), (202, 152), id="malignant"),
        pytest.param(Tissue(0.9, (1300, 1612), 80, 25, 0.08, 0.5, 0.02), (143, 163), id="persistent"),
        pytest.param(Tissue(0.9, (1300, 1680), 80, 25, 0.04, 0.4, 0.01), (93, 122), id="parenchyma"),
        pytest.param(Tissue(0.9, (1300, 1612), 80, 25, 0.02, 0.3, 0.0), (47, 73), id="necrosis"),
    ],
)
def test_enhancement_is_that_of_the_fixture_curves(tissue: Tissue, percent: tuple[float, float]) -> None:
    """At 2 and at 7 minutes."""
    before, *after = signal_over_time(np.array([-1.0, 2.0, 7.0]), tissue, REFERENCE)
    assert 100 * (np.array(after) / before - 1) == pytest.approx(percent, rel=0.02)


def test_arterial_input_peaks_at_607_mm() -> None:
    minutes = np.linspace(0, 10, 100_001)
    curve = arterial_input(minutes)
    assert curve.max() == pytest.approx(6.07, abs=0.01)
    assert minutes[curve.argmax()] == pytest.approx(0.17, abs=0.01)
    assert curve[[20_000, 70_000]] / (1 - HAEMATOCRIT) == pytest.approx([_plasma(2.0), _plasma(7.0)])


@given(minute=st.floats(-1e4, -1e-9))
def test_nothing_enhances_before_the_bolus(minute: float) -> None:
    times = np.array([minute])
    assert arterial_input(times) == 0
    assert tissue_concentration(times, ktrans=0.3, ve=0.4, vp=0.05) == 0
    both = tissue_concentration(np.array([minute, 2.0]), ktrans=0.3, ve=0.4, vp=0.05)
    assert both[0] == 0
    assert both[1] > 0


@settings(deadline=None, max_examples=60)
@given(
    ktrans=st.floats(0.001, 1.0),
    ve=st.floats(0.05, 1.0),
    vp=st.floats(0.0, 0.6),
    dose=st.floats(0.5, 2.0),
    minute=st.floats(0.05, 10.0),
)
def test_tissue_takes_up_what_quadrature_says(ktrans: float, ve: float, vp: float, dose: float, minute: float) -> None:
    taken, _ = quad(
        lambda earlier: _plasma(earlier) * np.exp(-ktrans / ve * (minute - earlier)),
        0,
        minute,
        points=[mark for mark in (0.1, 0.17, 0.25, 0.365, 0.483, 0.6) if mark < minute],
        limit=200,
    )
    expected = dose * (vp * _plasma(minute) + ktrans * taken)
    (measured,) = tissue_concentration(np.array([minute]), ktrans=ktrans, ve=ve, vp=vp, dose=dose)
    assert measured == pytest.approx(expected, rel=2e-3, abs=1e-3)


def test_times_may_come_in_any_order() -> None:
    times = np.array([7.0, -1.0, 2.0, 0.5])
    together = tissue_concentration(times, ktrans=0.2, ve=0.4, vp=0.03)
    alone = [tissue_concentration(times[[place]], ktrans=0.2, ve=0.4, vp=0.03)[0] for place in range(4)]
    assert together == pytest.approx(alone, rel=1e-9)


@settings(deadline=None, max_examples=40)
@given(
    t1_ms=st.floats(50, 2000),
    tr_ms=st.floats(3, 10),
    flip_deg=st.floats(5, 40),
    scale=st.floats(0.8, 1.2),
    concentration=st.floats(0, 10),
)
def test_signal_is_the_steady_state_of_the_bloch_equations(
    t1_ms: float, tr_ms: float, flip_deg: float, scale: float, concentration: float
) -> None:
    tissue = Tissue(0.8, (t1_ms, 1.0), 80, 25)
    sequence = Sequence(1.5, tr_ms, 2.0, flip_deg, relaxivity=4.0)
    (signal,) = gradient_echo_signal(np.array([concentration]), tissue, sequence, flip_scale=scale)
    shortened_ms = 1 / (1 / t1_ms + 4.0 * concentration / 1000)
    steady = _bloch_signal(shortened_ms, tr_ms=tr_ms, flip_deg=scale * flip_deg)
    assert signal == pytest.approx(0.8 * np.exp(-2.0 / 25) * steady, rel=1e-6)


def test_field_strength_chooses_t1() -> None:
    tissue = Tissue(1.0, (400, 1600), 80, 25)
    signals = [
        gradient_echo_signal(np.zeros(1), tissue, Sequence(field, 5, 0, 10, relaxivity=5.0))[0] for field in (1.5, 3.0)
    ]
    assert signals == pytest.approx([_bloch_signal(t1, tr_ms=5, flip_deg=10) for t1 in (400, 1600)], rel=1e-6)


def test_fat_suppression_acts_on_fat_alone() -> None:
    fat, water = (Tissue(0.9, (290, 423), 154, 36, fat=fat) for fat in (True, False))
    plain = Sequence(1.5, 5, 2, 10, relaxivity=4.0)
    suppressed = Sequence(1.5, 5, 2, 10, relaxivity=4.0, fat_left=0.15)
    none = np.zeros(1)
    ratio = gradient_echo_signal(none, fat, suppressed) / gradient_echo_signal(none, fat, plain)
    assert ratio == pytest.approx(0.15)
    assert gradient_echo_signal(none, water, suppressed) == gradient_echo_signal(none, water, plain)
    assert spin_echo_signal(fat, te_ms=90, fat_left=0.1) == pytest.approx(0.9 * np.exp(-90 / 154) * 0.1)
    assert spin_echo_signal(water, te_ms=90, fat_left=0.1) == pytest.approx(0.9 * np.exp(-90 / 154))


def test_dose_scales_the_concentration() -> None:
    times = np.linspace(0, 7, 15)
    single, double = (tissue_concentration(times, ktrans=0.2, ve=0.4, vp=0.03, dose=dose) for dose in (1.0, 2.0))
    assert double == pytest.approx(2 * single)
