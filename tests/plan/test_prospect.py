"""A plan says what patients show and what more would."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genovox.core.errors import UsageError
from genovox.plan.prospect import Question, foresee, stand
from genovox.statistics.sample_size import Counts, auc_half_width, auc_power, null_auc_quantile


def test_what_120_patients_show() -> None:
    now = foresee(Question(0.3, 0.7, 120, parameters=5, models=9)).now
    assert now is not None
    group = Counts(36, 84)
    assert (now.positives, now.negatives) == (36, 84)
    assert now.half_width == auc_half_width(0.7, group)
    assert now.power == auc_power(0.7, group)
    assert now.best_chance == null_auc_quantile(group, models=9)
    assert now.affordable == 1
    assert now.shrinkage < 0.9


def test_needs_are_met_by_the_patients_they_name() -> None:
    needs = {need.aim: need for need in foresee(Question(0.3, 0.7, parameters=5)).needs}
    told = needs["tell AUC 0.70 from 0.5, power 80%"]
    assert told.patients is not None
    assert auc_power(0.7, Counts.split(told.patients, 0.3)) >= 0.8
    assert needs["develop a model of 5 parameters"].patients == 410
    assert len(needs) == 8


def test_fewer_than_ten_in_a_class_give_counts_and_no_interval() -> None:
    few = stand(Question(0.3, 0.7), 30)
    assert (few.positives, few.half_width, few.power, few.chance) == (9, None, None, None)
    assert stand(Question(0.3, 0.7), 34).half_width is not None


def test_a_plan_from_nothing_has_sizes_but_no_now() -> None:
    prospect = foresee(Question(0.3, 0.7))
    assert prospect.now is None
    assert [size.patients for size in prospect.later] == [60, 120, 240, 480, 960]


def test_sizes_of_one_class_are_left_out() -> None:
    prospect = foresee(Question(0.005, 0.7))
    assert all(size.positives > 0 for size in prospect.later)
    assert len(prospect.later) < 5
    with pytest.raises(UsageError, match="needs carriers and non-carriers, got 0 and 10"):
        foresee(Question(0.005, 0.7, patients=10))


def test_near_one_the_other_model_is_worse() -> None:
    assert any("0.05 worse" in need.aim for need in foresee(Question(0.3, 0.96)).needs)


@settings(max_examples=15, deadline=None)
@given(st.floats(0.05, 0.9), st.floats(0.53, 0.98), st.integers(30, 900), st.integers(1, 30), st.integers(1, 20))
def test_any_question_has_an_answer_that_json_holds(
    prevalence: float, auc: float, patients: int, parameters: int, models: int
) -> None:
    prospect = foresee(Question(prevalence, auc, patients, parameters, models))
    json.dumps(prospect.as_dict(), allow_nan=False)
    widths = [size.half_width for size in prospect.later if size.half_width is not None]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({"prevalence": 30, "auc": 0.7}, "--prevalence is the share of carriers, above 0 and below 1, got 30"),
        ({"prevalence": 0.3, "auc": 0.5}, "--auc must be above 0.5 and below 1, got 0.5"),
        ({"prevalence": 0.3, "auc": 0.7, "patients": 1}, "--patients must be 2 or more, got 1"),
        ({"prevalence": 0.3, "auc": 0.7, "parameters": 0}, "--parameters must be 1 or more, got 0"),
        ({"prevalence": 0.3, "auc": 0.7, "models": 0}, "--models must be 1 or more, got 0"),
    ],
)
def test_odd_questions_are_refused(question: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Question(**question)  # type: ignore[arg-type]
