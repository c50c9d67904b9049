"""A real bilateral exam of six phases, from files to channels, pictures and a score."""

from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from examples.shapes import draw_phases
from genovox.cli.main import run_command
from genovox.core.artifacts import read_table
from genovox.core.errors import UsageError
from genovox.core.volume import Volume, write_nifti
from genovox.predict.inference import predict_scan
from genovox.preprocess.pipeline import Subject

pytestmark = pytest.mark.real_data

PHASES = ("pre", "post1", "post2", "post3", "post4", "post5")
CHANNELS = (*PHASES, *(f"subtraction{k}" for k in range(1, 6)), "washout")
STUDY = """[study]
name = "exam"
[cohort]
images = "manifest.csv"
labels = "labels.csv"
unit = "breast"
breasts = "both"
[preprocess]
spacing_mm = {spacing}
shape = {shape}
foreground = "{foreground}"
normalise = "{normalise}"
channels = {channels}
"""


def _write_exam(folder: Path, real_data: Path, **settings: object) -> Path:
    rows = []
    for side in ("left", "right"):
        images = ";".join(str(real_data / "tcga-ao-a03m" / f"{side}_{phase}.nii.gz") for phase in PHASES)
        rows.append((f"A03M-{side}", "A03M", images, side, "GE"))
    columns = ["case_id", "patient_id", "image", "laterality", "vendor"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "manifest.csv", index=False)
    pd.DataFrame({"case_id": ["A03M-left", "A03M-right"], "label": [1, 0]}).to_csv(folder / "labels.csv", index=False)
    channels = str(list(CHANNELS)).replace("'", '"')
    (folder / "study.toml").write_text(STUDY.format(channels=channels, **settings), encoding="utf-8")
    return folder / "study.toml"


def _scan(real_data: Path, side: str, phase: str) -> np.ndarray:
    """The file's voxels, read by nibabel alone, as (z, y, x) of its own axes."""
    image = nibabel.load(real_data / "tcga-ao-a03m" / f"{side}_{phase}.nii.gz")
    return np.asarray(nibabel.as_closest_canonical(image).dataobj, dtype=np.float32).T


def test_channels_are_the_scan_exactly_where_nothing_is_asked_of_it(tmp_path: Path, real_data: Path) -> None:
    study = _write_exam(
        tmp_path, real_data, spacing='"native"', shape="[50, 256, 256]", foreground="none", normalise="none"
    )
    assert run_command(["cohort", str(study), "--quiet"]) == 0
    assert run_command(["preprocess", str(study), "--quiet"]) == 0
    run = tmp_path / "runs" / "exam" / "preprocess"
    for side, padding in (("left", 0), ("right", 2)):
        volume = np.load(run / "volumes" / f"A03M-{side}.npy")
        assert volume.shape == (12, 256, 256, 50)
        inside = volume[..., padding : padding + 50 - 2 * padding]
        scans = [_scan(real_data, side, phase) for phase in PHASES]
        for index in range(6):
            np.testing.assert_array_equal(inside[index], scans[index])
        for k in range(1, 6):
            np.testing.assert_array_equal(inside[5 + k], scans[k] - scans[0])
        np.testing.assert_array_equal(inside[11], scans[1] - scans[5])


def test_orientation_spacing_and_side_survive(tmp_path: Path, real_data: Path) -> None:
    study = _write_exam(
        tmp_path, real_data, spacing="[1.5, 1.5, 1.5]", shape="[96, 128, 128]", foreground="body", normalise="joint-z"
    )
    for verb in ("cohort", "preprocess"):
        assert run_command([verb, str(study), "--quiet"]) == 0
    run = tmp_path / "runs" / "exam"
    cases = read_table(run / "cohort" / "cases.csv").set_index("case_id")
    assert cases["laterality"].to_dict() == {"A03M-left": "left", "A03M-right": "right"}
    assert set(cases["scan_orientation"]) == {"PIR"}
    made = read_table(run / "preprocess" / "cases.csv").set_index("case_id")
    centres = {}
    for side in ("left", "right"):
        affine = np.array([float(v) for v in str(made.loc[f"A03M-{side}", "affine"]).split(";")]).reshape(4, 4)
        np.testing.assert_allclose(np.linalg.norm(affine[:3, :3], axis=0), 1.5, rtol=1e-6)
        assert nibabel.aff2axcodes(affine) == ("R", "A", "S")
        centres[side] = (affine @ [47.5, 63.5, 63.5, 1])[0]
        with Image.open(run / "preprocess" / "qc" / f"A03M-{side}.png") as picture:
            assert picture.height > 12 * 100
    assert centres["left"] < centres["right"]


def test_both_breasts_get_a_score_from_every_channel(tmp_path: Path, real_data: Path) -> None:
    """Networks trained on made-up six-phase scans score the real ones, and say that they are out of their depth."""
    random = np.random.default_rng(0)
    rows, labels = [], []
    for number in range(12):
        levels = (0.0, 1.0, 0.95, 0.9, 0.85, 0.8)
        phases = np.stack(draw_phases(random, carrier=number % 2 == 1, enhancement=levels))
        write_nifti(tmp_path / f"{number}.nii.gz", Volume(phases, np.diag([3.0, 3.0, 4.0, 1.0])))
        rows.append((f"c{number}", f"p{number}", f"{number}.nii.gz", "left"))
        labels.append((f"p{number}", number % 2))
    pd.DataFrame(rows, columns=["case_id", "patient_id", "image", "laterality"]).to_csv(
        tmp_path / "manifest.csv", index=False
    )
    pd.DataFrame(labels, columns=["patient_id", "label"]).to_csv(tmp_path / "labels.csv", index=False)
    channels = str(list(CHANNELS)).replace("'", '"')
    settings = {"spacing": "[4.0, 4.0, 4.0]", "shape": "[32, 32, 32]", "foreground": "body", "normalise": "joint-z"}
    study = tmp_path / "study.toml"
    study.write_text(STUDY.format(channels=channels, **settings), encoding="utf-8")
    options = ["--set", "train.epochs=1", "--set", "cohort.splits.folds=3", "--quiet"]
    for verb in ("cohort", "preprocess", "train"):
        assert run_command([verb, str(study), *options]) == 0
    for side in ("left", "right"):
        paths = [real_data / "tcga-ao-a03m" / f"{side}_{phase}.nii.gz" for phase in PHASES]
        prediction = predict_scan(tmp_path / "runs" / "exam", paths, Subject(side=side))
        assert 0 < prediction.probability < 1
        assert prediction.networks == 3
        assert any("out of range: spacing" in warning for warning in prediction.warnings)
        assert not any("missing phase" in warning for warning in prediction.warnings)
    with pytest.raises(UsageError, match="the cases of this run are breasts; say which one to score: --side left"):
        predict_scan(tmp_path / "runs" / "exam", paths)
