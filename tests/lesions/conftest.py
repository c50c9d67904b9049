"""One simulated exam with a lesion, seen once."""

from dataclasses import dataclass

import numpy as np
import pytest

from genovox.core.volume import Volume
from genovox.lesions.enhancement import Uptake, measure_uptake
from genovox.simulate.hospital import render_patient
from genovox.simulate.lesion import Lesion
from genovox.simulate.patients import draw_patients
from genovox.simulate.sites import open_sites


@dataclass(frozen=True)
class SimulatedExam:
    """An exam whose lesions are known; read only."""

    volume: Volume
    lesion: Lesion
    uptake: Uptake


def render_exam(number: int, *, sites: int = 3, matrix: int = 64) -> tuple[Volume, Lesion]:
    """A patient of a cohort, her first lesion more than 10 mm wide."""
    patients = draw_patients(patients=12, effect="half", prevalence=0.5, sites=sites, shortcut="none", seed=5)
    patient = [one for one in patients if one.diameter_mm > 12][number]
    site = open_sites(sites, matrix=matrix)[patient.site]
    exam, grid, lesions = render_patient(patient, site, np.random.default_rng([5, number]))
    return Volume(np.stack(exam.phases).astype(np.float32), grid.affine), lesions[0]


@pytest.fixture(scope="session")
def simulated_exam() -> SimulatedExam:
    """An exam of a bilateral scan, small enough for a test."""
    volume, lesion = render_exam(0)
    return SimulatedExam(volume, lesion, measure_uptake(volume))
