"""Who is in the study, who is not, and why: the cohort stage."""

import logging
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from genovox.cohort.balance import compare_groups, find_missing, find_unlike
from genovox.cohort.flow import render_flow
from genovox.cohort.gates import (
    BY_DESIGN,
    UNMATCHED,
    compare_exclusions,
    count_rules,
    describe_flow,
    pass_gates,
    read_acceptances,
    refuse_shared_image,
    split_labels,
    summarise_flow,
)
from genovox.cohort.intake import Intake, LabelSource, take_in
from genovox.cohort.manifest import describe_columns, hash_listed, names_identifier
from genovox.cohort.matching import match_patients
from genovox.cohort.splits import CHECKSUM, RELATIVE, connect_groups, plan_folds, set_aside, write_folds
from genovox.core.artifacts import Stage, atomic_path, hash_content, recall, write_json, write_table, write_text
from genovox.core.case import SCAN_PREFIX, Case, Exclusion, cases_table, exclusions_table
from genovox.core.errors import DataError, StudyError
from genovox.core.log import write_count
from genovox.core.names import split_words
from genovox.core.study import Study
from genovox.core.tasks import available_cores, refuse_machine_failures, run_many, show_progress
from genovox.genetics.labels import LabelEvidence, tells_label
from genovox.scans.inspection import UNKNOWN, Inspection, inspect_case
from genovox.scans.likeness import unpack_likeness

log = logging.getLogger(__name__)

FORMAT = 5
INSPECTION_FORMAT = 4
CLINICAL = "clinical.csv"
LIKENESS = "likeness.npy"
"""Fine structure of each case's first phase, a row a case of ``cases.csv``, by which the audit knows copies again."""
UNTESTED = "untested.csv"
"""Cases without a label, for ``genovox pretrain``; the same columns as ``cases.csv``."""
GROUPED = ["patient_id", "family_id"]
FEWEST_ALIKE = 3
"""Patients who must share a word for it to leave the clinical table; free text and names are shared by nobody."""
FEWEST_COUNTED = 10
"""Patients among whom numbers that only rise, or leave hardly a gap, are no chance but a count of who came when."""
LONGEST = 9999
"""Whole numbers beyond it are those of a register, unless the column says what it measures."""
OTHER = "other"
_MEASURE = re.compile(
    r"(^| )(age|bmi|weight|height|size|diameter|length|width|volume|area|[mc]m3?|ml|cc|kg|ki ?67|parity|births"
    r"|children|pregnanc\w+|menarche|menopause|density|years?|months?|days?|percent|score|level|dose|count|nodes?|adc"
    r"|suv|risk)( |$)"
)
"""In a column's name as words: what may rise from row to row, as where patients are sorted by age."""
_NUMBER = re.compile(r"[-+]?(?!0\d)\d+(\.\d*|,\d{1,2})?")


def open_stage(study: Study, run: Path, device: str) -> Stage:  # noqa: ARG001 - every stage opens alike
    """The cohort stage of a study, with its inputs hashed.

    Raises:
        StudyError: If no labels are given.
        TableError: If the manifest or the labels break a rule.
    """
    intake = take_in(study)
    cohort = study.cohort
    genetics = (*cohort.tests, *cohort.classifications, cohort.panels, *cohort.coverage)
    named = (cohort.images, cohort.labels, *genetics, cohort.clinical, cohort.marks, cohort.phases)
    tables = [table for table in named if table]
    names = dict.fromkeys([*tables, *(image for case in intake.cases for image in case.images)])
    hashed = hash_listed(study.root, [name for name in names if not intake.inputs.get(name)])
    inputs = {name: intake.inputs.get(name) or hashed[name] for name in names}
    config = study.as_dict()["cohort"]
    if study.train.pretrained:
        config["untested"] = "listed"
    return Stage("cohort", run, FORMAT, config | {"accepted": read_acceptances(run)}, {}, inputs, study.seed)


