"""The tables a laboratory and a clinic hand over: genetic tests as they are filed, not labels.

Every trap a label rule must survive is here: tests of a few known variants only, variants of uncertain significance,
carriers of other genes, tests of the tumour alone, patients without a row, and patients with two.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta

import numpy as np
import pandas as pd

from genovox.core.errors import UsageError
from genovox.core.seeds import derive_seed
from genovox.simulate.patients import Patient


@dataclass(frozen=True)
class Variant:
    """A published variant, classified as a laboratory's report might; laboratories differ and change their minds."""

    gene: str
    hgvs: str
    classification: str = "Pathogenic"


# MANE Select transcripts.
TRANSCRIPTS = {
    "BRCA1": "NM_007294.4",
    "BRCA2": "NM_000059.4",
    "PALB2": "NM_024675.4",
    "CHEK2": "NM_007194.4",
    "ATM": "NM_000051.4",
}


def _list_variants(gene: str, changes: str, classification: str = "Pathogenic") -> tuple[Variant, ...]:
    return tuple(Variant(gene, f"{TRANSCRIPTS[gene]}:c.{change}", classification) for change in changes.split())


# The three a founder test looks for (185delAG, 5382insC, 6174delT of the older literature).
FOUNDER_VARIANTS = _list_variants("BRCA1", "68_69del 5266dup") + _list_variants("BRCA2", "5946del")
PATHOGENIC_VARIANTS = (
    *FOUNDER_VARIANTS,
    *_list_variants("BRCA1", "181T>G 5123C>A 1687C>T 3756_3759del 4035del 4327C>T 5503C>T 3700_3704del"),
    *_list_variants("BRCA2", "6275_6276del 3847_3848del 1310_1313del 5682C>G 771_775del 8537_8538del 7617+1G>A"),
    *_list_variants("BRCA1", "5213G>A", "Likely pathogenic"),
    *_list_variants("BRCA2", "9371A>T", "Likely pathogenic"),
)
UNCERTAIN_VARIANTS = (
    *_list_variants("BRCA1", "5348T>C 3302G>A", "Uncertain significance"),
    *_list_variants("BRCA2", "9275A>G 5414A>G", "Uncertain significance"),
)
# Common in the population (ENIGMA); c.9976A>T ends BRCA2 early and is benign all the same.
BENIGN_VARIANTS = (
    *_list_variants("BRCA1", "2612C>T 3113A>G 4837A>G", "Benign"),
    *_list_variants("BRCA2", "7397T>C 1114A>C 9976A>T", "Benign"),
)
OTHER_VARIANTS = (
    *_list_variants("PALB2", "3113G>A 172_175del"),
    *_list_variants("CHEK2", "1100del"),
    *_list_variants("ATM", "7271T>G 5932G>T"),
)
PANEL = ("ATM", "BRCA1", "BRCA2", "CHEK2", "PALB2", "TP53")
FIRST_DAY, LAST_DAY = date(2012, 1, 2), date(2024, 12, 20)
TEST_COLUMNS = (
    "patient_id",
    "gene",
    "hgvs",
    "classification",
    "result",
    "genes_tested",
    "scope",
    "test_date",
    "origin",
)
CLINICAL_COLUMNS = ("patient_id", "age", "subtype", "grade", "family_history", "indication", "affected_side")
# Assumed shares of full tests: a benign variant reported, an earlier founder test, the listed genes without a panel.
BENIGN_REPORTED, FOUNDER_FIRST, GENES_ALONE = 0.15, 0.08, 0.30


@dataclass(frozen=True)
class _Test:
    """What a laboratory did: the part of its rows that does not depend on what it found."""

    genes: Sequence[str]
    scope: str
    test_date: date
    origin: str = "germline"

    def report(self, patient: Patient, *found: Variant) -> list[dict[str, str]]:
        """A row a variant, or one row that says nothing was found."""
        shared = {
            "patient_id": patient.patient_id,
            "genes_tested": ";".join(sorted(self.genes)),
            "scope": self.scope,
            "test_date": self.test_date.isoformat(),
            "origin": self.origin,
        }
        if not found:
            return [{**shared, "gene": "", "hgvs": "", "classification": "", "result": "not detected"}]
        return [{**shared, **asdict(variant), "result": "detected"} for variant in found]


