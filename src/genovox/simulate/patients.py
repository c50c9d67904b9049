"""Patients of a simulated cohort: who carries what, where they lie, how they were tested, and how well one can tell.

What the clinic knows (age, subtype, grade, family history, indication) depends on the gene whatever the effect, as it
does in life, but no imaging latent depends on the clinic: if subtype shaped the tumour, a cohort without effect would
still show the gene.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu

from genovox.core.errors import UsageError
from genovox.core.seeds import derive_seed
from genovox.simulate.phenotype import (
    BRCA1_SHARE,
    SUBTYPE_SHARES,
    Effect,
    Ints,
    draw_categories,
    draw_imaging,
    score_latents,
)

Shortcut = Literal["none", "scanner", "format"]

# The place in a tuple of three numbers, one a class; the truth in Patient.gene is empty for the third.
CLASSES = ("BRCA1", "BRCA2", "")
SUBTYPES = ("triple negative", "luminal A", "luminal B", "HER2")
# The clinic, assumed but for the youth of carriers: age, share with a family history, indication, grade by subtype.
AGE = ((43.0, 9.0), (43.0, 9.0), (55.0, 12.0))
MENOPAUSE_AGE = (51.0, 4.0)
FAMILY_HISTORY = (0.60, 0.55, 0.20)
INDICATIONS = ("symptomatic", "screening", "high risk", "staging")
INDICATION_SHARES = ((0.35, 0.05, 0.35, 0.25), (0.35, 0.05, 0.35, 0.25), (0.40, 0.20, 0.05, 0.35))
GRADE_SHARES = ((0.02, 0.18, 0.80), (0.35, 0.55, 0.10), (0.10, 0.50, 0.40), (0.05, 0.35, 0.60))
# How patients were tested (assumed); the rest were tested in full. The required ones stand in any cohort of 40.
TESTS_CARRIERS = {"untested": 0.03, "founder": 0.02, "somatic": 0.02, "single-variant": 0.01}
TESTS_OTHERS = {
    "vus": 0.04,
    "untested": 0.03,
    "founder": 0.03,
    "somatic": 0.02,
    "single-variant": 0.02,
    "other-gene": 0.02,
}
REQUIRED_TESTS = ("vus", "untested", "founder", "somatic")
REQUIRED_FROM = 40


@dataclass(frozen=True)
class Patient:
    """One simulated patient: the truth, the clinic, and what the renderer draws.

    Attributes:
        patient_id: ``SIM-0001`` onwards.
        gene: The truth: ``BRCA1``, ``BRCA2`` or empty for a patient who carries neither.
        site: Hospital, 0 to sites - 1.
        age: Years.
        menopausal: Whether past menopause.
        density: ACR composition of the breast, ``a`` (fatty) to ``d`` (extremely dense).
        bpe: Background parenchymal enhancement, 0 minimal to 3 marked.
        side: ``left`` or ``right``: the breast with the index lesion.
        bilateral_disease: Whether the other breast has a cancer too.
        subtype: ``triple negative``, ``luminal A``, ``luminal B`` or ``HER2``.
        grade: Histological grade, 1 to 3.
        family_history: Breast or ovarian cancer in a first-degree relative.
        indication: ``symptomatic``, ``screening``, ``high risk`` or ``staging``.
        round_shape: Round rather than irregular.
        sharp_margin: Circumscribed rather than ill-defined.
        rim: Whether the rim enhances most.
        necrosis: Whether the core is necrotic.
        prepectoral: Whether the lesion sits before the pectoral muscle.
        diameter_mm: Largest diameter, 8 to 60 mm.
        satellites: Further small foci beside the lesion, 0 to 2.
        test: How the patient was tested: ``full``, ``founder``, ``single-variant``, ``untested``, ``somatic``, ``vus``
            or ``other-gene``.
        oracle: Posterior P(carrier | imaging latents) under the cohort's effect and share of carriers.
    """

    patient_id: str
    gene: str
    site: int
    age: int
    menopausal: bool
    density: str
    bpe: int
    side: str
    bilateral_disease: bool
    subtype: str
    grade: int
    family_history: bool
    indication: str
    round_shape: bool
    sharp_margin: bool
    rim: bool
    necrosis: bool
    prepectoral: bool
    diameter_mm: float
    satellites: int
    test: str
    oracle: float


def draw_patients(
    *,
    patients: int,
    effect: Effect,
    prevalence: float,
    sites: int,
    shortcut: Shortcut,
    site_prevalences: Sequence[float] = (),
    seed: int,
) -> list[Patient]:
    """Draw a cohort: exactly ``round(prevalence * patients)`` carriers, at least one of each class.

    Args:
        patients: 2 or more, and no fewer than sites.
        effect: How strongly the gene shapes what the scan shows: published odds ratios, half their logarithm, nothing.
        prevalence: Share of carriers, in (0, 1). Not used where ``site_prevalences`` are given.
        sites: Hospitals. Carriers and others are each spread evenly over them, unless:
        shortcut: ``scanner`` puts every carrier into the first half of the sites and everyone else into the rest;
            ``format`` leaves the sites alone (it is the images' business).
        site_prevalences: Share of carriers by site, for sites of equal size, each with at least one of either class.
        seed: The same seed and arguments give the same cohort; seed and size alone fix the random numbers, so that
            cohorts with and without effect differ by the effect only.

    Returns:
        The patients in random order. Their oracle uses the share of carriers in the whole cohort, also where sites
        differ: it reads images, not the name of the hospital.

    Raises:
        UsageError: For a value that breaks a rule above.
    """
    _check_cohort(
        patients=patients,
        effect=effect,
        prevalence=prevalence,
        sites=sites,
        shortcut=shortcut,
        site_prevalences=site_prevalences,
    )
    carriers, site = _place(
        patients,
        prevalence=prevalence,
        sites=sites,
        shortcut=shortcut,
        site_prevalences=site_prevalences,
        random=np.random.default_rng(derive_seed(seed, "simulate", "sites")),
    )
    first = round(BRCA1_SHARE * carriers)
    classes = np.repeat([0, 1, 2], [first, carriers - first, patients - carriers])
    table = pd.concat(
        [
            draw_imaging(classes, effect, np.random.default_rng(derive_seed(seed, "simulate", "imaging"))),
            _draw_clinic(classes, np.random.default_rng(derive_seed(seed, "simulate", "clinic"))),
        ],
        axis=1,
    )
    table["oracle"] = score_latents(table, effect=effect, prevalence=carriers / patients)
    table["gene"] = [CLASSES[index] for index in classes]
    table["site"] = site
    table["test"] = _assign_tests(carriers, patients, np.random.default_rng(derive_seed(seed, "simulate", "tests")))
    order = np.random.default_rng(derive_seed(seed, "simulate", "order")).permutation(patients)
    # tolist() turns numpy's scalars into Python's, which is what a Patient promises.
    columns = {str(name): table[name].to_numpy()[order].tolist() for name in table.columns}
    columns["density"] = ["abcd"[category] for category in columns["density"]]
    rows: list[dict[str, Any]] = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return [Patient(patient_id=f"SIM-{number:04d}", **row) for number, row in enumerate(rows, start=1)]


def oracle_auc(effect: Effect, draws: int = 20_000, *, seed: int) -> float:
    """AUC of the oracle: the best any reader of the images can reach.

    Args:
        draws: Simulated lesions, half of them carriers'; prevalence does not change an AUC.

    Returns:
        AUC in [0.5, 1], with a standard error of about 0.003 at 20,000 draws.
    """
    carriers = draws // 2
    first = round(BRCA1_SHARE * carriers)
    classes = np.repeat([0, 1, 2], [first, carriers - first, draws - carriers])
    latents = draw_imaging(classes, effect, np.random.default_rng(derive_seed(seed, "simulate", "oracle")))
    score = score_latents(latents, effect=effect, prevalence=0.5)
    statistic = mannwhitneyu(score[:carriers], score[carriers:]).statistic
    return float(statistic / (carriers * (draws - carriers)))


def _draw_clinic(classes: Ints, random: np.random.Generator) -> pd.DataFrame:
    """What the clinic knows, a row a patient."""
    count = len(classes)
    mean, deviation = np.array(AGE)[classes].T
    age = np.clip(np.rint(mean + deviation * random.standard_normal(count)), 22, 88).astype(int)
    menopause = MENOPAUSE_AGE[0] + MENOPAUSE_AGE[1] * random.standard_normal(count)
    subtype = draw_categories(SUBTYPE_SHARES, classes, random)
    return pd.DataFrame(
        {
            "age": age,
            "menopausal": age > menopause,
            "subtype": np.array(SUBTYPES)[subtype],
            "grade": 1 + draw_categories(GRADE_SHARES, subtype, random),
            "family_history": random.random(count) < np.array(FAMILY_HISTORY)[classes],
            "indication": np.array(INDICATIONS)[draw_categories(INDICATION_SHARES, classes, random)],
        }
    )


def _place(
    patients: int,
    *,
    prevalence: float,
    sites: int,
    shortcut: Shortcut,
    site_prevalences: Sequence[float],
    random: np.random.Generator,
) -> tuple[int, Ints]:
    """The number of carriers, and the site of each patient, carriers first, shape (patients,)."""
    index = np.arange(patients)
    if site_prevalences:
        sizes = np.full(sites, patients // sites) + (np.arange(sites) < patients % sites)
        carriers = np.clip(np.rint(np.array(site_prevalences) * sizes).astype(int), 1, sizes - 1)
        # Shuffled, as BRCA1 stands before BRCA2: otherwise the first sites had BRCA1 alone.
        places = [random.permutation(np.repeat(np.arange(sites), count)) for count in (carriers, sizes - carriers)]
        return int(carriers.sum()), np.concatenate(places)
    count = min(max(round(prevalence * patients), 1), patients - 1)
    if shortcut == "scanner":
        half = (sites + 1) // 2
        return count, np.where(index < count, index % half, half + index % (sites - half))
    return count, random.permutation(sites)[index % sites]


def _assign_tests(carriers: int, patients: int, random: np.random.Generator) -> list[str]:
    """How each patient was tested, carriers first: expected counts, rounded, in random order within either class."""
    required = REQUIRED_TESTS if patients >= REQUIRED_FROM else ()
    others = _count_tests(patients - carriers, TESTS_OTHERS, required)
    # Where nearly everyone carries, the few others cannot show every kind of test: carriers show the rest.
    missing = tuple(kind for kind in required if kind in TESTS_CARRIERS and not others[kind])
    tests: list[str] = []
    for total, counts in ((carriers, _count_tests(carriers, TESTS_CARRIERS, missing)), (patients - carriers, others)):
        kinds = [kind for kind, count in counts.items() for _ in range(count)]
        kinds += ["full"] * (total - len(kinds))
        tests += [kinds[index] for index in random.permutation(total)]
    return tests


def _count_tests(total: int, shares: Mapping[str, float], required: Sequence[str]) -> dict[str, int]:
    """Patients by kind of test other than full; full tests stay the majority, or the class would have no labels."""
    counts = {kind: round(share * total) for kind, share in shares.items()}
    for kind in required:
        if not counts[kind] and 2 * (sum(counts.values()) + 1) <= total:
            counts[kind] = 1
    return counts


def _check_cohort(
    *,
    patients: int,
    effect: str,
    prevalence: float,
    sites: int,
    shortcut: str,
    site_prevalences: Sequence[float],
) -> None:
    for name, value, allowed in (("effect", effect, get_args(Effect)), ("shortcut", shortcut, get_args(Shortcut))):
        if value not in allowed:
            raise UsageError(f"{name} must be one of {', '.join(allowed)}, got {value!r}; name one of them")
    if patients < 2:
        raise UsageError(f"a cohort needs at least 2 patients, a carrier and another, got {patients}; ask for more")
    if not 1 <= sites <= patients:
        raise UsageError(f"sites must be 1 to {patients}, one a patient at most, got {sites}; ask for fewer or more")
    for share in (prevalence, *site_prevalences):
        if not 0 < share < 1:
            raise UsageError(f"a prevalence is the share of carriers, above 0 and below 1, got {share:g}; correct it")
    if shortcut == "scanner" and sites < 2:
        raise UsageError(f"shortcut scanner parts the classes by site and needs at least 2 sites, got {sites}; add one")
    if not site_prevalences:
        return
    if shortcut == "scanner":
        raise UsageError("shortcut scanner fixes who lies where and takes no site prevalences; leave one of them out")
    if len(site_prevalences) != sites:
        raise UsageError(
            f"site prevalences must be one a site, got {len(site_prevalences)} for {sites}; add or drop some"
        )
    if patients < 2 * sites:
        raise UsageError(
            f"site prevalences need 2 patients a site, a carrier and another, got {patients} for {sites} sites; "
            "ask for more patients or fewer sites"
        )
