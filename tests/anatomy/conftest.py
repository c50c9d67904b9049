"""Women whose anatomy is known, scanned at simulated hospitals."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import pytest
from scipy import ndimage

from genovox.core.volume import Mask, Volume
from genovox.simulate.acquisition import acquire, draw_tissues, open_grid
from genovox.simulate.anatomy import build_anatomy, draw_build
from genovox.simulate.patients import draw_patients
from genovox.simulate.sites import open_sites


@dataclass(frozen=True)
class Woman:
    """A scan and what is in it.

    Attributes:
        scan: Two phases.
        body: Inside the skin.
        breasts: From the skin to the chest wall.
    """

    scan: Volume
    body: Mask
    breasts: Mask


@lru_cache(maxsize=4)
def _scan(density: str, site_number: int, seed: int) -> Woman:
    random = np.random.default_rng([seed, site_number, ord(density)])
    drawn = draw_patients(patients=8, effect="full", prevalence=0.5, sites=4, shortcut="none", seed=seed)
    patient = replace(drawn[0], density=density, site=site_number)
    site = replace(open_sites(4)[site_number], phases=2)
    grid = open_grid(site, random)
    anatomy = build_anatomy(patient, draw_build(patient, random), grid, random)
    exam = acquire(anatomy, draw_tissues(patient, random), grid, site, random)
    body = anatomy.depth_mm > 0
    # The simulation's breast begins beneath the skin; its skin belongs to the breast too.
    breasts = ndimage.binary_dilation(anatomy.breast, iterations=2) & body & (anatomy.wall_mm < 9)
    return Woman(Volume(np.stack(exam.phases), grid.affine), body, breasts)


@pytest.fixture(params=[("a", 0), ("b", 1), ("c", 2), ("d", 3)], ids=["a-0", "b-1", "c-2", "d-3"])
def woman(request: pytest.FixtureRequest) -> Woman:
    """Every density and every site once; the last one's fat is not suppressed."""
    return _scan(*request.param, seed=5)
