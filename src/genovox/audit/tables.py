"""The audit of tables, whoever made them: every check that needs neither images nor networks, and the verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import pandas as pd

from genovox.audit.additions import (
    IDS,
    Addition,
    check_addition,
    check_matched,
    describe_additions,
    join_words,
    match_pairs,
    measure_addition,
    pair_scores,
)
from genovox.audit.associations import (
    check_columns,
    check_exclusions,
    check_feature_place,
    check_score_place,
    compare_columns,
    find_place_column,
    leaves_sites_out,
)
from genovox.audit.checks import Check
from genovox.audit.confounding import (
    MetadataFinding,
    check_metadata,
    gather_scores,
    join_circumstances,
    measure_columns,
    metadata_columns,
    score_columns,
    weigh_metadata,
)
from genovox.audit.controls import (
    Permutation,
    check_earlier_image,
    check_permutation,
    check_site_drop,
    leave_site_out,
    permute_labels,
    permute_pipeline,
    stratify_units,
)
from genovox.audit.leakage import fold_tests, plan_tests
from genovox.audit.verdict import Verdict, describe_headline, reach_verdict
from genovox.cohort.gates import EXCLUSIONS, split_labels
from genovox.cohort.splits import FIXED
from genovox.core.case import SCAN_PREFIX
from genovox.core.sections import AuditTable
from genovox.evaluate.intervals import cluster_patients
from genovox.evaluate.predictions import gather_units, validate_predictions
from genovox.evaluate.schema import LabelUnit, Metric, PatientScore
from genovox.evaluate.subgroups import SiteLoss


@dataclass(frozen=True)
class Tables:
    """What a study left on tables; what is None was not there, and its checks say so.

    Attributes:
        predictions: As ``evaluate`` reads them.
        cases: ``case_id, patient_id, family_id, label`` and what is known of the scans.
        folds: The fold plan.
        clinic: What the clinic knows, by ``case_id``.
        exclusions: Everything left out.
        features: What the primary model learned from, by ``case_id``, where that is a table.
        embeddings: Else, what the networks of each fold make of its test patients.
        accepted: What the user accepted, and why.
    """

    predictions: pd.DataFrame
    cases: pd.DataFrame | None = None
    folds: pd.DataFrame | None = None
    clinic: pd.DataFrame | None = None
    exclusions: pd.DataFrame | None = None
    features: pd.DataFrame | None = None
    embeddings: Sequence[pd.DataFrame] = ()
    accepted: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """Tables and the primary model's figures, brought into the form that checks read.

    Attributes:
        tables: What there is.
        model: The primary model.
        label_unit: To what labels belong.
        patient_score: How cases make a patient's score.
        auc: Its headline.
        block: Its figures, as ``metrics.json`` holds them.
        cases: Labelled cases, label as integer; made of the predictions where there is no table of cases.
        folds: The fold plan; made of the predictions where there is none. Of a table with a fixed test part alone:
            folds of the tested patients, for what is fitted on metadata.
        tested: Its validated test rows: those of the folds, or of the fixed part where there are no others.
        units: The same as they are scored.
        placed: The same in the fold of ``folds`` that tests them; one network scored all, so scores compare anywhere.
        is_fixed: Whether a fixed test part is all there is.
        resamples: Resamples of every interval.
        seed: Of everything random.
    """

    tables: Tables
    model: str
    label_unit: LabelUnit
    patient_score: PatientScore
    auc: Metric
    block: dict[str, Any]
    cases: pd.DataFrame
    folds: pd.DataFrame
    tested: pd.DataFrame
    units: pd.DataFrame
    placed: pd.DataFrame
    is_fixed: bool
    resamples: int
    seed: int

    @classmethod
    def gather(cls, tables: Tables, metrics: Mapping[str, Any], *, resamples: int, seed: int) -> Self:
        """Bring tables into form.

        Args:
            tables: What there is.
            metrics: As ``metrics.json``.
            resamples: Resamples of every interval.
            seed: Of everything random.

        Raises:
            TableError, LeakageError, SingleClassError: As ``validate_predictions``.
        """
        model, label_unit = metrics["primary"], metrics["label_unit"]
        figures = metrics["models"][model]
        is_fixed = figures["cross_validation"] is None
        block = figures["fixed"] if is_fixed else figures["cross_validation"]
        predictions = tables.predictions
        table = validate_predictions(predictions[predictions["model"] == model], label_unit=label_unit)
        tested = table[(table["part"] == "test") & ((table["fold"] == FIXED) == is_fixed)]
        cases = table.drop_duplicates("case_id") if tables.cases is None else tables.cases
        cases = cases.assign(label=cases["label"].astype(int))
        for name in ("family_id", "site"):
            if name not in cases:
                cases[name] = ""
        score: PatientScore = metrics["patient_score"]
        units = placed = gather_units(tested, label_unit=label_unit, patient_score=score)
        if is_fixed:
            folds = fold_tests(tested, seed=seed)
            place = folds[folds["part"] == "test"].drop_duplicates(f"{label_unit}_id").set_index(f"{label_unit}_id")
            placed = units.assign(repeat=0, fold=units["unit"].map(place["fold"]))
        else:
            folds = plan_tests(tested) if tables.folds is None else tables.folds.astype({"repeat": int})
        auc = Metric(**block["metrics"]["roc_auc"])
        what = (tables, model, label_unit, score, auc, block)
        return cls(*what, cases, folds, tested, units, placed, is_fixed, resamples, seed)

    @property
    def unit(self) -> str:
        """Column of the id of what is scored."""
        return f"{self.label_unit}_id"

    def score_by(self, table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
        """The units' rows beside out-of-fold scores of columns of a table with a row a case; none if too few."""
        scored = score_columns(measure_columns(table, columns), self.folds, tuple(columns), self.seed)
        return scored if scored.empty else pair_scores(gather_scores(scored, self.unit), self.placed)


