"""The Tofts fit recovers what independent quadrature says, and agrees with voxelwise fits by scipy on a real slice."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import scipy.io
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.integrate import quad
from scipy.optimize import curve_fit, nnls

from genovox.core.errors import ImageError
from genovox.simulate.kinetics import HAEMATOCRIT, Sequence, Tissue, arterial_input, gradient_echo_signal
from genovox.volumes.pharmacokinetics import (
    CONCENTRATION_LIMIT_MM,
    RATES,
    Protocol,
    arterial_plasma,
    assume_protocol,
    find_concentration,
    fit_tofts,
)

Curve = npt.NDArray[np.float64]

# Ktrans (1/min), ve, vp of tissues of the breast, and their enhancement in % after 2 and 7 min.
TISSUES = {
    "washout": ((0.4, 0.35, 0.05), (217, 127)),
    "malignant": ((0.2, 0.4, 0.03), (202, 152)),
    "persistent": ((0.08, 0.5, 0.02), (143, 163)),
    "parenchyma": ((0.04, 0.4, 0.01), (93, 122)),
    "necrosis": ((0.02, 0.3, 0.0), (47, 73)),
}
MINUTES = np.array([-1.0, 0.6, 1.9, 3.1, 4.4, 5.6])
"""A clinical exam of six phases."""


def _plasma(minute: float) -> float:
    """Parker's input over plasma, written anew."""
    first = 0.809 / (0.0563 * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((minute - 0.17046) / 0.0563) ** 2)
    second = 0.330 / (0.132 * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((minute - 0.365) / 0.132) ** 2)
    washout = 1.050 * np.exp(-0.1685 * minute) / (1 + np.exp(-38.078 * (minute - 0.483)))
    return float(first + second + washout) / (1 - 0.42)


def _tissue(minutes: Curve, ktrans: float, ve: float, vp: float) -> Curve:
    """Extended Tofts by adaptive quadrature."""
    curve = []
    for minute in minutes:
        if minute <= 0:
            curve.append(0.0)
            continue
        marks = [mark for mark in (0.1, 0.17, 0.25, 0.365, 0.483, 0.6) if mark < minute]
        taken, _ = quad(
            lambda s, end: _plasma(s) * np.exp(-ktrans / ve * (end - s)), 0, minute, (minute,), points=marks, limit=200
        )
        curve.append(vp * _plasma(minute) + ktrans * taken)
    return np.array(curve)


def _enhance(concentration: Curve, protocol: Protocol) -> Curve:
    """Relative enhancement of a spoiled gradient echo, from T1 as it shortens."""
    flip = np.radians(protocol.flip_deg)
    t1_ms = 1 / (1 / protocol.t10_ms + protocol.relaxivity * np.append(0.0, concentration) / 1000)
    left = np.exp(-protocol.tr_ms / t1_ms)
    signal = np.sin(flip) * (1 - left) / (1 - np.cos(flip) * left)
    return np.asarray(signal[1:] / signal[0] - 1)


def test_plasma_is_that_of_the_simulation() -> None:
    minutes = np.linspace(-1, 10, 1001)
    np.testing.assert_allclose(arterial_plasma(minutes), arterial_input(minutes) / (1 - HAEMATOCRIT), atol=1e-12)
    assert arterial_plasma(np.array([2.0]), dose=2.0).item() == pytest.approx(2 * _plasma(2.0))
    assert (arterial_plasma(minutes[minutes < 0]) == 0).all()


@pytest.mark.parametrize("tissue", TISSUES)
def test_the_fixture_curves_are_those_published_and_their_parameters_come_back(tissue: str) -> None:
    truth, percent = TISSUES[tissue]
    protocol = Protocol(t10_ms=1680 if tissue == "parenchyma" else 1612)
    enhancement = _enhance(_tissue(np.array([2.0, 7.0]), *truth), protocol)
    assert 100 * enhancement == pytest.approx(percent, rel=0.02)
    signal = torch.from_numpy(_enhance(_tissue(MINUTES, *truth), protocol))[:, None]
    maps = fit_tofts(find_concentration(signal, protocol), MINUTES)
    assert [maps.ktrans.item(), maps.ve.item(), maps.vp.item()] == pytest.approx(truth, rel=0.01, abs=5e-4)


