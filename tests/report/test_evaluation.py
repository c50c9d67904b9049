"""Rows of what the evaluation says beside its headline."""

import pytest

from genovox.core.artifacts import read_json
from genovox.evaluate.schema import PairDifference, Subgroup
from genovox.report import evaluation
from tests.report.conftest import TinyRun


def test_intervals_start_with_the_one_the_figure_carries(tiny: TinyRun) -> None:
    results = tiny.read()
    for name in ("cross_validation", "fixed"):
        block = results.blocks(name)["light"]
        rows = evaluation.list_intervals(block)
        assert [row.marked for row in rows] == [row == rows[0] for row in rows]
        assert all(row.note for row in rows if row.cells == ("not given",))


def test_calibration_has_a_cell_a_kind(tiny: TinyRun) -> None:
    block = tiny.read().calibration.models["light"].cross_validation
    assert block is not None
    kinds = list(block.figures)
    rows = evaluation.list_calibration(block, kinds)
    assert [row.name for row in rows][:1] == ["Slope"]
    assert {len(row.cells) for row in rows} == {len(kinds)}


def test_operating_points_are_the_files(tiny: TinyRun) -> None:
    rows = evaluation.list_operating_points(tiny.read(), "light", "fixed")
    written = read_json(tiny.run / "evaluate" / "operating_points.json")["results"]["light"]["fixed"]
    assert len(rows) == len(written) == 4
    assert rows[0].cells[2] == f"{written['youden']['spread']['median']:.3g}"


def test_sets_that_cannot_be_made_say_why(tiny: TinyRun) -> None:
    block = tiny.read().calibration.models["light"].fixed
    assert block is not None
    rows, why = evaluation.list_conformal(block)
    assert not rows
    assert "validation patients" in why


def test_sets_are_told_in_shares(tiny: TinyRun) -> None:
    block = tiny.read().calibration.models["light"].cross_validation
    assert block is not None
    sets = block.conformal[0].model_copy(update={"assessed": 9, "left_out": 2})
    rows, why = evaluation.list_conformal(block.model_copy(update={"conformal": [sets]}))
    assert (rows[0].name, rows[0].meaning, why) == ("80%", "9 scores, 2 left out", "")


def test_pairs_name_the_models(tiny: TinyRun) -> None:
    results = tiny.read()
    assert evaluation.list_pairs(results, "cross_validation") == []
    pair = PairDifference(
        first="a",
        second="b",
        difference=-0.1,
        low=-0.2,
        high=-0.01,
        p_value=0.01,
        p_holm=0.02,
        conclusion="second is higher",
    )
    object.__setattr__(
        results, "comparison", results.comparison.model_copy(update={"pairs_cross_validation": [pair, pair]})
    )
    row = evaluation.list_pairs(results, "cross_validation")[0]
    assert (row.name, row.cells) == ("a − b", ("−0.100", "−0.200 to −0.010", "0.02", "b is higher"))


def test_subgroups_say_once_that_they_were_not_assessed() -> None:
    group = Subgroup(
        column="scan_field_strength",
        levels=[],
        missing=2,
        chi_square=None,
        degrees_of_freedom=None,
        p_value=None,
        conclusion="not-assessed",
        note="not-assessed: one level",
    )
    row = evaluation.list_subgroups([group])[0]
    assert (row.name, row.meaning, row.cells, row.note) == (
        "field strength",
        "2 without a value",
        ("–", "not assessed"),
        "one level",
    )


@pytest.mark.parametrize("part", ["Leakage", "Confounding", "Controls", "Baselines", "For whom it works"])
def test_page_groups_the_checks(page: str, part: str) -> None:
    assert f">{part}</h" in page


def test_page_shows_what_evaluate_gives(page: str, tiny: TinyRun) -> None:
    assert "95% intervals of the AUC of light" in page
    assert "Operating points of light" in page
    assert "a coin toss gives the share of positives, here 0." in page
    rows = evaluation.list_associations(tiny.read())
    assert all(len(row) == 6 for row in rows)
