"""From tissues to images: contrast agent, spoiled gradient echo, coils, B1, noise and a patient who moves a little."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from genovox.simulate.anatomy import Anatomy, Grid, Map, grid_noise
from genovox.simulate.kinetics import Tissue, signal_over_time, spin_echo_signal
from genovox.simulate.lesion import FAST, NECROSIS, SLOW
from genovox.simulate.patients import Patient
from genovox.simulate.sites import Site

SCALE = 20000.0
T2_ECHO_MS = 90.0
# T1 at 1.5 and 3 T: fat and parenchyma Edden 2010 (3 T), cancer s40644-020-00365-4 (3 T), 1.5 T recalled; T2* Ryu 2014.
_TISSUES = {
    "air": Tissue(0.0, (1000, 1000), 50, 20),
    "skin": Tissue(0.75, (900, 1100), 35, 15, 0.03, 0.3, 0.01),
    "fat": Tissue(0.9, (290, 423), 154, 36.4, 0.002, 0.1, 0.002, fat=True),
    "marrow": Tissue(0.7, (330, 450), 110, 18, 0.01, 0.2, 0.02, fat=True),
    "parenchyma": Tissue(0.85, (1270, 1680), 71, 22.4, 0.0, 0.4, 0.01),
    "active parenchyma": Tissue(0.85, (1270, 1680), 71, 22.4, 0.0, 0.4, 0.015),
    # Blood flows out of a spin echo before it is read, so its T2 here is that of a void.
    "vessel": Tissue(0.9, (1441, 1664), 25, 40, vp=0.58),
    "blood": Tissue(0.7, (1441, 1664), 25, 25, vp=0.58),
    "liver": Tissue(0.75, (580, 800), 42, 18, 0.3, 0.25, 0.1),
    "muscle": Tissue(0.8, (1008, 1412), 42, 20, 0.025, 0.12, 0.015),
    "bone": Tissue(0.2, (900, 1100), 30, 6, 0.01, 0.2, 0.01),
    "lung": Tissue(0.1, (1200, 1300), 40, 2, 0.05, 0.3, 0.1),
    FAST: Tissue(0.9, (1300, 1612), 81, 25),
    SLOW: Tissue(0.9, (1300, 1612), 88, 25),
    NECROSIS: Tissue(0.95, (1300, 1612), 190, 40, 0.02, 0.3, 0.0),
}
# Ktrans of parenchyma by background enhancement, minimal to marked; the reference gives 0.005 to 0.04 /min.
_BACKGROUND_KTRANS = (0.004, 0.010, 0.022, 0.040)


@dataclass(frozen=True)
class Exam:
    """The images of one exam in RAS order.

    Attributes:
        phases: One a phase, (z, y, x), pre-contrast first.
        t2: The T2-weighted volume, on the same grid.
    """

    phases: list[Map]
    t2: Map


def draw_tissues(patient: Patient, random: np.random.Generator) -> dict[str, Tissue]:
    """The patient's tissues: background enhancement by her latent, lesion kinetics from what malignancies show.

    Kinetics do not depend on the gene (Veltman 2008: p = 0.667).
    """
    tissues = {
        name: replace(tissue, t1_ms=(tissue.t1_ms[0] * factor, tissue.t1_ms[1] * factor))
        for (name, tissue), factor in zip(_TISSUES.items(), np.exp(random.normal(0, 0.04, len(_TISSUES))), strict=True)
    }
    background = _BACKGROUND_KTRANS[patient.bpe] * float(np.exp(random.normal(0, 0.2)))
    tissues["parenchyma"] = replace(tissues["parenchyma"], ktrans=0.6 * background)
    tissues["active parenchyma"] = replace(tissues["active parenchyma"], ktrans=1.9 * background)
    ktrans, ve, vp = random.uniform(0.14, 0.4), random.uniform(0.3, 0.5), random.uniform(0.015, 0.06)
    tissues[FAST] = replace(tissues[FAST], ktrans=ktrans, ve=ve, vp=vp)
    tissues[SLOW] = replace(tissues[SLOW], ktrans=0.3 * ktrans, ve=ve, vp=0.3 * vp)
    return tissues


def acquire(anatomy: Anatomy, tissues: dict[str, Tissue], grid: Grid, site: Site, random: np.random.Generator) -> Exam:
    """Measure an anatomy with a site's protocol.

    Args:
        anatomy: Fractions of tissues; its parenchyma is split into calm and active patches.
        tissues: From ``draw_tissues``.
        grid: The scanner's grid.
        site: Times, sequence, B1, noise.
        random: Decides coils, patches, motion and noise.
    """
    parts = _split_parenchyma(anatomy, grid, random)
    sensitivity = _coils(anatomy, grid, random)
    minutes = np.array(site.phase_times_s()) / 60
    flips = np.array(site.b1) * np.exp(random.normal(0, 0.02, 2))
    right = np.clip((grid.axis(0) + 60) / 120, 0, 1)
    names = list(parts)
    curves = np.stack(
        [[signal_over_time(minutes, tissues[name], site.sequence, flip_scale=flip) for name in names] for flip in flips]
    )
    stack = np.stack([parts[name].ravel() for name in names])
    sides = [(curves[side].T.astype(np.float32) @ stack).reshape(-1, *grid.shape) for side in range(2)]
    clean = (sides[0] * (1 - right) + sides[1] * right) * sensitivity * SCALE
    at_rest = signal_over_time(np.array([-1.0]), tissues["parenchyma"], site.sequence)[0]
    noise = float(at_rest) * SCALE / site.snr
    # Breath and heartbeat spoil the chest's own signal from phase to phase.
    restless = 1 + 1.5 * np.clip(parts["lung"] + parts["blood"] + 0.6 * parts["liver"], 0, 1)
    phases = []
    for number, image in enumerate(clean):
        shift = random.normal(0, 0.25, 3) * (number > 0)
        moved = ndimage.shift(image, shift / np.array(grid.spacing_mm[::-1]), order=1, mode="nearest")
        phases.append(add_rician_noise(moved, np.asarray(noise * restless, np.float32), random))
    left = 0.1 + 0.15 * (site.sequence.fat_left < 1)
    weights = np.array([spin_echo_signal(tissues[name], te_ms=T2_ECHO_MS, fat_left=left) for name in names])
    t2 = (weights.astype(np.float32) @ stack).reshape(grid.shape) * sensitivity * SCALE * 0.25
    return Exam(phases, add_rician_noise(t2, noise * 0.5, random))


def add_rician_noise(image: Map, sd: "Map | float", random: np.random.Generator) -> Map:
    """Magnitude of a signal with noise of the given SD in both channels.

    References:
        Gudbjartsson & Patz (1995), doi:10.1002/mrm.1910340618.
    """
    first = random.standard_normal(image.shape, np.float32) * np.float32(sd)
    second = random.standard_normal(image.shape, np.float32) * np.float32(sd)
    return np.asarray(np.hypot(image + first, second), np.float32)


def _split_parenchyma(anatomy: Anatomy, grid: Grid, random: np.random.Generator) -> dict[str, Map]:
    active = np.clip(0.5 + 0.4 * grid_noise(random, grid, 14), 0, 1)
    whole = anatomy.tissues["parenchyma"]
    parts = dict(anatomy.tissues)
    parts["active parenchyma"] = whole * active
    parts["parenchyma"] = whole * (1 - active)
    return parts


def _coils(anatomy: Anatomy, grid: Grid, random: np.random.Generator) -> Map:
    """Sensitivity of two breast coils: strong in the breasts, fading towards the back."""
    x, y, z = (grid.axis(number) for number in range(3))
    total = np.zeros(grid.shape, np.float32)
    for centre_x, centre_z in anatomy.build.centres:
        gain = float(np.exp(random.normal(0, 0.06)))
        squared = ((x - centre_x * 1.1) / 95) ** 2 + ((y - 42) / 72) ** 2 + ((z - centre_z) / 120) ** 2
        total += gain / (1 + squared)
    return np.asarray(total * (1 + 0.05 * grid_noise(random, grid, 120)), np.float32)


def open_grid(site: Site, random: np.random.Generator) -> Grid:
    """The site's grid around the breasts, placed by a technician who is not exact."""
    spacing, shape = site.spacing_ras_mm, site.shape_ras
    extent = [size * step for size, step in zip(shape, spacing, strict=True)]
    centre = np.array([0.0, 112 - extent[1] / 2 + 10, 0.0]) + random.normal(0, (2.0, 3.0, 4.0))
    origin = [float(middle - (size - 1) * step / 2) for middle, size, step in zip(centre, shape, spacing, strict=True)]
    return Grid((shape[2], shape[1], shape[0]), spacing, (origin[0], origin[1], origin[2]))
