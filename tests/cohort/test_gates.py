from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from genovox.cohort.balance import compare_shares
from genovox.cohort.gates import (
    RULES,
    compare_exclusions,
    count_rules,
    describe_flow,
    find_duplicate_volumes,
    pass_gates,
    read_acceptances,
    record_acceptance,
    refuse_shared_image,
    split_labels,
    summarise_flow,
)
from genovox.core.case import Case, Exclusion, exclusions_table
from genovox.core.errors import GateError, UsageError
from genovox.scans.inspection import Inspection


def _cases(*rows: tuple[str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["case_id", "patient_id", "fingerprint"])


FINE = _cases(("a", "p", "1"), ("b", "p", "1"), ("c", "q", "2"), ("d", "r", ""), ("e", "s", ""))
TWINS = _cases(("a", "p", "1"), ("b", "q", "2"), ("c", "r", "1"))
FAIR = compare_exclusions([1] * 10 + [0] * 10, [1, 0])
ROW = Exclusion("case", "c1", "p1", "cohort", "image", "truncated", 1)
SERIES = Exclusion("series", "series-0123456789", "p1", "cohort", "series", "t2: T2-weighted by its name")


def test_every_rule_has_words() -> None:
    assert {ROW.rule, SERIES.rule, "exam", "mark", "side", "label"} <= set(RULES)
    assert all(RULES.values())


def test_a_series_that_is_left_out_is_no_case_that_is_lost() -> None:
    kept = [Case("c2", "p2", ("x.json",), 1), Case("c3", "p3", ("y.json",), 0)]
    candidates = [Case("c1", "p1", (), 1), *kept]
    rows = [ROW, SERIES, replace(SERIES, case_id="series-9")]
    flow = describe_flow(candidates, kept, rows, "patient")
    assert flow["excluded"] == [{"rule": "image", "text": RULES["image"], "cases": 1}]
    assert count_rules(rows) == "1 image missing or unusable"
    assert summarise_flow(flow) == (
        "3 cases of 3 patients; 1 image missing or unusable; kept 2 cases of 2 patients (1 positive, 1 negative)"
    )
    table = pd.DataFrame({"case_id": ["c2", "c3"], "patient_id": ["p2", "p3"], "label": ["1", "0"]})
    assert split_labels(table, exclusions_table(rows)) == ([0, 1], [1])


@pytest.mark.parametrize(("out", "kept"), [((26, 0), (71, 73)), ((3, 4), (30, 31)), ((0, 0), (5, 6)), ((1, 0), (2, 9))])
def test_exclusions_against_the_label(out: tuple[int, int], kept: tuple[int, int]) -> None:
    test = compare_exclusions([1] * kept[0] + [0] * kept[1], [1] * out[0] + [0] * out[1])
    assert (test.carriers, test.others) == ((out[0], out[0] + kept[0]), (out[1], out[1] + kept[1]))


def test_one_patient_may_hold_a_volume_twice() -> None:
    assert find_duplicate_volumes(FINE).empty
    assert find_duplicate_volumes(TWINS)["case_id"].tolist() == ["a", "c"]
    pass_gates(FINE, FAIR, {}, {})


def test_two_patients_may_not() -> None:
    with pytest.raises(GateError, match="a and c are equal voxel for voxel but belong to p and r") as caught:
        pass_gates(TWINS, FAIR, {}, {"exclusions": "other gate"})
    assert caught.value.check == "duplicate-volumes"
    assert '--accept duplicate-volumes --reason "…"' in str(caught.value)


def test_the_silent_exclusion_of_carriers_is_refused() -> None:
    unfair = compare_exclusions([1] * 71 + [0] * 73, [1] * 26)
    with pytest.raises(GateError, match="26 of 97 carriers and 0 of 73 non-carriers lost a case") as caught:
        pass_gates(FINE, unfair, {}, {})
    assert caught.value.check == "exclusions"


def test_what_is_missing_in_one_class_is_refused() -> None:
    missing = {"age": compare_shares((20, 30), (2, 40)), "grade": compare_shares((1, 30), (0, 40))}
    with pytest.raises(GateError, match="20 of 30 carriers and 2 of 40 non-carriers have no age") as caught:
        pass_gates(FINE, FAIR, missing, {})
    assert caught.value.check == "missing-values"
    pass_gates(FINE, FAIR, missing, {"missing-values": "the clinic asked carriers only"})


def test_what_is_accepted_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    pass_gates(TWINS, FAIR, {}, {"duplicate-volumes": "twins scanned once"})
    assert "duplicate-volumes accepted (twins scanned once)" in caplog.text


def test_acceptances_are_kept_with_their_reason(tmp_path: Path) -> None:
    assert read_acceptances(tmp_path) == {}
    record_acceptance(tmp_path, [], "")
    assert not (tmp_path / "accepted.json").exists()
    record_acceptance(tmp_path, ["exclusions"], " a broken disk ")
    record_acceptance(tmp_path, ["duplicate-volumes"], "phantoms")
    assert read_acceptances(tmp_path) == {"exclusions": "a broken disk", "duplicate-volumes": "phantoms"}
    with pytest.raises(UsageError, match="--accept takes duplicate-volumes or exclusions or missing-values, got 'all'"):
        record_acceptance(tmp_path, ["all"], "why not")
    with pytest.raises(UsageError, match="--accept needs --reason"):
        record_acceptance(tmp_path, ["exclusions"], " ")


def test_two_small_masks_of_a_patient_may_be_equal() -> None:
    refuse_shared_image([(Case(f"C{number}", "P1", (f"{number}.nii",)), Inspection({}, "")) for number in range(2)])
