"""The verbs on a plain table of any tool: figures, verdict, and one clear error for what cannot be read."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genovox.cli.main import run_command
from genovox.core.artifacts import read_json
from genovox.evaluate.evaluation import evaluate_predictions

PATIENTS = 60
FAST = ["--set", "evaluate.resamples=200", "--set", "audit.permutations=200"]


def _make_table() -> pd.DataFrame:
    random = np.random.default_rng(4)
    label = np.arange(PATIENTS) % 3 == 0
    score = 1 / (1 + np.exp(-(1.5 * label - 0.7 + random.normal(0, 1, PATIENTS))))
    ids = [f"{number:02d}" for number in range(PATIENTS)]
    return pd.DataFrame(
        {
            "case_id": ["c" + number for number in ids],
            "patient_id": ["p" + number for number in ids],
            "label": label.astype(int),
            "score": score.round(4),
        }
    )


def _make_cases() -> pd.DataFrame:
    random = np.random.default_rng(5)
    return _make_table()[["case_id"]].assign(
        site=np.where(random.random(PATIENTS) < 0.5, "north", "south"),
        vendor=np.where(random.random(PATIENTS) < 0.5, "GE", "Siemens"),
        age=(50 + random.normal(0, 9, PATIENTS)).round(1),
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    _make_table().to_csv(tmp_path / "predictions.csv", index=False)
    _make_cases().to_csv(tmp_path / "cases.csv", index=False)
    return tmp_path


def test_evaluate_writes_what_the_stage_writes_and_prints_80_columns(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = folder / "predictions.csv"
    assert run_command(["evaluate", str(table), "--cases", str(folder / "cases.csv"), *FAST]) == 0
    written = folder / "predictions-evaluation"
    names = {path.name for path in written.iterdir()}
    assert names >= {"metrics.json", "comparison.json", "operating_points.json", "calibration.json", "subgroups.json"}
    assert (written / "curves" / "model_fixed_roc.csv").exists()
    direct = evaluate_predictions(
        _make_table().assign(model="model", repeat=0, fold="fixed", part="test"),
        label_unit="patient",
        resamples=200,
        seed=7,
    )
    found = read_json(written / "metrics.json")
    assert found["models"]["model"]["cross_validation"] is None
    estimate = found["models"]["model"]["fixed"]["metrics"]["roc_auc"]["estimate"]
    assert estimate == pytest.approx(direct.metrics["models"]["model"]["fixed"]["metrics"]["roc_auc"]["estimate"])
    columns = [row["column"] for row in read_json(written / "subgroups.json")["models"]["model"]]
    assert columns == ["site", "scan_vendor", "age"]
    said = capsys.readouterr().out
    lines = [line for line in said.splitlines() if not line.startswith("->")]
    assert max(map(len, lines)) <= 80
    for word in ("ROC AUC", "DeLong", "chance 0.33", "Calibration:", "fixed test part", "Decisions at 0.50", "age"):
        assert word in said


def test_evaluate_as_json_of_cases_and_of_two_models(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = _make_table()
    two = pd.concat([table.assign(model="a"), table.assign(model="b", score=0.5)])
    two.to_csv(folder / "two.csv", index=False)
    arguments = ["evaluate", str(folder / "two.csv"), "--label-unit", "case", "--out", str(folder / "x"), *FAST]
    assert run_command([*arguments, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert (content["metrics"]["label_unit"], list(content["metrics"]["models"])) == ("case", ["a", "b"])
    assert len(content["notes"]) == 1
    assert run_command(arguments) == 0
    assert "b: AUC 0.50" in capsys.readouterr().out
    assert run_command([*arguments, "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_audit_of_a_fixed_part_sees_its_metadata(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _make_table()[["case_id", "patient_id", "label"]].iloc[:0].to_csv(folder / "left_out.csv", index=False)
    arguments = ["audit", str(folder / "predictions.csv"), "--cases", str(folder / "cases.csv"), *FAST]
    assert run_command([*arguments, "--exclusions", str(folder / "left_out.csv")]) == 0
    content = read_json(folder / "predictions-audit" / "audit.json")
    status = {check["name"]: check["status"] for check in content["checks"]}
    assert status["metadata-label"] != "not-assessed"
    assert status["label-permutation"] == status["exclusions"] == "pass"
    assert status["beyond-clinical"] != "not-assessed"
    assert status["fold-disjointness"] == "not-assessed"
    assert "fixed test part" in content["headline"]
    assert content["verdict"] in ("signal", "underpowered")
    said = capsys.readouterr().out
    assert max(len(line) for line in said.splitlines() if not line.startswith("->")) <= 80
    for word in ("Verdict:", "Leakage", "Confounding", "Next steps", "not assessed"):
        assert word in said
    assert run_command([*arguments, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == content["verdict"]


def test_audit_reads_folds_and_a_clinical_table(folder: Path) -> None:
    table = _make_table()
    trained = [f"t{number}" for number in range(20)]
    plan = pd.concat(
        [
            table[["case_id", "patient_id"]].assign(fold="0", part="test"),
            pd.DataFrame({"case_id": trained, "patient_id": trained, "fold": "0", "part": "train"}),
        ]
    )
    plan.to_csv(folder / "folds.csv", index=False)
    clinic = table[["patient_id"]].assign(age=_make_cases()["age"], subtype=["luminal", "basal"] * (PATIENTS // 2))
    clinic.to_csv(folder / "clinical.csv", index=False)
    beside = ["--folds", str(folder / "folds.csv"), "--clinical", str(folder / "clinical.csv")]
    assert run_command(["audit", str(folder / "predictions.csv"), *beside, *FAST, "--quiet"]) == 0
    content = read_json(folder / "predictions-audit" / "audit.json")
    status = {check["name"]: check["status"] for check in content["checks"]}
    assert status["fold-disjointness"] == "pass"
    assert content["additions"][0]["base"] == "age and subtype"
    plan.loc[plan["case_id"] == "t0", "patient_id"] = "p03"
    plan.to_csv(folder / "folds.csv", index=False)
    assert run_command(["audit", str(folder / "predictions.csv"), *beside, *FAST, "--quiet"]) == 0
    assert read_json(folder / "predictions-audit" / "audit.json")["verdict"] == "leaking"


@pytest.mark.parametrize("leak", ["two folds", "trained", "two models"])
def test_a_leak_is_a_verdict_of_the_audit_and_an_error_of_evaluate(
    folder: Path, leak: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table = _make_table().assign(fold=[str(number % 4) for number in range(PATIENTS)], part="test")
    if leak == "two folds":
        table = pd.concat([table, table.iloc[:1].assign(case_id="again", fold="1")])
    elif leak == "trained":
        table = pd.concat([table, table[table["fold"] == "0"].iloc[:2].assign(part="train")])
    else:
        # Each model by itself splits nobody, but what one was tested on the other was trained on.
        shifted = table.assign(model="b", fold=[str((number + 1) % 4) for number in range(PATIENTS)])
        table = pd.concat([table.assign(model="a"), shifted])
    path = folder / "leak.csv"
    table.to_csv(path, index=False)
    assert run_command(["audit", str(path), "--cases", "none.csv"]) == 3
    assert run_command(["audit", str(path), *FAST]) == 0
    content = read_json(folder / "leak-audit" / "audit.json")
    assert content["verdict"] == "leaking"
    assert content["checks"][0]["status"] == "fail"
    assert "Verdict: leaking" in capsys.readouterr().out
    assert run_command(["evaluate", str(path), *FAST]) == (3 if leak == "trained" else 4)


def _damage(column: str, value: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def damage(table: pd.DataFrame) -> pd.DataFrame:
        changed = table.astype(object)
        changed[column] = pd.Series([value if row == 4 else old for row, old in enumerate(table[column])], dtype=object)
        return changed

    return damage


@pytest.mark.parametrize(
    ("damage", "word"),
    [
        (lambda table: table.assign(label=1), "carriers and non-carriers"),
        (_damage("score", "NaN"), "score must be a probability"),
        (_damage("score", ""), "score must have a value"),
        (_damage("score", 3.2), "got '3.2'"),
        (_damage("label", 2), "label must be 0 or 1"),
        (lambda table: table.iloc[:0], "at least one row, got a header alone"),
        (lambda table: table.drop(columns="score"), "add score"),
        (lambda table: pd.concat([table, table.iloc[:1]]), "got two"),
        (lambda table: table.assign(part="val"), "part without fold"),
        (_damage("case_id", "c99"), "c99"),
    ],
)
@pytest.mark.parametrize("verb", ["evaluate", "audit"])
def test_what_cannot_be_read_is_one_line(
    folder: Path,
    damage: Callable[[pd.DataFrame], pd.DataFrame],
    word: str,
    verb: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    damage(_make_table()).to_csv(folder / "predictions.csv", index=False)
    arguments = [verb, str(folder / "predictions.csv"), "--cases", str(folder / "cases.csv"), *FAST]
    assert run_command(arguments) == 3
    error = capfd.readouterr().err
    assert error.count("error:") == 1
    assert word in error


def test_other_files_and_options_that_do_not_fit(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    table = folder / "predictions.csv"
    (folder / "semi.csv").write_text(table.read_text(encoding="utf-8").replace(",", ";"), encoding="utf-8")
    (folder / "empty.csv").write_text("", encoding="utf-8")
    folds = folder / "folds.csv"
    folds.write_text("case_id,patient_id,fold,part\nc00,p00,0,test\nc01,p01,1,test\n", encoding="utf-8")
    odd = folder / "odd.csv"
    odd.write_text("case_id,patient_id,fold,part,label,age\nc00,p00,0,exam,3,50\n", encoding="utf-8")
    repeats, strangers, twice = folder / "repeats.csv", folder / "strangers.csv", folder / "twice.csv"
    repeats.write_text("case_id,patient_id,repeat,fold,part\nc00,p00,x,0,test\n", encoding="utf-8")
    strangers.write_text("case_id,fold,part\nc00,0,test\nwho,0,train\n", encoding="utf-8")
    twice.write_text("case_id\nc00\nc00\n", encoding="utf-8")
    mismatch = folder / "mismatch.csv"
    _make_cases().assign(label=0).to_csv(mismatch, index=False)
    for arguments, code, word in [
        (["evaluate", str(folder / "gone.csv")], 3, "no such file"),
        (["evaluate", str(folder / "semi.csv")], 3, "commas"),
        (["evaluate", str(folder / "empty.csv")], 3, "readable CSV"),
        (["evaluate", str(table), "--label-unit", "scan"], 2, "--label-unit"),
        (["evaluate", str(table), "--set", "evaluate.resample=3"], 2, "resample"),
        (["evaluate", str(table), "--dry-run"], 2, "--dry-run"),
        (["evaluate", str(folder), "--cases", str(table)], 2, "--cases is for a table"),
        (["audit", str(table), "--permute-pipeline", "3"], 2, "--permute-pipeline"),
        (["audit", str(table), "--leave-sites-out"], 2, "--leave-sites-out"),
        (["audit", str(table), "--folds", str(folds)], 3, "plans 2 folds"),
        (["audit", str(table), "--folds", str(odd)], 3, "part must be"),
        (["audit", str(table), "--clinical", str(_write_others(folder))], 3, "no patient_id"),
        (["audit", str(table), "--clinical", str(_write_nameless(folder))], 3, "case_id or patient_id"),
        (["audit", str(table), "--folds", str(repeats)], 3, "repeat must be a whole number"),
        (["audit", str(table), "--folds", str(strangers)], 3, "of which patient"),
        (["audit", str(table), "--cases", str(twice)], 3, "one row a case_id"),
        (["audit", str(table), "--exclusions", str(odd)], 3, "label must be"),
        (["audit", str(table), "--cases", str(mismatch)], 3, "a case has one label"),
    ]:
        assert run_command(arguments) == code, arguments
        error = capfd.readouterr().err
        assert word in error, arguments
        assert error.count("error:") == 1


def _write_others(folder: Path) -> Path:
    """A clinical table of other patients."""
    path = folder / "others.csv"
    path.write_text("patient_id,age\nx,50\n", encoding="utf-8")
    return path


def _write_nameless(folder: Path) -> Path:
    """A clinical table without ids."""
    path = folder / "nameless.csv"
    path.write_text("age\n50\n", encoding="utf-8")
    return path


def test_three_patients_get_counts_and_no_interval(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _make_table().iloc[:3].to_csv(folder / "three.csv", index=False)
    assert run_command(["evaluate", str(folder / "three.csv"), *FAST]) == 0
    assert "too few patients" in capsys.readouterr().out
    assert run_command(["audit", str(folder / "three.csv"), *FAST]) == 0
    assert "Verdict: underpowered" in capsys.readouterr().out


def test_no_torch_for_a_plain_table(folder: Path) -> None:
    code = (
        "import sys; from genovox.cli.main import run_command\n"
        f"assert run_command(['audit', {str(folder / 'predictions.csv')!r}, '--quiet', *{FAST!r}]) == 0\n"
        "assert 'torch' not in sys.modules, 'torch was imported'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
