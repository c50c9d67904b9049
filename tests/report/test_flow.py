"""The flow of inclusions."""

import dataclasses
import xml.etree.ElementTree as ET

from genovox.report.flow import draw_inclusions

from .conftest import PATIENTS, TinyRun


def test_flow_counts_who_came_left_and_stayed(tiny: TinyRun) -> None:
    svg = draw_inclusions(tiny.read())
    texts = [text.text for text in ET.fromstring(svg).iter("text")]
    assert texts[:3] == ["In the manifest", f"{PATIENTS} cases", f"of {PATIENTS} patients"]
    assert "Left out: 2" in texts
    assert "1 no label" in texts
    assert f"{PATIENTS - 2} cases" in texts
    assert "Fixed test part" in texts


def test_words_of_the_run_are_escaped(tiny: TinyRun) -> None:
    results = tiny.read()
    flow = results.flow | {"excluded": [{"rule": "x", "text": "<b> & so on", "cases": 2}]}
    svg = draw_inclusions(dataclasses.replace(results, flow=flow))
    assert "2 &lt;b&gt; &amp; so on" in svg


def test_flow_of_an_archive_counts_cases_not_series(archive: TinyRun) -> None:
    texts = [text.text for text in ET.fromstring(draw_inclusions(archive.read())).iter("text")]
    assert texts[:3] == ["In the archive", "8 cases", "of 8 patients"]
    assert "Left out: 0" in texts
