"""``model_card.md``: what the model is, what it may be used for and what is known of it."""

import re

from genovox import __version__
from genovox.report import tables
from genovox.report.html import NOTICE, load_template
from genovox.report.results import Results


def render_card(results: Results) -> str:
    """The card as Markdown; text from users' tables cannot become Markdown or HTML."""
    block = results.blocks("cross_validation")
    text: str = load_template("card.md.j2").render(
        results=results,
        audit=results.audit,
        name=results.study["study"]["name"],
        notice=NOTICE,
        version=__version__,
        unit=results.unit,
        models=list(block),
        block=block[results.metrics.primary],
        metrics=tables.tabulate_metrics(block),
        folds=tables.describe_folds(results),
        plain=_make_plain,
    )
    return text.rstrip() + "\n"


def _make_plain(text: str) -> str:
    """One line without the signs that Markdown reads; the template escapes HTML."""
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", " ".join(text.split()))
