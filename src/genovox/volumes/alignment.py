"""Alignment: the rigid or free-form motion that makes one phase look like another, by Gauss-Newton.

Contrast agent brightens lesions and vessels by 100 to 200%, so signals are compared after local normalisation: each
voxel's signal less its neighbourhood's mean, over its neighbourhood's standard deviation. What brightens as a whole
looks the same, and where the pattern itself changes, robust weights count it little.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

from genovox.core.volume import Affine, Array, Mask, Volume
from genovox.volumes.geometry import Grid, cubic_spline, resample_volume
from genovox.volumes.motion import sample_linear

Lattice = npt.NDArray[np.float64]

LATTICE_MM = 24.0
_COARSE_MM = 6.0
_FEWEST = 8
# Smoothing before and reach of the local normalisation, mm, on the coarse and the given grid.
_SCALES_MM = ((4.0, 12.0), (1.0, 6.0))
_FLOOR = 0.5
_POINTS = 60_000
_RIGID_ROUNDS = 20
_LEAST_INSIDE = 0.3
_SETTLED_MM = 0.01
_FREE_ROUNDS = (6, 4)
_CONJUGATE_STEPS = 15
_STIFFNESS = 0.01
_LIKENESS_MM = 9.0


@dataclass(frozen=True)
class View:
    """One phase at one resolution, locally normalised.

    Attributes:
        signal: Shape (z, y, x); about -2 to 2.
        mask: The patient, shape (z, y, x).
        grid: Where the voxels lie.
    """

    signal: Array
    mask: Mask
    grid: Grid


def open_views(phase: Array, affine: Affine, mask: Mask) -> tuple[View, View]:
    """A phase on voxels of about 6 mm, and on its own.

    Args:
        phase: Shape (z, y, x), on voxels of about 3 mm.
        affine: Voxel (x, y, z) to RAS mm.
        mask: The patient, shape (z, y, x).
    """
    fine = Volume(np.stack([phase, mask.astype(np.float32)]), affine)
    wide = [
        max(_COARSE_MM, step) if size * step >= _FEWEST * _COARSE_MM else step
        for size, step in zip(phase.shape[::-1], fine.spacing_mm, strict=True)
    ]
    coarse = resample_volume(fine, (wide[0], wide[1], wide[2]))
    views = []
    for volume, (smoothing_mm, reach_mm) in zip((coarse, fine), _SCALES_MM, strict=True):
        inside = volume.array[1] > 0.5
        views.append(View(_normalise_locally(volume, inside, smoothing_mm, reach_mm), inside, Grid.of(volume)))
    return views[0], views[1]


def _normalise_locally(volume: Volume, mask: Mask, smoothing_mm: float, reach_mm: float) -> Array:
    steps = np.array(volume.spacing_mm[::-1])
    signal = ndimage.gaussian_filter(volume.array[0], smoothing_mm / steps, truncate=3)
    mean = ndimage.gaussian_filter(signal, reach_mm / steps, truncate=2.5)
    deviation = signal - mean
    variance = ndimage.gaussian_filter(deviation**2, reach_mm / steps, truncate=2.5)
    # Air and lung hold noise only: the floor keeps it from looking like tissue.
    floor = _FLOOR**2 * float(np.median(variance[mask])) if mask.any() else 0.0
    return np.asarray(deviation / np.sqrt(variance + floor + np.finfo(np.float32).tiny), np.float32)


def image_gradient(signal: Array, affine: Affine) -> list[Array]:
    """Derivatives along RAS x, y and z in 1/mm, each of the signal's shape (z, y, x)."""
    along = np.gradient(signal)[::-1]
    inverse = np.linalg.inv(affine)[:3, :3].astype(np.float32)
    parts = []
    for axis in range(3):
        part = np.zeros_like(signal)
        for index in np.flatnonzero(inverse[:, axis]):
            part += inverse[index, axis] * along[index]
        parts.append(part)
    return parts


