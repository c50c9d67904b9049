"""A prone chest with two breasts, as fractions of tissues on a scanner's grid.

Every organ is an implicit surface in RAS millimetres, evaluated on the voxels themselves, so that no scan is ever
interpolated from another. Organs are laid from the front: what is drawn first hides what is drawn later.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from genovox.simulate.patients import Patient

Map = npt.NDArray[np.float32]

SKIN_MM = 2.2
# Share of the breast that is fibroglandular, by density a-d (BI-RADS quarters, about their lower thirds).
FIBROGLANDULAR = {"a": 0.07, "b": 0.18, "c": 0.36, "d": 0.58}
_NOISE_SIDE = 32


@dataclass(frozen=True)
class Grid:
    """The voxels of a scan in RAS order.

    Attributes:
        shape: Voxels along z, y, x.
        spacing_mm: Along x, y, z.
        origin_mm: RAS position of voxel (0, 0, 0), x, y, z.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]

    def axis(self, number: int) -> Map:
        """Coordinates along x (0), y (1) or z (2), shaped to broadcast over (z, y, x)."""
        size = self.shape[2 - number]
        values = self.origin_mm[number] + self.spacing_mm[number] * np.arange(size)
        shape = [1, 1, 1]
        shape[2 - number] = size
        return values.astype(np.float32).reshape(shape)

    @property
    def voxel_mm(self) -> float:
        """Cube root of the voxel's volume: the width over which a surface is blurred."""
        return float(np.prod(self.spacing_mm) ** (1 / 3))

    @property
    def affine(self) -> npt.NDArray[np.float64]:
        """Voxel (x, y, z) to RAS mm."""
        affine = np.diag([*self.spacing_mm, 1.0])
        affine[:3, 3] = self.origin_mm
        return affine


@dataclass(frozen=True)
class Build:
    """The measures of one woman, mm.

    Attributes:
        centres: Centre of the base of the left and the right breast, x and z.
        radius: Of the base, left-right and feet-head.
        projection: From chest to nipple, hanging.
        torso: Half width and half depth of the chest.
    """

    centres: tuple[tuple[float, float], tuple[float, float]]
    radius: tuple[float, float]
    projection: float
    torso: tuple[float, float]


@dataclass
class Anatomy:
    """Fractions of tissues that add to 1 in every voxel.

    Attributes:
        tissues: Name to fraction, each (z, y, x).
        depth_mm: Distance of each voxel to the skin, positive inside.
        wall_mm: Distance to the chest's own surface, positive inside the chest; its muscle begins at 9.
        breast: Whether a voxel belongs to a breast: in front of the chest muscle, inside the skin.
        parenchyma: Share of fibroglandular tissue before any lesion.
        build: The woman's measures.
    """

    tissues: dict[str, Map]
    depth_mm: Map
    wall_mm: Map
    breast: npt.NDArray[np.bool_]
    parenchyma: Map
    build: Build

    def displace(self, box: tuple[slice, slice, slice], fractions: dict[str, Map]) -> None:
        """Put tissues into a box, in place of whatever was there."""
        room = 1 - sum(fractions.values())
        for tissue in self.tissues.values():
            tissue[box] *= room
        for name, fraction in fractions.items():
            self.tissues.setdefault(name, np.zeros_like(self.depth_mm))[box] += fraction


def draw_build(patient: Patient, random: np.random.Generator) -> Build:
    """Measures of a patient; fattier breasts are larger."""
    size = random.normal(1.0, 0.1) * {"a": 1.12, "b": 1.05, "c": 0.97, "d": 0.9}[patient.density]
    radius = float(np.clip(63 * size, 50, 76))
    half_gap = radius + random.uniform(12, 18)
    level = random.uniform(-8, 8)
    return Build(
        centres=((-half_gap, level + random.normal(0, 2)), (half_gap, level + random.normal(0, 2))),
        radius=(radius, radius * random.uniform(0.98, 1.1)),
        projection=float(np.clip(random.normal(84, 11) * size, 55, 112)),
        torso=(random.uniform(158, 172), random.uniform(98, 110)),
    )


