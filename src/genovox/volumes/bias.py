"""Bias field: the smooth gain of coils and transmitter over a scan, estimated by N4 as one lattice of cubic B-splines.

N4 alternates two steps on the log signal: sharpen its histogram, which a bias field has blurred, and smooth what that
changed with B-splines. On a regular grid the smoothing factors into one small matrix an axis. Levels refine one lattice
in place, so that a field is evaluated once, on any grid along the same axes.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from genovox.core.errors import ImageError, UsageError
from genovox.core.volume import Affine

HISTOGRAM_BINS = 200
FIELD_FWHM = 0.15
WIENER_NOISE = 0.01
"""Bins of the log signal, width of the log field's own histogram, noise of its deconvolution: the values of N4."""

_PADDED_BINS = 512
_FIRST_BIN = (_PADDED_BINS - HISTOGRAM_BINS) // 2
_NARROWEST_BIN = 1e-7
_NO_SUPPORT = 0.1 * torch.finfo(torch.float32).eps
_TURN = 1e-4

Shape = tuple[int, int, int]
AxisWeights = tuple[Tensor, Tensor, Tensor]


@dataclass(frozen=True)
class BiasField:
    """Log of the gain over a scan; ``signal / exp(field)`` is corrected.

    N4 leaves the level of a field open: ``fit_bias_field`` keeps the level at which it stopped, and ``centred`` takes
    it out, so that corrected signal keeps its scale.

    Attributes:
        lattice: Control points over z, y, x, shape (spans + 3,) * 3, float32. The spans divide the distance between the
            outermost voxel centres of the fitted grid evenly.
        affine: Affine of the fitted grid.
        shape: Shape (z, y, x) of the fitted grid.
        mean: Mean of the log field over the voxels it was fitted to.
        strength: 95th over 5th percentile of the gain over these voxels, 1 or more; 1 means no bias.
    """

    lattice: Tensor
    affine: Affine
    shape: Shape
    mean: float
    strength: float

    def centred(self) -> "BiasField":
        """The same field with mean 0, so that the geometric mean of the signal stays what it was."""
        # B-splines sum to 1 everywhere: what is taken from every control point is taken from the whole field.
        return replace(self, lattice=self.lattice - self.mean, mean=0.0)

    def evaluate(self, affine: Affine, shape: Shape, device: torch.device | None = None) -> Tensor:
        """Log field on another grid; beyond the fitted voxel centres it goes on as at their edge.

        Args:
            affine: Affine of the grid, its axes along those of the fitted grid (spacing, extent and direction may
                differ).
            shape: Shape (z, y, x) of the grid.
            device: Where to compute; the lattice's own if not given.

        Returns:
            Shape (z, y, x), float32.

        Raises:
            ImageError: If the grid is turned against the fitted one.
        """
        relation = np.linalg.solve(self.affine, affine)
        steps = relation[:3, :3].diagonal()
        if np.abs(relation[:3, :3] - np.diag(steps)).max() > _TURN:
            raise ImageError(
                "a bias field must be evaluated along the axes of the grid it was fitted on, got a grid turned against "
                "them; resample both from the same scan"
            )
        lattice = self.lattice.to(device)
        weights = []
        for axis in range(3):
            voxels = torch.arange(shape[axis], dtype=torch.float64) * steps[2 - axis] + relation[2 - axis, 3]
            weights.append(_axis_weights(voxels, self.shape[axis], lattice.shape[axis] - 3).to(lattice))
        return _expand(lattice, (weights[0], weights[1], weights[2]))


