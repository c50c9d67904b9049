"""QC pictures and maps of the networks, small enough to live in the page."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from genovox.report.results import Results
from genovox.report.wording import write_share

QC_BYTES = 2_000_000
MAP_BYTES = 1_200_000
_GROUPS = {"right": "Certain and right", "wrong": "Certain and wrong", "borderline": "Borderline"}


@dataclass(frozen=True)
class Picture:
    """A picture of one case.

    Attributes:
        case_id: Whose it is.
        source: The PNG as a data URI.
        width: Pixels.
        height: Pixels.
        text: For those who cannot see it.
        lines: The caption.
        warned: Whether the caption is a warning.
    """

    case_id: str
    source: str
    width: int
    height: int
    text: str
    lines: tuple[str, ...] = ()
    warned: bool = False


def choose_quality_cases(results: Results, count: int) -> list[str]:
    """Cases with warnings first, then an even spread over the rest of the cohort, in its order."""
    table = results.prepared
    warned = table.loc[table["warnings"] != "", "case_id"].tolist()[:count]
    rest = table.loc[table["warnings"] == "", "case_id"].tolist()
    places = np.unique(np.linspace(0, len(rest) - 1, min(count - len(warned), len(rest))).round().astype(int))
    return [*warned, *(rest[place] for place in places)]


def show_quality(results: Results) -> list[Picture]:
    """QC pictures, up to ``report.qc_pictures``."""
    chosen = choose_quality_cases(results, results.study["report"]["qc_pictures"])
    warnings = dict(zip(results.prepared["case_id"], results.prepared["warnings"], strict=True))
    labels = dict(zip(results.cases["case_id"], results.cases["label"], strict=True))
    pictures = []
    for case_id in chosen:
        warning = warnings[case_id]
        pictures.append(
            _load(
                results.run / "preprocess" / "qc" / f"{case_id}.png",
                case_id,
                f"Preprocessed scan of {case_id} in three planes, a row a channel",
                (warning,) if warning else (f"label {labels[case_id]}",),
                budget=QC_BYTES // len(chosen),
                warned=bool(warning),
            )
        )
    return pictures


def show_maps(results: Results) -> list[tuple[str, list[Picture]]]:
    """Maps by group: certain and right, certain and wrong, borderline."""
    entries, method = results.explained["cases"], results.explained["method"]
    groups = []
    for group, title in _GROUPS.items():
        pictures = []
        for entry in (entry for entry in entries if entry["group"] == group):
            case_id = entry["case_id"]
            decision = (
                f"label {entry['label']}, called {entry['answer']}: score {entry['score']:.2f}, "
                f"threshold {entry['threshold']:.2f}"
            )
            pictures.append(
                _load(
                    results.run / "explain" / case_id / f"{method}.png",
                    case_id,
                    f"Map of {case_id} over its scan in three planes; {title.lower()}, {decision}",
                    (decision, _describe_share(entry["foreground_share"], entry["foreground_fraction"])),
                    budget=MAP_BYTES // len(entries),
                )
            )
        if pictures:
            groups.append((title, pictures))
    return groups


def _describe_share(share: float | None, fraction: float | None) -> str:
    if share is None and fraction is None:
        return "no foreground was drawn, so where the map lies is not measured"
    if share is None or fraction is None:
        return "the map is empty: nothing in the scan speaks for this answer"
    aimless = f"a map without aim would have {write_share(fraction, 1)}"
    return f"{write_share(share, 1)} of the map lies in the foreground; {aimless}"


def _load(path: Path, case_id: str, text: str, lines: tuple[str, ...], *, budget: int, warned: bool = False) -> Picture:
    """A PNG with fewer colours, and made smaller until it fits its share of the page."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    content = _compress(image)
    while len(content) > budget and image.width > 240:
        image = image.resize((int(image.width * 0.8), int(image.height * 0.8)), Image.Resampling.LANCZOS)
        content = _compress(image)
    source = "data:image/png;base64," + base64.b64encode(content).decode()
    return Picture(case_id, source, image.width, image.height, text, lines, warned)


def _compress(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.quantize(64, dither=Image.Dither.NONE).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()
