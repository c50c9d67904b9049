import json
from importlib.resources import files

import pytest
from pydantic import ValidationError

from genovox.evaluate.evaluation import evaluate_predictions
from genovox.evaluate.schema import Comparison, Metric, Metrics, OperatingPoints, render_metrics_schema
from tests.evaluate.conftest import MakePredictions


def test_published_schema_is_the_one_of_the_models() -> None:
    published = files("genovox.evaluate").joinpath("metrics.schema.json").read_text(encoding="utf-8")
    assert published == render_metrics_schema(), "write render_metrics_schema() to metrics.schema.json"


def test_outputs_survive_json_and_keep_their_layout(make_predictions: MakePredictions) -> None:
    table = make_predictions(models=("light", "resnet18"), fixed=12)
    evaluation = evaluate_predictions(table, label_unit="patient", resamples=100, seed=0)
    for layout, values in (
        (Metrics, evaluation.metrics),
        (Comparison, evaluation.comparison),
        (OperatingPoints, evaluation.operating_points),
    ):
        text = json.dumps(values, allow_nan=False)
        assert layout.model_validate_json(text, strict=True).model_dump(mode="json") == values


def test_a_figure_is_never_nan() -> None:
    with pytest.raises(ValidationError):
        Metric(estimate=float("nan"), low=None, high=None, method="none")
