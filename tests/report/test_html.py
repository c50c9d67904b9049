"""The page: it needs nothing but itself, says what the run says and lets nothing of a table become markup."""

import re
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from genovox.audit.checks import MARKS
from genovox.core.artifacts import read_json, write_json
from genovox.core.study import Study
from genovox.report.html import NOTICE, render_page
from genovox.report.wording import METRIC_NAMES

from .conftest import TinyRun

VOID = {"meta", "img", "br", "link", "input", "hr", "use", "path", "rect", "circle", "line"}


class _Reader(HTMLParser):
    """Checks that tags close in order and keeps every address, id and visible word."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.without_alt = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.addresses += [str(values[name]) for name in ("src", "href", "srcset", "data", "poster") if name in values]
        self.ids += [str(values["id"])] if "id" in values else []
        self.without_alt += (tag == "img" and not values.get("alt")) + (tag == "svg" and not values.get("aria-label"))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)


def _read(text: str) -> _Reader:
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return reader


def _words(text: str) -> str:
    return " ".join("".join(_read(text).words).split())


def test_page_is_whole_html_with_unique_ids_and_text_for_every_picture(page: str) -> None:
    reader = _read(page)
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))
    assert reader.without_alt == 0
    assert {"script", "link", "iframe", "object"}.isdisjoint(reader.tags)


def test_page_needs_no_other_file(page: str) -> None:
    reader = _read(page)
    anchors = {address[1:] for address in reader.addresses if address.startswith("#")}
    assert anchors <= set(reader.ids)
    assert all(address.startswith(("#", "data:image/png;base64,")) for address in reader.addresses)
    assert "@import" not in page
    assert not re.search(r"https?://|url\((?!#)", page)


def test_page_names_no_place_outside_the_run(page: str, tiny: TinyRun) -> None:
    assert str(tiny.run.parent) not in page
    assert "scans/P" not in page


def test_page_opens_with_the_audits_headline_and_verdict(page: str, tiny: TinyRun) -> None:
    audit = read_json(tiny.run / "audit" / "audit.json")
    words = _words(page)
    assert audit["headline"] in words
    assert audit["paragraph"] in words
    assert f'<h2 class="word">{audit["verdict"]}</h2>' in page
    assert all(step in words for step in audit["next_steps"])
    assert words.index(NOTICE) < words.index(audit["headline"]) < words.index(audit["paragraph"])


def test_page_shows_every_check_with_symbol_and_word(page: str, tiny: TinyRun) -> None:
    words = _words(page)
    for check in read_json(tiny.run / "audit" / "audit.json")["checks"]:
        assert check["question"] in words
        assert check["finding"][1:] in words
        assert check["threshold"] in words
        assert f"{MARKS[check['status']]} {check['status'].replace('-', ' ')}" in words


@pytest.mark.parametrize("title", [title for title, _ in METRIC_NAMES.values()])
def test_page_shows_every_metric(page: str, title: str) -> None:
    assert page.count(f'<th scope="row">{title}<small>') == 2  # in the folds and in the fixed test part


def test_text_of_tables_is_escaped(page: str) -> None:
    assert "<script" not in page
    assert "&lt;script&gt;alert(" in page


def test_figures_without_interval_say_why_and_count(page: str, tiny: TinyRun) -> None:
    fixed = read_json(tiny.run / "evaluate" / "metrics.json")["models"]["light"]["fixed"]
    row = fixed["confusion"][0]
    assert fixed["metrics"]["roc_auc"]["note"][1:] in _words(page)
    assert f"<small>{row['true_positive']} of {row['true_positive'] + row['false_negative']}</small>" in page


def test_undefined_figures_show_their_reason(copied: TinyRun) -> None:
    path = copied.run / "evaluate" / "metrics.json"
    metrics = read_json(path)
    reason = "Not defined: no case is called <positive>"
    metrics["models"]["light"]["cross_validation"]["metrics"]["precision"] |= {
        "estimate": None,
        "low": None,
        "high": None,
        "counts": None,
        "method": "not defined",
        "note": reason,
    }
    write_json(path, metrics)
    text = render_page(copied.read())
    letter = re.search(r"not defined<sup>(\w)</sup>", text)
    assert letter is not None
    assert f"{letter.group(1)} {reason}." in _words(text)


def test_page_counts_and_lists_exclusions(page: str) -> None:
    words = _words(page)
    assert "no such image: gone.nii.gz" in words
    assert "cohort/exclusions.csv" in words
    assert "All 2 cases left out" in words


def test_accepted_gates_are_printed_with_their_reason(copied: TinyRun) -> None:
    path = copied.run / "audit" / "audit.json"
    audit = read_json(path) | {"accepted": {"duplicate-volumes": "twins <b>scanned</b> twice"}}
    write_json(path, audit)
    text = render_page(copied.read())
    assert "twins &lt;b&gt;scanned&lt;/b&gt; twice" in text
    assert "duplicate-volumes" in unescape(text)


def test_same_run_gives_the_same_bytes(page: str, tiny: TinyRun) -> None:
    assert render_page(tiny.read()) == page


def test_page_is_small(page: str) -> None:
    assert len(page.encode()) < 1_500_000


def test_page_of_an_archive_names_series_and_the_oracle(archive_page: str) -> None:
    reader, words = _read(archive_page), _words(archive_page)
    assert reader.open == []
    assert len(reader.ids) == len(set(reader.ids))
    assert "26 series of the archive that are no phase of an exam" in words
    assert "T2-weighted by its name" in words
    assert "Nobody: every case of the archive was scored." in words
    assert "oracle" in words
    assert "In the archive" in words
    assert "manifest" not in words


def test_page_of_an_archive_names_no_file_of_it(archive_page: str, archive: TinyRun) -> None:
    assert str(archive.study.root) not in archive_page
    assert ".dcm" not in archive_page
    assert ".genovox" not in archive_page


def test_page_of_a_manifest_says_nothing_of_series(page: str) -> None:
    assert "no phase of an exam" not in _words(page)
    assert "oracle" not in _words(page)


def test_headings_go_down_one_step_at_a_time(page: str) -> None:
    levels = [int(tag[1]) for tag in _read(page).tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize(
    ("beyond", "words"), [("yes", "the score adds to"), ("no", "the score is not shown to add to")]
)
def test_page_names_what_of_the_clinic_was_weighed(copied: TinyRun, beyond: str, words: str) -> None:
    path = copied.run / "audit" / "audit.json"
    audit = read_json(path)
    addition = {"base_auc": 0.6, "delta_auc": {}, "log_odds": {}, "likelihood_ratio": 0.0, "p_value": 1.0}
    bases = [addition | {"base": base} for base in ("subtype", "radiomics")]
    write_json(path, audit | {"beyond_clinical": beyond, "additions": bases})
    text = _words(render_page(copied.read()))
    assert f"{beyond}: {words} subtype" in text
    assert "family history" not in text


def test_page_shows_no_blend_as_a_probability_before_calibration(copied: TinyRun) -> None:
    models = 'train.models=["light", "light-separable", "light+light-separable"]'
    blended = TinyRun(Study.load(copied.study.root / "study.toml", (models,)), copied.run)
    blended.finish()
    page = render_page(blended.read())
    heads = {
        model: re.findall(r"<th scope=\"col\"[^>]*>([^<]+)</th>", table)
        for model, table in re.findall(r"<caption>Calibration of (\S+), with(.*?)</thead>", page, re.DOTALL)
    }
    assert heads["light"] == ["Figure", "raw score", "Platt"]
    assert heads["light+light-separable"] == ["Figure", "Platt"]
    assert "Reliability, light+light-separable. after calibration (Platt)." in _words(page)


def test_page_says_where_networks_started_and_which_stopped(copied: TinyRun) -> None:
    weights = {
        "file": {"path": "resnet_18.pth", "source": "kinetics", "licence": "MIT", "sha256": "0f" * 32},
        "coverage": {"percent": 99.2, "warnings": ["not in the file, learnt from nothing: conv1.weight"]},
        "labelled_patients": 3,
        "transductive": False,
        "is_known": True,
    }
    write_json(copied.run / "train" / "light" / "weights.json", weights)
    fold = copied.run / "train" / "light" / "repeat-0" / "fold-1" / "fold.json"
    write_json(fold, read_json(fold) | {"stopped": "stopped in epoch 3: the loss must stay finite"})
    words = _words(render_page(copied.read()))
    assert "light starts from resnet_18.pth (kinetics, licence: MIT), sha256 0f0f0f0f0f0f…: 99.2% of the" in words
    assert (
        "These weights have learnt from the labels of 3 tested patients. Not in the file, learnt from nothing" in words
    )
    assert "1 fold ended before time" in words
    assert "light/repeat-0/fold-1: stopped in epoch 3" in words


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_what_it_stands_on(page: str, scheme: str) -> None:
    light, dark = page.split("@media screen and", 1)
    colours = dict(re.findall(r"--(\w+): (#\w{6})", light))
    if scheme == "dark":
        colours |= dict(re.findall(r"--(\w+): (#\w{6})", dark.split("@media", 1)[0]))
    for name in ("ink", "muted", "accent", "warn", "fail", "pass"):
        for ground in ("paper", "wash"):
            assert _contrast(colours[name], colours[ground]) >= 4.5, (name, ground)
    for ground in ("paper", "wash"):
        assert _contrast(colours["other"], colours[ground]) >= 3, ground  # marks, never text
    assert "fill: var(--other)" not in "".join(re.findall(r"<text [^>]*>", page))


def _contrast(one: str, other: str) -> float:
    """Contrast ratio of WCAG 2.2, https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""
    dark, light = sorted(map(_luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_what_scrolls_can_be_reached_by_keyboard_and_has_a_name(page: str) -> None:
    areas = re.findall(r'<div class="(?:scroll|wide)"[^>]*>', page)
    assert len(areas) > 8
    assert page.count('class="scroll"') + page.count('class="wide"') == len(areas)
    for area in areas:
        assert re.search(r' role="region" tabindex="0" aria-label="[^"]+"', area)