def genetic_tests_table(
    patients: Sequence[Patient], *, genes: Sequence[str] = ("BRCA1", "BRCA2"), seed: int
) -> pd.DataFrame:
    """Genetic tests as laboratories report them.

    Args:
        patients: The cohort; ``Patient.test`` says how each was tested.
        genes: The genes of the study: every full test covers them, most a panel besides. BRCA1 or BRCA2 among them,
            and not all of PALB2, CHEK2 and ATM, which carriers of another gene carry.
        seed: A patient's rows depend on the seed and the patient alone, not on who else is in the cohort.

    Returns:
        ``patient_id,gene,hgvs,classification,result,genes_tested,scope,test_date,origin``, all text: a row a detected
        variant, or a row a test that found nothing (gene, HGVS and classification empty). ``result`` is ``detected``
        or ``not detected``, ``scope`` ``full``, ``founder`` or ``single-variant``, ``origin`` ``germline`` or
        ``somatic``. Patients who were not tested have no row.

    Raises:
        UsageError: For genes that leave a kind of patient without a variant.
    """
    if not {"BRCA1", "BRCA2"} & set(genes):
        raise UsageError(f"simulated carriers carry BRCA1 or BRCA2, got the genes {', '.join(genes)}; list one of them")
    if not [variant for variant in OTHER_VARIANTS if variant.gene not in genes]:
        raise UsageError(
            f"simulated carriers of other genes carry PALB2, CHEK2 or ATM, got the genes {', '.join(genes)}; "
            "leave out one of them"
        )
    rows: list[dict[str, str]] = []
    for patient in patients:
        random = np.random.default_rng(derive_seed(seed, "simulate", "genetics", patient.patient_id))
        rows += _report_patient(patient, genes, random)
    return pd.DataFrame(rows, columns=list(TEST_COLUMNS), dtype=str)


def clinical_table(patients: Sequence[Patient]) -> pd.DataFrame:
    """What the clinic knows of each patient.

    Returns:
        ``patient_id,age,subtype,grade,family_history,indication,affected_side``: age in years, family history 0 or 1,
        the affected side ``left``, ``right`` or ``both``.
    """
    rows = [
        {
            "patient_id": patient.patient_id,
            "age": patient.age,
            "subtype": patient.subtype,
            "grade": patient.grade,
            "family_history": int(patient.family_history),
            "indication": patient.indication,
            "affected_side": "both" if patient.bilateral_disease else patient.side,
        }
        for patient in patients
    ]
    return pd.DataFrame(rows, columns=list(CLINICAL_COLUMNS))


def _report_patient(patient: Patient, genes: Sequence[str], random: np.random.Generator) -> list[dict[str, str]]:
    """The rows of one patient, oldest test first."""
    day = FIRST_DAY + timedelta(days=int(random.integers((LAST_DAY - FIRST_DAY).days)))
    panel = sorted({*PANEL, *genes})
    carried = [variant for variant in PATHOGENIC_VARIANTS if variant.gene == patient.gene]
    listed = [variant for variant in PATHOGENIC_VARIANTS if variant.gene in genes]
    match patient.test:
        case "untested":
            return []
        case "full":
            return _report_full(patient, carried, genes, day, random)
        case "founder":
            test = _Test(("BRCA1", "BRCA2"), "founder", day)
            found = _pick([variant for variant in carried if variant in FOUNDER_VARIANTS], random)
        case "single-variant":  # a relative's variant is known; nothing else is looked for
            familial = _pick(carried or listed, random)
            test = _Test((familial[0].gene,), "single-variant", day)
            found = familial if carried else []
        case "somatic":
            # A tumour has variants of its own: found there, one says nothing about what the patient inherited.
            test = _Test(panel, "full", day, "somatic")
            found = _pick(carried or (listed if random.random() < 0.5 else []), random)
        case "vus":
            test = _Test(panel, "full", day)
            found = _pick([variant for variant in UNCERTAIN_VARIANTS if variant.gene in genes], random)
        case "other-gene":
            test = _Test(panel, "full", day)
            found = _pick([variant for variant in OTHER_VARIANTS if variant.gene not in genes], random)
        case unknown:
            raise UsageError(
                f"patient {patient.patient_id}: unknown kind of test {unknown!r}; see Patient.test for the kinds"
            )
    return test.report(patient, *found)


def _report_full(
    patient: Patient, carried: Sequence[Variant], genes: Sequence[str], day: date, random: np.random.Generator
) -> list[dict[str, str]]:
    """A full germline test, with what often lies around it: a benign variant, a founder test before it."""
    found = _pick(carried, random)
    tested = {*genes, *([patient.gene] if patient.gene else [])}
    covered = tested if random.random() < GENES_ALONE else {*PANEL, *genes}
    benign = _pick([variant for variant in BENIGN_VARIANTS if variant.gene in genes], random)
    rows = _Test(sorted(covered), "full", day).report(patient, *found, *benign[: random.random() < BENIGN_REPORTED])
    # A founder test cannot have missed a founder variant.
    if random.random() < FOUNDER_FIRST and not set(found) & set(FOUNDER_VARIANTS):
        earlier = day - timedelta(days=int(random.integers(200, 1500)))
        rows = _Test(("BRCA1", "BRCA2"), "founder", earlier).report(patient) + rows
    return rows


def _pick(variants: Sequence[Variant], random: np.random.Generator) -> list[Variant]:
    """One of the variants at random, none of none."""
    return [variants[int(random.integers(len(variants)))]] if variants else []
