"""Figures: SVG of the page's own colours, the same twice, whatever the data."""

import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd

from genovox.evaluate.schema import (
    BrierSplit,
    CalibrationFigures,
    Metric,
    Ranks,
    ReliabilityBin,
    Subgroup,
    SubgroupLevel,
)
from genovox.report import figures
from genovox.report.axes import page_style, render_svg, start_axes

from .conftest import TinyRun


def test_figures_carry_no_colour_and_no_id_of_their_own() -> None:
    with page_style():
        figure, axes = start_axes(200, 120)
        axes.plot([0, 1], [0, 1], color="#010206")
        axes.set_title("a < b & $c$")
        svg = render_svg(figure, "one", 'said "so"')
    root = ET.fromstring(svg)
    assert root.attrib["aria-label"] == 'said "so"'
    assert "var(--accent)" in svg
    assert "#0102" not in svg
    assert "a &lt; b &amp; $c$" in svg
    assert all(element.attrib["id"].startswith("one-") for element in root.iter() if "id" in element.attrib)


def test_curves_are_the_same_twice_and_need_no_band(tiny: TinyRun) -> None:
    results = tiny.read()
    block = results.blocks("cross_validation")["light"]
    curve = results.read_curve("light", "roc", "cross_validation")
    bare = curve.assign(low=float("nan"), high=float("nan"))
    assert figures.draw_roc(curve, block, "x") == figures.draw_roc(curve, block, "x")
    assert figures.draw_roc(bare, block, "x") != ""


def test_forest_and_folds_take_an_auc_that_is_not_defined(tiny: TinyRun) -> None:
    block = tiny.read().blocks("cross_validation")["light"]
    nothing = block.metrics.roc_auc.model_copy(update={"estimate": None, "low": None, "high": None})
    folds = [fold.model_copy(update={"auc": None}) for fold in block.per_fold]
    bare = block.model_copy(
        update={"metrics": block.metrics.model_copy(update={"roc_auc": nothing}), "per_fold": folds}
    )
    for draw in (figures.draw_forest, figures.draw_fold_scores):
        assert draw({"light": bare, "other": block}, "x").startswith("<svg")
    assert "AUC –" in figures.draw_headline(bare, 0.6)


def test_histories_are_one_panel_a_network() -> None:
    history = pd.DataFrame(
        {"epoch": [1, 2], "training_loss": [0.7, 0.6], "validation_loss": [0.7, 0.65], "best": [False, True]}
    )
    svg = figures.draw_histories({(0, str(fold)): history for fold in range(6)}, "x")
    assert all(f"repeat 0, fold {fold}" in svg for fold in range(6))


def _balance(*comparisons: str) -> pd.DataFrame:
    rows = [
        (comparison, variable, level, difference * (0.2 if comparison == "chosen" else 1))
        for comparison in comparisons
        for variable, level, difference in (
            ("age", "", -1.1),
            ("scan_vendor", "ge", 0.3),
            ("scan_vendor", "siemens", -0.4),
            ("site", "north", float("inf")),
            ("grade", "", float("nan")),
        )
    ]
    return pd.DataFrame(rows, columns=["comparison", "variable", "level", "difference"])


def test_balance_shows_each_variable_at_its_worst() -> None:
    svg = figures.draw_balance(_balance("tested", "carriers", "chosen"), "balance")
    root = ET.fromstring(svg)
    assert root.attrib["aria-label"] == "Standardised differences between the classes; the largest: site 2.00"
    texts = [text.text for text in root.iter() if text.tag.endswith("text")]
    assert texts.index("site") < texts.index("age") < texts.index("vendor")
    assert {"before", "after"} <= set(texts)
    assert "grade" not in texts
    assert "after" not in figures.draw_balance(_balance("carriers"), "balance")


def test_ranks_join_what_cannot_be_told_apart() -> None:
    ranks = Ranks(
        mean_ranks={"b": 2.4, "a": 1.2, "c": 2.4},
        friedman_statistic=4.0,
        friedman_p_value=0.1,
        critical_difference=1.9,
        not_distinguishable=[["a", "b", "c"]],
        folds=5,
        independent_folds=5,
        note="",
    )
    svg = figures.draw_ranks(ranks, "ranks")
    assert "Mean ranks of the models: a 1.20, b 2.40, c 2.40; closer than 1.90 is not distinguishable" in svg


def test_decisions_say_where_a_model_is_of_use() -> None:
    curve = pd.DataFrame(
        {
            "threshold": [0.1, 0.2, 0.3],
            "net_benefit": [0.30, 0.25, 0.2],
            "low": [np.nan] * 3,
            "high": [np.nan] * 3,
            "treat_all": [0.3, 0.2, 0.1],
        }
    )
    assert "above both from 0.20 to 0.30" in figures.draw_decisions(curve, "d")
    banded = curve.assign(net_benefit=curve["treat_all"], low=0.0, high=0.3)
    assert "nowhere above both" in figures.draw_decisions(banded, "d")


def test_reliability_and_subgroups_tell_their_figures(tiny: TinyRun) -> None:
    metric = Metric(estimate=0.7, low=0.6, high=0.8, method="bootstrap")
    split = BrierSplit(reliability=0, resolution=0, uncertainty=0, within=0)
    point = ReliabilityBin(stated=0.3, observed=0.4, low=0.2, high=0.6, n=10)
    found = CalibrationFigures(
        slope=metric,
        intercept=metric,
        in_the_large=metric,
        ece=metric,
        ece_if_calibrated=0.1,
        brier=metric,
        scaled_brier=metric,
        brier_split=split,
        reliability=[point, point.model_copy(update={"low": None})],
    )
    assert "raw score: slope 0.70" in figures.draw_reliability({"raw score": found, "Platt": found}, "r")
    none = Metric(estimate=None, low=None, high=None, method="too few")
    levels = [
        SubgroupLevel(level=name, n=20, positives=9, auc=auc)
        for name, auc in (("x", metric), ("y", none), ("z", metric.model_copy(update={"low": None})))
    ]
    group = Subgroup(
        column="scan_vendor",
        levels=levels,
        missing=0,
        chi_square=None,
        degrees_of_freedom=None,
        p_value=None,
        conclusion="not-assessed",
    )
    svg = figures.draw_subgroups([group], tiny.read().blocks("cross_validation")["light"], "s")
    assert "vendor: x (9 of 20) 0.70 (0.60 to 0.80)" in svg
    assert "too few patients" in svg
