"""Cohorts have the carriers, sites and tests asked for; wrong requests are refused."""

from collections import Counter
from dataclasses import FrozenInstanceError, asdict, replace
from typing import Any

import numpy as np
import pytest

from genovox.core.errors import UsageError
from genovox.simulate.patients import Patient, draw_patients, oracle_auc

ASKED: dict[str, Any] = {
    "patients": 120,
    "effect": "half",
    "prevalence": 0.35,
    "sites": 3,
    "shortcut": "none",
    "seed": 1,
}


def _draw(**changes: Any) -> list[Patient]:
    return draw_patients(**{**ASKED, **changes})


def _carriers_by_site(patients: list[Patient]) -> dict[int, tuple[int, int]]:
    """Carriers and patients by site."""
    carriers = Counter(patient.site for patient in patients if patient.gene)
    return {site: (carriers[site], count) for site, count in sorted(Counter(p.site for p in patients).items())}


def test_same_seed_same_cohort() -> None:
    assert _draw() == _draw()
    assert _draw() != _draw(seed=2)


def test_patient_is_frozen_and_holds_python_values() -> None:
    patient = _draw()[0]
    assert {name: type(value) for name, value in asdict(patient).items()} == Patient.__annotations__
    with pytest.raises(FrozenInstanceError):
        patient.gene = "BRCA1"  # type: ignore[misc]


def test_identifiers_do_not_tell_the_gene() -> None:
    patients = _draw()
    assert [patient.patient_id for patient in patients] == [f"SIM-{number:04d}" for number in range(1, 121)]
    carriers = np.array([bool(patient.gene) for patient in patients])
    assert 10 < carriers[:60].sum() < 32  # 21 expected, standard deviation 2.6


def test_values_lie_where_the_renderer_expects_them() -> None:
    for patient in _draw(patients=2000):
        assert patient.gene in ("BRCA1", "BRCA2", "")
        assert patient.density in "abcd"
        assert 0 <= patient.bpe <= 3
        assert patient.side in ("left", "right")
        assert patient.subtype in ("triple negative", "luminal A", "luminal B", "HER2")
        assert 1 <= patient.grade <= 3
        assert patient.indication in ("symptomatic", "screening", "high risk", "staging")
        assert 8 <= patient.diameter_mm <= 60
        assert 0 <= patient.satellites <= 2
        assert 22 <= patient.age <= 88
        assert 0 < patient.oracle < 1


def test_clinic_follows_the_gene_as_published() -> None:
    patients = _draw(patients=5000, prevalence=0.5, effect="none")
    genes: dict[str, list[Patient]] = {"BRCA1": [], "BRCA2": [], "": []}
    for patient in patients:
        genes[patient.gene].append(patient)
    negative = {gene: float(np.mean([p.subtype == "triple negative" for p in group])) for gene, group in genes.items()}
    assert negative == pytest.approx({"BRCA1": 0.631, "BRCA2": 0.16, "": 0.164}, abs=0.04)
    assert np.mean([p.subtype == "luminal B" for p in genes["BRCA2"]]) == pytest.approx(0.553, abs=0.05)
    assert np.mean([p.age for p in genes["BRCA1"]]) == pytest.approx(43, abs=1)
    assert np.mean([p.age for p in genes[""]]) == pytest.approx(55, abs=1)
    assert np.mean([p.menopausal for p in patients if p.age < 45]) < 0.1
    assert np.mean([p.menopausal for p in patients if p.age > 57]) > 0.9
    assert np.mean([p.bilateral_disease for p in patients]) == pytest.approx(0.03, abs=0.01)


@pytest.mark.parametrize(
    ("patients", "prevalence", "expected"),
    [(100, 0.02, 2), (100, 0.12, 12), (100, 0.35, 35), (20, 0.01, 1), (20, 0.999, 19), (2, 0.5, 1), (2, 0.01, 1)],
)
def test_carriers_are_exactly_as_many_as_asked(patients: int, prevalence: float, expected: int) -> None:
    cohort = _draw(patients=patients, prevalence=prevalence, sites=1)
    assert sum(bool(patient.gene) for patient in cohort) == expected
    brca1 = sum(patient.gene == "BRCA1" for patient in cohort)
    assert brca1 == round(0.641 * expected)


@pytest.mark.parametrize("shortcut", ["none", "format"])
@pytest.mark.parametrize("sites", [1, 2, 3, 7])
def test_sites_are_even_without_shortcut(shortcut: str, sites: int) -> None:
    by_site = _carriers_by_site(_draw(sites=sites, shortcut=shortcut))
    assert list(by_site) == list(range(sites))
    for counts in zip(*by_site.values(), strict=True):
        assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize(("sites", "carrier_sites"), [(2, {0}), (3, {0, 1}), (5, {0, 1, 2})])
