"""Pharmacokinetics: concentration from signal, then the Tofts models fitted to every voxel at once.

The fit is the nonlinear least-squares one: for a given efflux rate the model is linear in the other two parameters, so
the rate is searched on a grid shared by all voxels and then refined, which needs no start value and has no local
minimum to fall into.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from genovox.core.errors import ImageError

Curve = npt.NDArray[np.float64]

HAEMATOCRIT = 0.42
RATES = (0.01, 20.0)
"""Efflux rates kep = Ktrans / ve that a fit can find, 1/min."""
CONCENTRATION_LIMIT_MM = 20.0
# Parker et al. 2006, table 1: two Gaussians and an exponential under a sigmoid; minutes and mM.
_GAUSSIANS = ((0.809, 0.17046, 0.0563), (0.330, 0.365, 0.132))
_ALPHA, _BETA, _SLOPE, _TAU = 1.050, 0.1685, 38.078, 0.483
_NODES = 64
_STEP_MIN, _LONGEST = 0.25 / 60, 20_000
_REFINEMENTS, _NEGLIGIBLE = 6, 1e-7
_CHUNK = 1 << 14


@dataclass(frozen=True)
class Protocol:
    """What turns signal into concentration: a spoiled gradient echo, the tissue before contrast and the agent.

    Attributes:
        tr_ms: Repetition time.
        flip_deg: Flip angle.
        t10_ms: T1 before contrast.
        relaxivity: r1 of the agent, 1/(mM s).
    """

    tr_ms: float = 5.0
    flip_deg: float = 10.0
    t10_ms: float = 1612.0
    relaxivity: float = 5.0


@dataclass(frozen=True)
class TissueMaps:
    """Parameters of the Tofts model, each of the shape of one phase.

    Attributes:
        ktrans: Volume transfer constant, 1/min, 0 or more.
        ve: Extravascular extracellular fraction, 0 to 1; 0 where ``ktrans`` is.
        vp: Plasma fraction, 0 or more; 0 in the standard model.
    """

    ktrans: torch.Tensor
    ve: torch.Tensor
    vp: torch.Tensor


@dataclass(frozen=True)
class _Basis:
    """Curves for each efflux rate of the grid, along the axes of ``_find_axes``: what a fit is made of.

    Attributes:
        plasma: Unit vector along the plasma curve, shape (axis,).
        plasma_norm: Its length before.
        tissue: Plasma convolved with the decay, shape (axis, rate).
        slope: Its derivative by the logarithm of the rate.
    """

    plasma: torch.Tensor
    plasma_norm: float
    tissue: torch.Tensor
    slope: torch.Tensor


def assume_protocol(field_t: float) -> Protocol:
    """The protocol of a clinical exam that records none: T1 of breast cancer and r1 of gadobutrol at a field strength.

    With it the maps are relative: they rank voxels and compare cases of one protocol, but Ktrans in 1/min holds only
    where TR, flip angle, T1 and the arterial input were measured (Ktrans and ve go about as 1 / T1).

    Args:
        field_t: Field strength in tesla; below 2 counts as 1.5 T, otherwise as 3 T.
    """
    return Protocol(t10_ms=1300.0, relaxivity=5.2) if field_t < 2 else Protocol()


def arterial_plasma(minutes: Curve, *, dose: float = 1.0) -> Curve:
    """Concentration in arterial plasma after a standard injection, mM; 0 before the bolus arrives.

    Args:
        minutes: Time since the bolus arrived, shape (n,).
        dose: Relative to 0.1 mmol/kg.

    References:
        Parker et al. (2006), doi:10.1002/mrm.21066, over 1 - haematocrit.
    """
    since = np.maximum(minutes, 0.0)
    blood = _ALPHA * np.exp(-_BETA * since) / (1 + np.exp(-_SLOPE * (since - _TAU)))
    for area, centre, width in _GAUSSIANS:
        blood = blood + area / (width * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((since - centre) / width) ** 2)
    return np.asarray(np.where(minutes >= 0, dose * blood / (1 - HAEMATOCRIT), 0.0))


def find_concentration(
    enhancement: torch.Tensor, protocol: Protocol, t10_ms: torch.Tensor | None = None
) -> torch.Tensor:
    """Concentration of contrast agent, by inverting the signal of a spoiled gradient echo; T2* decay is neglected.

    Args:
        enhancement: Relative enhancement S / S0 - 1, any shape.
        protocol: How it was measured.
        t10_ms: A measured T1 of each voxel, broadcast over ``enhancement``; the protocol's if None.

    Returns:
        mM, of the shape of ``enhancement``; at most 20 mM, which is also what a signal beyond full relaxation gives.

    References:
        Ernst & Anderson (1966), doi:10.1063/1.1719961; Haase et al. (1986), doi:10.1016/0022-2364(86)90433-6.
    """
    tr_s = protocol.tr_ms / 1000
    rate = 1000 / (torch.as_tensor(protocol.t10_ms, dtype=enhancement.dtype) if t10_ms is None else t10_ms)
    rate = rate.to(enhancement.device)
    cosine = float(np.cos(np.radians(protocol.flip_deg)))
    before = torch.exp(-tr_s * rate)
    signal = ((1 + enhancement) * ((1 - before) / (1 - cosine * before))).clamp(max=1)
    relaxed = (1 - signal) / (1 - cosine * signal)
    least = torch.exp(-tr_s * (rate + protocol.relaxivity * CONCENTRATION_LIMIT_MM))
    return (-torch.log(torch.maximum(relaxed, least)) / tr_s - rate) / protocol.relaxivity


def fit_tofts(
    concentration: torch.Tensor, minutes: Curve, *, plasma: Curve | None = None, extended: bool = True
) -> TissueMaps:
    """Fit the extended (or the standard) Tofts model to every voxel, parameters being 0 or more.

    ``C(t) = vp Cp(t) + Ktrans integral of Cp(s) exp(-kep (t - s)) ds`` with ``kep = Ktrans / ve`` within ``RATES`` is
    fitted by least squares: variable projection over kep, whose minimum is bracketed on a grid and refined by
    Gauss-Newton steps that stay in the bracket.

    Args:
        concentration: mM, shape (time, ...); computed where it lies, CPU or GPU, in float32.
        minutes: When each phase was measured, rising, shape (time,); since the bolus arrived where ``plasma`` is None.
        plasma: Concentration in plasma measured at the same times, mM; the population's if None.
        extended: Whether vessels count (``vp``).

    Raises:
        ImageError: If too few phases lie after the bolus arrived: 3 are needed, 2 for the standard model.

    References:
        Tofts et al. (1999), doi:10.1002/(SICI)1522-2586(199909)10:3<223::AID-JMRI2>3.0.CO;2-S;
        Golub & Pereyra (1973), doi:10.1137/0710036; Kaufman (1975), doi:10.1007/BF01932995.
    """
    rates = np.geomspace(*RATES, _NODES)
    plasma_curve, tissue, slope = _convolve(minutes, plasma, rates)
    reached, needed = int((plasma_curve > 0).sum()), 3 if extended else 2
    if reached < needed:
        raise ImageError(
            f"a Tofts fit needs {needed} phases after the bolus arrived, got {reached}; give every phase and its time, "
            "or choose other preprocess.channels"
        )
    axes = _find_axes(plasma_curve, tissue, slope)
    norm = float(np.linalg.norm(plasma_curve))
    device = concentration.device
    unit, curves, slopes = (torch.as_tensor(c @ axes.T, device=device) for c in (plasma_curve / norm, tissue, slope))
    basis = _Basis(unit.float(), norm, curves.T.float().contiguous(), slopes.T.float().contiguous())
    turn = torch.as_tensor(axes, device=device, dtype=torch.float32)
    weights, ratio = _project(unit, curves)
    flat = concentration.reshape(len(concentration), -1)
    maps = torch.empty(3, flat.shape[1], device=device)
    for start in range(0, flat.shape[1], _CHUNK):
        part = turn @ flat[:, start : start + _CHUNK].float()
        index, both, tissue_alone = _search(part, weights, ratio, extended=extended)
        maps[:, start : start + _CHUNK] = _refine(part, basis, index, both, tissue_alone)
    ktrans, rate, vp = maps.reshape(3, *concentration.shape[1:])
    return TissueMaps(ktrans, (ktrans / rate).clamp(max=1), vp)


def _convolve(minutes: Curve, plasma: Curve | None, rates: Curve) -> tuple[Curve, Curve, Curve]:
    """Plasma at the phases, (time,); its convolution with each decay and the derivative by log rate, (rate, time)."""
    # Here, since few studies ask for these maps and every process of all the others would hold 36 MB for it.
    from scipy.signal import lfilter  # noqa: PLC0415

    start = 0.0 if plasma is None else float(minutes[0])
    end = max(float(minutes[-1]), start + _STEP_MIN)
    grid, step = np.linspace(start, end, min(int((end - start) / _STEP_MIN) + 2, _LONGEST), retstep=True)
    fine = arterial_plasma(grid) if plasma is None else np.interp(grid, minutes, plasma)
    tissue, slope = [], []
    for rate in rates:
        decay = np.exp(-rate * step)
        # The trapezoid rule as a recursion; the derivative of exp(-kt) is -t exp(-kt), the decay convolved with itself.
        halves, feedback = [step / 2, step / 2 * decay], [1.0, -decay]
        once = lfilter(halves, feedback, fine)
        tissue.append(np.interp(minutes, grid, once, left=0.0))
        slope.append(np.interp(minutes, grid, -rate * lfilter(halves, feedback, once), left=0.0))
    sampled = arterial_plasma(minutes) if plasma is None else plasma
    return np.asarray(sampled, np.float64), np.array(tissue), np.array(slope)


def _find_axes(plasma: Curve, tissue: Curve, slope: Curve) -> Curve:
    """Orthonormal axes, (axis, time), of the few dimensions that all curves of the model lie in.

    What a measured curve has outside them fits no better or worse at any rate, so many phases cost no more than a few.
    """
    curves = np.vstack([plasma, tissue, slope])
    _, sizes, axes = np.linalg.svd(curves / np.linalg.norm(curves, axis=1, keepdims=True), full_matrices=False)
    return np.asarray(axes[sizes > _NEGLIGIBLE * sizes[0]])


def _project(plasma: torch.Tensor, tissue: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What voxels' curves are multiplied with, (1 + 2 rates, axis), and the plasma that a unit of tissue explains.

    The rows are unit vectors: plasma; tissue with plasma projected out; tissue.
    """
    along = tissue @ plasma
    rest = tissue - along[:, None] * plasma
    length = rest.norm(dim=1)
    rows = torch.cat([plasma[None], rest / length[:, None], tissue / tissue.norm(dim=1, keepdim=True)])
    return rows.float(), (along / length)[:, None].float()


