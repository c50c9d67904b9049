"""All tests of a study as one source of labels: tables, MAF and VCF files, classified by published classes."""

import functools
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

import pandas as pd

from genovox.core.case import Case
from genovox.core.errors import StudyError, TableError
from genovox.core.log import write_count
from genovox.genetics.calls import CallFile, SampleCalls, read_calls
from genovox.genetics.classifications import UNCLASSIFIED, Classifications, Release
from genovox.genetics.clinvar import read_classifications
from genovox.genetics.coverage import FULL, Panel, describe_gaps, read_bed, read_panels, share_read
from genovox.genetics.genes import list_located, locate_gene, suggest_genes
from genovox.genetics.labels import LabelEvidence
from genovox.genetics.laboratory import FUTURE, UNREAD, Row, RowReader, is_future
from genovox.genetics.status import Finding, Rules, cite

_CALL_SUFFIXES = (".vcf", ".vcf.gz", ".vcf.bgz", ".bcf")
SMALL_VARIANTS_ONLY = "read for small variants alone: deletions and duplications of exons (CNV) were not looked for"


@dataclass(frozen=True)
class Sources:
    """What a study derives its labels from.

    Attributes:
        tests: Laboratory tables, MAF and VCF or BCF files; the rows of a patient are taken together.
        genes: The listed genes.
        vus: ``negative``: a VUS counts as none found; otherwise one in a listed gene leaves the patient out.
        other_genes: ``negative``: a carrier of a gene outside the list may be a 0; otherwise that one is left out.
        classifications: ClinVar's releases and curated sheets.
        panels: ``panels.csv``, or None.
        coverage: BED files of what was read: named after one sample for that one, otherwise for all samples.
        minimum_review: ClinVar's review status, 0 to 4 stars, below which a class is passed over.
        precedence: Whose class counts where sources disagree; empty: experts, then the newest.
        calls_origin: ``germline`` where VCF files hold germline calls and nothing else in the study says so.
    """

    tests: Sequence[Path]
    genes: Sequence[str] = ("BRCA1", "BRCA2")
    vus: str = "exclude"
    other_genes: str = "exclude"
    classifications: Sequence[Path] = ()
    panels: Path | None = None
    coverage: Sequence[Path] = ()
    minimum_review: int = 1
    precedence: tuple[str, ...] = ()
    calls_origin: str = "unknown"


@dataclass(frozen=True)
class GeneticTests:
    """What the tests say of each patient.

    Attributes:
        name: Names of the files.
        rows: Label, source and reason by the study's patient id; nothing of a variant but its class is kept.
        unit: Tests belong to patients.
        findings: The same with status and evidence; evidence holds variants and dates and is no part of a run.
        notes: What is odd about the files.
    """

    name: str
    rows: dict[str, tuple[int | None, str, str]]
    unit: str = "patient"
    findings: dict[str, Finding] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()

    def find_evidence(self, case: Case) -> LabelEvidence:
        """The label of a case's patient, or the reason there is none."""
        if case.patient_id not in self.rows:
            reason = f"not tested: no row in {self.name} for patient {case.patient_id}; "
            reason += "absence of a row is never a negative"
            return LabelEvidence(case.case_id, case.patient_id, None, "", reason)
        label, source, reason = self.rows[case.patient_id]
        statuses = "; ".join(f"{gene} {status}" for gene, status in self.findings[case.patient_id].statuses.items())
        return LabelEvidence(case.case_id, case.patient_id, label, source, reason, statuses)

    def as_table(self) -> pd.DataFrame:
        """``patient_id,label,<GENE>_status,...,evidence,reason,warnings``, a row a patient, all text."""
        return pd.DataFrame(
            [
                {
                    "patient_id": patient_id,
                    "label": "" if finding.label is None else str(finding.label),
                    **{f"{gene}_status": status for gene, status in finding.statuses.items()},
                    "evidence": finding.evidence,
                    "reason": finding.reason,
                    "warnings": "; ".join(finding.warnings),
                }
                for patient_id, finding in self.findings.items()
            ]
        )


