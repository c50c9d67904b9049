"""What this installation can do."""

import json

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
