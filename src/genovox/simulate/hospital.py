"""The whole simulated cohort on disk: scans as DICOM, tables as a laboratory, a clinic and a reader hand them over."""

import datetime as dt
import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from genovox.core.artifacts import read_json, write_json, write_table, write_text
from genovox.core.errors import UsageError
from genovox.core.seeds import derive_seed
from genovox.core.tasks import refuse_machine_failures, run_many, show_progress
from genovox.simulate.acquisition import Exam, acquire, draw_tissues, open_grid
from genovox.simulate.anatomy import Grid, Map, build_anatomy, draw_build
from genovox.simulate.dicom import Series, Slices, Study, slice_volume, write_series
from genovox.simulate.genetics import clinical_table, genetic_tests_table
from genovox.simulate.lesion import Lesion, draw_lesion, place_lesions
from genovox.simulate.patients import Patient, Shortcut, draw_patients
from genovox.simulate.phenotype import Effect
from genovox.simulate.preview import PREVIEWED, draw_strip, join_strips
from genovox.simulate.sites import BASE_MATRIX, Site, open_sites

FORMAT = 1
BIOPSY_SHARE = 0.06
STUDY_FILE = """# A simulated hospital. Every key and what it means: docs/study-file.md
[study]
schema = 1
name = "{name}"
seed = {seed}

[cohort]
images = "dicom"
tests = ["genetic_tests.csv"]
genes = ["BRCA1", "BRCA2"]
unit = "lesion"                   # crops around the points of marks.csv
clinical = "clinical.csv"
marks = "marks.csv"

[cohort.splits]
folds = 3
repeats = 1

[preprocess]                      # spacing and shape are x, y, z
spacing_mm = [1.5, 1.5, 1.5]
shape = [48, 48, 48]
foreground = "body"
normalise = "joint-z"
channels = ["subtraction1"]       # on so few patients one channel that shows the lesion teaches more than three

[augment]
preset = "isotropic"              # seen up close, a lesion has no left, right, front or back

[train]
models = ["light", "oracle"]      # oracle: the best score the simulated images allow, from truth.csv
epochs = 80

[audit]
minimum_auc = 0.60                # what would be useful; fix it before you look
"""


@dataclass(frozen=True)
class Plan:
    """What ``genovox simulate`` was asked for; kept beside the cohort, so that the same command goes on."""

    patients: int
    effect: Effect
    prevalence: float
    sites: int
    shortcut: Shortcut
    site_prevalences: tuple[float, ...]
    seed: int
    matrix: int = BASE_MATRIX

    @classmethod
    def parse(cls, *, site_prevalences: str, **values: Any) -> Self:
        """A plan as the command line gives it.

        Args:
            site_prevalences: Shares joined by commas, or empty.
            values: The other fields.

        Raises:
            UsageError: If a share is no number; ``draw`` checks everything else.
        """
        try:
            shares = tuple(float(share) for share in site_prevalences.split(",") if share.strip())
        except ValueError:
            raise UsageError(
                f"--site-prevalences takes numbers joined by commas such as 0.1,0.4, got {site_prevalences!r}"
            ) from None
        return cls(site_prevalences=shares, **values)

    def draw(self) -> list[Patient]:
        """The patients of this plan.

        Raises:
            UsageError: For a value that breaks a rule of ``draw_patients``.
        """
        return draw_patients(
            patients=self.patients,
            effect=self.effect,
            prevalence=self.prevalence,
            sites=self.sites,
            shortcut=self.shortcut,
            site_prevalences=self.site_prevalences,
            seed=self.seed,
        )


@dataclass(frozen=True)
class _Task:
    out: Path
    plan: Plan
    patient: Patient
    number: int
    strip: bool