def read_genetic_tests(sources: Sources, *, pseudonym: Callable[[str], str] = str) -> GeneticTests:
    """Read all tests and derive each patient's label.

    1 is a pathogenic or likely pathogenic germline variant in a listed gene, by rows that agree on that variant. 0 is
    every listed gene tested in full in the germline and none found. Anything else has no label, with the reason.

    Args:
        sources: Files and policies.
        pseudonym: From a file's patient id to the study's.

    Raises:
        StudyError: If no gene is listed.
        TableError: For a file that cannot be read, lacks a column or has an empty patient id, for two patients under
            one pseudonym, or calls and classifications of two assemblies.
    """
    listed = RowReader(()).read_genes(";".join(sources.genes))
    if not listed:
        raise StudyError(
            f"cohort.genes must list at least one gene symbol and nothing else, got {list(sources.genes)}; "
            'write them as in genes = ["BRCA1", "BRCA2"]'
        )
    wanted = frozenset({*listed, *list_located()})
    releases = [
        _recall_release(path, wanted, sources.minimum_review) for path in dict.fromkeys(sources.classifications)
    ]
    classifications = Classifications(tuple(releases), sources.precedence)
    panels = read_panels(sources.panels) if sources.panels else {}
    patients = _Patients(pseudonym)
    paths = list(dict.fromkeys(sources.tests))
    names = _name_tables(paths)
    reader = RowReader(listed, classifications, panels)
    files: list[CallFile] = []
    for path, name in zip(paths, names, strict=True):
        if path.name.lower().endswith(_CALL_SUFFIXES):
            file = read_calls(path, name, genes=wanted)
            named_after_one = any(sample.casefold() in name.casefold() for sample in file.samples)
            files.append(replace(file, name=f"calls {len(files) + 1}") if named_after_one else file)
        else:
            reader.read_table(path, name, patients.keep)
    for file in files:
        for release in releases:
            if release.assembly not in ("", file.assembly):
                raise TableError(
                    f"{file.name} is {file.assembly} and {release.name} is {release.assembly}: both must be of one "
                    "assembly; take ClinVar's VCF of the other"
                )
    beds = {path: read_bed(path, genes=listed) for path in dict.fromkeys(sources.coverage)}
    adopter = _CallAdopter(listed, classifications, panels, beds, sources.calls_origin)
    called = {pseudonym(sample) for file in files if not file.is_somatic for sample in file.samples}
    patients.settle_pointers(called, files, pseudonym)
    for file in files:
        for sample, calls in file.samples.items():
            for row in adopter.adopt_sample(file, sample, calls, patients.rows.get(pseudonym(sample), [])):
                patients.keep(sample, row)
    today = _find_newest(patients.rows, [release.released for release in releases])
    rules = Rules(listed, sources.vus == "negative", sources.other_genes == "negative", classifications, today)
    findings = {key: rules.judge_patient(rows) for key, rows in patients.rows.items()}
    labels = {key: (finding.label, finding.source, finding.reason) for key, finding in findings.items()}
    notes = [
        f"{release.name}: {release.unread} entries of the genes hold no class or no name that is read"
        for release in releases
        if release.unread
    ]
    notes += adopter.describe_coverage(files)
    notes += _describe_strangers(listed, [row for rows in patients.rows.values() for row in rows], panels, files)
    notes += _describe_dates([row for rows in patients.rows.values() for row in rows], releases)
    warnings = Counter(warning for finding in findings.values() for warning in finding.warnings)
    notes += [f"{write_count(count, 'patient')}: {warning}" for warning, count in warnings.most_common()]
    return GeneticTests(", ".join(names), labels, findings=findings, notes=tuple(notes))


def _recall_release(path: Path, genes: frozenset[str], minimum_review: int) -> Release:
    """A file of classifications; one that did not change is read once a process, since ClinVar's takes minutes."""
    try:
        status = path.stat()
    except OSError:
        return read_classifications(path, genes=genes, minimum_review=minimum_review)
    return _read_release(path, (status.st_size, status.st_mtime_ns), genes, minimum_review)


@functools.lru_cache(maxsize=8)
def _read_release(
    path: Path,
    stamp: tuple[int, int],  # noqa: ARG001 - tells one content from another
    genes: frozenset[str],
    minimum_review: int,
) -> Release:
    return read_classifications(path, genes=genes, minimum_review=minimum_review)


