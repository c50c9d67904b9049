"""``genovox plan``: without a study, and from a run."""

import json
from pathlib import Path

import pytest

from genovox.cli.main import run_command
from tests.plan.conftest import write_run

ASSUMED = ["--prevalence", "0.3", "--auc", "0.7"]


@pytest.fixture(scope="module")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose folds are too small for a learning curve."""
    return write_run(tmp_path_factory.mktemp("small"), patients=30, shift=1.0, folds=3, columns=2)


def test_help_has_examples(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["plan", "--help"]) == 0
    shown = capsys.readouterr().out
    assert "Example: genovox plan --prevalence 0.3 --auc 0.7 --patients 120" in shown
    assert "Example: genovox plan runs/my-study --learning-curve" in shown


def test_a_plan_without_a_study(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["plan", *ASSUMED, "--patients", "120", "--models", "9"]) == 0
    shown = capsys.readouterr().out
    assert "What 120 patients can show (36 carriers, 84 non-carriers)" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert run_command(["plan", *ASSUMED, "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["now"] is None
    assert plan["needs"][0]["patients"] == 77


def test_a_plan_from_a_run_is_kept(small_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["plan", str(small_run)]) == 0
    shown = capsys.readouterr().out
    assert "clinical reached AUC" in shown
    assert "plan.png" in shown.splitlines()[-1]
    kept = json.loads((small_run / "plan" / "plan.json").read_text())
    assert kept["findings"]["patients"] == 30
    assert kept["learning_curve"] is None
    assert run_command(["plan", str(small_run.parents[1] / "study.toml"), "--json", "--patients", "300"]) == 0
    assert json.loads(capsys.readouterr().out)["now"]["patients"] == 300


def test_a_learning_curve_is_told_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path, patients=72, shift=1.2)
    assert run_command(["plan", str(run), "--learning-curve", "--draws", "1", "--workers", "1", "--quiet"]) == 0
    shown = capsys.readouterr().out
    assert "Learning curve of clinical" in shown
    assert json.loads((run / "plan" / "plan.json").read_text())["learning_curve"]["rows"] == 4
    assert (run / "plan" / "plan.png").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "a plan needs a run, or --prevalence and --auc; try: genovox plan --prevalence 0.3 --auc 0.7"),
        (["--prevalence", "0.3"], "a plan needs a run, or --prevalence and --auc"),
        (["--prevalence", "30", "--auc", "0.7"], "--prevalence is the share of carriers, above 0 and below 1, got 30"),
        ([*ASSUMED, "--learning-curve"], "--learning-curve and --model need a run"),
        ([*ASSUMED, "--models", "0"], "--models must be 1 or more, got 0"),
    ],
)
def test_wrong_usage_says_what_to_do(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["plan", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_wrong_usage_of_a_run(small_run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["plan", str(small_run), "--prevalence", "0.3"]) == 2
    assert "whose own counts are used" in capsys.readouterr().err
    assert run_command(["plan", str(small_run), "--model", "clinical"]) == 2
    assert "--model is of the learning curve" in capsys.readouterr().err
    assert run_command(["plan", str(small_run), "--learning-curve"]) == 3
    assert "a learning curve needs folds of 10 or more training patients of each class" in capsys.readouterr().err