def build_stage(study: Study, stage: Stage, workers: int | None) -> None:
    """Write who is in (``cases.csv``), who is not and why, the folds, the flow, and both classes side by side.

    Raises:
        DataError: If nobody is left, or too few for the folds.
        GateError: If a gate is closed and not accepted; the exclusions are written all the same.
    """
    source = study.root / study.cohort.images
    if source.is_file():
        for line in describe_columns(source, part_column=study.cohort.splits.part_column):
            log.warning("%s: %s", source.name, line)
    intake = take_in(study)
    cases, labels = intake.cases, intake.labels
    _warn_of_strangers(cases, labels, show=labels.unit == "patient" or source.is_file())
    for note in labels.notes:
        log.warning("%s: %s", labels.name, note)
    evidence = [labels.find_evidence(case) for case in cases]
    odd = [proof for proof in evidence if "is neither 0" in proof.reason]
    if odd:
        log.warning("%s left out: %s, %s", write_count(len(odd), "case"), odd[0].source, odd[0].reason)
    included, exclusions = _select(study, stage, intake, evidence, workers or available_cores())
    chosen, by_design = _choose(study, stage, intake, [case for case, _ in included])
    exclusions += by_design
    inspections = {case.case_id: found for case, found in included}
    guessed = [case.case_id for case in chosen if inspections[case.case_id].scan["scan_orientation"] == UNKNOWN]
    if guessed:
        told = f"{write_count(len(guessed), 'case')} without orientation, such as {guessed[0]}"
        log.warning("%s: left and right are a guess", told)
    write_table(stage.folder / "label_evidence.csv", _evidence_table(evidence))
    if intake.table is not None:
        write_table(stage.folder / "series.csv", intake.table)
    write_table(stage.folder / "exclusions.csv", exclusions_table([*exclusions, *intake.series]))
    flow = describe_flow(cases, chosen, exclusions, labels.unit) | {
        "source": "manifest" if source.is_file() else "archive"
    }
    write_json(stage.folder / "flow.json", flow)
    write_text(stage.folder / "flow.svg", render_flow(flow))
    if not chosen:
        raise DataError(
            f"no case is left of {len(cases)}: {count_rules(exclusions) or 'the images hold none'}; "
            f"see {stage.folder / 'exclusions.csv'}"
        )
    if study.cohort.unit == "breast":
        refuse_shared_image([(case, inspections[case.case_id]) for case in chosen])
    table = cases_table(chosen)
    table["fingerprint"] = [inspections[case.case_id].fingerprint for case in chosen]
    known = intake.describe_patients(chosen)
    missing = find_missing(known, _carriers(chosen, known.index))
    lost = compare_exclusions(*split_labels(table, exclusions_table(exclusions)))
    write_table(stage.folder / "balance.csv", _compare(intake, evidence, included, chosen, study.cohort.matching.on))
    pass_gates(table, lost, missing, read_acceptances(stage.run))
    write_table(stage.folder / "cases.csv", table)
    _write_likeness(stage.folder / LIKENESS, [inspections[case.case_id].likeness for case in chosen])
    if study.train.pretrained:
        untested = find_untested(intake, evidence, chosen)
        write_table(stage.folder / UNTESTED, cases_table(untested))
        log.info("cohort: %s to pretrain on", _count(untested))
    clinic = describe_clinic(intake, chosen, study.cohort.genes)
    if clinic.shape[1] > 1:
        write_table(stage.folder / CLINICAL, clinic)
    write_json(stage.folder / "flow.json", flow | _write_folds(study, stage, chosen))
    log.info("cohort: %s", summarise_flow(flow))


def _write_likeness(path: Path, likenesses: Sequence[str]) -> None:
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.save(file, np.stack([unpack_likeness(likeness) for likeness in likenesses]))


