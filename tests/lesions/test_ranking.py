"""What a candidate measures, and what makes it sure, on shapes whose figures are known."""

from dataclasses import replace

import numpy as np
import pytest

from genovox.lesions.candidates import find_candidates
from genovox.lesions.enhancement import Uptake
from genovox.lesions.ranking import Figures, Proposal, describe_figures, measure_candidate, rank_candidates

from .test_candidates import SHAPE, ball, make_uptake, tube

CLEAR = Figures(
    centre_mm=(0, 0, 0),
    box_mm=(0, 0, 0, 1, 1, 1),
    diameter_mm=20,
    volume_ml=3,
    peak_percent=150,
    ser=1.15,
    contrast=5,
    distinction=6,
    compactness=0.75,
    depth_mm=20,
    leak=0,
    side="left",
    asymmetry=4,
)


def _curves(uptake: Uptake, *levels: float) -> Uptake:
    """The same uptake with signals of each phase in proportion."""
    phases = np.stack([100 * (1 + level * uptake.early) for level in levels]).astype(np.float32)
    return replace(uptake, phases=phases)


def _first(uptake: Uptake) -> Proposal:
    return rank_candidates(uptake, find_candidates(uptake))[0]


def test_figures_of_a_ball() -> None:
    uptake = _curves(make_uptake(ball((30, 44, 51), 9), noise=0.02), 0.0, 1.2, 1.0)
    candidate = find_candidates(uptake)[0]
    figures = measure_candidate(uptake, candidate, candidate.seed.response / 5, candidate.seed.response / 4)
    assert figures.centre_mm == pytest.approx((30, 44, 51), abs=1.0)
    assert figures.diameter_mm == pytest.approx(18, rel=0.15)
    assert figures.volume_ml == pytest.approx(4 / 3 * np.pi * 0.9**3, rel=0.15)
    assert figures.compactness == pytest.approx(1, abs=0.15)
    assert figures.ser == pytest.approx(1.2, abs=0.01)
    assert figures.peak_percent == pytest.approx(100 * 1.2 * 1.1, rel=0.05)
    assert figures.distinction == pytest.approx(5)
    assert figures.asymmetry == pytest.approx(4)
    assert figures.contrast == pytest.approx(1 / 0.02, rel=0.1)
    assert (figures.side, figures.leak) == ("left", 0)
    x0, y0, z0, x1, y1, z1 = figures.box_mm
    assert (x1 - x0, y1 - y0, z1 - z0) == pytest.approx((18, 18, 18), abs=3.1)
    assert ((x0 + x1) / 2, (y0 + y1) / 2, (z0 + z1) / 2) == pytest.approx((30, 44, 51), abs=1.6)


def test_two_phases_have_no_ratio_and_one_breast_no_other_side() -> None:
    uptake = _curves(make_uptake(ball((30, 44, 51), 9)), 0.0, 1.0)
    candidate = find_candidates(uptake)[0]
    figures = measure_candidate(uptake, candidate, 1.0, float("nan"))
    assert np.isnan(figures.ser)
    assert np.isnan(figures.asymmetry)
    proposal = _first(uptake)
    assert 0 < proposal.confidence < 1
    assert "SER" not in proposal.evidence


def test_what_enhances_on_outside_the_breast_leaks() -> None:
    uptake = make_uptake(ball((30, 44, 51), 9))
    uptake.tissue[:, :22] = False  # the lower half of the ball
    candidate = find_candidates(uptake)[0]
    assert measure_candidate(uptake, candidate, 1.0, 1.0).leak > 0.2
    air = replace(uptake, body=uptake.tissue)
    assert measure_candidate(air, candidate, 1.0, 1.0).leak == 0


def test_a_shell_outside_the_breast_falls_back_on_the_usual_level() -> None:
    truth = ball((30, 44, 51), 9)
    uptake = make_uptake(truth)
    candidate = find_candidates(uptake)[0]
    alone = replace(uptake, tissue=candidate.on_grid(SHAPE))
    assert measure_candidate(alone, candidate, 1.0, 1.0).contrast == pytest.approx(1 / 0.03, rel=0.1)


def test_a_ball_is_surer_than_a_vessel_and_washout_than_a_rising_curve() -> None:
    early = np.maximum(ball((30, 44, 51), 7), 1.5 * tube((70, 44, 0), 3))
    ranked = rank_candidates(make_uptake(early), find_candidates(make_uptake(early)))
    assert ranked[0].figures.side == "left"
    assert [one.confidence for one in ranked] == sorted((one.confidence for one in ranked), reverse=True)
    lone = make_uptake(ball((30, 44, 51), 7))
    falling, rising = _first(_curves(lone, 0.0, 1.2, 1.0)), _first(_curves(lone, 0.0, 0.7, 1.0))
    assert falling.confidence > rising.confidence
    assert "washout (SER 1.20)" in falling.evidence
    assert "persistent (SER 0.70)" in rising.evidence


def test_no_candidate_no_proposal() -> None:
    assert rank_candidates(make_uptake(np.zeros(SHAPE, np.float32)), []) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "stands out 6.0 times as much as the ordinary candidate of this exam; washout (SER 1.15); compact"),
        ({"ser": 1.0, "compactness": 0.55}, "plateau (SER 1.00); irregular"),
        ({"compactness": 0.4}, "long or branched, as vessels are"),
        ({"asymmetry": 1.1}, "the other breast has as much"),
        ({"leak": 0.3}, "goes on outside the breast tissue"),
        ({"depth_mm": 4.5}, "at the skin"),
    ],
)
def test_evidence_in_words(change: dict[str, float], words: str) -> None:
    assert describe_figures(replace(CLEAR, **change)).endswith(words)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        {"distinction": 2.0},
        {"compactness": 0.45},
        {"ser": 0.8},
        {"asymmetry": 1.0},
        {"leak": 0.5},
        {"volume_ml": 0.1},
        {"diameter_mm": 100},
        {"depth_mm": 4.0, "diameter_mm": 8},
    ],
)
def test_each_doubt_lowers_the_confidence(change: dict[str, float]) -> None:
    from genovox.lesions.ranking import _add_points

    assert _add_points(replace(CLEAR, **change)) < _add_points(CLEAR) - 0.5  # type: ignore[arg-type]
