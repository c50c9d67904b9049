"""The front of the chest wall: the surface where the breasts end and the pectoral muscle begins.

It is sought as a height, in mm from back to front, over every column (z, x) of a scan of a prone woman. First comes the
smooth surface that the chest would have without breasts: it follows the skin wherever there is no breast and bends as
chests do where there is one. Then it moves to the edge between fat and muscle near it.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse
from scipy.sparse.linalg import splu

from genovox.anatomy.working import surface_distance_mm
from genovox.core.volume import Array, Mask, Volume

Heights = npt.NDArray[np.float64]

# The front of a chest bends by about one over a quarter of a metre from side to side, and little from feet to head.
_CHEST_BEND_PER_MM = -0.004
_STIFFNESS = 1e5
_STIFFNESS_OF_EDGE = 2e3
# Skin this far above the surface is a breast's, and hardly pulls at it.
_BREAST_MM = 2.0
_PULL_OF_BREAST = 1e-3
_ROUNDS = 25
_SETTLED = 0.02
# Skin this far below the surface or more pulls with the same force: Huber's weights.
_SUNKEN_MM = 5.0
_MEDIAN_COLUMNS = 7
# Distances behind the smooth surface at which the edge is sought; muscle bulges forward more than the chest sags.
_SEARCH_MM = np.arange(-30, 24, 1.5)
_DEPTH_SD_MM = 10.0
_BEHIND_SD_MM = 5.0
_WINDOWS_MM = (14.0, 10.0, 7.0, 5.0, 5.0)
_PULL_OF_MEDIAN = 0.1
_THICK_MM = 15.0
_SKIN_MM = 6.0
# On T1-weighted images fat that is not suppressed is far brighter than muscle; suppressed, it is hardly.
_BRIGHT_FAT = 1.3


def find_chest_wall(coarse: Volume, body: Mask) -> Heights:
    """Height of the chest wall's front over every column.

    Args:
        coarse: Phases on a grid of about 3 mm in RAS order, pre-contrast first; only that is looked at.
        body: Shape (z, y, x).

    Returns:
        Shape (z, x), mm along y from the centre of the first voxel; meaningless where a column holds no body.

    References:
        The asymmetric weights are those of baseline correction: Eilers (2003), doi:10.1021/ac034173t.
    """
    skin = skin_heights(coarse, body)
    step = _Step(coarse.spacing_mm)
    surface = _smooth_chest(skin[:: step.z, :: step.x], step)
    return _follow_edge(coarse, body, skin, step.enlarge(surface, skin.shape), step)


def skin_heights(coarse: Volume, body: Mask) -> Heights:
    """Height of the foremost voxel of the body in every column, shape (z, x), mm; NaN where there is none."""
    last = body.shape[1] - 1 - body[:, ::-1].argmax(1)
    return np.where(body.any(1), last * coarse.spacing_mm[1], np.nan)


class _Step:
    """Every second column, which is enough for surfaces as smooth as these."""

    def __init__(self, spacing_mm: tuple[float, float, float]) -> None:
        self.z = self.x = 2
        self.spacing_mm = spacing_mm[2] * self.z, spacing_mm[0] * self.x

    def enlarge(self, surface: Heights, shape: tuple[int, ...]) -> Heights:
        places = [
            np.minimum(np.arange(size) / factor, held - 1)
            for size, factor, held in zip(shape, (self.z, self.x), surface.shape, strict=True)
        ]
        return np.asarray(ndimage.map_coordinates(surface, np.meshgrid(*places, indexing="ij"), order=1))


class _Plate:
    """A thin plate: the smoothest surface through weighted heights."""

    def __init__(self, shape: tuple[int, ...], spacing_mm: tuple[float, float], stiffness: float, bend: float) -> None:
        (rows, columns), (z_mm, x_mm) = shape, spacing_mm
        across = sparse.kron(sparse.identity(rows), _difference(columns, 2, x_mm))
        along = sparse.kron(_difference(rows, 2, z_mm), sparse.identity(columns))
        twist = np.sqrt(2) * sparse.kron(_difference(rows, 1, z_mm), _difference(columns, 1, x_mm))
        self.energy = stiffness * (across.T @ across + along.T @ along + twist.T @ twist)
        self.force = stiffness * (across.T @ np.full(across.shape[0], bend))
        self.shape = shape

    def fit(self, weight: Heights, height: Heights) -> Heights:
        # A trace of weight everywhere, so that a surface no height holds is determined too.
        system = sparse.csc_matrix(self.energy + sparse.diags(weight.ravel() + 1e-9))
        return np.asarray(splu(system).solve((weight * height).ravel() + self.force)).reshape(self.shape)


def _difference(size: int, order: int, step_mm: float) -> sparse.csr_matrix:
    """Finite differences of neighbours; none where there are too few."""
    if size <= order:
        return sparse.csr_matrix((0, size))
    return sparse.csr_matrix(np.diff(np.eye(size), order, axis=0) / step_mm**order)


def _smooth_chest(skin: Heights, step: _Step) -> Heights:
    """The chest as it would be without breasts."""
    plate = _Plate(skin.shape, step.spacing_mm, _STIFFNESS, _CHEST_BEND_PER_MM)
    # Where the coils end, the body's surface is ragged and single columns are sunken.
    usual = ndimage.median_filter(np.nan_to_num(skin), _MEDIAN_COLUMNS, mode="nearest")
    known = np.isfinite(skin) & (np.nan_to_num(skin) > usual - 3 * _SUNKEN_MM)
    weight: Heights = np.where(known, 1.0, 0.0).astype(np.float64)
    height: Heights = np.where(known, skin, 0.0).astype(np.float64)
    surface = plate.fit(weight, height)
    for _ in range(_ROUNDS):
        above = height - surface
        sunken = _SUNKEN_MM / np.maximum(-above, _SUNKEN_MM)
        pull = np.where(above > _BREAST_MM, _PULL_OF_BREAST, sunken)
        renewed: Heights = np.where(known, pull, 0.0).astype(np.float64)
        if np.abs(renewed - weight).max() < _SETTLED:
            break
        weight = renewed
        surface = plate.fit(weight, height)
    return surface


def _follow_edge(coarse: Volume, body: Mask, skin: Heights, surface: Heights, step: _Step) -> Heights:
    """Move the smooth surface to the edge of muscle near it."""
    edge = _sample_edge(coarse, body, surface)
    thick = np.where(np.isfinite(skin), skin, -np.inf) - surface > _THICK_MM
    if not thick.any() or not edge.max(1)[thick].any():
        return surface
    profile = edge.transpose(0, 2, 1)[thick].mean(0)
    usual = float(_SEARCH_MM[(profile * np.exp(-0.5 * (_SEARCH_MM / _DEPTH_SD_MM) ** 2)).argmax()])
    # Behind the muscle come ribs, lung and heart, whose edges are strong too.
    behind = np.exp(-0.5 * (np.maximum(_SEARCH_MM - usual, 0) / _BEHIND_SD_MM) ** 2)
    strength = np.minimum(edge / max(float(np.median(edge.max(1)[thick])), 1e-6), 1.5) ** 2 * behind[:, None]
    strength = strength[:: step.z, :, :: step.x]
    depths = _SEARCH_MM[:, None]
    plate = _Plate(strength[:, 0].shape, step.spacing_mm, _STIFFNESS_OF_EDGE, 0.0)
    depth = np.full(strength[:, 0].shape, usual)
    for window_mm in _WINDOWS_MM:
        near = strength * np.exp(-0.5 * ((depths - depth[:, None]) / window_mm) ** 2)
        weight = near.sum(1)
        target = (near * depths).sum(1) / np.maximum(weight, 1e-9)
        weight = weight / 3
        total = weight + _PULL_OF_MEDIAN
        depth = plate.fit(total, (weight * target + _PULL_OF_MEDIAN * usual) / total)
    return surface - step.enlarge(depth, surface.shape)


def _sample_edge(coarse: Volume, body: Mask, surface: Heights) -> Array:
    """Strength of the edge from fat to muscle, going backwards, at the search's depths: shape (z, depth, x)."""
    x_mm, y_mm, z_mm = coarse.spacing_mm
    signal = coarse.array[0]
    depth = _depth_mm(body, coarse.spacing_mm)
    height = y_mm * np.arange(body.shape[1])[None, :, None] - surface[:, None]
    fat = signal[body & (height > 0) & (depth > _SKIN_MM) & (depth < _SKIN_MM + 4)]
    muscle = signal[body & (height < -9) & (height > -18)]
    if not len(fat) or not len(muscle):
        return np.zeros((surface.shape[0], len(_SEARCH_MM), surface.shape[1]), np.float32)
    # The upper quartile, as some of what lies behind the surface may be lung.
    sign = 1 if np.median(fat) > _BRIGHT_FAT * np.percentile(muscle, 75) else -1
    floor = 0.1 * max(float(np.percentile(signal[body], 95)), 1e-6)
    smooth = ndimage.gaussian_filter(
        np.log(np.maximum(signal, 0) + floor), [1.2 * 3 / z_mm, 0.6 * 3 / y_mm, 1.2 * 3 / x_mm]
    )
    slope_z, slope_x = _slope(surface, 0, z_mm), _slope(surface, 1, x_mm)
    forward = _slope(smooth, 1, y_mm) - slope_x[:, None] * _slope(smooth, 2, x_mm)
    forward = (forward - slope_z[:, None] * _slope(smooth, 0, z_mm)) / np.sqrt(1 + slope_x**2 + slope_z**2)[:, None]
    edge = np.maximum(sign * forward, 0) * np.clip((depth - _SKIN_MM) / 4, 0, 1)
    z, _, x = np.meshgrid(
        *(np.arange(size) for size in (len(surface), len(_SEARCH_MM), surface.shape[1])), indexing="ij"
    )
    y = (surface[:, None] - _SEARCH_MM[None, :, None]) / y_mm
    return np.asarray(ndimage.map_coordinates(edge.astype(np.float32), [z, y, x], order=1, mode="constant"))


def _depth_mm(body: Mask, spacing_mm: tuple[float, float, float]) -> Array:
    """Distance to the air; where the scan ends inside the body there is more body."""
    return surface_distance_mm(np.pad(body, 1, mode="edge"), spacing_mm)[1:-1, 1:-1, 1:-1]


def _slope(values: np.ndarray, axis: int, step_mm: float) -> np.ndarray:
    return np.gradient(values, step_mm, axis=axis) if values.shape[axis] > 1 else np.zeros_like(values)