class _Patients:
    """Rows by the study's patient id; two patients never share one."""

    def __init__(self, pseudonym: Callable[[str], str]) -> None:
        self.rows: dict[str, list[Row]] = {}
        self._raw_ids: dict[str, str] = {}
        self._pseudonym = pseudonym

    def keep(self, raw_id: str, row: Row) -> None:
        key = self._pseudonym(raw_id)
        rows = self.rows.setdefault(key, [])
        if self._raw_ids.setdefault(key, raw_id) != raw_id:
            raise TableError(
                f"{cite([row])}: each patient must have a pseudonym of their own, got that of {cite(rows)}; "
                "write one patient's id alike in all rows, or make a new key"
            )
        rows.append(row)

    def settle_pointers(
        self, called: Collection[str], files: Sequence[CallFile], pseudonym: Callable[[str], str]
    ) -> None:
        """Rows that point to calls count only with the calls, and not for genes with a site that was not called."""
        gaps: dict[str, set[str]] = {}
        for file in files:
            for sample, calls in file.samples.items():
                gaps.setdefault(pseudonym(sample), set()).update(calls.uncalled)
        for key, rows in self.rows.items():
            for index, row in enumerate(rows):
                if not row.is_pointer:
                    continue
                if key in called:
                    rows[index] = replace(row, full=row.full - gaps[key])
                else:
                    problem = f"{cite([row])} points to calls, no germline VCF among the tests holds them: give it"
                    rows[index] = replace(row, problem=problem)


@dataclass(frozen=True)
class _CallAdopter:
    """Turns a sample's calls and what was read of it into rows."""

    listed: tuple[str, ...]
    classifications: Classifications
    panels: Mapping[str, Panel]
    beds: Mapping[Path, Mapping[str, Sequence[tuple[int, int]]]]
    calls_origin: str

    def adopt_sample(self, file: CallFile, sample: str, calls: SampleCalls, reports: Sequence[Row]) -> list[Row]:
        """One row a call that has a class or lies near an exon, and one row of the genes read in full."""
        told = {row.origin for row in reports if row.is_pointer}
        origin = "somatic" if file.is_somatic else told.pop() if len(told) == 1 else self.calls_origin
        rows = []
        for call in calls.calls:
            given = self.classifications.find({call.gene}, call.names)
            verdict = self.classifications.choose(given)
            if verdict.chosen.category == UNCLASSIFIED and not call.near_exon:
                continue
            warnings = [f"sources disagree: {verdict.disagreement}"] if verdict.disagreement else []
            rows.append(
                Row(
                    table=file.name,
                    number=0,
                    genes=frozenset({call.gene}),
                    named=True,
                    names=call.names,
                    classification=verdict.chosen.category,
                    detected=True,
                    tested=frozenset(),
                    scope="",
                    origin=origin,
                    is_likely=verdict.chosen.is_likely,
                    doubt=", ".join(call.weak),
                    place=call.place,
                    warnings=tuple(warnings),
                    variant=next(iter(sorted(call.names))),
                    sources=tuple(given),
                )
            )
        full, gaps, cnv = self._list_full(file, sample, calls)
        rows.append(
            Row(
                table=file.name,
                number=0,
                genes=frozenset(),
                named=False,
                names=frozenset(),
                classification=UNCLASSIFIED,
                detected=False,
                tested=frozenset(full),
                scope=FULL if full else "",
                origin=origin,
                full=frozenset(full),
                doubt=", ".join(gaps),
                limits=() if cnv == "yes" or not full else (SMALL_VARIANTS_ONLY,),
            )
        )
        return rows

    def describe_coverage(self, files: Sequence[CallFile]) -> list[str]:
        """What the BED files leave out, by file and gene; one named after a sample is not named."""
        if self.beds and not files:
            return ["coverage has no effect: there is no VCF among the tests"]
        samples = {sample.casefold() for file in files for sample in file.samples}
        shared: dict[str, Mapping[str, Sequence[tuple[int, int]]]] = {}
        for index, (path, name) in enumerate(zip(self.beds, _name_tables(list(self.beds)), strict=True), start=1):
            if _tell_owner(path) not in samples:
                is_personal = any(sample in name.casefold() for sample in samples)
                shared[f"coverage {index}" if is_personal else name] = self.beds[path]
        single = [bed for path, bed in self.beds.items() if _tell_owner(path) in samples]
        notes: dict[str, None] = {}
        for assembly in dict.fromkeys(file.assembly for file in files):
            genes = [gene for gene in self.listed if not any(gene in one.list_full() for one in self.panels.values())]
            notes |= dict.fromkeys(describe_gaps(shared, genes, assembly))
            short = [bed for bed in single if describe_gaps({"": bed}, genes, assembly)]
            if short:
                notes[
                    f"{len(short)} of {len(single)} BED files of one sample do not cover all of {', '.join(genes)}"
                ] = None
        return list(notes)

    def _list_full(self, file: CallFile, sample: str, calls: SampleCalls) -> tuple[list[str], list[str], str]:
        """Listed genes read in full by the panel, the BED or the gVCF, what is missing, and the panel's word on CNV."""
        stem = file.name.rpartition("/")[2].lower().partition(".")[0]
        panel = self.panels.get(stem) or (next(iter(self.panels.values())) if len(self.panels) == 1 else None)
        owners = {other.casefold() for other in file.samples}
        own = [bed for path, bed in self.beds.items() if _tell_owner(path) == sample.casefold()]
        beds = own or [bed for path, bed in self.beds.items() if _tell_owner(path) not in owners]
        full, gaps = [], []
        for symbol in self.listed:
            gene = locate_gene(symbol, file.assembly)
            if calls.uncalled.get(symbol):
                gaps.append(f"{symbol} has a site without a genotype")
                continue
            by_panel = panel is not None and symbol in panel.list_full()
            stretches = [*calls.read.get(symbol, [])]
            if gene:
                stretches += [stretch for bed in beds for stretch in bed.get(gene.chromosome, ())]
            share = 1.0 if by_panel else share_read(gene, stretches) if gene else 0.0
            if share == 1.0:
                full.append(symbol)
            elif share or (gene and beds):
                gaps.append(f"{symbol} read to {100 * min(share, 0.999):.1f}%")
        return full, gaps, panel.cnv if panel else ""