def find_untested(intake: Intake, evidence: Sequence[LabelEvidence], chosen: Sequence[Case]) -> list[Case]:
    """Cases that lack nothing but a label, of patients and families that no fold will test.

    Args:
        intake: Every case there could be.
        evidence: Of each case's label, in the same order.
        chosen: The cases of the study.
    """
    pairs = zip(intake.cases, evidence, strict=True)
    candidates = [case for case, proof in pairs if proof.label is None and case.case_id not in intake.lost]
    frame = pd.DataFrame([(case.patient_id, case.family_id) for case in (*chosen, *candidates)], columns=GROUPED)
    groups = connect_groups(frame, GROUPED)
    tested = set(groups[: len(chosen)].tolist())
    return [case for case, group in zip(candidates, groups[len(chosen) :], strict=True) if int(group) not in tested]


def _count(untested: Sequence[Case]) -> str:
    patients = {case.patient_id for case in untested}
    return f"{write_count(len(untested), 'case')} of {write_count(len(patients), 'untested patient')}"


def _choose(study: Study, stage: Stage, intake: Intake, cases: list[Case]) -> tuple[list[Case], list[Exclusion]]:
    """Who stays of those who could be in, by the study's design: one last test apart, the rest matched."""
    cohort = study.cohort
    days = {case_id: facts.day for case_id, facts in intake.facts.items()}
    cases, relatives = set_aside(cases, cohort.splits, days)
    matching_path = stage.folder / "matching.csv"
    matching_path.unlink(missing_ok=True)
    gone = {case_id: (RELATIVE, reason) for case_id, reason in relatives.items()}
    if cohort.matching.on:
        if intake.labels.unit != "patient":
            raise StudyError("cohort.matching matches patients, the labels belong to cases; leave matching out")
        to_match = [case for case in cases if case.part != "test"]
        known = intake.describe_patients(to_match)
        matching = match_patients(known, _carriers(to_match, known.index), cohort.matching)
        write_table(matching_path, matching.sets)
        left_out = matching.left_out
        gone |= {c.case_id: (UNMATCHED, left_out[c.patient_id]) for c in to_match if c.patient_id in left_out}
    patients = {case.case_id: case.patient_id for case in intake.cases}
    rows = [
        Exclusion("case", case_id, patients[case_id], "cohort", rule, reason)
        for case_id, (rule, reason) in gone.items()
    ]
    return [case for case in cases if case.case_id not in gone], rows


def describe_clinic(intake: Intake, cases: Sequence[Case], genes: Sequence[str]) -> pd.DataFrame:
    """What the clinic knows of each case that tells neither who she is nor the result of her test.

    Numbers stay, with a decimal point, and dates become days from the scan. A word stays where at least three patients
    share it and is ``other`` elsewhere; a column of nothing else is left out, and so are columns named after a gene, a
    variant or a label. As words count numbers of a column named as an id or that only rise from row to row, and whole
    ones of more than four digits; the latter two stay where the name says what is measured (age, size, volume, …).

    Args:
        intake: With the clinical table and the exams' dates.
        cases: Those of the study.
        genes: Of the study.

    Returns:
        ``case_id`` and a column a fact, text, an empty cell where it is unknown; ``case_id`` alone where nothing is.
    """
    rows = {case.case_id: intake.clinical[case.patient_id] for case in cases if case.patient_id in intake.clinical}
    names = list(dict.fromkeys(name for row in rows.values() for name in (*row.details, *row.dates)))
    if hidden := [name for name in names if tells_label(name, genes)]:
        log.warning("the clinical table: %s may tell the label and is left out of models", ", ".join(hidden))
    table = pd.DataFrame({"case_id": [case.case_id for case in cases]})
    sides = {name: "bilateral" if len(row.affected) > 1 else "".join(row.affected) for name, row in rows.items()}
    columns = {"affected_side": [sides.get(case.case_id, "") for case in cases]}
    chosen = {case.patient_id for case in cases}
    for name in (name for name in names if name not in hidden):
        if any(name in row.dates for row in rows.values()):
            columns[f"{name}_days"] = [_count_days(intake, case, name) for case in cases]
            continue
        known = {who: row.details.get(name, "") for who, row in intake.clinical.items() if who in chosen}
        cells = _code_cells(name, {who: cell for who, cell in known.items() if cell})
        columns[name] = [cells.get(case.patient_id, "") for case in cases]
    if unread := [name for name, cells in columns.items() if {*cells} - {""} == {OTHER}]:
        log.warning(
            "the clinical table: left out as ids or free text: %s; a name such as size_mm says that it is measured",
            ", ".join(unread),
        )
    return table.assign(**{name: cells for name, cells in columns.items() if {*cells} - {"", OTHER}})


