"""One small study, run from scans to explanations once; each test may read it or copy it to change it."""

import csv
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from examples import shapes
from genovox.audit import stage as audit_stage
from genovox.cohort import stage as cohort_stage
from genovox.core.artifacts import Stage
from genovox.core.study import Study
from genovox.evaluate import stage as evaluate_stage
from genovox.explain import stage as explain_stage
from genovox.preprocess import stage as preprocess_stage
from genovox.report import stage as report_stage
from genovox.report.results import Results, read_results
from genovox.train import crossval
from tests.conftest import FinishedRun

SITE = "<script>alert('site')</script> & Co"
PATIENTS = 24
STUDY = """
[study]
name = "tiny"
[cohort]
images = "manifest.csv"
labels = "labels.csv"
[cohort.splits]
folds = 2
stratify_by = ["label"]
part_column = "split"
[preprocess]
spacing_mm = [6.0, 6.0, 6.0]
shape = [16, 16, 16]
channels = ["pre", "subtraction1"]
[train]
models = ["light"]
epochs = 1
[evaluate]
resamples = 200
[audit]
permutations = 200
[explain]
cases_per_group = 1
[report]
qc_pictures = 3
"""


@dataclass(frozen=True)
class TinyRun:
    """A study and its run folder, finished but for the report."""

    study: Study
    run: Path

    def read(self) -> Results:
        return read_results(self.study, self.run)

    def report(self) -> Stage:
        stage = report_stage.open_stage(self.study, self.run, "cpu")
        stage.bring_up_to_date(lambda: report_stage.build_stage(self.study, stage, 1))
        return stage

    def finish(self) -> None:
        """Bring every stage before the report up to date."""
        for module in (cohort_stage, preprocess_stage, crossval, evaluate_stage, audit_stage, explain_stage):
            stage = module.open_stage(self.study, self.run, "cpu")
            stage.bring_up_to_date(partial(module.build_stage, self.study, stage, 1))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """24 patients, 6 of them a fixed test part; one unreadable scan, one without a label, a site that bites."""
    root = tmp_path_factory.mktemp("tiny")
    _write_inputs(root)
    tiny = TinyRun(Study.load(root / "study.toml"), root / "run")
    tiny.study.save_snapshot(tiny.run)
    tiny.finish()
    return tiny


@pytest.fixture(scope="session")
def archive(finished_archive_run: FinishedRun) -> TinyRun:
    """The run of the simulated hospital: DICOM, lesions, the oracle."""
    return TinyRun(Study.load_snapshot(finished_archive_run.run), finished_archive_run.run)


@pytest.fixture(scope="session")
def archive_page(archive: TinyRun) -> str:
    """The page of the archive's run."""
    return (archive.run / "report" / "index.html").read_text(encoding="utf-8")


@pytest.fixture
def copied(tiny: TinyRun, tmp_path: Path) -> TinyRun:
    """The same run in a folder of its own, to be changed."""
    run = tmp_path / "run"
    shutil.copytree(tiny.run, run)
    return TinyRun(tiny.study, run)


@pytest.fixture(scope="session")
def page(tiny: TinyRun) -> str:
    """The page of the tiny run."""
    stage = tiny.report()
    return (stage.folder / "index.html").read_text(encoding="utf-8")


def _write_inputs(root: Path) -> None:
    shapes.write_scans(root, patients=PATIENTS, seed=7)
    rows = [["case_id", "patient_id", "image", "site", "vendor", "split"]]
    for number in range(PATIENTS):
        name = f"P{number + 1:03d}"
        images = ";".join(f"scans/{name}_{phase}.nii.gz" for phase in shapes.PHASES)
        part = "test" if number >= PATIENTS - 6 else "train"
        site = SITE if number % 3 else "North"
        rows.append([name, name, "scans/gone.nii.gz" if number == 0 else images, site, "GE", part])
    with (root / "manifest.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    labels = (root / "labels.csv").read_text(encoding="utf-8")
    (root / "labels.csv").write_text(labels.replace("P004,1", "P004,"), encoding="utf-8")
    (root / "study.toml").write_text(STUDY, encoding="utf-8")
