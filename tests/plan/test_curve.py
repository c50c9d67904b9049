"""The learning curve of a run: resumable, repeatable, and on the run's own test patients."""

import shutil
from pathlib import Path

import pandas as pd
import pytest

from genovox.core.artifacts import read_table
from genovox.core.errors import DataError, UsageError
from genovox.core.study import Study
from genovox.evaluate.evaluation import evaluate_predictions
from genovox.plan.curve import choose_model, draw_curve
from genovox.plan.outlook import CurveResult
from genovox.train.plan import RECORD


def _draw(run: Path, place: Path, **changed: object) -> CurveResult:
    options: dict[str, object] = {"draws": 1, "workers": 1, "device": "cpu", "place": place} | changed
    return draw_curve(Study.load_snapshot(run), run, "clinical", **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def drawn(tables_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, CurveResult]:
    place = tmp_path_factory.mktemp("curve")
    return place, _draw(tables_run, place)


def test_the_largest_size_is_the_run_s_own_headline(tables_run: Path, drawn: tuple[Path, CurveResult]) -> None:
    predictions = read_table(tables_run / "train" / "predictions.csv").astype({"repeat": int, "label": int})
    predictions["score"] = pd.to_numeric(predictions["score"])
    metrics = evaluate_predictions(predictions, label_unit="patient", resamples=200, seed=1, primary="clinical").metrics
    headline = metrics["models"]["clinical"]["cross_validation"]["metrics"]["roc_auc"]["estimate"]
    measured = [point for point in drawn[1].points if point.kind == "measured"]
    assert measured[-1].auc == pytest.approx(headline, abs=1e-6)
    assert measured[-1].cohort == 72
    assert drawn[1].rows == 4
    assert [point.training for point in measured] == sorted(point.training for point in measured)


def test_a_second_look_trains_nothing_and_a_lost_training_comes_back(
    tables_run: Path, drawn: tuple[Path, CurveResult]
) -> None:
    place, first = drawn
    records = sorted(place.rglob(RECORD))
    stamps = [path.stat().st_mtime_ns for path in records]
    assert _draw(tables_run, place) == first
    assert [path.stat().st_mtime_ns for path in records] == stamps
    shutil.rmtree(records[0].parent)
    assert _draw(tables_run, place) == first
    assert [path.stat().st_mtime_ns for path in records[1:]] == stamps[1:]


def test_a_training_that_fails_is_named_and_the_others_are_kept(tables_run: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "curve" / "clinical" / "repeat-0" / "fold-1"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("in the way")
    with pytest.raises(
        DataError, match=r"^2 of 12 folds failed in learning curve, such as clinical repeat 0 fold 1.*only what is not"
    ):
        _draw(tables_run, tmp_path / "curve")
    assert list((tmp_path / "curve").rglob(RECORD))


def test_which_model_is_drawn(tables_run: Path) -> None:
    study = Study.load_snapshot(tables_run)
    assert choose_model(study) == "clinical"
    assert choose_model(study, "radiomics") == "radiomics"
    networks = study.model_copy(update={"train": study.train.model_copy(update={"models": ("light", "metadata")})})
    assert choose_model(networks) == "radiomics"
    assert choose_model(networks, "light") == "light"
    with pytest.raises(UsageError, match=r"--model takes a model that learns, of this study .*got 'resnet99'"):
        choose_model(study, "resnet99")