@settings(deadline=None, max_examples=40)
@given(
    t1_ms=st.floats(200, 2500),
    tr_ms=st.floats(3, 10),
    flip_deg=st.floats(5, 40),
    concentration=st.floats(-0.05, 8),
)
def test_concentration_inverts_the_simulated_signal(
    t1_ms: float, tr_ms: float, flip_deg: float, concentration: float
) -> None:
    tissue, sequence = Tissue(0.8, (t1_ms, 1.0), 80, 25), Sequence(1.5, tr_ms, 2.0, flip_deg, relaxivity=4.0)
    before, after = gradient_echo_signal(np.array([0.0, concentration]), tissue, sequence)
    enhancement = torch.tensor([after / before - 1], dtype=torch.float64)
    found = find_concentration(enhancement, Protocol(tr_ms, flip_deg, t1_ms, 4.0))
    assert found.item() == pytest.approx(concentration, rel=1e-6, abs=1e-6)
    by_map = find_concentration(
        enhancement, Protocol(tr_ms, flip_deg, 1.0, 4.0), torch.tensor([t1_ms], dtype=torch.float64)
    )
    assert by_map.item() == pytest.approx(concentration, rel=1e-6, abs=1e-6)


def test_concentration_is_bounded() -> None:
    found = find_concentration(torch.tensor([-1.0, 0.0, 50.0, 1e6]), Protocol())
    assert torch.isfinite(found).all()
    assert found[0] < 0
    assert found[1] == pytest.approx(0, abs=1e-4)
    assert found[2:].tolist() == pytest.approx([CONCENTRATION_LIMIT_MM] * 2, rel=1e-3)


def test_field_strength_sets_what_is_assumed() -> None:
    assert assume_protocol(1.5).t10_ms < assume_protocol(3.0).t10_ms
    assert assume_protocol(3.0) == Protocol()


@settings(deadline=None, max_examples=15)
@given(
    ktrans=st.floats(0.01, 0.8),
    rate=st.floats(0.05, 3.0),
    vp=st.floats(0.0, 0.15),
    first=st.floats(0.3, 0.8),
    spacing=st.floats(0.8, 1.5),
)
def test_parameters_come_back_from_any_exam(
    ktrans: float, rate: float, vp: float, first: float, spacing: float
) -> None:
    ve = ktrans / rate
    if ve > 1:
        ktrans, ve = rate * 0.5, 0.5
    minutes = np.array([-1.0, *(first + spacing * np.arange(5))])
    curve = _tissue(minutes, ktrans, ve, vp)
    maps = fit_tofts(torch.from_numpy(curve)[:, None], minutes)
    made = _tissue(minutes, maps.ktrans.item(), max(maps.ve.item(), 1e-6), maps.vp.item())
    # 1%, a fraction of any scan's noise: where tissue runs along plasma at all phases, the minimum is a narrow funnel.
    np.testing.assert_allclose(made, curve, atol=1e-2 * curve.max())
    if rate < 1:  # faster efflux than the phases resolve: curves agree, parameters need not
        assert [maps.ktrans.item(), maps.ve.item()] == pytest.approx([ktrans, ve], rel=0.05)


def test_the_fit_is_the_least_squares_one_under_noise() -> None:
    """Against non-negative least squares at every rate of a fine grid."""
    rng = np.random.default_rng(0)
    truths = [truth for truth, _ in TISSUES.values()]
    curves = np.stack([_tissue(MINUTES, *truth) for truth in truths * 2], axis=1)
    curves[1:] += rng.normal(0, 0.04, curves[1:].shape)
    for extended in (True, False):
        maps = fit_tofts(torch.from_numpy(curves), MINUTES, extended=extended)
        rates = np.geomspace(*RATES, 50)
        bases = [np.stack([_tissue(MINUTES, 1.0, 1 / rate, 0), _tissue(MINUTES, 0, 1, 1)], axis=1) for rate in rates]
        for voxel, curve in enumerate(curves.T):
            best = min(nnls(basis if extended else basis[:, :1], curve)[1] for basis in bases)
            ktrans, ve, vp = (float(m[voxel]) for m in (maps.ktrans, maps.ve, maps.vp))
            if ve == 1:  # clipped: more than a tissue can hold
                continue
            error = np.linalg.norm(_tissue(MINUTES, ktrans, ve or 1.0, vp) - curve)
            assert error <= best * 1.005 + 1e-3
            assert extended or vp == 0


