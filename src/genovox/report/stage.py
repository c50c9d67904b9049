"""The report stage: the page and the model card."""

import logging
from pathlib import Path

from genovox.core.artifacts import Stage, require_stage, write_text
from genovox.core.study import Study
from genovox.report.card import render_card
from genovox.report.html import render_page
from genovox.report.results import read_results

log = logging.getLogger(__name__)

FORMAT = 2
UPSTREAM = ("cohort", "preprocess", "train", "evaluate", "audit", "explain")


def open_stage(study: Study, run: Path, device: str) -> Stage:  # noqa: ARG001 - every stage opens alike
    """The report stage of a study whose other stages are finished."""
    upstream = {name: require_stage(run, name)["key"] for name in UPSTREAM}
    config = study.as_dict()["report"] | {"name": study.study.name}
    return Stage("report", run, FORMAT, config, upstream, {}, study.seed)


def build_stage(study: Study, stage: Stage, workers: int | None) -> None:  # noqa: ARG001 - every stage builds alike
    """Write ``index.html``, one file that needs no other, and ``model_card.md``."""
    results = read_results(study, stage.run)
    write_text(stage.folder / "model_card.md", render_card(results))
    write_text(stage.folder / "index.html", render_page(results))
