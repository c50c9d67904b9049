"""Lesions whose shape, margin, rim, necrosis, site and size are what the patient's latents say."""

from dataclasses import dataclass

import numpy as np

from genovox.simulate.anatomy import Anatomy, Grid, Map, smooth_noise
from genovox.simulate.patients import Patient

Box = tuple[slice, slice, slice]

FAST, SLOW, NECROSIS = "lesion fast", "lesion slow", "necrosis"
PREPECTORAL_MM = 12.0
_SKIN_GAP_MM = 3.0


@dataclass(frozen=True)
class Lesion:
    """Where a lesion is.

    Attributes:
        centre_mm: RAS position, x, y, z.
        radius_mm: Mean radius.
        side: ``left`` or ``right``.
    """

    centre_mm: tuple[float, float, float]
    radius_mm: float
    side: str


def place_lesions(patient: Patient, anatomy: Anatomy, grid: Grid, random: np.random.Generator) -> list[Lesion]:
    """Choose where the patient's lesions lie: the index lesion first, then its satellites in the same breast.

    A prepectoral lesion ends within 12 mm of the chest muscle, any other one does not, where the breast has room.
    """
    other = "right" if patient.side == "left" else "left"
    sides = (patient.side, other) if patient.bilateral_disease else (patient.side,)
    lesions = []
    for side in sides:
        radius = patient.diameter_mm / 2
        index = _place(patient, anatomy, grid, side, radius=radius, random=random)
        lesions.append(Lesion(index, radius, side))
        for _ in range(patient.satellites if side == patient.side else 0):
            small = max(2.5, radius * random.uniform(0.25, 0.45))
            turn = random.standard_normal(3)
            offset = turn / np.linalg.norm(turn) * (radius + small + random.uniform(3, 12))
            centre = np.array(index) + offset
            if _at(anatomy.breast, grid, centre):
                lesions.append(Lesion((float(centre[0]), float(centre[1]), float(centre[2])), small, side))
    return lesions


def _place(
    patient: Patient, anatomy: Anatomy, grid: Grid, side: str, *, radius: float, random: np.random.Generator
) -> tuple[float, float, float]:
    x = np.broadcast_to(grid.axis(0), grid.shape)
    own = anatomy.breast & ((x < 0) == (side == "left"))
    gap = -anatomy.wall_mm + 9 - radius
    zone = (gap < PREPECTORAL_MM) & (gap > -0.25 * radius) if patient.prepectoral else gap >= PREPECTORAL_MM
    roomy = anatomy.depth_mm > min(radius, 20.0) + _SKIN_GAP_MM
    for allowed in (own & zone & roomy, own & zone & (anatomy.depth_mm > 0.6 * radius), own & roomy, own):
        candidates = np.flatnonzero(allowed)
        if len(candidates) > 20:
            break
    weight = anatomy.parenchyma.ravel()[candidates] + 0.03
    chosen = np.unravel_index(random.choice(candidates, p=weight / weight.sum()), grid.shape)
    jitter = random.uniform(-0.5, 0.5, 3)
    position = [
        float(grid.origin_mm[axis] + grid.spacing_mm[axis] * (chosen[2 - axis] + jitter[axis])) for axis in range(3)
    ]
    return position[0], position[1], position[2]


def _at(mask: np.ndarray, grid: Grid, point: np.ndarray) -> bool:
    voxel = np.rint((point - np.array(grid.origin_mm)) / np.array(grid.spacing_mm)).astype(int)
    inside = ((voxel >= 0) & (voxel < np.array(grid.shape[::-1]))).all()
    return bool(inside and mask[voxel[2], voxel[1], voxel[0]])


def draw_lesion(
    patient: Patient, lesion: Lesion, grid: Grid, random: np.random.Generator
) -> tuple[Box, dict[str, Map]]:
    """Fractions of fast, slow and dead lesion tissue around a lesion.

    The radius is a function of direction. A round lesion is nearly a ball, another one lobed and flattened; a sharp
    margin is as wide as a voxel, another one fades and throws spicules; a rim is a fast shell around slower tissue; a
    necrosis is a core that takes up next to nothing.

    Returns:
        The box of the grid it fills, and each tissue's fraction there, (z, y, x).
    """
    radius = lesion.radius_mm
    box = _enclose(lesion, grid, 3.8 * radius + 3)
    offsets = [
        grid.axis(axis)[tuple(box[i] if i == 2 - axis else slice(None) for i in range(3))] - lesion.centre_mm[axis]
        for axis in range(3)
    ]
    stretch = np.exp(random.normal(0, 0.04 if patient.round_shape else 0.24, 3))
    stretch /= np.prod(stretch) ** (1 / 3)
    x, y, z = (offset / scale for offset, scale in zip(offsets, stretch, strict=True))
    distance = np.sqrt(x**2 + y**2 + z**2) + 1e-3
    direction = (x / distance, y / distance, z / distance)
    bumps = smooth_noise(random, _grains(direction, 1.3, random), octaves=2)
    reach = radius * (1 + (0.03 if patient.round_shape else 0.30) * np.clip(bumps, -1.8, 1.8))
    edge_mm = grid.voxel_mm
    if not patient.sharp_margin:
        ridges = smooth_noise(random, _grains(direction, 3.2, random))
        reach = reach * (1 + 0.9 * np.clip(ridges - 0.7, 0, 1.2))
        edge_mm = np.hypot(edge_mm, 0.6 * radius)
    whole = np.clip((reach - distance) / edge_mm + 0.5, 0, 1).astype(np.float32)
    level = distance / reach
    blur = grid.voxel_mm / radius
    texture = smooth_noise(random, tuple(offset / 3.5 for offset in (x + 0 * y + 0 * z, y + 0 * x, z + 0 * x)))
    if patient.rim:
        shell = max(0.2, min(0.35, 2.6 / radius))
        fast = np.clip((level - (1 - shell)) / blur + 0.5, 0, 1)
    else:
        fast = np.clip(0.85 + 0.15 * texture, 0, 1)
    dead = np.zeros_like(whole)
    if patient.necrosis:
        core = 0.5 * (1 + 0.25 * np.clip(bumps[..., ::-1], -1.5, 1.5))
        dead = np.clip((core - level) / blur + 0.5, 0, 1)
    alive = whole * (1 - dead)
    fractions = {FAST: alive * fast, SLOW: alive * (1 - fast), NECROSIS: whole * dead}
    return box, {name: np.asarray(fraction, np.float32) for name, fraction in fractions.items()}


def _grains(direction: tuple[Map, Map, Map], scale: float, random: np.random.Generator) -> tuple[Map, Map, Map]:
    start = random.uniform(0, 32, 3)
    x, y, z = (scale * axis + shift for axis, shift in zip(direction, start, strict=True))
    return x, y, z


def _enclose(lesion: Lesion, grid: Grid, reach_mm: float) -> Box:
    slices = []
    for axis in (2, 1, 0):
        middle = (lesion.centre_mm[axis] - grid.origin_mm[axis]) / grid.spacing_mm[axis]
        half = reach_mm / grid.spacing_mm[axis]
        size = grid.shape[2 - axis]
        slices.append(slice(int(np.clip(middle - half, 0, size - 1)), int(np.clip(middle + half + 2, 1, size))))
    return slices[0], slices[1], slices[2]