def smooth_noise(random: np.random.Generator, points: tuple[npt.NDArray[np.floating], ...], *, octaves: int = 1) -> Map:
    """Smooth periodic noise of mean 0 and SD about 0.7 at any points, one grain a unit.

    The lattice has SD 1; interpolation between its points takes the rest.

    Args:
        random: Draws the noise.
        points: Three coordinates of one shape, in grains.
        octaves: How many scales, each twice as fine and half as strong as the one before.
    """
    total = np.zeros(np.broadcast_shapes(*(point.shape for point in points)), np.float32)
    flat = [np.broadcast_to(point, total.shape).ravel() for point in points]
    for octave in range(octaves):
        lattice = random.standard_normal((_NOISE_SIDE,) * 3).astype(np.float32)
        lattice = ndimage.gaussian_filter(lattice, 0.6, mode="wrap")
        lattice /= lattice.std()
        scale = 2.0**octave
        sample = ndimage.map_coordinates(lattice, [scale * point for point in flat], order=1, mode="grid-wrap")
        total += sample.reshape(total.shape) / scale
    return np.asarray(total / np.sqrt(sum(4.0**-octave for octave in range(octaves))), np.float32)


def grid_noise(random: np.random.Generator, grid: Grid, grain_mm: float) -> Map:
    """Smooth noise of mean 0 and SD about 0.7 over a whole grid, (z, y, x), with grains of a size.

    As ``smooth_noise`` at the voxels' own positions, but by one small matrix an axis, ten times as fast.
    """
    extent = [size * step / grain_mm for size, step in zip(grid.shape, grid.spacing_mm[::-1], strict=True)]
    noise = random.standard_normal([int(length) + 3 for length in extent]).astype(np.float32)
    noise = ndimage.gaussian_filter(noise, 0.6)
    noise /= noise.std()
    for axis, (size, length) in enumerate(zip(grid.shape, extent, strict=True)):
        place = np.linspace(0, length, size) + 0.5
        weights = np.clip(1 - np.abs(place[:, None] - np.arange(noise.shape[axis])[None]), 0, 1).astype(np.float32)
        noise = np.moveaxis(np.tensordot(weights, noise, (1, axis)), 0, axis)
    return np.ascontiguousarray(noise)


def build_anatomy(patient: Patient, build: Build, grid: Grid, random: np.random.Generator) -> Anatomy:
    """Draw a woman on a grid.

    Args:
        patient: Her density decides how much parenchyma there is.
        build: From ``draw_build``.
        grid: Where to draw.
        random: Decides everything else.
    """
    x, y, z = (grid.axis(number) for number in range(3))
    blur = grid.voxel_mm
    torso = _torso_distance(x, y, z, build)
    breasts = [_breast_distance(x, y, z, build, side) for side in range(2)]
    surface = torso
    for distance in breasts:
        surface = _blend(surface, distance, 16.0)
    depth = np.ascontiguousarray(-surface)
    inside = _cover(depth, blur)
    beneath = _cover(depth - SKIN_MM, blur)
    layers: dict[str, Map] = {"air": 1 - inside, "skin": inside - beneath}
    left = beneath.copy()
    wall = -torso
    in_front = 1 - _cover(wall - 9.0, blur)
    front = (y > -60) & (np.abs(x) < 150)
    breast = (beneath > 0.5) & (wall < 9.0) & front & (np.minimum(*breasts) < 6.0)
    parenchyma = (
        _parenchyma(patient, build, grid, random, skin_depth=depth, wall=np.broadcast_to(wall, grid.shape)) * left
    )

    for name, fraction in (
        ("vessel", _vessels(build, grid, random, breast)),
        ("parenchyma", parenchyma),
        ("fat", in_front),
        *_chest(grid, wall, random),
    ):
        layers[name] = layers.get(name, 0) + left * fraction
        left = left * (1 - fraction)
    layers["fat"] = layers["fat"] + left
    tissues = {name: np.array(np.broadcast_to(m, grid.shape), np.float32) for name, m in layers.items()}
    return Anatomy(tissues, depth, np.broadcast_to(wall, grid.shape), breast, parenchyma, build)


def _cover(depth: npt.NDArray[np.floating], blur: float) -> Map:
    """Share of a voxel behind a surface that lies ``depth`` mm away."""
    return np.asarray(np.clip(depth / blur + 0.5, 0, 1), np.float32)


def _blend(one: Map, other: Map, radius: float) -> Map:
    """Union of two solids with a rounded groove between them (polynomial smooth minimum)."""
    mix = np.clip(0.5 + 0.5 * (other - one) / radius, 0, 1)
    return np.asarray(other + (one - other) * mix - radius * mix * (1 - mix), np.float32)