def fit_bias_field(
    image: Tensor,
    mask: Tensor,
    affine: Affine,
    *,
    iterations: int = 50,
    levels: int = 4,
    tolerance: float = 1e-3,
) -> BiasField:
    """Estimate the bias field of one image by N4.

    It is the log field of ITK's filter with the same settings, level included, but for a rounding there: in some
    iterations ITK loses the brightest voxel from the histogram, here it always counts. That is one voxel's share, about
    1e-4 on a breast of 50,000 voxels.

    Voxels of the mask without signal have no logarithm and are left out; those of almost none widen the bins of the
    histogram, so the mask should hold no air. Along an axis of one voxel the field is constant: a slice gets the field
    of 2D N4. A coarse image is enough: the field is smooth, and time grows with the number of voxels.

    Args:
        image: Signal, shape (z, y, x).
        mask: True where to fit, shape (z, y, x), on the same device.
        affine: Affine of both.
        iterations: Most iterations a level, 1 or more.
        levels: Times the lattice is fitted, 1 or more; the first has one span an axis, each further one twice as many.
        tolerance: A level ends when the coefficient of variation of the change of the gain is this or less.

    Returns:
        The field, on the image's device.

    Raises:
        ImageError: If image and mask do not match, or the mask holds no signal, one value only, or voxels that are not
            finite.
        UsageError: If there is no level or no iteration.

    References:
        Tustison et al. (2010), N4ITK: improved N3 bias correction, doi:10.1109/TMI.2010.2046908.
        Sled et al. (1998), the sharpening of the histogram, doi:10.1109/42.668698.
        Lee et al. (1997), multilevel B-spline approximation, doi:10.1109/2945.620490.
    """
    if iterations < 1 or levels < 1:
        raise UsageError(f"bias levels and iterations must be 1 or more, got {levels} and {iterations}; raise them")
    shape = _check_images(image, mask)
    voxels = (mask & (image > 0)).flatten().nonzero()[:, 0]
    signal = image.flatten().index_select(0, voxels)
    _check_signal(signal)
    corrected = signal.float().log()
    lattice = corrected.new_zeros((4, 4, 4))
    for level in range(levels):
        if level > 0:
            refinement = _refinement_weights(2 ** (level - 1)).to(lattice)
            lattice = _expand(lattice, (refinement, refinement, refinement))
        smoother = _Smoother.over(shape, voxels, 2**level)
        for _ in range(iterations):
            change = smoother.approximate(corrected - _sharpen(corrected))
            lattice = lattice + change
            step = smoother.evaluate(change)
            corrected = corrected - step
            gain = torch.exp(-step)
            if float(gain.std() / gain.mean()) <= tolerance:
                break
    field = smoother.evaluate(lattice)
    low, high = np.percentile(field.cpu().numpy(), [5, 95])
    return BiasField(lattice, affine, shape, float(field.mean(dtype=torch.float64)), math.exp(high - low))


def _check_images(image: Tensor, mask: Tensor) -> Shape:
    """Refuse what cannot be masked; returns the shape (z, y, x)."""
    if image.ndim != 3 or image.shape != mask.shape or mask.dtype != torch.bool:
        raise ImageError(
            f"bias correction needs an image (z, y, x) and a boolean mask of its shape, got {tuple(image.shape)} and "
            f"{tuple(mask.shape)} of {mask.dtype}; take both from one grid"
        )
    count = int((~torch.isfinite(image) & mask).sum())
    if count:
        raise ImageError(
            f"bias correction needs finite signal, {count} voxels of the mask are NaN or infinite; "
            "convert the image again from its source"
        )
    z, y, x = image.shape
    return z, y, x


def _check_signal(signal: Tensor) -> None:
    """Refuse what has no histogram to sharpen."""
    if not len(signal):
        raise ImageError(
            'bias correction needs signal above 0 in the mask, got none; look at the foreground or use bias = "none"'
        )
    if signal.min() == signal.max():
        raise ImageError(
            f"bias correction needs different values in the mask, got {float(signal[0]):g} only; "
            'look at the foreground or use bias = "none"'
        )


@dataclass(frozen=True)
class _Smoother:
    """B-spline approximation of values at some voxels of a grid, each axis by itself.

    Attributes:
        shape: Shape (z, y, x) of the grid.
        voxels: Flat index of the voxels.
        basis: An axis: weight of each control point at each voxel, shape (size, spans + 3).
        spread: An axis: the basis cubed over the sum of its squares, what a voxel gives to each control point.
        per_support: One over the sum of squared weights over the voxels, the shape of the lattice; 0 for a control
            point that no voxel bears on.
    """

    shape: Shape
    voxels: Tensor
    basis: AxisWeights
    spread: AxisWeights
    per_support: Tensor

    @classmethod
    def over(cls, shape: Shape, voxels: Tensor, spans: int) -> "_Smoother":
        z, y, x = (_axis_weights(torch.arange(size, dtype=torch.float64), size, spans) for size in shape)
        basis = (z, y, x)
        spread = [weights**3 / (weights**2).sum(1, keepdim=True) for weights in basis]
        inside = torch.zeros(math.prod(shape), device=voxels.device).index_fill_(0, voxels, 1)
        support = _contract(inside.view(shape), _to_device((z**2, y**2, x**2), inside))
        return cls(
            shape,
            voxels,
            _to_device(basis, inside),
            _to_device((spread[0], spread[1], spread[2]), inside),
            torch.where(support > _NO_SUPPORT, 1 / support, 0),
        )

    def approximate(self, values: Tensor) -> Tensor:
        """Lattice that follows ``values`` at the voxels."""
        grid = values.new_zeros(math.prod(self.shape)).index_copy_(0, self.voxels, values)
        return _contract(grid.view(self.shape), self.spread) * self.per_support

    def evaluate(self, lattice: Tensor) -> Tensor:
        """Values of a lattice at the voxels."""
        return _expand(lattice, self.basis).flatten().index_select(0, self.voxels)


