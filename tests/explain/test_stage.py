"""The cases one would ask about first, and their maps on disk."""

from typing import Any

import nibabel
import numpy as np
import pandas as pd

from genovox.core.artifacts import read_json, read_table
from genovox.explain.stage import choose_cases
from tests.conftest import FinishedRun


def _scores() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "case_id": list("abcdefgh"),
            "label": [1, 1, 0, 0, 1, 0, 1, 0],
            "score": [0.99, 0.90, 0.02, 0.10, 0.05, 0.80, 0.52, 0.49],
            "threshold": 0.5,
        }
    )


def test_groups_hold_what_they_say() -> None:
    chosen = choose_cases(_scores(), 2)
    groups = chosen.groupby("group")["case_id"].agg(list)
    assert groups["right"] == ["a", "c"]  # one of each class
    assert groups["wrong"] == ["e", "f"]
    assert groups["borderline"] == ["h", "g"]
    assert chosen["case_id"].is_unique


def test_few_cases_are_no_error() -> None:
    assert len(choose_cases(_scores().head(1), 3)) == 1


def test_maps_lie_on_the_scans_own_grid(finished_run: FinishedRun) -> None:
    summary = read_json(finished_run.run / "explain" / "summary.json")
    assert summary["cases"]
    assert {entry["members"] for entry in summary["cases"]} == {1}
    cases = read_table(finished_run.run / "cohort" / "cases.csv").set_index("case_id")
    for entry in summary["cases"]:
        folder = finished_run.run / "explain" / entry["case_id"]
        activation: Any = nibabel.load(folder / "gradcam.nii.gz")
        first = str(cases.loc[entry["case_id"], "images"]).split(";")[0]
        scan: Any = nibabel.load(finished_run.study.parent / first)
        assert activation.shape == scan.shape
        np.testing.assert_allclose(activation.affine, scan.affine)
        assert (folder / "gradcam.png").stat().st_size > 1000
        assert 0 < entry["foreground_fraction"] < 1
        assert entry["foreground_share"] is None or 0 <= entry["foreground_share"] <= 1