def test_noise_scatters_but_hardly_biases() -> None:
    """At an SNR of 40, as of one breast coil's voxel."""
    rng = np.random.default_rng(1)
    (ktrans, ve, vp), _ = TISSUES["malignant"]
    signal = 1 + _enhance(_tissue(MINUTES, ktrans, ve, vp), Protocol())[:, None] + rng.normal(0, 1 / 40, (6, 4000))
    maps = fit_tofts(find_concentration(torch.from_numpy(signal / signal[:1] - 1).float(), Protocol()), MINUTES)
    assert float(maps.ktrans.median()) == pytest.approx(ktrans, rel=0.05)
    assert float(maps.ve.median()) == pytest.approx(ve, rel=0.05)
    assert np.subtract(*np.percentile(maps.ktrans, [90, 10])) < 0.5 * ktrans


def test_what_takes_nothing_up_has_no_parameters() -> None:
    curves = torch.zeros(6, 2, 3)
    curves[1:, 1] = -0.1
    for extended in (True, False):
        maps = fit_tofts(curves, MINUTES, extended=extended)
        for found in (maps.ktrans, maps.ve, maps.vp):
            assert found.shape == (2, 3)
            assert (found == 0).all()


def test_a_vessel_has_plasma_alone() -> None:
    vessel = torch.from_numpy(np.where(MINUTES > 0, [_plasma(minute) for minute in MINUTES], 0))[:, None]
    maps = fit_tofts(0.6 * vessel, MINUTES)
    assert maps.vp.item() == pytest.approx(0.6, rel=0.01)
    assert maps.ktrans.item() == pytest.approx(0, abs=0.02)


def test_many_phases_in_many_chunks() -> None:
    minutes = np.linspace(-0.5, 9.5, 300)
    curve = _tissue(minutes[::10], *TISSUES["washout"][0])
    assert fit_tofts(torch.from_numpy(curve)[:, None], minutes[::10]).ktrans.item() == pytest.approx(0.4, rel=0.01)
    many = torch.from_numpy(np.interp(minutes, minutes[::10], curve)).float()[:, None].expand(-1, 17_000)
    maps = fit_tofts(many, minutes)
    assert maps.ktrans.shape == (17_000,)
    assert float(maps.ktrans.std()) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize(("extended", "needed"), [(True, 3), (False, 2)])
def test_too_few_phases(extended: bool, needed: int) -> None:
    minutes = MINUTES[:needed]
    with pytest.raises(ImageError, match=f"needs {needed} phases after the bolus arrived, got {needed - 1}"):
        fit_tofts(torch.zeros(needed, 4), minutes, extended=extended)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_what_the_cpu_gives() -> None:
    curves = np.stack([_tissue(MINUTES, *truth) for truth, _ in TISSUES.values()], axis=1)
    enhancement = torch.from_numpy(np.stack([_enhance(curve, Protocol()) for curve in curves.T], axis=1)).float()
    here, there = (
        fit_tofts(find_concentration(enhancement.to(device), Protocol()), MINUTES) for device in ("cpu", "cuda")
    )
    for name in ("ktrans", "ve", "vp"):
        torch.testing.assert_close(getattr(there, name).cpu(), getattr(here, name), rtol=1e-3, atol=1e-4)


