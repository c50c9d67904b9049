"""Pictures: which cases are shown, and how large they may be."""

import base64
import io

import numpy as np
from PIL import Image

from genovox.report import pictures
from genovox.report.pictures import choose_quality_cases, show_maps, show_quality

from .conftest import TinyRun


def test_cases_with_warnings_come_first_then_a_spread(tiny: TinyRun) -> None:
    results = tiny.read()
    results.prepared["warnings"] = ""
    results.prepared.loc[results.prepared["case_id"] == "P010", "warnings"] = "4% outside the crop"
    chosen = choose_quality_cases(results, 3)
    assert chosen == ["P010", "P002", "P024"]
    everyone = choose_quality_cases(results, 100)
    assert sorted(everyone) == sorted(results.prepared["case_id"])
    assert choose_quality_cases(results, 0) == []


def test_warnings_stand_in_the_caption(tiny: TinyRun) -> None:
    results = tiny.read()
    results.prepared["warnings"] = ""
    results.prepared.loc[0, "warnings"] = "4% outside the crop"
    first, *others = show_quality(results)
    assert first.warned
    assert first.lines == ("4% outside the crop",)
    assert not any(picture.warned for picture in others)


def test_maps_are_grouped_and_say_where_they_lie(tiny: TinyRun) -> None:
    groups = show_maps(tiny.read())
    assert groups[0][0] in ("Certain and right", "Certain and wrong")
    lines = [line for _, shown in groups for picture in shown for line in picture.lines]
    assert any("a map without aim would have" in line or "the map is empty" in line for line in lines)


def test_large_pictures_are_made_smaller(copied: TinyRun) -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 255, (1400, 1400, 3), dtype=np.uint8)
    results = copied.read()
    case_id = choose_quality_cases(results, 3)[0]
    Image.fromarray(noise).save(copied.run / "preprocess" / "qc" / f"{case_id}.png")
    picture = next(shown for shown in show_quality(results) if shown.case_id == case_id)
    content = base64.b64decode(picture.source.split(",")[1])
    assert len(content) <= pictures.QC_BYTES // 3
    assert Image.open(io.BytesIO(content)).size == (picture.width, picture.height)