def _count_days(intake: Intake, case: Case, name: str) -> str:
    """Days from the scan to a date of the clinic's, or nothing where either is unknown."""
    row, facts = intake.clinical.get(case.patient_id), intake.facts.get(case.case_id)
    day = row.dates.get(name) if row else None
    return str((day - facts.day).days) if day and facts and facts.day else ""


def _code_cells(name: str, known: dict[str, str]) -> dict[str, str]:
    """What may be told of a column: measurements as they are, and words that enough patients share.

    Args:
        name: Of the column.
        known: Its cell by patient, none of them empty, in the order of the table.
    """
    shared = Counter(known.values())
    numbers = {cell: float(cell.replace(",", ".")) for cell in shared if _NUMBER.fullmatch(cell)}
    if names_identifier(name):
        numbers = {}
    elif not _MEASURE.search(split_words(name)):
        counted = _is_running([numbers[cell] for cell in known.values() if cell in numbers])
        numbers = {} if counted else {c: value for c, value in numbers.items() if abs(value) <= LONGEST or value % 1}
    told = {cell: cell.replace(",", ".") for cell in numbers}
    return {who: told.get(cell, cell if shared[cell] >= FEWEST_ALIKE else OTHER) for who, cell in known.items()}


def _is_running(values: list[float]) -> bool:
    """Whether numbers say who came when: whole, never twice, in the table's order or without gaps."""
    if len(values) < FEWEST_COUNTED or len(set(values)) < len(values) or any(value % 1 for value in values):
        return False
    steps = np.diff(values)
    return bool((steps > 0).all() or (steps < 0).all() or max(values) - min(values) < 1.1 * len(values))


def _carriers(cases: list[Case], patients: pd.Index) -> pd.Series:
    """Whether each patient has a positive case."""
    positive = {case.patient_id for case in cases if case.label == 1}
    return pd.Series([patient in positive for patient in patients], patients)


def _compare(
    intake: Intake,
    evidence: list[LabelEvidence],
    included: list[tuple[Case, Inspection]],
    chosen: list[Case],
    matched_on: tuple[str, ...],
) -> pd.DataFrame:
    """Who was tested beside who was not, carriers beside non-carriers, before and after matching."""
    everyone = intake.describe_patients(intake.cases)
    tested = {proof.patient_id for proof in evidence if proof.label is not None}
    is_tested = pd.Series(everyone.index.isin(list(tested)), everyone.index)
    tables = [] if is_tested.all() else [compare_groups(everyone, is_tested, ~is_tested, "tested")]
    by_design = [("chosen", chosen)] if len(chosen) < len(included) else []
    for comparison, cases in (("carriers", [case for case, _ in included]), *by_design):
        known = intake.describe_patients(cases)
        carrier = _carriers(cases, known.index)
        tables.append(compare_groups(known, carrier, ~carrier, comparison))
    table = pd.concat(tables, ignore_index=True)
    still = set(find_unlike(table[table["comparison"] == "chosen"])) & set(matched_on)
    if still:
        log.warning("matching leaves the classes unlike in %s: use a smaller caliper", ", ".join(sorted(still)))
    if unlike := find_unlike(table[table["comparison"] == "tested"]):
        names = ", ".join(name.removeprefix(SCAN_PREFIX) for name in unlike)
        log.warning("tested and untested patients differ (%s): what is found holds for who is tested", names)
    return table