def _torso_distance(x: Map, y: Map, z: Map, build: Build) -> Map:
    width, depth = build.torso
    level = np.sqrt((x / width) ** 2 + ((y + depth) / depth) ** 2 + 1e-6)
    return np.asarray((level - 1) * depth * (0.72 + 0.28 * level) + 0.0004 * z**2, np.float32)


def _breast_distance(x: Map, y: Map, z: Map, build: Build, side: int) -> Map:
    """A hanging breast: wide at the base, rounded towards the nipple, as prone breasts are."""
    (centre_x, centre_z), (radius_x, radius_z) = build.centres[side], build.radius
    base = _base(build)
    forward = (y - base) / build.projection
    narrow = 1 - 0.12 * np.clip(forward, 0, 1) ** 2
    across = (((x - centre_x) / (radius_x * narrow)) ** 2 + ((z - centre_z) / (radius_z * narrow)) ** 2) ** 1.1
    level = np.sqrt(across + np.where(forward > 0, np.abs(forward) ** 2.2, 0.25 * forward**2) + 1e-6)
    return np.asarray((level - 1) * min(radius_x, build.projection) * 0.85, np.float32)


def _base(build: Build) -> float:
    """Where the breasts' axes meet the chest, y in mm."""
    width, depth = build.torso
    return float(depth * (np.sqrt(1 - (build.centres[1][0] / width) ** 2) - 1))


def _parenchyma(
    patient: Patient, build: Build, grid: Grid, random: np.random.Generator, *, skin_depth: Map, wall: Map
) -> Map:
    """Fibroglandular tissue: strands that run together at the nipple, one connected tree a breast."""
    base = _base(build)
    total = np.zeros(grid.shape, np.float32)
    warps = [9 * grid_noise(random, grid, 30) for _ in range(2)]
    septa = grid_noise(random, grid, 13)
    front = grid.axis(1).ravel() > base - 35
    for side in range(2):
        centre_x, centre_z = build.centres[side]
        half = np.sign(grid.axis(0).ravel()) == np.sign(centre_x)
        box = (slice(None), slice(int(front.argmax()), None), slice(*np.flatnonzero(half)[[0, -1]] + (0, 1)))
        x, y, z = grid.axis(0)[..., box[2]], grid.axis(1)[:, box[1]], grid.axis(2)
        warp, depth, beyond = (warps[0][box], warps[1][box]), skin_depth[box], septa[box]
        forward = (y - base) / build.projection
        taper = np.clip(1.1 - forward, 0.3, 1.2)
        across, along = (x - centre_x + warp[0]) / taper, (z - centre_z + warp[1]) / taper
        strands = smooth_noise(random, (across / 20, (y + warp[0]) / 26, along / 20), octaves=3)
        reach = np.sqrt((across / build.radius[0]) ** 2 + (along / build.radius[1]) ** 2)
        # A cone from the nipple that keeps off skin and chest wall; upper outer quadrants hold more.
        outer = np.sign(centre_x) * (x - centre_x) / build.radius[0]
        likely = (
            -1.5 * reach**2
            + 0.35 * outer
            + 0.3 * (z - centre_z) / build.radius[1]
            - 4.0 * np.clip(forward - 0.93, 0, 1)
            - 1.2 * np.clip(1 + (wall[box] + 0.3 * warp[0]) / 9, 0, 2) ** 2
            - 0.9 * np.clip(1 - (depth + warp[1]) / 14, 0, 2) ** 2
        )
        field = likely + 0.85 * strands
        own = (depth > 4) & (wall[box] < 8) & (reach < 1.5)
        share = FIBROGLANDULAR[patient.density]
        level = np.quantile(field[own], 1 - share) if own.any() else np.inf
        gland = _largest_part(np.clip((field - level) / 0.45 + 0.5, 0, 1) * own)
        # Cooper's ligaments: thin sheets through the fat between gland and skin.
        sheets = 0.4 * np.clip(1 - np.abs(beyond) / 0.25, 0, 1) * own * (reach < 1.2)
        total[box] += np.maximum(gland, sheets)
    return total


def _largest_part(fraction: Map) -> Map:
    parts, count = ndimage.label(fraction > 0.35)
    if count < 2:
        return fraction
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    kept = ndimage.binary_dilation(parts == sizes.argmax(), iterations=2)
    return np.asarray(fraction * kept, np.float32)


