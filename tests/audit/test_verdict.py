"""The verdict's rules, one by one and in their order."""

import pytest

from genovox.audit.additions import Addition
from genovox.audit.checks import Check
from genovox.audit.confounding import MetadataFinding
from genovox.audit.verdict import reach_verdict
from genovox.evaluate.schema import Metric


def _metric(estimate: float, low: float | None, high: float | None) -> Metric:
    return Metric(estimate=estimate, low=low, high=high, method="percentile")


GOOD = _metric(0.75, 0.65, 0.85)
FEW_SEPARATED = MetadataFinding(("scan_vendor",), _metric(1.0, None, None), None, scanner_known=True)
UNSURE = MetadataFinding(("scan_vendor",), _metric(0.7, 0.48, 0.9), _metric(0.7, 0.6, 0.8), scanner_known=True)
CLEAN = MetadataFinding((), None, None, scanner_known=True)
UNKNOWN = MetadataFinding((), None, None, scanner_known=False)
TELLING = _metric(0.8, 0.7, 0.9)
CONFOUNDED = MetadataFinding(("scan_vendor",), TELLING, _metric(0.5, 0.4, 0.6), scanner_known=True)
PARTIAL = MetadataFinding(("scan_vendor",), TELLING, _metric(0.7, 0.6, 0.8), scanner_known=True)
SEPARATED = MetadataFinding(("scan_vendor",), _metric(1.0, 0.97, 1.0), _metric(0.9, 0.8, 1.0), scanner_known=True)
LEAK = Check("duplicate-volumes", "?", "fail", "two patients share a volume", "any", advice="mend it")


@pytest.mark.parametrize(
    ("checks", "metadata", "auc", "p", "word", "confounding"),
    [
        ([], CLEAN, GOOD, 0.001, "signal", "none"),
        ([], UNKNOWN, GOOD, 0.001, "signal", "unknown"),
        ([], PARTIAL, GOOD, 0.001, "signal", "partial"),
        ([], CONFOUNDED, GOOD, 0.001, "confounded", "partial"),
        ([], SEPARATED, GOOD, 0.001, "confounded", "partial"),
        ([], FEW_SEPARATED, GOOD, 0.001, "confounded", "partial"),
        ([], UNSURE, GOOD, 0.001, "signal", "unknown"),
        ([LEAK], CONFOUNDED, GOOD, 0.001, "leaking", "partial"),
        ([], CLEAN, GOOD, 0.03, "underpowered", "none"),
        ([], CLEAN, _metric(0.52, 0.47, 0.57), 0.3, "no-signal", "none"),
        ([], CLEAN, _metric(0.6, 0.45, 0.75), 0.1, "underpowered", "none"),
        ([], CLEAN, _metric(0.9, None, None), 0.001, "underpowered", "none"),
    ],
)
def test_rules(  # noqa: PLR0917 - a table of rules reads best as one
    checks: list[Check], metadata: MetadataFinding, auc: Metric, p: float, word: str, confounding: str
) -> None:
    verdict = reach_verdict(checks, metadata, auc, p, minimum_auc=0.6)
    assert (verdict.verdict, verdict.confounding) == (word, confounding)
    assert len(verdict.next_steps) == 3
    assert len(set(verdict.next_steps)) == 3


def test_a_leak_is_named_in_the_paragraph() -> None:
    verdict = reach_verdict([LEAK], CLEAN, GOOD, 0.001, minimum_auc=0.6)
    assert "two patients share a volume" in verdict.paragraph


def _addition(low: float | None) -> Addition:
    delta = _metric(0.03, 0.01, 0.05) if low is not None else _metric(0.03, None, None)
    return Addition("age and subtype", 0.8, delta, _metric(0.5, low, None if low is None else low + 1), 9.0, 0.003)


@pytest.mark.parametrize(
    ("low", "beyond", "words"),
    [(0.1, "yes", "It adds to age and subtype."), (-0.1, "no", "not shown to add to age and subtype")],
)
def test_signal_says_whether_it_goes_beyond_the_clinic(low: float, beyond: str, words: str) -> None:
    verdict = reach_verdict([], CLEAN, GOOD, 0.001, minimum_auc=0.6, clinical=_addition(low))
    assert verdict.beyond_clinical == beyond
    assert words in verdict.paragraph
    assert ("Compare with age" in " ".join(verdict.next_steps[:2])) == (beyond == "no")


def test_too_few_for_the_clinic_is_unknown() -> None:
    assert reach_verdict([], CLEAN, GOOD, 0.001, 0.6, clinical=_addition(None)).beyond_clinical == "unknown"


def test_the_studys_own_p_counts() -> None:
    assert reach_verdict([], CLEAN, GOOD, 0.02, 0.6, largest_p=0.01).verdict == "underpowered"


def test_signal_never_says_biology() -> None:
    for metadata in (CLEAN, UNKNOWN, PARTIAL):
        for clinical in (None, _addition(0.1), _addition(-0.1)):
            verdict = reach_verdict([], metadata, GOOD, 0.001, minimum_auc=0.6, clinical=clinical)
            assert "biology does" in verdict.paragraph or "biology" not in verdict.paragraph
            assert "not its cause" in verdict.paragraph


def test_what_failed_leads_the_next_steps() -> None:
    checks = [
        Check("earlier-image", "?", "not-assessed", "none", "…", advice="Keep earlier exams."),
        Check("metadata-label", "?", "fail", "…", "…", advice="Match."),
    ]
    assert reach_verdict(checks, CLEAN, GOOD, 0.001, minimum_auc=0.6).next_steps[0] == "Match."


def test_what_was_not_looked_at_comes_first_among_the_next_steps() -> None:
    unseen = Check("metadata-label", "?", "not-assessed", "no vendor", "…", advice="Add vendor to the manifest.")
    verdict = reach_verdict([unseen], UNKNOWN, GOOD, 0.001, minimum_auc=0.6)
    assert verdict.next_steps[0] == "Add vendor to the manifest."


def test_signal_below_what_would_be_useful_says_so() -> None:
    verdict = reach_verdict([], CLEAN, _metric(0.55, 0.51, 0.59), 0.001, minimum_auc=0.6)
    assert verdict.verdict == "signal"
    assert "below the 0.60 that was fixed as useful" in verdict.paragraph
