"""The true lesion is among the first two proposals, over hospitals, densities and background enhancement."""

from collections import Counter

import numpy as np
import pytest

from genovox.core.seeds import derive_seed
from genovox.core.volume import Volume
from genovox.lesions.proposals import propose_lesions
from genovox.lesions.sheet import USED_FROM
from genovox.simulate.hospital import render_patient
from genovox.simulate.patients import draw_patients
from genovox.simulate.sites import open_sites

EXAMS, SEED, LARGE_MM = 72, 29, 10.0


@pytest.mark.slow
def test_lesions_over_10_mm_are_among_the_first_two_proposals() -> None:
    patients = draw_patients(patients=EXAMS, effect="half", prevalence=0.4, sites=4, shortcut="none", seed=SEED)
    sites = open_sites(4, matrix=96)
    ranks, sure, strata = [], [], Counter[tuple[str, object]]()
    for number, patient in enumerate(patients):
        if patient.diameter_mm <= LARGE_MM:
            continue
        random = np.random.default_rng(derive_seed(SEED, "lesions", number))
        exam, grid, lesions = render_patient(patient, sites[patient.site], random)
        _, proposals = propose_lesions(Volume(np.stack(exam.phases).astype(np.float32), grid.affine))
        wanted = [lesion for lesion in lesions if lesion.radius_mm * 2 > LARGE_MM]
        hits = [
            any(
                np.linalg.norm(np.subtract(one.figures.centre_mm, lesion.centre_mm)) < max(lesion.radius_mm, 5)
                for lesion in wanted
            )
            for one in proposals
        ]
        ranks.append(hits.index(True) + 1 if True in hits else EXAMS)
        sure.append(bool(proposals) and hits[0] and proposals[0].confidence >= USED_FROM)
        strata.update([("site", patient.site), ("density", patient.density), ("background", patient.bpe)])
    first_two = np.mean(np.array(ranks) <= 2)
    print(f"{len(ranks)} exams, first {np.mean(np.array(ranks) == 1):.3f}, first two {first_two:.3f}")
    print(f"used and right {np.mean(sure):.3f}; {dict(strata)}; ranks {ranks}")
    assert len(ranks) >= 60
    assert len(strata) == 12  # four of each
    assert first_two >= 0.9
