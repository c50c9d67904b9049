"""Contrast agent in tissue and the signal it gives: Parker's arterial input, extended Tofts, spoiled gradient echo."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

Curve = npt.NDArray[np.float64]

HAEMATOCRIT = 0.42
_STEP_MIN = 0.25 / 60
# Parker et al. 2006, table 1: two Gaussians and an exponential under a sigmoid; minutes and mM.
_AREA, _CENTRE, _WIDTH = (0.809, 0.330), (0.17046, 0.365), (0.0563, 0.132)
_ALPHA, _BETA, _SLOPE, _TAU = 1.050, 0.1685, 38.078, 0.483


@dataclass(frozen=True)
class Tissue:
    """What a tissue is to the scanner.

    Attributes:
        density: Proton density relative to water.
        t1_ms: T1 before contrast at 1.5 T and 3 T.
        t2_ms: T2.
        t2star_ms: T2*.
        ktrans: Volume transfer constant, 1/min.
        ve: Extravascular extracellular fraction, 0 to 1.
        vp: Plasma fraction, 0 to 1.
        fat: Whether fat suppression acts on it.
    """

    density: float
    t1_ms: tuple[float, float]
    t2_ms: float
    t2star_ms: float
    ktrans: float = 0.0
    ve: float = 0.0
    vp: float = 0.0
    fat: bool = False


@dataclass(frozen=True)
class Sequence:
    """A T1-weighted spoiled gradient echo.

    Attributes:
        field_t: 1.5 or 3.0.
        tr_ms: Repetition time.
        te_ms: Echo time.
        flip_deg: Nominal flip angle.
        relaxivity: r1 of the agent in plasma, 1/(mM s).
        fat_left: Share of the fat's signal that fat suppression leaves; 1 without.
        dose: Relative to the 0.1 mmol/kg of Parker's population.
    """

    field_t: float
    tr_ms: float
    te_ms: float
    flip_deg: float
    relaxivity: float
    fat_left: float = 1.0
    dose: float = 1.0


def arterial_input(minutes: Curve) -> Curve:
    """Concentration in blood after 0.1 mmol/kg, mM; 0 before the bolus, peak 6.07 mM.

    Args:
        minutes: Time since the bolus arrived, shape (n,).

    References:
        Parker et al. (2006), doi:10.1002/mrm.21066.
    """
    since = np.maximum(minutes, 0.0)
    gaussians = sum(
        area / (width * np.sqrt(2 * np.pi)) * np.exp(-((since - centre) ** 2) / (2 * width**2))
        for area, centre, width in zip(_AREA, _CENTRE, _WIDTH, strict=True)
    )
    tail = _ALPHA * np.exp(-_BETA * since) / (1 + np.exp(-_SLOPE * (since - _TAU)))
    return np.where(minutes >= 0, gaussians + tail, 0.0)


def tissue_concentration(minutes: Curve, *, ktrans: float, ve: float, vp: float, dose: float = 1.0) -> Curve:
    """Concentration in tissue by the extended Tofts model, mM.

    ``C(t) = vp Cp(t) + Ktrans integral of Cp(s) exp(-Ktrans/ve (t - s)) ds`` with ``Cp`` the arterial input over
    plasma.

    Args:
        minutes: Times since the bolus arrived, shape (n,); before it there is none.
        ktrans: 1/min, 0 or more.
        ve: 0 to 1; above 0 where ``ktrans`` is.
        vp: 0 to 1.
        dose: Relative to 0.1 mmol/kg.

    References:
        Tofts et al. (1999), doi:10.1002/(SICI)1522-2586(199909)10:3<223::AID-JMRI2>3.0.CO;2-S.
    """
    grid = np.arange(0.0, max(float(minutes.max()), 0.0) + 2 * _STEP_MIN, _STEP_MIN)
    plasma = dose * arterial_input(grid) / (1 - HAEMATOCRIT)
    tissue = vp * plasma
    if ktrans > 0:
        decay = np.exp(-ktrans / ve * _STEP_MIN)
        # The trapezoid rule as a recursion: what is left of the last step's sum, and this step's two halves.
        tissue = tissue + ktrans * _STEP_MIN / 2 * lfilter([1.0, decay], [1.0, -decay], plasma)
    return np.interp(minutes, grid, tissue, left=0.0) * (minutes >= 0)


def gradient_echo_signal(concentration: Curve, tissue: Tissue, sequence: Sequence, *, flip_scale: float = 1.0) -> Curve:
    """Steady-state signal of a spoiled gradient echo, relative to the fully relaxed signal of water.

    Args:
        concentration: mM, shape (n,).
        tissue: The tissue before contrast.
        sequence: How it is measured.
        flip_scale: Actual over nominal flip angle (B1+).

    References:
        Ernst & Anderson (1966), doi:10.1063/1.1719961; Haase et al. (1986), doi:10.1016/0022-2364(86)90433-6.
    """
    t1_ms = tissue.t1_ms[0] if sequence.field_t < 2 else tissue.t1_ms[1]
    rate = 1000 / t1_ms + sequence.relaxivity * concentration
    relaxed = np.exp(-sequence.tr_ms / 1000 * rate)
    flip = np.radians(sequence.flip_deg * flip_scale)
    signal = np.sin(flip) * (1 - relaxed) / (1 - np.cos(flip) * relaxed) * np.exp(-sequence.te_ms / tissue.t2star_ms)
    return np.asarray(tissue.density * signal * (sequence.fat_left if tissue.fat else 1.0))


def spin_echo_signal(tissue: Tissue, *, te_ms: float, fat_left: float) -> float:
    """T2-weighted turbo spin echo with full recovery, relative to water."""
    return tissue.density * float(np.exp(-te_ms / tissue.t2_ms)) * (fat_left if tissue.fat else 1.0)


def signal_over_time(minutes: Curve, tissue: Tissue, sequence: Sequence, *, flip_scale: float = 1.0) -> Curve:
    """Signal of a tissue at times since the bolus arrived; negative times are before contrast."""
    concentration = tissue_concentration(minutes, ktrans=tissue.ktrans, ve=tissue.ve, vp=tissue.vp, dose=sequence.dose)
    return gradient_echo_signal(concentration, tissue, sequence, flip_scale=flip_scale)