def test_scanner_shortcut_parts_the_classes(sites: int, carrier_sites: set[int]) -> None:
    patients = _draw(sites=sites, shortcut="scanner")
    assert {patient.site for patient in patients if patient.gene} == carrier_sites
    assert {patient.site for patient in patients if not patient.gene} == set(range(sites)) - carrier_sites
    plain = {replace(patient, site=0) for patient in _draw(sites=sites)}
    assert {replace(patient, site=0) for patient in patients} == plain  # the shortcut touches nothing else


def test_site_prevalences_hold_at_each_site() -> None:
    patients = _draw(patients=121, sites=3, site_prevalences=(0.1, 0.5, 0.9))
    assert _carriers_by_site(patients) == {0: (4, 41), 1: (20, 40), 2: (36, 40)}
    genes = {site: {patient.gene for patient in patients if patient.site == site} for site in (1, 2)}
    assert genes == {1: {"BRCA1", "BRCA2", ""}, 2: {"BRCA1", "BRCA2", ""}}
    small = _draw(patients=6, sites=3, site_prevalences=(0.01, 0.5, 0.99))
    assert _carriers_by_site(small) == {0: (1, 2), 1: (1, 2), 2: (1, 2)}


def test_oracle_uses_the_share_of_the_whole_cohort() -> None:
    patients = _draw(patients=120, sites=3, site_prevalences=(0.1, 0.5, 0.9), effect="none")
    assert {patient.oracle for patient in patients} == {0.5}
    (constant,) = {patient.oracle for patient in _draw(effect="none")}
    assert constant == pytest.approx(0.35)


@pytest.mark.parametrize(("patients", "prevalence"), [(40, 0.02), (40, 0.5), (40, 0.9), (40, 0.97), (300, 0.35)])
def test_larger_cohorts_show_every_kind_of_test(patients: int, prevalence: float) -> None:
    cohort = _draw(patients=patients, prevalence=prevalence)
    kinds = Counter(patient.test for patient in cohort)
    required = {"untested", "founder", "somatic"} | ({"vus"} if prevalence < 0.97 else set())
    assert required <= set(kinds)
    assert all(patient.test not in ("vus", "other-gene") for patient in cohort if patient.gene)
    for carrier in (True, False):
        tests = [patient.test for patient in cohort if bool(patient.gene) is carrier]
        assert 2 * tests.count("full") >= len(tests)


def test_tests_have_their_shares() -> None:
    patients = _draw(patients=2000, prevalence=0.5)
    carriers = Counter(patient.test for patient in patients if patient.gene)
    others = Counter(patient.test for patient in patients if not patient.gene)
    assert carriers == {"full": 920, "untested": 30, "founder": 20, "somatic": 20, "single-variant": 10}
    assert others.pop("full") == 840
    assert others == {
        "vus": 40,
        "untested": 30,
        "founder": 30,
        "somatic": 20,
        "single-variant": 20,
        "other-gene": 20,
    }


def test_oracle_auc_grows_with_the_effect() -> None:
    assert oracle_auc("none", seed=1) == 0.5
    assert oracle_auc("half", seed=1) == pytest.approx(0.704, abs=0.01)
    assert oracle_auc("full", seed=1) == pytest.approx(0.865, abs=0.01)
    assert oracle_auc("full", draws=2000, seed=1) == oracle_auc("full", draws=2000, seed=1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"patients": 1, "sites": 1}, "at least 2 patients.*got 1"),
        ({"prevalence": 0.0}, "above 0 and below 1, got 0"),
        ({"prevalence": 1.0}, "above 0 and below 1, got 1"),
        ({"prevalence": float("nan")}, "above 0 and below 1, got nan"),
        ({"sites": 0}, "sites must be 1 to 120.*got 0"),
        ({"patients": 4, "sites": 5}, "sites must be 1 to 4.*got 5"),
        ({"sites": 1, "shortcut": "scanner"}, "at least 2 sites, got 1"),
        ({"shortcut": "scanner", "site_prevalences": (0.1, 0.2, 0.3)}, "takes no site prevalences"),
        ({"site_prevalences": (0.1, 0.2)}, "one a site, got 2 for 3"),
        ({"site_prevalences": (0.1, 0.2, 1.0)}, "above 0 and below 1, got 1"),
        ({"patients": 5, "site_prevalences": (0.1, 0.2, 0.3)}, "2 patients a site.*got 5 for 3 sites"),
        ({"effect": "double"}, "effect must be one of full, half, none, got 'double'"),
        ({"shortcut": "vendor"}, "shortcut must be one of none, scanner, format, got 'vendor'"),
    ],
)
def test_wrong_requests_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _draw(**changes)
