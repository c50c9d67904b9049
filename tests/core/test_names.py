from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genovox.core.errors import StudyError
from genovox.core.names import (
    CHANNEL_NAMES,
    MODEL_NAMES,
    minimum_side,
    model_folder,
    refuse_names,
    split_model,
    split_words,
)
from genovox.core.sections import members_of


def _lines(content: dict[str, Any]) -> list[str]:
    with pytest.raises(StudyError) as caught:
        refuse_names(content, "study.toml")
    return str(caught.value).splitlines()


@pytest.mark.parametrize("name", [*CHANNEL_NAMES, "post7", "subtraction12", "initial-area@60s"])
def test_channels_of_today_pass(name: str) -> None:
    refuse_names({"preprocess": {"channels": [name]}}, "study.toml")


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_models_of_today_pass(name: str) -> None:
    refuse_names({"train": {"models": list(dict.fromkeys(["light", name]))}}, "study.toml")


@pytest.mark.parametrize("name", ["resnet50@medicalnet", "light@self", "resnet18@../old/best.pth"])
def test_a_network_may_start_from_weights(name: str) -> None:
    refuse_names({"train": {"models": [name]}}, "study.toml")
    assert "@".join(split_model(name)) == name


@pytest.mark.parametrize("name", ["radiomics@self", "oracle@x", "vgg@medicalnet", "resnet50@", "@self"])
def test_nothing_else_does(name: str) -> None:
    assert "is unknown" in _lines({"train": {"models": [name]}})[0]


@pytest.mark.parametrize(
    ("members", "blend"),
    [
        (["light", "radiomics"], "light+radiomics"),
        (["light@self", "clinical"], "clinical+light@self"),
        (["resnet18@old/a+b.pth", "radiomics", "clinical"], "resnet18@old/a+b.pth+radiomics+clinical"),
    ],
)
def test_models_of_the_list_may_be_blended(members: list[str], blend: str) -> None:
    models = [*members, blend]
    refuse_names({"train": {"models": models}}, "study.toml")
    assert set(members_of(blend, models)) == set(members)


def test_a_blend_of_a_blends_members_is_no_blend_of_blends() -> None:
    models = ["light", "radiomics", "clinical", "light+radiomics", "light+radiomics+clinical"]
    refuse_names({"train": {"models": models}}, "study.toml")
    assert members_of(models[-1], models) == ("light", "radiomics", "clinical")


def test_a_plus_in_the_name_of_a_file_is_no_blend() -> None:
    refuse_names({"train": {"models": ["resnet18@old/a+b.pth"]}}, "study.toml")


@pytest.mark.parametrize(
    ("blend", "reason"),
    [
        ("light+radiomcs", '"radiomcs" is unknown; did you mean "radiomics"?'),
        ("light+radiomics", 'takes models of the same list, "radiomics" is not in it; add it there'),
        ("light@self+radiomics", '"light@self" is not in it; add it there'),
        ("light+", 'a member is missing beside a "+"'),
        ("light + clinical", "a blend has no blanks"),
        ("light+metadata", "metadata is there to be compared with, not to be part of a score"),
        ("light+oracle", "oracle is there to be compared with"),
        ("light+light", "names a model twice"),
    ],
)
def test_what_cannot_be_blended(blend: str, reason: str) -> None:
    (line,) = _lines({"train": {"models": ["light", "metadata", "oracle", blend]}})
    assert line.startswith(f'study.toml: train.models[3] = "{blend}": ')
    assert reason in line


def test_a_blend_stands_once_in_whatever_order() -> None:
    (line,) = _lines({"train": {"models": ["light", "clinical", "light+clinical", "clinical+light"]}})
    assert line.endswith('"clinical+light": is "light+clinical" again; remove one')


def test_a_mistyped_member_beside_weights_is_no_file() -> None:
    (line,) = _lines({"train": {"models": ["light@self", "radiomics", "light@self+radiomcs"]}})
    assert '"radiomcs" is unknown; did you mean "radiomics"?' in line


def test_a_near_network_is_named_with_its_weights() -> None:
    (line,) = _lines({"train": {"models": ["resent50@medicalnet"]}})
    assert line.endswith('is unknown; did you mean "resnet50@medicalnet"?')


@given(st.text(min_size=1))
def test_a_folder_is_one_folder(model: str) -> None:
    assert not set(model_folder(model)) & set("/\\ \0")


def test_weights_beside_the_study_make_no_folders() -> None:
    assert model_folder("resnet18@../old/best.pth") == "resnet18@..-old-best.pth"
    assert model_folder("light-separable") == "light-separable"
    assert minimum_side("resnet50@medicalnet") == 32
    assert minimum_side("clinical") == 1


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
        refuse_names({"preprocess": {"channels": [name]}}, "study.toml")


def test_two_files_of_weights_do_not_share_a_folder() -> None:
    (line,) = _lines({"train": {"models": ["resnet18@a/b.pth", "light", "resnet18@a-b.pth"]}})
    assert "resnet18@a/b.pth and resnet18@a-b.pth would share a folder" in line


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ("PatientID", "patient id"),
        ("age_at-diagnosis", "age at diagnosis"),
        ("Ki-67 (%)", "ki 67"),
        ("ERStatus", "erstatus"),
    ],
)
def test_a_column_as_words(column: str, words: str) -> None:
    assert split_words(column) == words
