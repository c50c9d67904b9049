"""From tests to a table of labels, on one screen."""

import json
from pathlib import Path

import pytest

from genovox.cli.main import run_command
from genovox.core.artifacts import read_table
from genovox.genetics.labels import read_labels

HEADER = "patient,gene,hgvs,class,result,genes_tested,scope,date,origin\n"
ROWS = (
    "p1,BRCA1,c.68_69del,Pathogenic,detected,BRCA1;BRCA2,full,2024-01-01,germline\n"
    "p2,,,,not detected,BRCA1;BRCA2,full,2024-01-01,germline\n"
    "p3,BRCA2,c.7994A>G,,detected,BRCA1;BRCA2,full,2024-01-01,germline\n"
    "p4,,,,not detected,BRCA1;BRCA2,founder,2005-01-01,germline\n"
)
SHEET = "gene,hgvs,class,date\nBRCA2,c.7994A>G,{},{}\n"


@pytest.fixture
def tests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("tests.csv").write_text(HEADER + ROWS)
    Path("header.csv").write_text(HEADER)
    Path("old.csv").write_text(SHEET.format("VUS", "2015-01-01"))
    Path("new.csv").write_text(SHEET.format("Likely pathogenic", "2024-01-01"))
    return "tests.csv"


def test_writes_labels_a_study_can_read(tests: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["labels", tests, "--classifications", "new.csv"]) == 0
    out = capsys.readouterr().out
    assert all(len(line) <= 80 for line in out.splitlines())
    assert "4 patients in tests.csv" in out
    assert "     2  label 1      carriers" in out
    assert "     1  label 0      every gene tested in full" in out
    assert "1     founder or single-variant test" in out
    assert "BRCA1: 2 non-carrier, 1 carrier, 1 not-tested" in out
    assert out.endswith("-> labels.csv\n")
    table = read_table(Path("labels.csv"))
    assert table["label"].tolist() == ["1", "0", "1", ""]
    assert table["BRCA2_status"].tolist() == ["non-carrier", "non-carrier", "likely-carrier", "not-tested"]
    labels = read_labels(Path("labels.csv"))
    assert {key: row[0] for key, row in labels.rows.items()} == {"p1": 1, "p2": 0, "p3": 1, "p4": None}
    assert "not tested in full, only by tests of scope founder" in labels.rows["p4"][1]


def test_never_replaces_a_table_unasked(tests: str, capfd: pytest.CaptureFixture[str]) -> None:
    Path("labels.csv").write_text("mine")
    assert run_command(["labels", tests]) == 2
    assert "labels.csv would be replaced; use --overwrite" in capfd.readouterr().err
    assert Path("labels.csv").read_text() == "mine"
    assert run_command(["labels", tests, "--overwrite"]) == 0
    assert run_command(["labels", tests, "--out", "other.csv", "--json"]) == 0
    assert read_table(Path("other.csv"))["patient_id"].tolist() == ["p1", "p2", "p3", "p4"]


def test_json_is_the_summary(tests: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["labels", tests, "--json", "--genes", "BRCA1", "--vus", "negative"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["labels"] == {"1": 1, "0": 1, "": 2}
    assert summary["reasons"] == {"no class": 1, "founder or single-variant test": 1}
    assert summary["statuses"] == {"BRCA1": {"carrier": 1, "non-carrier": 2, "not-tested": 1}}


def test_who_changes_between_two_releases(tests: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["labels", tests, "--diff", "old.csv", "new.csv"]) == 0
    out = capsys.readouterr().out
    assert "1 of 4 patients change label, 0 status alone" in out
    assert "  p3: label none -> 1 (BRCA2 vus -> likely-carrier)" in out
    assert not Path("labels.csv").exists()
    assert run_command(["labels", tests, "--diff", "old.csv", "new.csv", "--out", "changes.csv", "--json"]) == 0
    (change,) = json.loads(capsys.readouterr().out)["changes"]
    assert change == {"patient_id": "p3", "old_label": "", "new_label": "1", "change": "BRCA2 vus -> likely-carrier"}
    assert "likely pathogenic (new.csv, 2024-01-01)" in read_table(Path("changes.csv"))["new_evidence"].tolist()[0]


def test_who_changes_between_two_tables_of_labels(tests: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["labels", tests, "--classifications", "old.csv", "--out", "a.csv"]) == 0
    assert run_command(["labels", tests, "--classifications", "new.csv", "--out", "b.csv"]) == 0
    capsys.readouterr()
    assert run_command(["labels", "--diff", "a.csv", "b.csv"]) == 0
    assert "p3: label none -> 1" in capsys.readouterr().out


def test_many_changes_are_counted(tests: str, capsys: pytest.CaptureFixture[str]) -> None:
    for name, label in (("a.csv", 0), ("b.csv", 1)):
        Path(name).write_text("patient_id,label\n" + "".join(f"p{i},{label}\n" for i in range(30)))
    assert run_command(["labels", "--diff", "a.csv", "b.csv"]) == 0
    out = capsys.readouterr().out
    assert "30 of 30 patients change label" in out
    assert "and 10 more; --out FILE writes all" in out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "takes at least one table or file of tests"),
        (["tests.csv", "--vus", "maybe"], 2, "--vus takes exclude or negative, got 'maybe'"),
        (
            ["tests.csv", "--precedence", "clinvar,me"],
            2,
            "--precedence takes curated or clinvar or laboratory, got 'me'",
        ),
        (["tests.csv", "--genes", "all genes"], 2, "must list at least one gene symbol"),
        (["no.csv"], 2, "no such file: no.csv; check the path\n"),
        (["no.vcf.gz"], 2, "no such file: no.vcf.gz; check the path\n"),
        (["tests.csv", "--classifications", "no.txt"], 2, "no such file: no.txt; check the path\n"),
        (["tests.csv", "--panels", "no.csv"], 2, "no such file: no.csv; check the path\n"),
        (["tests.csv", "--coverage", "no.bed"], 2, "no such file: no.bed; check the path\n"),
        (["tests.csv", "--diff", "old.csv", "no.csv"], 2, "no such file: no.csv; check the path\n"),
        (["--diff", "no.csv", "old.csv"], 2, "no such file: no.csv; check the path\n"),
        (["."], 2, "must be a file, got a folder; give the files in it"),
        (["header.csv"], 3, "header.csv must hold at least one row, got a header alone"),
        (["tests.csv", "--minimum-review", "5"], 2, ""),
    ],
)
def test_what_goes_wrong_is_one_line(
    tests: str, arguments: list[str], code: int, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run_command(["labels", *arguments]) == code
    assert words in capfd.readouterr().err
    assert not Path("labels.csv").exists()
