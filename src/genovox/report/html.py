"""``index.html``: the study on one page that needs nothing but itself."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from genovox import __version__
from genovox.audit.checks import MARKS
from genovox.core.log import write_count
from genovox.report import evaluation, figures, tables
from genovox.report.flow import draw_inclusions
from genovox.report.pictures import show_maps, show_quality
from genovox.report.results import BLOCKS, Results
from genovox.report.wording import write_number

NOTICE = "Research use only. This report does not replace a genetic test."
CONFOUNDING = {
    "none": "how the scan was made does not tell the label",
    "partial": "how the scan was made tells a part of the label",
    "unknown": "the scanner could not be ruled out: see the check metadata-label",
}
BEYOND_CLINICAL = {
    "yes": "the score adds to {}",
    "no": "the score is not shown to add to {}",
    "unknown": "not compared with {}",
}


def render_page(results: Results) -> str:
    """The whole page: the same run gives the same bytes."""
    text: str = load_template("page.html.j2").render(
        results=results,
        audit=results.audit,
        flow=results.flow,
        unit=results.unit,
        name=results.study["study"]["name"],
        notice=NOTICE,
        version=__version__,
        headline=_describe_headline(results),
        words={"confounding": CONFOUNDING[results.audit["confounding"]], "beyond_clinical": _describe_clinic(results)},
        symbols=MARKS,
        flow_svg=draw_inclusions(results),
        cohort=tables.describe_cohort(results),
        balance_svg=figures.draw_balance(results.balance, "balance") if _is_compared(results) else "",
        folds_sentence=tables.describe_folds(results),
        folds=tables.list_folds(results),
        blocks={name: _describe_block(results, name) for name in BLOCKS if results.blocks(name)},
        histories={
            model: figures.draw_histories(results.read_histories(model), f"{model}-history")
            for model in results.networks
        },
        checks=tables.group_checks(results),
        associations=evaluation.list_associations(results),
        subgroups=_describe_subgroups(results),
        quality=show_quality(results),
        warned=int((results.prepared["warnings"] != "").sum()),
        maps=show_maps(results),
        exclusion_counts=tables.count_exclusions(results),
        exclusions=tables.list_exclusions(results),
        series=tables.count_series(results),
        stages=tables.list_stages(results),
        settings=tables.list_settings(results),
        versions=results.stages["train"]["versions"],
    )
    return text


def _is_compared(results: Results) -> bool:
    return bool((results.balance["comparison"] == "carriers").any())


def load_template(name: str) -> Any:
    """A template of this package, with everything escaped that is not made here."""
    environment = Environment(
        loader=PackageLoader("genovox.report"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"count": write_count, "number": write_number}
    return environment.get_template(name)


def _describe_clinic(results: Results) -> str:
    """Whether the score adds to what the clinic knows, by the columns that were weighed."""
    bases = [addition["base"] for addition in results.audit["additions"] if addition["base"] != "radiomics"]
    return BEYOND_CLINICAL[results.audit["beyond_clinical"]].format(
        bases[0] if bases else "age, subtype and family history"
    )


def _describe_headline(results: Results) -> dict[str, Any]:
    """The primary model's AUC for the opening of the page."""
    block = results.blocks("cross_validation")[results.metrics.primary]
    return {
        "metric": block.metrics.roc_auc,
        "block": block,
        "svg": figures.draw_headline(block, results.audit["rules"]["minimum_auc"]),
    }


def _describe_block(results: Results, name: str) -> dict[str, Any]:
    """Tables and figures of every model on one set of test rows."""
    blocks = results.blocks(name)
    metrics = tables.tabulate_metrics(blocks)
    return {
        "models": list(blocks),
        "first": next(iter(blocks.values())),
        "metrics": metrics,
        "notes": tables.mark_notes(metrics),
        "comparison": tables.tabulate_comparison(results, name),
        "intervals": {model: evaluation.list_intervals(block) for model, block in blocks.items()},
        "pairs": evaluation.list_pairs(results, name),
        "ranks": _draw_ranks(results, name),
        "probabilities": {model: _describe_probabilities(results, model, name) for model in blocks},
        "forest": figures.draw_forest(blocks, f"{name}-forest"),
        "fold_scores": figures.draw_fold_scores(blocks, f"{name}-folds"),
        "figures": {model: _draw_model(results, model, name) for model in blocks},
        "per_fold": {model: tables.list_fold_figures(block) for model, block in blocks.items()},
        "skipped": {model: block.skipped_folds for model, block in blocks.items()},
        "methods": sorted({auc.method for block in blocks.values() if (auc := block.metrics.roc_auc).low is not None}),
    }


def _draw_ranks(results: Results, name: str) -> dict[str, Any] | None:
    ranks = results.comparison.ranks
    if name == "fixed" or ranks is None or len(ranks.mean_ranks) < 3:
        return None
    return {"content": ranks, "svg": figures.draw_ranks(ranks, "ranks")}


def _describe_probabilities(results: Results, model: str, name: str) -> dict[str, Any]:
    """Calibration, decisions and operating points of one model on one set of test rows."""
    block, stem = getattr(results.calibration.models[model], name), f"{name}-{model}"
    # A blend ranks: what it says before calibration was never meant as a probability.
    meant = (() if model in results.blends else ("raw",)) + (results.calibration.map,)
    kinds = [kind for kind in meant if kind in block.figures]
    curve = results.read_decisions(model, name)
    sets, why = evaluation.list_conformal(block)
    return {
        "kinds": [evaluation.MAPS[kind] for kind in kinds],
        "calibration": evaluation.list_calibration(block, kinds),
        "missing": block.not_assessed.get(results.calibration.map, ""),
        "reliability": figures.draw_reliability(
            {evaluation.MAPS[kind]: block.figures[kind] for kind in kinds}, f"{stem}-reliability"
        )
        if kinds
        else "",
        "decisions": figures.draw_decisions(curve, f"{stem}-decisions") if curve["net_benefit"].notna().any() else "",
        "points": evaluation.list_operating_points(results, model, name),
        "conformal": sets,
        "no_sets": why,
    }


def _describe_subgroups(results: Results) -> dict[str, Any] | None:
    """The primary model in each level of what is known; None where nothing varies."""
    primary = results.metrics.primary
    groups = results.subgroups.models.get(primary, [])
    if not groups:
        return None
    block = results.blocks("cross_validation")[primary]
    drawn = [group for group in groups if any(level.auc.estimate is not None for level in group.levels)]
    svg = figures.draw_subgroups(drawn, block, "subgroups") if drawn else ""
    return {"svg": svg, "rows": evaluation.list_subgroups(groups)}


def _draw_model(results: Results, model: str, name: str) -> dict[str, Any]:
    block, stem = results.blocks(name)[model], f"{name}-{model}"
    scores = results.test_scores(model, name)
    roc, pr = (results.read_curve(model, kind, name) for kind in ("roc", "pr"))
    return {
        "roc": figures.draw_roc(roc, block, f"{stem}-roc"),
        "pr": figures.draw_precision_recall(pr, block, f"{stem}-pr"),
        "confusion": figures.draw_confusion(block, results.unit, f"{stem}-confusion"),
        "scores": figures.draw_scores(scores, block, results.unit, f"{stem}-scores"),
        "has_band": bool(roc["low"].notna().any()),
        "repeats": block.repeats,
    }
