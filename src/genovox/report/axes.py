"""Figures that live in the page: matplotlib draws them, the page's own colours and type fill them."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import Any

import matplotlib as mpl
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

PIXELS_PER_INCH = 72
# Each stands for a variable of the style sheet, so that one drawing serves light, dark and paper.
INK, MUTED, LINE, ACCENT, OTHER, PAPER = "#010203", "#010204", "#010205", "#010206", "#010207", "#010208"
_VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", ACCENT: "accent", OTHER: "other", PAPER: "paper"}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "genovox",
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "text.color": INK,
    "text.parse_math": False,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 10.5,
    "axes.titlesize": 10.5,
    "axes.titlecolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "lines.solid_capstyle": "round",
}
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


@contextmanager
def page_style() -> Iterator[None]:
    """Draw in the page's style within this block."""
    with mpl.rc_context(_STYLE):
        yield


def start_figure(width_px: float, height_px: float) -> Figure:
    """A transparent figure of so many pixels, laid out to fit its labels."""
    figure = Figure((width_px / PIXELS_PER_INCH, height_px / PIXELS_PER_INCH), layout="constrained")
    figure.patch.set_visible(False)
    FigureCanvasSVG(figure)
    return figure


def start_axes(width_px: float, height_px: float) -> tuple[Figure, Axes]:
    """A figure with one plot."""
    figure = start_figure(width_px, height_px)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    return figure, axes


def render_svg(figure: Figure, name: str, text: str) -> Markup:
    """The figure as an SVG element for the page.

    Args:
        figure: From ``start_figure``.
        name: Unique on the page; prefixes every id.
        text: What the figure shows, for those who cannot see it.
    """
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata=_NO_METADATA, transparent=True)
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\bxlink:href=", "href=", svg)
    svg = re.sub(r"\bid=\"", f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r"\bhref=\"#", f'href="#{name}-', svg)
    svg = re.sub(r"font: ([^'\"]*?)'DejaVu Sans'[^;\"]*", r"font: \1var(--sans)", svg)
    for colour, variable in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{variable})")
    body = svg[svg.index(">") + 1 :].strip()
    width, height = (size * PIXELS_PER_INCH for size in figure.get_size_inches())
    return wrap_svg(body, width, height, text)


def wrap_svg(body: str, width: float, height: float, text: str) -> Markup:
    """An SVG element that is never drawn larger than it was made, with its text alternative."""
    style = f"--width:{width:g}px;max-width:var(--width)"
    opening = f'<svg viewBox="0 0 {width:g} {height:g}" style="{style}" role="img" aria-label="{escape(text)}">'
    return Markup(opening + re.sub(r"\s*\n\s*", "\n", body).removesuffix("</svg>").strip() + "</svg>")  # noqa: S704 - user text is escaped by matplotlib or flow.py
