"""What this installation can do."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from genovox.cli.main import run_command


def test_names_versions_and_missing_extras(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["doctor"]) == 0
    out = capsys.readouterr().out
    assert "torch 2." in out
    assert "[cluster]" in out


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["doctor", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["cores"] >= 1
    assert set(facts["extras"]) >= {"explain", "web", "federated"}


def test_a_study_is_told_what_it_needs(shapes_study: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    study = shapes_study()
    models = ["--set", 'train.models=["light", "resnet50"]', "--set", "preprocess.shape=[256, 256, 256]"]
    assert run_command(["doctor", str(study), *models, "--set", "train.batch_size=64"]) == 0
    out = capsys.readouterr().out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "folds at once: 1" in out
    assert "too much; try train.batch_size=" in out
    assert run_command(["doctor", str(study), *models, "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    light, resnet = facts["models"]
    assert light["total_mb"] < resnet["total_mb"]
