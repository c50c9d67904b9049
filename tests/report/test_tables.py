"""Tables: what varies stands class beside class, and no path leads out of the study."""

import dataclasses

from genovox.report.tables import (
    count_exclusions,
    count_series,
    describe_cohort,
    describe_folds,
    list_folds,
    list_settings,
    tabulate_checks,
    tabulate_comparison,
)

from .conftest import PATIENTS, SITE, TinyRun


def test_cohort_is_counted_by_class(tiny: TinyRun) -> None:
    varying, constant = describe_cohort(tiny.read())
    traits = {trait.name: {row[0]: row[1:] for row in trait.rows} for trait in varying}
    assert traits["Size"]["cases"] == ("22", "11", "11")
    assert traits["site"][SITE][0].endswith("%)")
    assert ("vendor", "GE") in constant
    assert ("voxel spacing (mm)", "3 × 3 × 4") in constant


def test_long_numeric_traits_are_summarised(tiny: TinyRun) -> None:
    results = tiny.read()
    results.cases["scan_echo_time"] = [str(1 + number / 10) for number in range(len(results.cases))]
    results.cases["scan_protocol"] = [f"protocol {number}" for number in range(len(results.cases))]
    traits = {trait.name: trait.rows for trait in describe_cohort(results)[0]}
    assert traits["echo time"][0][:2] == ("median (range)", "2.05 (1 to 3.1)")
    assert traits["protocol"][-1][:2] == ("15 other values", "15\N{NO-BREAK SPACE}(68%)")


def test_folds_are_sized_by_part(tiny: TinyRun) -> None:
    results = tiny.read()
    rows = list_folds(results)
    assert [row["fold"] for row in rows] == ["0", "1"]
    assert sum(int(row["test"]) for row in rows) == PATIENTS - 2 - 6
    assert describe_folds(results).startswith("1 repeat of 2 folds: 2 networks a model")


def test_paths_outside_the_study_lose_their_folders(tiny: TinyRun) -> None:
    results = tiny.read()
    cohort = results.study["cohort"] | {"images": "/secret/place/manifest.csv", "labels": "../up/labels.csv"}
    settings = dict(list_settings(dataclasses.replace(results, study=results.study | {"cohort": cohort})))
    assert dict(settings["cohort"])["images"] == "…/manifest.csv"
    assert dict(settings["cohort"])["labels"] == "…/labels.csv"
    assert dict(settings["preprocess"])["shape"] == "16, 16, 16"


def test_exclusions_and_checks(tiny: TinyRun) -> None:
    results = tiny.read()
    assert {(stage, cases) for stage, _, cases in count_exclusions(results)} == {("cohort", "1")}
    assert len(tabulate_checks(results)) == len(results.audit["checks"])
    assert tabulate_comparison(results, "cross_validation") == []


def test_series_are_counted_by_reason(archive: TinyRun, tiny: TinyRun) -> None:
    counts = dict(count_series(archive.read()))
    assert counts["t2: T2-weighted by its name"] == "8"
    assert counts["subtraction: subtraction by its image type"] == "8"
    assert counts["other: biopsy by its name"] == "2"
    assert sum(int(count) for count in counts.values()) == 26
    assert list(counts.values()) == sorted(counts.values(), key=int, reverse=True)
    assert count_series(tiny.read()) == []


def test_networks_are_compared_with_the_oracle(archive: TinyRun) -> None:
    assert [row["model"] for row in tabulate_comparison(archive.read(), "cross_validation")] == ["oracle"]