def simulate_cohort(out: Path, plan: Plan, *, preview: bool, workers: int) -> list[Patient]:
    """Write ``dicom/``, the tables, ``study.toml`` and, if asked, ``preview.png``.

    A patient whose scans are finished is kept, so that an interrupted command goes on where it stopped.

    Args:
        out: Folder to write in.
        plan: What was asked for.
        preview: Whether to draw the picture sheet.
        workers: Processes at once.

    Raises:
        UsageError: If the plan breaks a rule, or another cohort or other files lie there.
    """
    patients = plan.draw()
    record = {"format": FORMAT, "plan": json.loads(json.dumps(asdict(plan)))}
    path = out / "simulation.json"
    if path.is_file():
        if read_json(path) != record:
            raise UsageError(f"{out} holds another simulated cohort (see {path.name}); choose another folder")
    elif out.exists() and not out.is_dir():
        raise UsageError(f"{out} must be a folder, it is a file; choose another place")
    elif out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} must be empty or new, it holds files; choose another folder")
    write_json(path, record)
    tasks = [
        _Task(out, plan, patient, number, preview and number < PREVIEWED) for number, patient in enumerate(patients)
    ]
    failures: dict[str, str] = {}
    with show_progress("simulating", len(tasks)) as advance:
        for outcome in run_many(
            _simulate_patient, tasks, workers=workers, describe=lambda task: task.patient.patient_id
        ):
            if outcome.failure:
                failures[outcome.item.patient.patient_id] = outcome.failure
            advance()
    refuse_machine_failures(failures, "patient")
    truth = [read_json(_truth_path(out, patient)) for patient in patients]
    tables = {
        "truth.csv": pd.DataFrame([entry["truth"] for entry in truth]),
        "marks.csv": pd.DataFrame([mark for entry in truth for mark in entry["marks"]]),
        "genetic_tests.csv": genetic_tests_table(patients, seed=plan.seed),
        "clinical.csv": clinical_table(patients),
    }
    # What is there stays: it is a study to start from, and somebody may have.
    for table_name, table in tables.items():
        if not (out / table_name).exists():
            write_table(out / table_name, table)
    name = f"simulated-{plan.effect}" + ("" if plan.shortcut == "none" else f"-{plan.shortcut}")
    if not (out / "study.toml").exists():
        write_text(out / "study.toml", STUDY_FILE.format(name=name, seed=plan.seed))
    if preview:
        join_strips([_strip_path(out, patient) for patient in patients[:PREVIEWED]], out / "preview.png")
    return patients


def render_patient(patient: Patient, site: Site, random: np.random.Generator) -> tuple[Exam, Grid, list[Lesion]]:
    """Draw a patient and measure her: the images, their grid, and where the lesions are."""
    grid = open_grid(site, random)
    anatomy = build_anatomy(patient, draw_build(patient, random), grid, random)
    lesions = place_lesions(patient, anatomy, grid, random)
    for lesion in lesions:
        anatomy.displace(*draw_lesion(patient, lesion, grid, random))
    site = replace(site, sequence=replace(site.sequence, dose=float(np.exp(random.normal(0, 0.05)))))
    return acquire(anatomy, draw_tissues(patient, random), grid, site, random), grid, lesions


def _simulate_patient(task: _Task) -> bool:
    record = _truth_path(task.out, task.patient)
    folder = task.out / "dicom" / task.patient.patient_id
    if record.exists() and folder.exists() and (not task.strip or _strip_path(task.out, task.patient).exists()):
        return True
    with threadpool_limits(1):
        random = np.random.default_rng(derive_seed(task.plan.seed, "simulate", "scan", task.number))
        site = open_sites(task.plan.sites, matrix=task.plan.matrix)[task.patient.site]
        exam, grid, lesions = render_patient(task.patient, site, random)
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        rgba = task.plan.shortcut == "format" and task.patient.gene != ""
        _write_scans(partial, task, site, exam, grid=grid, random=random, rgba=rgba)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    if task.strip:
        draw_strip(_strip_path(task.out, task.patient), task.patient, site, exam, grid=grid, lesion=lesions[0])
    write_json(record, {"truth": _truth_row(task.patient, site, lesions), "marks": _marks(task.patient, lesions)})
    return True


def _write_scans(
    folder: Path, task: _Task, site: Site, exam: Exam, *, grid: Grid, random: np.random.Generator, rgba: bool
) -> None:
    date = dt.date(2019, 1, 7) + dt.timedelta(days=int(random.integers(0, 1800)))
    entropy = f"{task.plan.seed}/{task.patient.patient_id}"
    study = Study(
        patient_id=task.patient.patient_id,
        site=site,
        entropy=entropy,
        name=site.study_name,
        date=date,
        start_s=float(random.integers(8 * 3600, 17 * 3600)),
        age=task.patient.age,
    )
    visit = folder / "1"
    _write_localizer(visit / "1", study, exam, grid)
    t2 = Series(2, "t2_tse_tra" if site.vendor == "SIEMENS" else "Ax T2 FSE", ("ORIGINAL", "PRIMARY"), 4200, 90, 150)
    cut = _thin_out(slice_volume(exam.t2, grid, plane="axial", rows_from_back=site.feet_first_rows))
    write_series(visit / "2", study, replace(t2, scanning="SE"), [cut], [study.start_s + 150])
    last = _write_dynamic(visit, study, exam, grid, rgba=rgba)
    difference = _cut_dynamic(np.maximum(exam.phases[1] - exam.phases[0], 0), grid, site)
    subtraction = replace(
        _dynamic_series(site, last + 1, site.subtraction, contrast=True),
        image_type=("DERIVED", "SECONDARY", "SUBTRACTION"),
    )
    write_series(visit / str(last + 1), study, subtraction, [difference], [study.start_s + 1500], rgba=rgba)
    if random.random() < BIOPSY_SHARE:
        later = replace(study, entropy=entropy + "/biopsy", name="MR GUIDED BIOPSY", date=date + dt.timedelta(14))
        for number, phase in enumerate(exam.phases[:2], start=1):
            guide = _dynamic_series(site, number, f"biopsy t1 {number}", contrast=number > 1)
            cut = _cut_dynamic(phase, grid, site)
            write_series(folder / "2" / str(number), later, guide, [cut], [later.start_s + 200 * number])


