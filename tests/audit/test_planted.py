"""What is planted in a cohort on disk is found by the stages themselves: a copy, a person under two ids, a family."""

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from genovox.audit.duplicates import SAME
from genovox.audit.leakage import check_leaks
from genovox.cli.main import run_command
from genovox.cohort.splits import FoldPlan
from genovox.core.artifacts import read_json, read_table
from genovox.core.errors import LeakageError

SHAPE_ZYX = (40, 56, 48)
PATIENTS = 12
STUDY = """[study]
name = "planted"
[cohort]
images = "manifest.csv"
labels = "labels.csv"
clinical = "clinical.csv"
[cohort.splits]
folds = 2
[preprocess]
spacing_mm = [8.0, 8.0, 8.0]
shape = [16, 16, 16]
foreground = "body"
[train]
models = ["light"]
epochs = 1
[evaluate]
resamples = 200
[audit]
permutations = 200
image_controls = false
"""


def _draw(seed: int) -> np.ndarray:
    """A body of the one shape with glands of its own, (z, y, x)."""
    random = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in SHAPE_ZYX), indexing="ij")
    body = ((x / 0.8) ** 2 + (y / 0.7) ** 2 + (z / 0.85) ** 2 < 1) & (y < 0.45)
    glands = ndimage.gaussian_filter(random.standard_normal(SHAPE_ZYX), 2.0)
    scan = 300 * body * (1 + 0.35 * glands / glands.std()) + random.normal(0, 6, SHAPE_ZYX)
    return np.asarray(np.maximum(scan, 0), np.float32)


def _write(path: Path, scan: np.ndarray, affine: np.ndarray) -> None:
    nibabel.save(nibabel.Nifti1Image(np.round(scan.T).astype(np.int16), affine), path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study in which P13 is P03 resampled, turned and rescaled, and P06 and P07 are one woman; up to its audit."""
    folder = tmp_path_factory.mktemp("planted")
    for number in range(1, PATIENTS + 1):
        _write(folder / f"P{number:02d}.nii.gz", _draw(number), np.diag([3.0, 3.0, 3.0, 1.0]))
    copy = ndimage.zoom(_draw(3), (0.8, 1.1, 0.9), order=1).transpose(1, 0, 2)[::-1] / 2
    # Its array runs x, then what was z, then what was y backwards.
    _write(folder / "P13.nii.gz", copy, np.array([[3.3, 0, 0, 0], [0, 0, -2.7, 0], [0, 3.75, 0, 0], [0, 0, 0, 1]]))
    names = [f"P{number:02d}" for number in range(1, PATIENTS + 2)]
    pd.DataFrame({"case_id": names, "patient_id": names, "image": [f"{name}.nii.gz" for name in names]}).assign(
        family_id=["F1" if name in ("P01", "P02") else "" for name in names]
    ).to_csv(folder / "manifest.csv", index=False)
    pd.DataFrame({"patient_id": names, "label": [n % 2 for n in range(len(names))]}).to_csv(
        folder / "labels.csv", index=False
    )
    steps = {"age": (35, 2), "weight_kg": (50.5, 3), "height_cm": (152, 1.5), "bmi": (18.5, 1)}
    clinical = pd.DataFrame(
        {"patient_id": names} | {name: [a + b * n for n in range(13)] for name, (a, b) in steps.items()}
    )
    clinical.loc[6, list(steps)] = clinical.loc[5, list(steps)]
    clinical.to_csv(folder / "clinical.csv", index=False)
    (folder / "study.toml").write_text(STUDY)
    for verb in ("cohort", "preprocess", "train", "evaluate", "audit"):
        assert run_command([verb, str(folder / "study.toml"), "--workers", "1", "--quiet"]) == 0
    return folder / "runs" / "planted"


def test_a_copy_that_was_resampled_turned_and_rescaled_is_named(run: Path) -> None:
    audit = read_json(run / "audit" / "audit.json")
    checks = {check["name"]: check for check in audit["checks"]}
    assert checks["duplicate-volumes"]["status"] == "pass"
    assert checks["near-duplicates"]["status"] == "fail"
    assert "1 pair of" in checks["near-duplicates"]["finding"]
    assert "P03 and P13" in checks["near-duplicates"]["finding"]
    assert checks["near-duplicates"]["figure"] >= SAME
    assert audit["verdict"] == "leaking"


def test_one_person_under_two_ids_is_named(run: Path) -> None:
    audit = read_json(run / "audit" / "audit.json")
    people = next(check for check in audit["checks"] if check["name"] == "same-person")
    assert people["status"] == "warn"
    assert "P06 and P07" in people["finding"]


def test_a_split_family_cannot_be_planned_and_is_named_in_a_table(run: Path) -> None:
    folds, cases = read_table(run / "cohort" / "folds.csv"), read_table(run / "cohort" / "cases.csv")
    predictions = read_table(run / "train" / "predictions.csv")
    chosen = (folds["repeat"] == "0") & (folds["fold"] == "0")
    part = folds[chosen].set_index("case_id")["part"]
    assert part["P01"] == part["P02"]
    relative = next(name for name in part.index if part[name] != part["P01"])
    torn = folds.assign(family_id=folds["family_id"].where(folds["case_id"] != relative, "F1"))
    with pytest.raises(LeakageError, match="F1"):
        FoldPlan(torn)
    check = check_leaks(predictions, cases, folds=torn)[0]
    assert (check.name, check.status) == ("fold-disjointness", "fail")
    assert "such as F1" in check.finding
