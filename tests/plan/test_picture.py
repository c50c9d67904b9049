"""The picture is drawn with and without a run and a curve, the same every time."""

from pathlib import Path

import pytest
from PIL import Image

from genovox.plan.outlook import CurvePoint, CurveResult
from genovox.plan.picture import draw_plan
from genovox.plan.prospect import Question, foresee

POINTS = (
    CurvePoint(60, 30, 0.6, 0.5, 0.7, "measured"),
    CurvePoint(120, 60, 0.7, 0.6, 0.8, "measured"),
    CurvePoint(240, 120, 0.75, 0.6, 0.9, "expected"),
)
RISES = CurveResult("radiomics", POINTS, (0.8, 0.1, 0.5), (0.1, 0.05, 0.15), 6, "rises", "")
SAYS_NOTHING = CurveResult("radiomics", POINTS[:2], (0.65, 0.0, 0.5), (0.1, -0.1, 0.3), 6, "does not say", "")


@pytest.mark.parametrize("curve", [None, RISES, SAYS_NOTHING])
@pytest.mark.parametrize("question", [Question(0.3, 0.7, 120), Question(0.3, 0.7, 20), Question(0.9, 0.98)])
def test_it_is_drawn(tmp_path: Path, question: Question, curve: CurveResult | None) -> None:
    draw_plan(tmp_path / "plan.png", foresee(question), curve)
    image = Image.open(tmp_path / "plan.png")
    assert image.width == (1170 if curve else 650)
    assert len(set(image.convert("L").tobytes())) > 10


def test_it_is_the_same_every_time(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        draw_plan(tmp_path / name, foresee(Question(0.3, 0.7, 120)), RISES)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
