"""The report: rows a person reads, and the same as JSON."""

import json
from dataclasses import replace

import pytest

from genovox.models.coverage import Coverage, count_more, is_within

WHOLE = Coverage(
    source="resnet_10_23dataset.pth",
    part=(),
    head=False,
    matched=("conv1.weight", "layer2.0.conv1.weight"),
    reshaped=("conv1.weight",),
    missing=(),
    misfits=(),
    unexpected=(),
    parameters=2000,
    parameters_matched=2000,
    encoder_parameters=2000,
    statistics=4,
    statistics_matched=4,
)
PROJECTION = ("layer2.0.downsample.0.weight", "layer2.0.downsample.1.weight")


def test_rows() -> None:
    assert str(WHOLE).splitlines() == [
        "weights      resnet_10_23dataset.pth",
        "parameters   2,000 of 2,000 of the encoder's parameters, 100.0%",
        "statistics   4 of 4 running means and variances",
        "matched      2 tensors",
        "reshaped     conv1.weight",
        "missing      none",
        "other shape  none",
        "unexpected   none",
        "head         as built, never taken unless asked",
    ]


def test_rows_keep_to_80_columns_and_show_warnings() -> None:
    coverage = replace(
        WHOLE,
        source="~/.cache/genovox/weights/kinetics/" + "long-" * 12 + ".pth",
        part=("conv1", "bn1", "layer2.0"),
        head=True,
        unexpected=(*PROJECTION, "fc.weight"),
        misfits=(("layer2.0.conv2.weight", (4, 4, 3, 3, 3), (4, 4, 3, 3)),),
        statistics_matched=0,
    )
    text = str(coverage)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "of the part conv1, bn1, layer2.0, 100.0%" in text
    assert "has 2,000)" in text
    assert "head         taken from the file" in text
    assert "unexpected   layer2.0.downsample.0.weight, layer2.0.downsample.1.weight and 1" in text
    assert "warning 1    the file's shortcuts are of type B" in text
    assert "warning 2    4 running statistics are not in the file" in text


def test_json() -> None:
    coverage = replace(WHOLE, misfits=(("a", (2, 1), ()),), missing=PROJECTION)
    content = json.loads(json.dumps(coverage.as_dict()))
    assert content["misfits"] == [{"name": "a", "network": [2, 1], "file": []}]
    assert content["percent"] == 100.0
    assert content["reshaped"] == ["conv1.weight"]
    assert content["warnings"] == list(coverage.warnings) != []


@pytest.mark.parametrize(
    ("matched", "percent", "suffices"),
    [(1900, 95.0, True), (1899, 94.9, False), (1902, 95.1, True), (2000, 100.0, True), (1999, 99.9, True)],
)
def test_the_threshold(matched: int, percent: float, suffices: bool) -> None:
    coverage = replace(WHOLE, parameters_matched=matched)
    assert (coverage.percent, coverage.suffices) == (percent, suffices)


def test_nothing_asked_for_is_not_enough() -> None:
    coverage = replace(WHOLE, parameters=0, parameters_matched=0)
    assert (coverage.percent, coverage.suffices) == (0.0, False)


def test_shortcuts_warn_by_type_and_only_within_the_part() -> None:
    assert "file's shortcuts are of type B" in replace(WHOLE, unexpected=PROJECTION).warnings[0]
    assert "file's shortcuts are of type A" in replace(WHOLE, missing=PROJECTION).warnings[0]
    assert replace(WHOLE, unexpected=PROJECTION, part=("conv1",)).warnings == ()
    # Of another network in the same file, such as a decoder.
    assert replace(WHOLE, unexpected=("decoder.0.downsample.0.weight",)).warnings == ()
    assert replace(WHOLE, matched=(*WHOLE.matched, *PROJECTION)).warnings == ()
    # Projections on both sides, of other shapes: no matter of the type.
    misfit = ((PROJECTION[0], (8, 4, 1, 1, 1), (16, 4, 1, 1, 1)),)
    assert replace(WHOLE, misfits=misfit, missing=("layer3.0.downsample.0.weight",)).warnings == ()


def test_counting_names() -> None:
    assert count_more([]) == "none"
    assert count_more(["a", "b"]) == "a, b"
    assert count_more(["a", "b", "c", "d"]) == "a, b and 2 more"


def test_modules_end_at_a_dot() -> None:
    assert is_within("layer1.0.conv1.weight", ("layer1.0",))
    assert not is_within("layer1.0.conv1.weight", ("layer", "layer1.1", "layer1.0.conv"))
    assert is_within("anything", ())