def _vessels(build: Build, grid: Grid, random: np.random.Generator, breast: npt.NDArray[np.bool_]) -> Map:
    """A few winding vessels a breast from the chest towards the nipple, and the two beside the breastbone."""
    total = np.zeros(grid.shape, np.float32)
    origin, spacing = np.array(grid.origin_mm), np.array(grid.spacing_mm)
    base = _base(build)
    paths = []
    for side in range(2):
        centre_x, centre_z = build.centres[side]
        for _ in range(random.integers(2, 5)):
            turn = random.uniform(0, 2 * np.pi)
            steps = np.linspace(0, 1, 240)
            radius = build.radius[0] * (0.82 - 0.45 * steps)
            angle = turn + np.cumsum(random.normal(0, 0.022, 240))
            path = np.stack(
                [
                    centre_x + radius * np.cos(angle),
                    base + 4 + build.projection * steps * random.uniform(0.6, 0.85),
                    centre_z + radius * np.sin(angle),
                ],
                1,
            )
            paths.append((path, random.uniform(0.5, 0.95), True))
        sternal = np.stack([np.full(120, np.sign(centre_x) * 17.0), np.full(120, -16.0), np.linspace(-90, 90, 120)], 1)
        paths.append((sternal, 1.6, False))
    for path, radius_mm, within in paths:
        voxels = np.rint((path - origin) / spacing).astype(int)
        valid = ((voxels >= 0) & (voxels < np.array(grid.shape[::-1]))).all(1)
        share = min(1.0, np.pi * radius_mm**2 / float(np.prod(spacing)) ** (2 / 3))
        for i, j, k in np.unique(voxels[valid], axis=0):
            if breast[k, j, i] or not within:
                total[k, j, i] = 0.8 * share
    return np.asarray(np.clip(ndimage.gaussian_filter(total, 0.45) * 1.4, 0, 1), np.float32)


def _chest(grid: Grid, wall: Map, random: np.random.Generator) -> list[tuple[str, Map]]:
    """Muscle, ribs, breastbone, heart, great vessel, liver, spine and lungs, from the front."""
    x, y, z = (grid.axis(number) for number in range(3))
    blur = grid.voxel_mm
    thick = 12 - 6 * np.clip(np.abs(x) / 150, 0, 1) - 5 * np.clip(1 - np.abs(x) / 22, 0, 1)
    pectoral = _cover(wall - 9, blur) * (1 - _cover(wall - 9 - thick, blur))
    breastbone = _cover(8 - np.sqrt((x / 1.9) ** 2 + (y + 20) ** 2), blur)
    cage = _cover(wall - 9, blur) * (1 - _cover(wall - 29, blur))
    along = (z + 0.3 * np.abs(x) + random.uniform(0, 27)) % 27 - 13.5
    rib = np.sqrt((along / 5.5) ** 2 + ((wall - 23) / 4.5) ** 2)
    ragged = grid_noise(random, grid, 25)
    centre = np.array([-30 + random.normal(0, 4), -76.0, -32 + random.normal(0, 6)])
    beat = np.sqrt(((x - centre[0]) / 56) ** 2 + ((y - centre[1]) / 38) ** 2 + ((z - centre[2]) / 60) ** 2)
    beat = beat + 0.08 * ragged
    septum = np.abs(x - centre[0] + 0.5 * (y - centre[1]) - 8) - 5
    chambers = _cover(np.minimum((0.74 - beat) * 42, septum), blur)
    aorta = _cover(11 - np.sqrt((x + 22) ** 2 + (y + 142) ** 2), blur)
    dome = np.sqrt(((x - 62) / 88) ** 2 + ((y + 85) / 66) ** 2 + ((z + 105) / 52) ** 2)
    spine = _cover(20 - np.sqrt(x**2 + (y + 172) ** 2), blur)
    middle = _cover(13 + 5 * ragged - np.abs(x + 4), blur)
    return [
        ("marrow", breastbone + 0 * z),
        ("muscle", pectoral),
        ("marrow", cage * _cover((0.72 - rib) * 5, blur)),
        ("bone", cage * _cover((1 - rib) * 5, blur)),
        ("muscle", cage),
        ("blood", np.maximum(chambers, aorta)),
        ("muscle", _cover((1 - beat) * 42, blur)),
        ("liver", _cover((1 - dome) * 55, blur) * _cover(wall - 29, blur)),
        ("marrow", spine + 0 * z),
        ("fat", _cover(wall - 29, blur) * middle),
        ("lung", _cover(wall - 29, blur)),
    ]