@dataclass(frozen=True)
class Audit:
    """An audit, ready to be written.

    Attributes:
        content: Of ``audit.json``.
        associations: Of ``associations.csv``: each column of the metadata against the label.
    """

    content: dict[str, Any]
    associations: pd.DataFrame


def audit_tables(
    evidence: Evidence,
    rules: AuditTable,
    *,
    leaks: Sequence[Check],
    retrained: Permutation | None = None,
    dropped: SiteLoss | str = "",
    controls: Sequence[Check] = (),
) -> Audit:
    """Run every check that tables allow and reach the verdict; what they do not hold is not assessed.

    Args:
        evidence: Tables and the primary model's figures.
        rules: The study's ``[audit]``.
        leaks: From ``leakage.check_leaks``.
        retrained: A permutation for which the networks were trained anew.
        dropped: What they lose trained without each hospital, or why that is not known; empty if it was not asked.
        controls: Checks of altered inputs, where networks and images were there.
    """
    tables, cases, auc = evidence.tables, evidence.cases, evidence.auc
    how: dict[str, Any] = {"resamples": evidence.resamples, "seed": evidence.seed}
    known = join_circumstances(cases, tables.clinic)
    finding = weigh_metadata(
        known, evidence.folds, evidence.placed, label_unit=evidence.label_unit, useful_auc=rules.minimum_auc, **how
    )
    associations = compare_columns(known, metadata_columns(known), unit=evidence.unit)
    additions = {name: addition for name, addition in _weigh_baselines(evidence).items() if addition}
    permutations = _permute(evidence, rules, finding)
    if retrained:
        permutations["pipeline-permutation"] = retrained
    by_site = auc if not evidence.is_fixed and leaves_sites_out(cases, evidence.folds) else None
    if not dropped and by_site is None:
        dropped = leave_site_out(tables.features, cases, evidence.folds, label_unit=evidence.label_unit, **how)
    checks = [
        *leaks,
        check_metadata(finding),
        check_columns(associations),
        _check_exclusions(tables, cases),
        *_check_places(evidence),
        check_matched(*_match(finding, how)),
        *(
            check_permutation(permutation, name=name, largest_p=rules.permutation_p)
            for name, permutation in permutations.items()
        ),
        *controls,
        check_site_drop(dropped, by_site),
        check_earlier_image(_date(evidence), **how),
        check_addition(
            "beyond-clinical",
            additions.get("clinical"),
            missing="there is no clinical table with columns that vary",
            advice="Give cohort.clinical with age, subtype and family_history.",
        ),
        check_addition(
            "beyond-radiomics",
            additions.get("radiomics"),
            missing="radiomics was not trained beside the primary model",
            advice='Add "radiomics" to train.models.',
        ),
    ]
    deciding = permutations.get("pipeline-permutation", permutations["label-permutation"])
    verdict = reach_verdict(
        checks,
        finding,
        auc,
        deciding.p_value,
        rules.minimum_auc,
        largest_p=rules.permutation_p,
        clinical=additions.get("clinical"),
    )
    content = _gather_content(
        verdict,
        checks,
        tables,
        rules,
        headline=describe_headline(
            evidence.model, auc, evidence.block, evidence.label_unit, is_fixed=evidence.is_fixed
        ),
        model=evidence.model,
        retrained=deciding.retrained,
        additions=describe_additions(additions),
    )
    return Audit(content, associations)


def audit_leaking(tables: Tables, cases: pd.DataFrame, rules: AuditTable, *, leaks: Sequence[Check]) -> Audit:
    """What can be said of tables whose leak leaves no figure to believe: the verdict is ``leaking``.

    Args:
        tables: What there is.
        cases: A row a labelled case: ``case_id, patient_id, family_id, site, label``, and what is known of the scans.
        rules: The study's ``[audit]``.
        leaks: From ``leakage.check_leaks``; at least one leak check fails.
    """
    known = join_circumstances(cases, tables.clinic)
    associations = compare_columns(known, metadata_columns(known), unit="patient_id")
    checks = [*leaks, check_columns(associations), _check_exclusions(tables, cases)]
    model, note = str(tables.predictions["model"].iloc[0]), "a leak"
    auc = Metric(estimate=None, low=None, high=None, method="not defined", note=note)
    verdict = reach_verdict(checks, MetadataFinding((), None, None, False), auc, 1.0, rules.minimum_auc)
    headline = f"{model}: no AUC is given, since the table leaks"
    content = _gather_content(verdict, checks, tables, rules, headline=headline, model=model, retrained="")
    return Audit(content, associations)


