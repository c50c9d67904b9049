from typing import Any

import pytest

from genovox.core.errors import StudyError
from genovox.core.planned import CHANNEL_NAMES, MODEL_NAMES, refuse_planned


def _lines(content: dict[str, Any]) -> list[str]:
    with pytest.raises(StudyError) as caught:
        refuse_planned(content, "study.toml")
    return str(caught.value).splitlines()


@pytest.mark.parametrize("name", [*CHANNEL_NAMES, "post7", "subtraction12", "initial-area@60s"])
def test_channels_of_today_pass(name: str) -> None:
    refuse_planned({"preprocess": {"channels": [name]}}, "study.toml")


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_models_of_today_pass(name: str) -> None:
    refuse_planned({"train": {"models": [name]}}, "study.toml")


@pytest.mark.parametrize("name", ["radiomics", "metadata", "clinical", "resnet18@medicalnet"])
def test_models_of_tomorrow_are_refused_as_such(name: str) -> None:
    (line,) = _lines({"train": {"models": [name]}})
    assert line.startswith(f'study.toml: train.models[0] = "{name}" is not in genovox')


def test_unknown_names_suggest_the_nearest() -> None:
    lines = _lines(
        {"preprocess": {"channels": ["wahsout", "zzz"]}, "train": {"models": ["lihgt", "vgg", "resnet50-dilate"]}}
    )
    assert 'preprocess.channels[0] = "wahsout" is unknown; did you mean "washout"?' in lines[0]
    assert 'preprocess.channels[1] = "zzz" is unknown; use pre, post1' in lines[1]
    assert 'train.models[0] = "lihgt" is unknown; did you mean "light"?' in lines[2]
    assert 'train.models[1] = "vgg" is unknown; use light' in lines[3]
    assert 'train.models[2] = "resnet50-dilate" is unknown; did you mean "resnet50-dilated"?' in lines[4]


@pytest.mark.parametrize("name", ["post0", "subtraction0", "post01", "subtraction", "post@0s"])
def test_there_is_no_phase_zero_after_contrast(name: str) -> None:
    assert "is unknown" in _lines({"preprocess": {"channels": [name]}})[0]


def test_a_name_stands_once() -> None:
    assert "stands twice; remove one" in _lines({"train": {"models": ["light", "light"]}})[0]


@pytest.mark.parametrize(
    "name",
    [*CHANNEL_NAMES, "post12", "initial-area@60s", "wash", "post", "pre1", "post@0s", "ser2", "post@90", "POST1"],
)
def test_the_names_are_those_of_the_kinetics(name: str) -> None:
    from genovox.volumes.kinetics import parse_channel

    try:
        parse_channel(name)
    except ValueError:
        assert "is unknown" in _lines({"preprocess": {"channels": [name]}})[0]
    else:
        refuse_planned({"preprocess": {"channels": [name]}}, "study.toml")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tests", ["a.csv"]),
        ("classifications", "variants.txt.gz"),
        ("genes", ["PALB2"]),
        ("unit", "exam"),
        ("unit", "lesion"),
        ("unit", "breast"),
        ("breasts", "contralateral"),
        ("vus", "negative"),
        ("other_genes", "negative"),
        ("clinical", "clinical.csv"),
        ("marks", "marks.csv"),
    ],
)
def test_what_is_no_longer_planned_passes(key: str, value: Any) -> None:
    refuse_planned({"cohort": {key: value}}, "study.toml")