def _search(
    curves: torch.Tensor, weights: torch.Tensor, ratio: torch.Tensor, *, extended: bool
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The rate of the grid at which most of the curve is explained, and which terms are above 0 there.

    Args:
        curves: Along the axes, shape (axis, voxel).

    Returns:
        Index of the rate, whether both terms are, whether tissue alone is; each of shape (voxel,).
    """
    if not extended:
        gain, index = (weights[1 + len(ratio) :] @ curves).max(dim=0)
        return index, torch.zeros_like(index, dtype=torch.bool), gain > 0
    plasma, rest, tissue = torch.split(weights @ curves, [1, len(ratio), len(ratio)])
    rest.clamp_(min=0)
    tissue.clamp_(min=0)
    # Where plasma would count less than nothing beside tissue, tissue is alone.
    gains = torch.where(plasma >= rest * ratio, plasma * plasma + rest * rest, tissue.square())
    index = gains.max(dim=0, keepdim=True)[1]
    beside, alone = rest.gather(0, index)[0], tissue.gather(0, index)[0]
    counts = plasma[0] >= beside * ratio[index[0], 0]
    return index[0], counts & (beside > 0), ~counts & (alone > 0)


def _refine(
    curves: torch.Tensor, basis: _Basis, index: torch.Tensor, both: torch.Tensor, tissue_alone: torch.Tensor
) -> torch.Tensor:
    """Ktrans, rate and vp at the minimum near a rate of the grid, shape (3, voxel)."""
    spacing = float(np.log(RATES[1] / RATES[0])) / (_NODES - 1)
    along = basis.plasma @ curves
    place = index.float()
    low, high = (place - 1).clamp(min=0), (place + 1).clamp(max=_NODES - 1)
    for _ in range(_REFINEMENTS):
        whole, slope = _interpolate(basis, place)
        tissue, left, amount, vessel = _solve(curves, along, whole, basis.plasma, both)
        slope = slope - basis.plasma[:, None] * (both * (basis.plasma @ slope))
        # The part of the slope that no change of the two amounts makes up for.
        slope = amount * (slope - (slope * tissue).sum(0) / tissue.square().sum(0) * tissue)
        step = (slope * left).sum(0) / slope.square().sum(0).clamp(min=torch.finfo(slope.dtype).tiny) / spacing
        # Beyond the rate where tissue runs along plasma both cannot count: back towards the grid's.
        step = torch.where(both & (amount < 0), _NODES * torch.sign(index - place), step)
        low, high = torch.where(step > 0, place, low), torch.where(step < 0, place, high)
        # Halving where Gauss-Newton would leave the bracket: the curves turn fast where tissue runs along plasma.
        moved = place + step
        place = torch.where((moved >= low) & (moved <= high), moved, (low + high) / 2)
        # On the way vessels may turn out not to count.
        tissue_alone, both = tissue_alone | (both & (vessel < 0)), both & (vessel >= 0)
    whole, _ = _interpolate(basis, place)
    _, _, amount, vessel = _solve(curves, along, whole, basis.plasma, both)
    _, _, alone, _ = _solve(curves, along, whole, basis.plasma, torch.zeros_like(both))
    fits = both & (amount >= 0) & (vessel >= 0)
    tissue_alone, both = tissue_alone | (both & ~fits), fits
    ktrans = torch.where(both, amount, torch.where(tissue_alone, alone, 0)).clamp(min=0)
    vp = torch.where(both, vessel, torch.where(tissue_alone, 0, along)).clamp(min=0) / basis.plasma_norm
    return torch.stack([ktrans, RATES[0] * torch.exp(spacing * place), vp])


def _solve(
    curves: torch.Tensor, along: torch.Tensor, whole: torch.Tensor, plasma: torch.Tensor, both: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """The amounts of tissue and plasma that fit best, given each voxel's tissue curve, (axis, voxel).

    Returns:
        Where both count, tissue and measured curves with plasma projected out, else as they are; the amounts, (voxel,).
    """
    share = plasma @ whole
    tissue = whole - plasma[:, None] * (both * share)
    left = curves - plasma[:, None] * (both * along)
    amount = (tissue * left).sum(0) / tissue.square().sum(0)
    return tissue, left, amount, along - amount * share


def _interpolate(basis: _Basis, place: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Tissue curve and its slope between the rates of the grid, by cubic Hermite polynomials; shape (axis, voxel)."""
    spacing = float(np.log(RATES[1] / RATES[0])) / (_NODES - 1)
    node = place.long().clamp(max=_NODES - 2)
    t = place - node
    low, high = (basis.tissue.index_select(1, node + side) for side in (0, 1))
    rise, fall = (spacing * basis.slope.index_select(1, node + side) for side in (0, 1))
    change = high - low
    bend, twist = 3 * change - 2 * rise - fall, rise + fall - 2 * change
    return low + t * (rise + t * (bend + t * twist)), (rise + t * (2 * bend + t * 3 * twist)) / spacing