def _variable_flip_t1_ms(signal: Curve, flips_deg: Curve, tr_ms: float) -> Curve:
    """T1 of each voxel: S / sin is a line over S / tan, whose slope is exp(-TR / T1)."""
    flips = np.radians(flips_deg)[:, None]
    signal = np.maximum(signal, np.sin(flips))  # a voxel without signal has any T1
    x, y = signal / np.tan(flips), signal / np.sin(flips)
    x, y = x - x.mean(0), y - y.mean(0)
    return np.asarray(-tr_ms / np.log(np.clip((x * y).sum(0) / (x * x).sum(0), 0.2, 0.9995)))


@pytest.mark.real_data
def test_a_real_slice_is_fitted_as_scipy_fits_it_and_shows_the_rim(real_data: Path) -> None:
    slice_ = scipy.io.loadmat(real_data / "misc" / "dce_slice_invivo.mat")
    minutes, plasma = slice_["t"].ravel() / 60, slice_["Cp"].ravel()
    rows, columns = slice(90, 130), slice(75, 120)
    signal = slice_["DCEdata"][:, rows, columns].reshape(25, -1)
    tr_ms = float(slice_["TR"].item()) * 1000
    t1_ms = _variable_flip_t1_ms(
        slice_["T1data"][:, rows, columns].reshape(10, -1), slice_["T1flip"].ravel().astype(float), tr_ms
    )
    protocol = Protocol(tr_ms, float(slice_["DCEflip"].item()), 1600, float(slice_["relaxivity"].item()))
    enhancement = torch.from_numpy(signal / np.maximum(signal[:3].mean(0), 1) - 1).clamp(max=5)
    concentration = find_concentration(enhancement, protocol, torch.from_numpy(t1_ms))
    maps = fit_tofts(concentration, minutes, plasma=plasma)

    # The same model by another road: a matrix of exact weights instead of a recursion, a local optimiser a voxel.
    fine = np.linspace(0, minutes[-1], 24 * 40 + 1)
    arterial = np.interp(fine, minutes, plasma)
    lag = np.maximum(minutes[:, None] - fine, 0)
    weights = np.where(fine <= minutes[:, None] + 1e-9, fine[1], 0.0)
    weights[:, 0] /= 2
    weights[np.arange(25), np.arange(25) * 40] /= 2

    def model(_: Curve, ktrans: float, rate: float, vp: float) -> Curve:
        return np.asarray(vp * plasma + ktrans * (weights * np.exp(-rate * lag)) @ arterial)

    early = ndimage.uniform_filter((signal[8] - signal[:3].mean(0)).reshape(40, 45), 3)
    parts, _ = ndimage.label(early > 1.5e6)
    mass = ndimage.binary_fill_holes(parts == parts[20, 20])
    assert 300 < mass.sum() < 700
    physical = np.array([(m > 0) & (m < 1) for m in (maps.ktrans.numpy(), maps.ve.numpy())]).all(0)
    chosen = np.flatnonzero(mass.ravel() & physical)[::3]
    assert len(chosen) >= 90
    differences = []
    for voxel in chosen:
        curve = concentration[:, voxel].numpy()
        bounds = ([0, RATES[0], 0], [10, RATES[1], 5])
        fitted, _ = curve_fit(model, minutes, curve, p0=[0.1, 0.5, 0.02], bounds=bounds)
        ktrans, ve, vp = (float(m[voxel]) for m in (maps.ktrans, maps.ve, maps.vp))
        residuals = [np.linalg.norm(model(minutes, *p) - curve) for p in ((ktrans, ktrans / ve, vp), fitted)]
        assert residuals[0] < 1.001 * residuals[1]  # scipy finds no better fit
        differences.append([ktrans / fitted[0] - 1, ve / (fitted[0] / fitted[1]) - 1, vp - fitted[2]])
    assert np.percentile(np.abs(differences), 95, axis=0).max() < 0.005

    depth = ndimage.distance_transform_edt(mass)
    outside = ndimage.distance_transform_edt(~mass)
    ktrans_map = maps.ktrans.numpy().reshape(40, 45)
    rim, core, around = (
        np.median(ktrans_map[where]) for where in (mass & (depth <= 3), depth > 5, (outside >= 4) & (outside < 8))
    )
    assert rim > 1.3 * core
    assert rim > 2 * around
