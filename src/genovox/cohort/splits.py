"""Repeated stratified folds that never split a patient or a family."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold

from genovox.core.artifacts import hash_file, read_json, read_table
from genovox.core.case import Case
from genovox.core.errors import DataError, LeakageError, SingleClassError, TableError
from genovox.core.sections import SplitsTable
from genovox.core.seeds import derive_seed

FIXED = "fixed"
COLUMNS = ["repeat", "fold", "part", "case_id", "patient_id", "family_id"]
_VALIDATION_SPLITS = 5
_ATTEMPTS = 50


@dataclass(frozen=True)
class FoldPlan:
    """Which case is trained on, validated on and tested in which fold.

    Attributes:
        table: One row a repeat, fold and case: ``repeat, fold, part, case_id, patient_id, family_id``; a fixed test
            part has the fold ``fixed``.

    Raises:
        LeakageError: If a patient or family stands in two parts of a fold, or in the fixed test part and in a fold.
        DataError: If a case is tested twice in one repeat.
    """

    table: pd.DataFrame

    def __post_init__(self) -> None:
        fixed = self.table[self.table["fold"] == FIXED]
        for (repeat, fold), rows in self.table.groupby(["repeat", "fold"]):
            both = rows if fold == FIXED else pd.concat([rows, fixed])
            _refuse_shared(both, f"repeat {repeat} fold {fold}")
        tested = self.table[self.table["part"] == "test"]
        twice = tested[tested.duplicated(["repeat", "case_id"])]
        if len(twice):
            raise DataError(
                f"a case is tested once a repeat, got {twice['case_id'].iloc[0]} twice; plan the folds anew"
            )

    @property
    def folds(self) -> list[tuple[int, str]]:
        """Every (repeat, fold) that is trained."""
        trained = self.table[self.table["fold"] != FIXED]
        pairs = trained[["repeat", "fold"]].drop_duplicates().sort_values(["repeat", "fold"])
        return [(int(repeat), str(fold)) for repeat, fold in pairs.itertuples(index=False)]

    def select_cases(self, repeat: int, fold: str, part: str) -> list[str]:
        """Case ids of one part of a fold."""
        rows = (self.table["repeat"] == repeat) & (self.table["fold"] == fold) & (self.table["part"] == part)
        return self.table.loc[rows, "case_id"].tolist()

    @property
    def fixed_test(self) -> list[str]:
        """Case ids of the fixed test part."""
        return self.table.loc[self.table["fold"] == FIXED, "case_id"].tolist()


def read_folds(run: Path) -> FoldPlan:
    """Read a run's ``folds.csv``; a plan that was edited into a leak is refused.

    Raises:
        DataError: If the cohort could not be split into folds; the message says why.
        LeakageError: If the table splits a patient or family.
    """
    flow = read_json(run / "cohort" / "flow.json")
    if "no_folds" in flow:
        raise DataError(flow["no_folds"])
    table = read_table(run / "cohort" / "folds.csv", required=tuple(COLUMNS))
    for column, rule in (("repeat", r"\d+"), ("part", "train|val|test")):
        wrong = table[~table[column].str.fullmatch(rule)]
        if len(wrong):
            raise TableError(
                f"folds.csv row {wrong.index[0] + 2}: {column} must be {rule}, got {wrong[column].iloc[0]!r}; "
                "plan the folds anew"
            )
    plan = FoldPlan(table.astype({"repeat": int}))
    if hash_file(run / "cohort" / "folds.csv") != flow.get("folds_hash"):
        raise DataError(
            "folds.csv was changed after the folds were planned; delete the run's cohort folder and run: genovox cohort"
        )
    return plan


def plan_folds(cases: Sequence[Case], splits: SplitsTable, seed: int) -> FoldPlan:
    """Plan repeated, stratified, grouped folds.

    Args:
        cases: Labelled cases.
        splits: Folds, repeats, grouping and stratification.
        seed: Seed of the study.

    Raises:
        SingleClassError: If only one class is there, or a part of a fold would hold one class only.
        DataError: If there are too few groups for the folds.
        LeakageError: If the fixed test part shares a patient or family with the others.
    """
    frame = pd.DataFrame(
        {
            "case_id": [case.case_id for case in cases],
            "patient_id": [case.patient_id for case in cases],
            "family_id": [case.family_id for case in cases],
            "label": [case.label for case in cases],
            "site": [case.site for case in cases],
            "fixed": [case.part == "test" for case in cases],
        }
    ).sort_values("case_id", ignore_index=True)
    frame["group"] = connect_groups(frame, splits.group_by)
    folded = frame[~frame["fixed"]].reset_index(drop=True)
    _check_enough(folded, splits)
    strata = _strata(folded, splits)
    parts = [
        _plan_repeat(folded, strata, splits.folds, repeat, derive_seed(seed, "folds", repeat))
        for repeat in range(splits.repeats)
    ]
    fixed = frame[frame["fixed"]]
    if len(fixed):
        if fixed["label"].nunique() < 2:
            raise SingleClassError(
                f"labels must hold carriers and non-carriers in the fixed test part, got only "
                f"{fixed['label'].iloc[0]} in its {len(fixed)} cases; widen it or leave part_column empty"
            )
        parts.append(fixed.assign(repeat=0, fold=FIXED, part="test"))
    return FoldPlan(pd.concat(parts, ignore_index=True)[COLUMNS])


def connect_groups(frame: pd.DataFrame, columns: Sequence[str]) -> np.ndarray:
    """Number the sets of rows that share a patient or a family, directly or through others.

    Args:
        frame: Rows with the columns named; an empty cell shares nothing.
        columns: Such as ``("patient_id", "family_id")``.

    Returns:
        Group numbers, shape (n,).
    """
    rows, nodes, offset = [], [], len(frame)
    for column in columns:
        codes, names = pd.factorize(frame[column])
        named = np.flatnonzero(frame[column].to_numpy() != "")
        rows.append(named)
        nodes.append(codes[named] + offset)
        offset += len(names)
    row, node = np.concatenate(rows), np.concatenate(nodes)
    graph = coo_array((np.ones(len(row)), (row, node)), shape=(offset, offset))
    return np.asarray(connected_components(graph, directed=False)[1][: len(frame)])


def _check_enough(frame: pd.DataFrame, splits: SplitsTable) -> None:
    counts = {label: frame.loc[frame["label"] == label, "group"].nunique() for label in (1, 0)}
    words = f"{counts[1]} groups (patients or families) with carriers and {counts[0]} with non-carriers"
    if 0 in counts.values():
        raise SingleClassError(f"labels must hold carriers and non-carriers, got {words}; widen the cohort")
    needed = max(splits.folds, 3)
    if min(counts.values()) < needed:
        raise DataError(
            f"{splits.folds} folds need at least {needed} groups of each class "
            f"(one to test, one to validate, one to train), got {words}; "
            + ("use fewer folds or widen the cohort" if min(counts.values()) >= 3 else "widen the cohort")
        )


def _strata(frame: pd.DataFrame, splits: SplitsTable) -> np.ndarray:
    """Stratum of each case; a label within a site too rare for every fold counts by its label alone."""
    strata = frame["label"].astype(str)
    if "site" in splits.stratify_by:
        fine = strata + "@" + frame["site"]
        groups = frame["group"].groupby(fine).transform("nunique")
        strata = fine.where(groups >= splits.folds, strata)
    return strata.to_numpy()


def _plan_repeat(frame: pd.DataFrame, strata: np.ndarray, folds: int, repeat: int, seed: int) -> pd.DataFrame:
    for attempt in range(_ATTEMPTS):
        plan = _try_repeat(frame, strata, folds, derive_seed(seed, attempt))
        one_class = plan.groupby(["fold", "part"])["label"].nunique() < 2
        if not one_class.any():
            return plan.assign(repeat=repeat)
    fold, part = one_class[one_class].index[0]
    label = plan.loc[(plan["fold"] == fold) & (plan["part"] == part), "label"].iloc[0]
    raise SingleClassError(
        f"labels must hold carriers and non-carriers in every part, got only {label} in the {part} part of fold {fold} "
        f"after {_ATTEMPTS} attempts; use fewer folds or widen the cohort"
    )


def _try_repeat(frame: pd.DataFrame, strata: np.ndarray, folds: int, seed: int) -> pd.DataFrame:
    groups, labels = frame["group"].to_numpy(), frame["label"].to_numpy()
    plans = []
    for fold, (rest, test) in enumerate(_split(strata, groups, folds, seed)):
        inner = max(2, min(_VALIDATION_SPLITS, _rarest(labels[rest], groups[rest])))
        common = np.unique(strata[rest], return_counts=True)[1].max() >= inner
        by = strata[rest] if common else labels[rest]
        _, validation = next(_split(by, groups[rest], inner, derive_seed(seed, fold)))
        part = np.full(len(frame), "train", dtype=object)
        part[test] = "test"
        part[rest[validation]] = "val"
        plans.append(frame.assign(fold=str(fold), part=part))
    return pd.concat(plans, ignore_index=True)


def _split(strata: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed % 2**32)
    with warnings.catch_warnings():
        # A stratum with fewer cases than folds cannot be in every fold; the parts' classes are checked afterwards.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        yield from splitter.split(np.zeros(len(strata)), strata, groups)


def _rarest(labels: np.ndarray, groups: np.ndarray) -> int:
    return min(len(np.unique(groups[labels == label])) for label in np.unique(labels))


def _refuse_shared(rows: pd.DataFrame, place: str) -> None:
    for column in ("patient_id", "family_id"):
        named = rows[rows[column] != ""]
        parts = named.groupby(column)["part"].nunique()
        shared = parts[parts > 1]
        if len(shared):
            where = sorted(named.loc[named[column] == shared.index[0], "part"].unique())
            raise LeakageError(
                f"{place}: a {column.removesuffix('_id')} must stay in one part, {column} {shared.index[0]} stands in "
                f"{' and '.join(where)} ({len(shared)} such); keep each patient and family together"
            )