def fit_rigid(fixed: tuple[View, ...], moving: tuple[View, ...]) -> Affine:
    """Rigid motion from the fixed phase's points to the moving phase's.

    The gradients are those of the phase that stays, so that the Jacobian is computed once a resolution.

    Args:
        fixed: Coarse to fine.
        moving: The same of the other phase.

    Returns:
        Shape (4, 4), RAS mm to RAS mm; the identity where the search loses the patient.

    References:
        Baker & Matthews (2004), doi:10.1023/B:VISI.0000011205.11775.fd. Weights of Geman and McClure as in Black &
        Rangarajan (1996), doi:10.1007/BF00131148.
    """
    matrix = np.eye(4)
    for still, other in zip(fixed, moving, strict=True):
        places = np.argwhere(still.mask)
        places = places[:: max(1, len(places) // _POINTS)]
        points = places[:, ::-1] @ still.grid.affine[:3, :3].T + still.grid.affine[:3, 3]
        centre = points.mean(0)
        arms = points - centre
        reach_mm = float(np.linalg.norm(arms, axis=1).max())
        at = tuple(places.T)
        slope = np.stack([part[at] for part in image_gradient(still.signal, still.grid.affine)], axis=1)
        jacobian = np.concatenate([slope, np.cross(arms, slope) / reach_mm], axis=1)
        expected = still.signal[at]
        image = torch.from_numpy(other.signal)
        for _ in range(_RIGID_ROUNDS):
            values, inside = _sample(image, other.grid, points @ matrix[:3, :3].T + matrix[:3, 3])
            if inside.mean() < _LEAST_INSIDE:
                return np.eye(4)
            error = values - expected
            weights = _robust_weights(error, inside)
            normal = (jacobian * weights[:, None]).T @ jacobian
            normal[np.diag_indices(6)] += 1e-9 * np.trace(normal) + np.finfo(float).tiny
            step = np.linalg.solve(normal, jacobian.T @ (weights * error))
            change = np.eye(4)
            change[:3, :3] = Rotation.from_rotvec(step[3:] / reach_mm).as_matrix()
            change[:3, 3] = step[:3] + centre - change[:3, :3] @ centre
            matrix = matrix @ np.linalg.inv(change)
            if np.linalg.norm(step[:3]) + np.linalg.norm(step[3:]) < _SETTLED_MM:
                break
    return matrix


def fit_deformation(fixed: tuple[View, ...], moving: tuple[View, ...], matrix: Affine) -> Volume:
    """Smooth displacement ``u`` so that the moving phase at ``matrix (p + u(p))`` looks like the fixed one at ``p``.

    ``u`` is a cubic B-spline on a lattice of 24 mm; the squared Laplacian of the lattice is the price of bending.

    Args:
        fixed: Coarse to fine.
        moving: The same of the other phase.
        matrix: Rigid motion to start from.

    Returns:
        RAS mm, array (3, z, y, x) on the fine grid.

    References:
        Rueckert et al. (1999), doi:10.1109/42.796284.
    """
    fine = fixed[-1].grid
    lengths = [(size - 1) * step for size, step in zip(fine.shape, fine.spacing_mm, strict=True)]
    lattice: Lattice = np.zeros((3, *(int(length / LATTICE_MM) + 4 for length in lengths[::-1])))
    for still, other, rounds in zip(fixed, moving, _FREE_ROUNDS, strict=True):
        problem = _FreeForm(still, other, matrix, _basis(still.grid, fine, lattice.shape))
        for _ in range(rounds):
            change = problem.improve(lattice)
            lattice = lattice + change
            if np.abs(change).max() < 2 * _SETTLED_MM:
                break
    field = _expand(lattice, _basis(fine, fine, lattice.shape))
    return Volume(np.ascontiguousarray(field, np.float32), fine.affine)


Basis = tuple[Array, Array, Array]


class _FreeForm:
    """The linearised problem of one resolution."""

    def __init__(self, fixed: View, moving: View, matrix: Affine, basis: Basis) -> None:
        self.fixed, self.moving, self.matrix, self.basis = fixed, moving, matrix, basis
        self.image = torch.from_numpy(moving.signal)
        self.slope = np.stack(image_gradient(fixed.signal, fixed.grid.affine))
        z, y, x = np.indices(fixed.signal.shape, np.float32)
        affine = fixed.grid.affine.astype(np.float32)
        self.points = np.stack(
            [affine[i, 0] * x + affine[i, 1] * y + affine[i, 2] * z + affine[i, 3] for i in range(3)], axis=-1
        )
        # Curvature changes slowly: every second voxel along each axis is enough for it, eight times as cheap.
        self.thin: Basis = (basis[0][::2], basis[1][::2], basis[2][::2])
        cell = LATTICE_MM**3 / float(np.prod(fixed.grid.spacing_mm))
        self.cells = max(1.0, float(fixed.mask.sum()) / cell)

    def improve(self, lattice: Lattice) -> Lattice:
        """The change of the lattice that one Gauss-Newton step asks for."""
        moved = self.points + np.moveaxis(_expand(lattice, self.basis), 0, -1)
        places = moved.reshape(-1, 3) @ self.matrix[:3, :3].T.astype(np.float32) + self.matrix[:3, 3].astype(np.float32)
        values, inside = _sample(self.image, self.moving.grid, places)
        warped = values.reshape(self.fixed.signal.shape)
        counted = inside.reshape(warped.shape) & self.fixed.mask
        error: Array = np.asarray(warped - self.fixed.signal, np.float32)
        weights = (_robust_weights(error, counted) * self._likeness(warped)).astype(np.float32)
        slope = (self.slope + np.stack(image_gradient(warped, self.fixed.grid.affine))) / 2
        force = _contract(np.asarray(-weights * error * slope, np.float32), self.basis)
        curvature = {(i, j): 8 * (weights * slope[i] * slope[j])[::2, ::2, ::2] for i in range(3) for j in range(i, 3)}
        stiffness = _STIFFNESS * float(sum(curvature[i, i].sum() for i in range(3))) / 3 / self.cells

        def multiply(change: Lattice) -> Lattice:
            field = _expand(change, self.thin)
            pushed = np.zeros_like(field)
            for i in range(3):
                for j in range(3):
                    pushed[i] += curvature[min(i, j), max(i, j)] * field[j]
            return _contract(pushed, self.thin) + stiffness * _bend(change)

        return _solve(multiply, force - stiffness * _bend(lattice))

    def _likeness(self, warped: Array) -> Array:
        """Squared local correlation of both phases: near 0 where both hold noise only, which must not pull."""
        steps = _LIKENESS_MM / np.array(self.fixed.grid.spacing_mm[::-1])
        mean = [
            ndimage.gaussian_filter(product, steps, truncate=2)
            for product in (self.fixed.signal * warped, self.fixed.signal**2, warped**2)
        ]
        return np.asarray(np.maximum(mean[0], 0) ** 2 / (mean[1] * mean[2] + 1e-6))


def _solve(multiply: Callable[[Lattice], Lattice], target: Lattice) -> Lattice:
    """Conjugate gradients for a symmetric positive system, stopped early."""
    found, left = np.zeros_like(target), target
    direction, size = left, float((left**2).sum())
    goal = 1e-4 * size
    for _ in range(_CONJUGATE_STEPS):
        if size <= goal:
            break
        product = multiply(direction)
        along = size / float((direction * product).sum())
        found, left = found + along * direction, left - along * product
        before, size = size, float((left**2).sum())
        direction = left + size / before * direction
    return found


def _bend(lattice: Lattice) -> Lattice:
    """Laplacian of the Laplacian along the three axes of the lattice, free at its ends."""
    for _ in range(2):
        slopes = [np.diff(np.diff(lattice, axis=axis), axis=axis, prepend=0, append=0) for axis in (1, 2, 3)]
        lattice = -(slopes[0] + slopes[1] + slopes[2])
    return lattice


def _basis(grid: Grid, fine: Grid, shape: tuple[int, ...]) -> Basis:
    """Cubic B-spline weights of the lattice along z, y and x at the voxels of a grid with the fine one's axes."""
    relation = np.linalg.solve(fine.affine, grid.affine)
    matrices = []
    for axis in (2, 1, 0):
        places = relation[axis, axis] * np.arange(grid.shape[axis]) + relation[axis, 3]
        knots = np.maximum(places * fine.spacing_mm[axis] / LATTICE_MM, 0)
        distance = np.abs(knots[:, None] - (np.arange(shape[3 - axis]) - 1)[None])
        matrices.append(cubic_spline(distance).astype(np.float32))
    return matrices[0], matrices[1], matrices[2]


def _expand(lattice: npt.NDArray[np.floating], basis: Basis) -> Array:
    """The field (3, z, y, x) of a lattice."""
    along_z, along_y, along_x = basis
    field = along_y @ (lattice.astype(np.float32) @ along_x.T)
    return np.asarray(along_z @ field.reshape(3, field.shape[1], -1)).reshape(
        3, len(along_z), len(along_y), len(along_x)
    )


def _contract(field: Array, basis: Basis) -> Lattice:
    """The transpose of ``_expand``."""
    along_z, along_y, along_x = basis
    parts = (along_z.T @ field.reshape(3, len(along_z), -1)).reshape(3, -1, len(along_y), len(along_x))
    return np.asarray((along_y.T @ parts) @ along_x, np.float64)


def _sample(image: torch.Tensor, grid: Grid, points_mm: np.ndarray) -> tuple[np.ndarray, Mask]:
    """Values at points (n, 3) in RAS mm, and which of them lie inside the scan."""
    inverse = np.linalg.inv(grid.affine).astype(points_mm.dtype)
    index = points_mm @ inverse[:3, :3].T + inverse[:3, 3]
    inside = ((index >= 0) & (index <= np.array(grid.shape, index.dtype) - 1)).all(-1)
    return sample_linear(image[None], torch.from_numpy(index))[0].numpy(), inside


def _robust_weights(error: np.ndarray, counted: Mask) -> np.ndarray:
    spread = 1.4826 * float(np.median(np.abs(error[counted]))) if counted.any() else 0.0
    return np.asarray(counted / (1 + (error / (2 * spread + np.finfo(np.float32).tiny)) ** 2))