def _write_folds(study: Study, stage: Stage, cases: list[Case]) -> dict[str, str]:
    """Write ``folds.csv``; a cohort too small to be split can still be preprocessed and looked at."""
    try:
        plan = plan_folds(cases, study.cohort.splits, study.seed)
    except DataError as error:
        for name in ("folds.csv", CHECKSUM):
            (stage.folder / name).unlink(missing_ok=True)
        return {"no_folds": str(error)}
    return {"folds_hash": write_folds(plan, stage.folder)}


def _select(
    study: Study, stage: Stage, intake: Intake, evidence: list[LabelEvidence], workers: int
) -> tuple[list[tuple[Case, Inspection]], list[Exclusion]]:
    pairs = list(zip(intake.cases, evidence, strict=True))
    usable = [case for case, proof in pairs if proof.label is not None and case.case_id not in intake.lost]
    inspected = _inspect_all(study, stage, usable, workers)
    included: list[tuple[Case, Inspection]] = []
    exclusions: list[Exclusion] = []
    for case, proof in pairs:
        found = inspected.get(case.case_id)
        if proof.label is None:
            rule, reason = "label", proof.reason
        elif case.case_id in intake.lost:
            rule, reason = intake.lost[case.case_id]
        elif isinstance(found, Inspection):
            included.append((replace(case, label=proof.label, scan=case.scan | found.scan), found))
            continue
        else:
            rule, reason = "image", str(found)
        label = None if rule in BY_DESIGN else proof.label
        exclusions.append(Exclusion("case", case.case_id, case.patient_id, "cohort", rule, reason, label))
    return included, exclusions


def _inspect_all(study: Study, stage: Stage, cases: list[Case], workers: int) -> dict[str, Inspection | str]:
    """Inspection, or why there is none, by case; what was read before, by content, is not read again."""
    memory_path = study.root / ".genovox" / "inspections.json"
    memory = recall(memory_path)
    keys = {
        case.case_id: hash_content([INSPECTION_FORMAT, *((Path(i).name, stage.inputs[i]) for i in case.images)])
        for case in cases
    }
    found: dict[str, Inspection | str] = {
        case.case_id: Inspection(**memory[keys[case.case_id]]) for case in cases if keys[case.case_id] in memory
    }
    tasks = [(case.case_id, case.image_paths(study.root)) for case in cases if case.case_id not in found]
    if not tasks:
        return found
    of_machine: dict[str, str] = {}
    try:
        with show_progress("reading scans", len(tasks)) as advance:
            for outcome in run_many(inspect_case, tasks, workers=workers, describe=lambda task: task[0]):
                case_id = outcome.item[0]
                found[case_id] = outcome.value or outcome.failure
                if outcome.of_machine:
                    of_machine[case_id] = outcome.failure
                if outcome.value:
                    memory[keys[case_id]] = asdict(outcome.value)
                advance()
    finally:
        with suppress(PermissionError):
            write_json(memory_path, memory)
    refuse_machine_failures(of_machine, "case")
    return found


def _warn_of_strangers(cases: list[Case], labels: LabelSource, *, show: bool) -> None:
    """Warn of ids that name nobody; a case's id in a table is as it was written, and may be a patient's own."""
    known = {case.patient_id if labels.unit == "patient" else case.case_id for case in cases}
    strangers = [key for key in labels.rows if key not in known]
    if strangers:
        log.warning(
            "%s: %d of %d ids name a %s that is not among the images%s",
            labels.name,
            len(strangers),
            len(labels.rows),
            labels.unit,
            f" ({strangers[0]}…)" if show else "",
        )


def _evidence_table(evidence: list[LabelEvidence]) -> pd.DataFrame:
    table = pd.DataFrame([asdict(row) for row in evidence])
    table["label"] = ["" if row.label is None else str(row.label) for row in evidence]
    return table
