"""What is read of a run."""

from .conftest import PATIENTS, TinyRun


def test_results_hold_the_scored_cases_and_blocks(tiny: TinyRun) -> None:
    results = tiny.read()
    assert len(results.cases) == len(results.prepared) == PATIENTS - 2
    assert len(results.exclusions) == 2
    assert results.models == ["light"]
    assert results.unit == "patients"
    assert len(results.test_scores("light", "fixed")) == 6
    assert len(results.test_scores("light", "cross_validation")) == PATIENTS - 2 - 6


def test_curves_and_histories(tiny: TinyRun) -> None:
    results = tiny.read()
    assert results.read_curve("light", "roc", "fixed")["low"].isna().all()
    assert set(results.read_histories("light")) == {(0, "0"), (0, "1")}


def test_results_of_an_archive(archive: TinyRun, tiny: TinyRun) -> None:
    results = archive.read()
    assert (results.source, tiny.read().source) == ("archive", "manifest")
    assert results.models == ["light", "oracle"]
    assert results.networks == ["light"]  # the oracle was never trained: no histories, no maps
    assert len(results.exclusions) == 0
    assert set(results.unused_series["level"]) == {"series"}
    assert len(results.unused_series) == 26
    assert tiny.read().unused_series.empty