def _to_device(weights: AxisWeights, like: Tensor) -> AxisWeights:
    z, y, x = weights
    return z.to(like), y.to(like), x.to(like)


def _sharpen(log_signal: Tensor) -> Tensor:
    """Expected true log signal of each voxel, given what the field has made of it.

    The histogram is deconvolved with that of the field, a Gaussian, by a Wiener filter.
    """
    low, high = torch.aminmax(log_signal)
    # A bin of no width, left where the field explains all there is, would divide by 0.
    width = ((high - low) / (HISTOGRAM_BINS - 1)).clamp_min(_NARROWEST_BIN)
    position = (log_signal - low) / width + _FIRST_BIN
    bins = position.long()
    fraction = position - bins
    # Each voxel is shared between the two bins it lies between. In double the sums are exact, so their order is free.
    upper = torch.bincount(bins, fraction.double(), minlength=_PADDED_BINS)
    histogram = torch.bincount(bins, minlength=_PADDED_BINS) - upper + upper.roll(1)

    number = torch.arange(_PADDED_BINS, dtype=torch.float64, device=log_signal.device)
    fwhm = FIELD_FWHM / width.double()
    distance = torch.minimum(number, _PADDED_BINS - number)
    gaussian = 2 * math.sqrt(math.log(2) / math.pi) / fwhm * torch.exp(-4 * math.log(2) * (distance / fwhm) ** 2)
    blur = torch.fft.rfft(gaussian).real
    wiener = blur / (blur**2 + WIENER_NOISE)
    sharp = torch.fft.irfft(torch.fft.rfft(histogram) * wiener).clamp_min(0)
    centres = low.double() + (number - _FIRST_BIN) * width.double()
    weighted, total = torch.fft.irfft(torch.fft.rfft(torch.stack([sharp * centres, sharp])) * blur)
    expected = torch.where(total != 0, weighted / total, 0).float()
    # The brightest voxel lies on the last bin: nothing may come from beyond it.
    expected[_FIRST_BIN + HISTOGRAM_BINS :] = expected[_FIRST_BIN + HISTOGRAM_BINS - 1]
    return torch.lerp(expected.index_select(0, bins), expected.index_select(0, bins + 1), fraction)


def _axis_weights(voxels: Tensor, size: int, spans: int) -> Tensor:
    """Cubic B-spline basis along one axis.

    Args:
        voxels: Positions in voxels of the fitted grid, shape (n,).
        size: Number of voxels of the fitted grid.
        spans: Number of spans over it.

    Returns:
        Weight of each control point at each position, shape (n, spans + 3); rows sum to 1.
    """
    position = voxels.clamp(0, size - 1) * (spans / max(size - 1, 1))
    first = position.floor().clamp_max(spans - 1)
    u = (position - first)[:, None]
    pieces = torch.cat([(1 - u) ** 3, (3 * u - 6) * u**2 + 4, ((3 - 3 * u) * u + 3) * u + 1, u**3], 1) / 6
    weights = pieces.new_zeros((len(pieces), spans + 3))
    return weights.scatter_(1, first.long()[:, None] + torch.arange(4), pieces)


def _refinement_weights(spans: int) -> Tensor:
    """Matrix from the control points of ``spans`` spans to those of twice as many, the spline being the same.

    References:
        Cohen, Lyche & Riesenfeld (1980), Discrete B-splines, doi:10.1016/0146-664X(80)90040-4.
    """
    coarse = torch.eye(spans + 3, dtype=torch.float64)
    weights = coarse.new_empty((2 * spans + 3, spans + 3))
    weights[0::2] = (coarse[:-1] + coarse[1:]) / 2
    weights[1::2] = (coarse[:-2] + 6 * coarse[1:-1] + coarse[2:]) / 8
    return weights


def _expand(lattice: Tensor, weights: AxisWeights) -> Tensor:
    """Weighted sums of control points, shape (a, b, c), at the points of a grid, shape (z, y, x)."""
    for_z, for_y, for_x = weights
    along_z = (for_z @ lattice.flatten(1)).view(len(for_z), *lattice.shape[1:])
    return torch.matmul(for_y, along_z) @ for_x.T


def _contract(grid: Tensor, weights: AxisWeights) -> Tensor:
    """Weighted sums of a grid, shape (z, y, x), for each control point of a lattice, shape (a, b, c)."""
    for_z, for_y, for_x = weights
    along_z = (for_z.T @ grid.flatten(1)).view(-1, *grid.shape[1:])
    return torch.matmul(for_y.T, along_z @ for_x)