def _tell_owner(bed: Path) -> str:
    """The sample a BED is named after, if there is one of that name."""
    return bed.name.partition(".")[0].casefold()


def _find_newest(patients: Mapping[str, Sequence[Row]], released: Sequence[date | None]) -> date | None:
    """The newest day that is not in the future."""
    days = [row.tested_on for rows in patients.values() for row in rows if row.tested_on]
    return max([*days, *(day for day in released if day and not is_future(day))], default=None)


def _describe_strangers(
    listed: Sequence[str], rows: Sequence[Row], panels: Mapping[str, Panel], files: Sequence[CallFile]
) -> list[str]:
    """Listed genes that nothing speaks of: nobody can be negative for one."""
    named = {gene for row in rows for gene in {*row.genes, *row.full, *(row.tested or ())}}
    named |= {gene for panel in panels.values() for gene in panel.genes}
    located = set(list_located())
    notes = []
    for gene in listed:
        if gene in named or (files and gene in located):
            continue
        meant = suggest_genes(gene, (named | located) - set(listed)) if gene not in located else ()
        notes.append(f"no row names {gene}" + (f"; did you mean {' or '.join(sorted(meant))}?" if meant else ""))
    return notes


def _describe_dates(rows: Sequence[Row], releases: Sequence[Release]) -> list[str]:
    """Which dates are left out: how many rows of each table, and the first of them."""
    notes = [
        f"{release.name}: {FUTURE} is left out; correct the name or the head of the release"
        for release in releases
        if release.released and is_future(release.released)
    ]
    advice = {FUTURE: "correct it", UNREAD: "write it as YYYY-MM-DD"}
    for table in dict.fromkeys(row.table for row in rows):
        for fault, next_step in advice.items():
            numbers = sorted(row.number for row in rows if row.table == table and row.date_fault == fault)
            if numbers:
                count = f"{write_count(len(numbers), 'row')}, the first row {numbers[0]}"
                notes.append(f"{table}: {fault} is left out ({count}); {next_step}")
    return notes


def _name_tables(paths: Sequence[Path]) -> list[str]:
    """File names, with their folder where two are alike."""
    names = [path.name for path in paths]
    return [path.name if names.count(path.name) == 1 else f"{path.parent.name}/{path.name}" for path in paths]
