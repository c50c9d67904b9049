"""Ten thousand patients through labels, eligibility, matching and folds: seconds of each step, and peak memory.

    python benchmarks/cohort.py [PATIENTS]

The patients are drawn by the simulator (truth, tests, clinic), without images: what is timed are the tables.
"""

import resource
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import numpy as np
import pandas as pd

from genovox.cohort.balance import compare_groups, find_missing
from genovox.cohort.eligibility import ExamFacts, apply_rules
from genovox.cohort.matching import match_patients
from genovox.cohort.splits import plan_folds
from genovox.core.artifacts import write_table
from genovox.core.case import Case
from genovox.core.sections import EligibilityTable, MatchingTable, SplitsTable
from genovox.genetics.evidence import Sources, read_genetic_tests
from genovox.simulate.genetics import clinical_table, genetic_tests_table
from genovox.simulate.patients import draw_patients

Value = TypeVar("Value")
START = date(2010, 1, 1)


def _timed(name: str, work: Callable[[], Value]) -> Value:
    begun = time.perf_counter()
    value = work()
    print(f"{name:<34}{time.perf_counter() - begun:8.2f} s")
    return value


def main(count: int) -> None:
    patients = _timed(
        "draw patients (not counted)",
        lambda: draw_patients(patients=count, effect="full", prevalence=0.2, sites=5, shortcut="none", seed=7),
    )
    counted = time.perf_counter()
    random = np.random.default_rng(7)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "genetic_tests.csv"
        write_table(path, genetic_tests_table(patients, seed=7))
        tests = _timed("labels", lambda: read_genetic_tests(Sources([path])))
    clinic = clinical_table(patients).astype(str).set_index("patient_id")
    cases = [
        Case(f"{patient.patient_id}-{visit}", patient.patient_id, ("x.json",), site=f"site-{patient.site}")
        for patient in patients
        for visit in (1, 2)
    ]
    facts = {
        case.case_id: ExamFacts(START + timedelta(days=int(random.integers(0, 4000))), int(case.case_id[-1]))
        for case in cases
    }
    events: dict[str, dict[str, date | None]] = {
        patient.patient_id: {"surgery_date": START + timedelta(days=int(random.integers(2000, 5000)))}
        for patient in patients
    }
    rules = EligibilityTable(exams="earliest", before=("surgery_date",))
    lost = _timed("eligibility (2 exams a patient)", lambda: apply_rules(cases, facts, events, rules))
    kept = []
    for case in cases:
        label = tests.find_evidence(case).label
        if case.case_id not in lost and label is not None:
            kept.append(Case(case.case_id, case.patient_id, case.images, label, site=case.site))
    known = clinic.loc[[case.patient_id for case in kept]].assign(site=[case.site for case in kept])
    carrier = pd.Series([case.label == 1 for case in kept], known.index)
    _timed(
        "balance and missing values",
        lambda: (compare_groups(known, carrier, ~carrier, "x"), find_missing(known, carrier)),
    )
    for on in (("age",), ("age", "site")):
        match = partial(match_patients, known, carrier, MatchingTable(on=on, ratio=2))
        found = _timed(f"matching 1:2 on {' and '.join(on)}", match)
        print(f"  {found.sets['set'].nunique()} of {int(carrier.sum())} carriers matched")
    _timed("folds, 5 x 3, nested", lambda: plan_folds(kept, SplitsTable(repeats=3), 7))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{len(kept)} cases of {count} patients: {time.perf_counter() - counted:.1f} s, peak {peak:.2f} GB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
