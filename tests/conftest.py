"""What every stage's tests share: the real scans, small studies on disk, and one that is finished."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

import examples.shapes
from genovox.cli.main import run_command
from genovox.simulate.hospital import Plan, simulate_cohort
from genovox.simulate.patients import Patient
from genovox.simulate.sites import open_sites

SMALL_STUDY = """[study]
name = "small"
seed = 3
[cohort]
images = "manifest.csv"
labels = "labels.csv"
[cohort.splits]
folds = 3
[preprocess]
spacing_mm = [4.0, 4.0, 4.0]
shape = [24, 24, 24]
channels = ["pre", "subtraction1", "washout"]
[train]
models = ["light"]
epochs = 2
[evaluate]
resamples = 200
[audit]
permutations = 200
[explain]
cases_per_group = 1
"""
# torch looks for it once a process, at the first product of matrices on a GPU: whichever test that is.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def _forget_determinism() -> Iterator[None]:
    """Training has torch refuse, or warn of, kernels without a fixed order; no other test may depend on that."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].use_deterministic_algorithms(mode=False)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real scans; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("GENOVOX_REAL_DATA") or REPOSITORY.parent / "shared" / "data")
    if not (folder / "tcga-ao-a03m").is_dir():
        pytest.skip(f"NO REAL DATA at {folder}: set GENOVOX_REAL_DATA to the folder that holds tcga-ao-a03m")
    return folder


@pytest.fixture(scope="session")
def shapes() -> ModuleType:
    """The example that draws small synthetic scans."""
    return examples.shapes


@pytest.fixture
def shapes_study(shapes: ModuleType, tmp_path: Path) -> Callable[..., Path]:
    """Writes scans, labels, a manifest and a study file for the synthetic cohort; returns the study file."""

    def write(patients: int = 8, extra: str = "", name: str = "study.toml") -> Path:
        if not (tmp_path / "scans").exists():
            shapes.write_scans(tmp_path, patients=patients, seed=3)
        rows = ["case_id,patient_id,image,site"]
        for number in range(1, patients + 1):
            phases = ";".join(f"scans/P{number:03d}_{phase}.nii.gz" for phase in shapes.PHASES)
            rows.append(f"C{number:03d},P{number:03d},{phases},{'north' if number % 4 < 2 else 'south'}")
        if not (tmp_path / "manifest.csv").exists():
            (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
        lines = [
            "[cohort]",
            'images = "manifest.csv"',
            'labels = "labels.csv"',
            "[cohort.splits]",
            "folds = 2",
            "[preprocess]",
            "spacing_mm = [6.0, 6.0, 6.0]",
            "shape = [16, 16, 16]",
            extra,
        ]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
        return tmp_path / name

    return write


@dataclass(frozen=True)
class FinishedRun:
    """A study on disk whose every stage is done."""

    study: Path
    run: Path


def write_study(folder: Path, *, patients: int = 24) -> Path:
    """Write scans, manifest, labels and a study that fits a test."""
    scans = examples.shapes.write_scans(folder, patients=patients, seed=3)
    assert run_command(["init", str(scans), "--labels", str(folder / "labels.csv"), "--out", str(folder)]) == 0
    study = folder / "study.toml"
    study.write_text(SMALL_STUDY, encoding="utf-8")
    return study


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """A study of 24 patients, run from scans to report; read only."""
    study = write_study(tmp_path_factory.mktemp("finished"))
    assert run_command(["run", str(study), "--workers", "1", "--quiet"]) == 0
    return FinishedRun(study, study.parent / "runs" / "small")


@pytest.fixture(scope="session")
def simulated_hospital(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight patients of three hospitals, half of them carriers, as ``genovox simulate`` leaves them; read only."""
    out = tmp_path_factory.mktemp("hospital") / "cohort"
    plan = Plan(
        patients=8,
        effect="full",
        prevalence=0.5,
        sites=3,
        shortcut="none",
        site_prevalences=(),
        seed=7,
        matrix=64,
    )
    patients = simulate_cohort(out, plan, preview=False, workers=1)
    keep_every_fourth_slice(out, plan, patients)
    return out


def keep_every_fourth_slice(out: Path, plan: Plan, patients: list[Patient]) -> None:
    """Thin a simulated cohort out, so that reading it takes a fourth of the time."""
    sites = open_sites(plan.sites, matrix=plan.matrix)
    for patient in patients:
        slices = sites[patient.site].matrix[2]
        for folder in (out / "dicom" / patient.patient_id).glob("*/*"):
            files = sorted(folder.iterdir())
            stack = slices if len(files) % slices == 0 else len(files)  # T2 has a number of slices of its own
            for number, file in enumerate(files):
                if stack > PLANES_OF_LOCALIZER and number % stack % 4:
                    file.unlink()


PLANES_OF_LOCALIZER = 3
ARCHIVE_OPTIONS = (
    "--workers=1",
    "--quiet",
    "--set=cohort.splits.folds=2",
    "--set=preprocess.spacing_mm=[4.0, 4.0, 4.0]",
    "--set=preprocess.shape=[16, 16, 16]",
    "--set=train.epochs=1",
    "--set=evaluate.resamples=200",
    "--set=audit.permutations=200",
    "--set=explain.cases_per_group=1",
)
"""What makes a study of the simulated hospital small enough for a test."""


@contextmanager
def on_one_core() -> Iterator[None]:
    """Headers are read in this process: to start others takes longer than to read a small tree."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("genovox.scans.index.available_cores", lambda: 1)
        yield


@pytest.fixture(scope="session")
def finished_archive_run(simulated_hospital: Path, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """The simulated hospital, a case a lesion, run from DICOM to report with the oracle; read only."""
    folder = tmp_path_factory.mktemp("archive") / "cohort"
    shutil.copytree(simulated_hospital, folder)
    with on_one_core():
        assert run_command(["run", str(folder / "study.toml"), *ARCHIVE_OPTIONS]) == 0
    return FinishedRun(folder / "study.toml", folder / "runs" / "simulated-full")
