"""The tables hold every trap of real test reports, and a careful reader of them finds the truth."""

import re
from collections import Counter
from dataclasses import replace
from datetime import date

import pandas as pd
import pytest

from genovox.core.errors import UsageError
from genovox.simulate.genetics import (
    BENIGN_VARIANTS,
    FOUNDER_VARIANTS,
    OTHER_VARIANTS,
    PATHOGENIC_VARIANTS,
    TEST_COLUMNS,
    UNCERTAIN_VARIANTS,
    clinical_table,
    genetic_tests_table,
)
from genovox.simulate.patients import Patient, draw_patients

GENES = ("BRCA1", "BRCA2")


@pytest.fixture(scope="module")
def patients() -> list[Patient]:
    return draw_patients(patients=1500, effect="half", prevalence=0.4, sites=3, shortcut="none", seed=4)


@pytest.fixture(scope="module")
def tests(patients: list[Patient]) -> pd.DataFrame:
    return genetic_tests_table(patients, seed=4)


def _labels(tests: pd.DataFrame, genes: tuple[str, ...] = GENES) -> dict[str, int]:
    """1 for a pathogenic germline variant in a listed gene, 0 for a full germline test without an open question."""
    germline = tests[tests["origin"] == "germline"]
    pathogenic = germline["classification"].isin(["Pathogenic", "Likely pathogenic"])
    carriers = set(germline.loc[pathogenic & germline["gene"].isin(genes), "patient_id"])
    full = germline["genes_tested"].map(lambda text: set(genes) <= set(text.split(";"))) & (germline["scope"] == "full")
    open_question = pathogenic | (germline["classification"] == "Uncertain significance")
    negatives = set(germline.loc[full, "patient_id"]) - set(germline.loc[open_question, "patient_id"])
    return dict.fromkeys(negatives, 0) | dict.fromkeys(carriers, 1)


def test_a_careful_reader_finds_the_truth(patients: list[Patient], tests: pd.DataFrame) -> None:
    labels = _labels(tests)
    for patient in patients:
        if patient.test in ("full", "founder", "single-variant") and patient.gene:
            assert labels[patient.patient_id] == 1
        elif patient.test == "full":
            assert labels[patient.patient_id] == 0
        else:  # untested, VUS, another gene, a founder or single-variant test that found nothing, the tumour alone
            assert patient.patient_id not in labels
    truth = {patient.patient_id: int(bool(patient.gene)) for patient in patients}
    assert all(truth[patient_id] == label for patient_id, label in labels.items())
    assert 0.85 < len(labels) / len(patients) < 0.95


def test_careless_rules_go_wrong(patients: list[Patient], tests: pd.DataFrame) -> None:
    """Each trap is there: the truth differs from what a rule without scope, origin or classification would say."""
    truth = {patient.patient_id: bool(patient.gene) for patient in patients}
    detected = tests[tests["result"] == "detected"]
    for classification in ("Benign", "Uncertain significance"):
        assert not all(truth[one] for one in detected.loc[detected["classification"] == classification, "patient_id"])
    tumour = detected[detected["origin"] == "somatic"]
    assert {truth[one] for one in tumour["patient_id"]} == {True, False}
    assert len(tests[(tests["origin"] == "somatic") & (tests["result"] == "not detected")])
    founder = tests[(tests["scope"] == "founder") & (tests["result"] == "not detected")]
    assert {truth[one] for one in founder["patient_id"]} == {True, False}
    assert {truth[one] for one in set(truth) - set(tests["patient_id"])} == {True, False}


def test_rows_are_consistent(tests: pd.DataFrame) -> None:
    assert tuple(tests.columns) == TEST_COLUMNS
    assert not tests.isna().any().any()
    nothing = tests["result"] == "not detected"
    assert set(tests.loc[~nothing, "result"]) == {"detected"}
    for column in ("gene", "hgvs", "classification"):
        assert (tests.loc[nothing, column] == "").all()
        assert (tests.loc[~nothing, column] != "").all()
    assert set(tests["scope"]) == {"full", "founder", "single-variant"}
    assert set(tests["origin"]) == {"germline", "somatic"}
    for gene, tested in zip(tests.loc[~nothing, "gene"], tests.loc[~nothing, "genes_tested"], strict=True):
        assert gene in tested.split(";")
    assert {"ATM;BRCA1;BRCA2;CHEK2;PALB2;TP53", "BRCA1;BRCA2", "BRCA1", "BRCA2"} == set(tests["genes_tested"])
    dates = [date.fromisoformat(text) for text in tests["test_date"]]
    assert min(dates) > date(2007, 1, 1)
    assert max(dates) < date(2025, 1, 1)
    assert not tests.duplicated().any()