def _gather_content(
    verdict: Verdict,
    checks: Sequence[Check],
    tables: Tables,
    rules: AuditTable,
    *,
    headline: str,
    model: str,
    retrained: str,
    additions: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """The content of ``audit.json``."""
    return {
        **asdict(verdict),
        "headline": headline,
        "model": model,
        "rules": {
            "minimum_auc": rules.minimum_auc,
            "permutation_p": rules.permutation_p,
            "confidence": 0.95,
            "retrained": retrained,
        },
        "checks": [asdict(check) for check in checks],
        "additions": list(additions),
        "accepted": dict(tables.accepted),
    }


def _check_exclusions(tables: Tables, cases: pd.DataFrame) -> Check:
    if tables.exclusions is None:
        question, threshold = (
            "Were carriers and non-carriers left out alike?",
            "a one-sided loss changes who is compared",
        )
        return Check("exclusions", question, "not-assessed", "no table of exclusions was given", threshold)
    known = cases.assign(label=cases["label"].astype(str))
    return check_exclusions(*split_labels(known, tables.exclusions), tables.accepted.get(EXCLUSIONS, ""))


def _check_places(evidence: Evidence) -> list[Check]:
    column = find_place_column(evidence.cases)
    name = column.removeprefix(SCAN_PREFIX) or "site"
    places = evidence.cases.drop_duplicates(evidence.unit).set_index(evidence.unit)
    where = places[column] if column else pd.Series("", index=places.index)
    how: dict[str, Any] = {"resamples": evidence.resamples, "seed": evidence.seed}
    checks = [check_score_place(evidence.units, where, name=name, **how)]
    features = evidence.tables.features
    spaces = evidence.tables.embeddings if features is None else (features,)
    if len(spaces):
        cases = evidence.cases
        cases = cases.assign(cluster=cluster_patients(cases["patient_id"], cases["family_id"]))
        checks.append(check_feature_place(spaces, cases, column, **how))
    return checks


def _match(finding: MetadataFinding, how: dict[str, Any]) -> tuple[Metric, int]:
    if finding.paired is None:
        note = "no metadata vary to match by"
        return Metric(estimate=None, low=None, high=None, method="not defined", note=note), 0
    return match_pairs(finding.paired, **how)


def _permute(evidence: Evidence, rules: AuditTable, finding: MetadataFinding) -> dict[str, Permutation]:
    """Of the scores; among scans made alike; and, where features are cached, of the pipeline."""
    found = {"label-permutation": permute_labels(evidence.units, permutations=rules.permutations, seed=evidence.seed)}
    if finding.paired is not None:
        alike = stratify_units(finding.paired)
        found["like-permutation"] = permute_labels(
            evidence.units, permutations=rules.permutations, seed=evidence.seed, strata=alike
        )
    if evidence.tables.features is not None:
        found["pipeline-permutation"] = permute_pipeline(
            evidence.tables.features,
            evidence.cases,
            evidence.folds,
            label_unit=evidence.label_unit,
            permutations=rules.refits,
            seed=evidence.seed,
        )
    return found


def _weigh_baselines(evidence: Evidence) -> dict[str, Addition | None]:
    """What the primary model adds to the clinic and to radiomics, on the same patients."""
    how: dict[str, Any] = {"resamples": evidence.resamples, "seed": evidence.seed}
    found: dict[str, Addition | None] = {}
    clinic = evidence.tables.clinic
    if clinic is not None and evidence.model != "clinical":
        columns = [name for name in clinic.columns if name not in IDS and len(set(clinic[name])) > 1]
        if columns:
            ids = ["case_id", "patient_id", "family_id", "label"]
            paired = evidence.score_by(evidence.cases[ids].merge(clinic[["case_id", *columns]], on="case_id"), columns)
            found["clinical"] = None if paired.empty else measure_addition(join_words(columns), paired, **how)
    predictions = evidence.tables.predictions
    if evidence.model != "radiomics" and (predictions["model"] == "radiomics").any():
        table = validate_predictions(predictions[predictions["model"] == "radiomics"], label_unit=evidence.label_unit)
        tested = table[(table["part"] == "test") & ((table["fold"] == FIXED) == evidence.is_fixed)]
        base = gather_units(tested, label_unit=evidence.label_unit, patient_score=evidence.patient_score)
        found["radiomics"] = measure_addition("radiomics", pair_scores(base, evidence.units), **how)
    return found


def _date(evidence: Evidence) -> pd.DataFrame:
    if "scan_date" not in evidence.cases:
        return evidence.tested
    return evidence.tested.merge(evidence.cases[["case_id", "scan_date"]], on="case_id")
