"""Every plan fits a terminal of 80 columns and says what it assumes."""

import pytest

from genovox.plan.findings import Findings
from genovox.plan.outlook import CurvePoint, CurveResult
from genovox.plan.prospect import Question, foresee
from genovox.plan.wording import WIDTH, describe_plan

QUESTIONS = [
    Question(0.3, 0.7, 120, 5, 9),
    Question(0.02, 0.52, 100_000, 1000, 1000),
    Question(0.3, 0.98, 20, 1, 1),
    Question(0.9, 0.6),
]


@pytest.mark.parametrize("question", QUESTIONS)
def test_lines_fit(question: Question) -> None:
    lines = describe_plan(foresee(question))
    assert max(map(len, lines)) <= WIDTH
    assert any("independent held-out scores" in line for line in lines)


def test_numbers_are_the_plan_s() -> None:
    text = "\n".join(describe_plan(foresee(QUESTIONS[0])))
    assert "Plan: 120 patients, prevalence 0.30, AUC 0.70, 5 parameters, 9 models" in text
    assert "0.59 to 0.81 (95% interval)" in text
    assert "chance alone, best of 9, stays below" in text
    assert ">99%" in text
    few = "\n".join(describe_plan(foresee(QUESTIONS[2])))
    assert "give exact counts, and no interval" in few
    assert "counts only" in few
    assert "best of" not in few.split("What you need")[0]


def test_a_run_and_its_curve_are_told() -> None:
    findings = Findings("light", 120, 36, 0.7, 0.6, 0.8, 0.6, 2)
    points = (
        CurvePoint(60, 30, 0.6, 0.5, 0.7, "measured"),
        CurvePoint(120, 60, 0.7, 0.6, 0.8, "measured"),
        CurvePoint(12_000, 6000, 0.75, 0.6, 0.9, "expected"),
    )
    curve = CurveResult("radiomics", points, (0.8, 0.1, 0.5), (0.1, 0.05, 0.15), 6, "rises", "The curve rises: so.")
    lines = describe_plan(foresee(QUESTIONS[0]), findings, curve)
    assert max(map(len, lines)) <= WIDTH
    text = "\n".join(lines)
    assert "light reached AUC 0.70 (0.60 to 0.80)" in text
    assert "12,000" in text
    assert "expected" in text
    assert "The curve rises: so." in text