def test_some_patients_have_two_rows(patients: list[Patient], tests: pd.DataFrame) -> None:
    rows = Counter(tests["patient_id"])
    assert {1, 2} <= set(rows.values()) <= {1, 2, 3}
    untested = {patient.patient_id for patient in patients if patient.test == "untested"}
    assert {patient.patient_id for patient in patients} - set(rows) == untested
    dates = tests.assign(day=tests["test_date"]).pivot_table(
        index="patient_id", columns="scope", values="day", aggfunc="min"
    )
    both = dates.dropna(subset=["founder", "full"])
    assert len(both) > 20
    assert (both["founder"] < both["full"]).all()
    repeated = tests[tests.duplicated("patient_id", keep=False)]
    assert "Benign" in set(repeated["classification"])


def test_founder_tests_find_founder_variants(tests: pd.DataFrame) -> None:
    found = tests[(tests["scope"] == "founder") & (tests["result"] == "detected")]
    assert set(found["hgvs"]) <= {variant.hgvs for variant in FOUNDER_VARIANTS}
    assert len(found)
    missed = tests[(tests["scope"] == "founder") & (tests["result"] == "not detected")]["patient_id"]
    later = tests[tests["patient_id"].isin(missed) & (tests["result"] == "detected")]
    assert len(later)
    assert not set(later["hgvs"]) & {variant.hgvs for variant in FOUNDER_VARIANTS}


def test_variants_are_written_as_published() -> None:
    variants = [*PATHOGENIC_VARIANTS, *UNCERTAIN_VARIANTS, *BENIGN_VARIANTS, *OTHER_VARIANTS]
    pattern = re.compile(r"NM_\d{6,9}\.\d:c\.(\d+([+-]\d+)?[ACGT]>[ACGT]|\d+(_\d+)?(del|dup))")
    assert all(pattern.fullmatch(variant.hgvs) for variant in variants)
    assert len({variant.hgvs for variant in variants}) == len(variants)
    assert {variant.gene for variant in PATHOGENIC_VARIANTS} == set(GENES)
    named = {variant.hgvs: variant.classification for variant in variants}
    assert named["NM_007294.4:c.5266dup"] == named["NM_000059.4:c.5946del"] == "Pathogenic"
    assert named["NM_007294.4:c.2612C>T"] == named["NM_000059.4:c.9976A>T"] == "Benign"


@pytest.mark.parametrize("genes", [("BRCA1",), ("BRCA2",), ("BRCA1", "BRCA2", "PALB2")])
def test_labels_hold_for_other_lists_of_genes(patients: list[Patient], genes: tuple[str, ...]) -> None:
    """A study of one gene: a carrier of the other is no carrier, and is left out as one of another gene."""
    labels = _labels(genetic_tests_table(patients, genes=genes, seed=4), genes)
    truth = {patient.patient_id: int(patient.gene in genes) for patient in patients}
    assert all(truth[patient_id] == label for patient_id, label in labels.items())
    assert set(labels.values()) == {0, 1}


def test_a_patient_has_the_same_rows_in_any_cohort(patients: list[Patient], tests: pd.DataFrame) -> None:
    alone = genetic_tests_table(patients[:10], seed=4)
    expected = tests[tests["patient_id"].isin([patient.patient_id for patient in patients[:10]])]
    pd.testing.assert_frame_equal(alone, expected.reset_index(drop=True))
    assert not genetic_tests_table(patients, seed=5).equals(tests)


def test_no_patients_no_rows() -> None:
    assert tuple(genetic_tests_table([], seed=1).columns) == TEST_COLUMNS


@pytest.mark.parametrize(
    ("genes", "message"),
    [(("PALB2",), "BRCA1 or BRCA2, got the genes PALB2"), ((*GENES, "PALB2", "CHEK2", "ATM"), "leave out one of them")],
)
def test_genes_without_carriers_are_refused(patients: list[Patient], genes: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        genetic_tests_table(patients, genes=genes, seed=1)


def test_unknown_kind_of_test_is_refused(patients: list[Patient]) -> None:
    with pytest.raises(UsageError, match="unknown kind of test 'exome'"):
        genetic_tests_table([replace(patients[0], test="exome")], seed=1)


def test_clinical_table_says_what_the_clinic_knows(patients: list[Patient]) -> None:
    table = clinical_table(patients)
    columns = ["patient_id", "age", "subtype", "grade", "family_history", "indication", "affected_side"]
    assert list(table.columns) == columns
    for patient, row in zip(patients, table.to_dict("records"), strict=True):
        assert row["patient_id"] == patient.patient_id
        assert row["age"] == patient.age
        assert row["family_history"] == patient.family_history
        assert row["affected_side"] == ("both" if patient.bilateral_disease else patient.side)
    assert set(table["affected_side"]) == {"left", "right", "both"}
    assert list(clinical_table([]).columns) == columns
