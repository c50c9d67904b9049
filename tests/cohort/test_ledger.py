"""Exclusions as a table: a label that is not known stays empty."""

from dataclasses import replace

from genovox.cohort.gates import RULES, Exclusion, exclusions_table

ROW = Exclusion("case", "c1", "p1", "cohort", "image", "truncated", 1)


def test_an_unknown_label_is_empty_and_a_known_one_a_number() -> None:
    table = exclusions_table([ROW, replace(ROW, case_id="c2", label=0), replace(ROW, case_id="c3", label=None)])
    assert table["label"].tolist() == ["1", "0", ""]
    assert list(table.columns) == ["level", "case_id", "patient_id", "stage", "rule", "reason", "label"]


def test_nobody_left_out_is_a_table_with_columns() -> None:
    assert list(exclusions_table([]).columns) == list(exclusions_table([ROW]).columns)


def test_every_rule_has_words() -> None:
    assert ROW.rule in RULES
    assert all(RULES.values())
