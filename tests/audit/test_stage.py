"""The audit of a finished run."""

from genovox.core.artifacts import read_json
from tests.conftest import FinishedRun


def test_every_check_has_a_status_a_threshold_and_a_finding(finished_run: FinishedRun) -> None:
    audit = read_json(finished_run.run / "audit" / "audit.json")
    assert [check["name"] for check in audit["checks"]] == [
        "fold-disjointness",
        "study-disjointness",
        "duplicate-volumes",
        "near-duplicates",
        "same-person",
        "fitted-in-fold",
        "early-stopping",
        "test-threshold",
        "validation-gap",
        "metadata-label",
        "exclusions",
        "label-permutation",
    ]
    for check in audit["checks"]:
        assert check["status"] in ("pass", "warn", "fail", "not-assessed")
        assert check["finding"]
        assert check["threshold"]
    assert audit["verdict"] in ("signal", "no-signal", "underpowered")
    assert "12 positive and 12 negative patients" in audit["headline"]