def _write_dynamic(visit: Path, study: Study, exam: Exam, grid: Grid, *, rgba: bool) -> int:
    """Write the dynamic phases the site's way; returns the number of the last series."""
    site = study.site
    cuts = [_cut_dynamic(phase, grid, site) for phase in exam.phases]
    bolus_s = study.start_s + 500
    times = [bolus_s + time for time in site.phase_times_s()]
    if site.packing == "one series":
        series = _dynamic_series(site, 3, site.names[0], contrast=True)
        series = replace(series, temporal=site.timing == "temporal position")
        write_series(visit / "3", study, series, cuts, times, rgba=rgba)
        return 3
    for number, (cut, time_s) in enumerate(zip(cuts, times, strict=True)):
        name = site.names[0] if number == 0 else site.names[1].format(k=number)
        series = _dynamic_series(site, 3 + number, name, contrast=number > 0)
        write_series(visit / str(3 + number), study, series, [cut], [time_s], rgba=rgba)
    return 2 + len(cuts)


def _cut_dynamic(volume: Map, grid: Grid, site: Site) -> Slices:
    """A volume in the site's dynamic plane, rows as the site stores them."""
    return slice_volume(volume, grid, plane=site.plane, rows_from_back=site.feet_first_rows)


def _dynamic_series(site: Site, number: int, name: str, *, contrast: bool) -> Series:
    sequence = site.sequence
    kind = ("ORIGINAL", "PRIMARY", "M", "ND")
    return Series(number, name, kind, sequence.tr_ms, sequence.te_ms, sequence.flip_deg, contrast=contrast)


def _write_localizer(folder: Path, study: Study, exam: Exam, grid: Grid) -> None:
    """Three planes, one slice each, in one series."""
    first = 1
    for plane in ("axial", "sagittal", "coronal"):
        cut = slice_volume(exam.phases[0], grid, plane=plane)
        middle = len(cut.pixels) // 2
        single = replace(cut, pixels=cut.pixels[middle : middle + 1], positions=cut.positions[middle : middle + 1])
        series = Series(1, "localizer", ("ORIGINAL", "PRIMARY", "LOCALIZER"), 8, 3.5, 20)
        first += write_series(folder, study, series, [single], [study.start_s + 20], first_instance=first)


def _thin_out(cut: Slices) -> Slices:
    """T2 slices about 5 mm apart, thicker than those of the dynamic series."""
    step = max(1, round(5 / cut.spacing_mm[2]))
    rows, columns, slices = cut.spacing_mm
    return replace(
        cut, pixels=cut.pixels[::step], positions=cut.positions[::step], spacing_mm=(rows, columns, slices * step)
    )


def _truth_row(patient: Patient, site: Site, lesions: list[Lesion]) -> dict[str, Any]:
    row = asdict(patient) | {"hospital": site.hospital, "label": int(patient.gene != "")}
    x, y, z = lesions[0].centre_mm
    place = {"lesion_x_mm": x, "lesion_y_mm": y, "lesion_z_mm": z, "lesion_radius_mm": lesions[0].radius_mm}
    return row | place | {"lesions": len(lesions)}


def _marks(patient: Patient, lesions: list[Lesion]) -> list[dict[str, str]]:
    """What a reader points at: the index lesion of each diseased breast, in RAS mm."""
    first = {lesion.side: lesion for lesion in reversed(lesions) if lesion.radius_mm == lesions[0].radius_mm}
    return [
        {
            "patient_id": patient.patient_id,
            "laterality": side,
            "point": ";".join(f"{value:.1f}" for value in lesion.centre_mm),
        }
        for side, lesion in sorted(first.items())
    ]


def _truth_path(out: Path, patient: Patient) -> Path:
    return out / ".simulation" / f"{patient.patient_id}.json"


def _strip_path(out: Path, patient: Patient) -> Path:
    return out / ".simulation" / f"{patient.patient_id}.png"
