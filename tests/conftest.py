"""What every stage's tests share: the real scans and a small study on disk."""

import os
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


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
    spec = spec_from_file_location("shapes", REPOSITORY / "examples" / "shapes.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["shapes"] = module
    spec.loader.exec_module(module)
    return module


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
