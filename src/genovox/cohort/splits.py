"""Repeated stratified folds that never split a patient or a family."""

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold

from genovox.core.artifacts import read_json, read_table, write_table, write_text
from genovox.core.case import Case
from genovox.core.errors import DataError, LeakageError, SingleClassError, StudyError, TableError
from genovox.core.log import write_count
from genovox.core.sections import SplitsTable
from genovox.core.seeds import derive_seed

FIXED = "fixed"
COLUMNS = ["repeat", "fold", "part", "inner", "case_id", "patient_id", "family_id"]
CHECKSUM = "folds.sha256"
RELATIVE = "relative"
FEWEST_LEFT_OUT = 5
"""Patients or families of a class at a hospital that is left out: with fewer, one moves its AUC by more than 0.2."""
_ATTEMPTS = 50


@dataclass(frozen=True)
class FoldPlan:
    """Which case is trained on, validated on and tested in which fold.

    Attributes:
        table: One row a repeat, fold and case: ``repeat, fold, part, inner, case_id, patient_id, family_id``. A fixed
            test part has the fold ``fixed``. ``inner`` numbers the nested folds of what is not tested, for choices
            that must not see the test; the validation part is inner fold 0.

    Raises:
        LeakageError: If a patient or family stands in two parts of a fold, or in the fixed test part and in a fold.
        DataError: If a case is tested twice in one repeat.
    """

    table: pd.DataFrame

    def __post_init__(self) -> None:
        fixed = self.table[self.table["fold"] == FIXED]
        for (repeat, fold), rows in self.table.groupby(["repeat", "fold"]):
            both = rows if fold == FIXED else pd.concat([rows, fixed])
            _refuse_shared(both, f"repeat {repeat} fold {fold}", "part")
            _refuse_shared(rows[rows["part"] != "test"], f"repeat {repeat} fold {fold}", "inner")
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
    if _sum(run / "cohort" / "folds.csv") != flow.get("folds_hash"):
        raise DataError(
            "folds.csv was changed after the folds were planned; delete the run's cohort folder and run: genovox cohort"
        )
    return plan


def write_folds(plan: FoldPlan, folder: Path) -> str:
    """Write ``folds.csv`` and its checksum beside it, which ``sha256sum -c folds.sha256`` recomputes.

    Returns:
        The checksum.
    """
    write_table(folder / "folds.csv", plan.table)
    checksum = _sum(folder / "folds.csv")
    write_text(folder / CHECKSUM, f"{checksum}  folds.csv\n")
    return checksum


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def set_aside(
    cases: Sequence[Case], splits: SplitsTable, days: Mapping[str, date | None]
) -> tuple[list[Case], dict[str, str]]:
    """Mark the fixed test part: certain hospitals, or all exams from a day on.

    Args:
        cases: Labelled cases.
        splits: ``test_sites`` or ``test_from``; with neither, cases keep the part they have.
        days: When each case was scanned.

    Returns:
        The cases, and why others must go: relatives of tested patients, and their own earlier exams, which training
        must not see.

    Raises:
        StudyError: If a hospital is unknown or nobody is tested.
        DataError: If a case has no date where dates decide.
    """
    if not (splits.test_sites or splits.test_from):
        return list(cases), {}
    sites = {case.site for case in cases}
    unknown = [site for site in splits.test_sites if site not in sites]
    if unknown:
        raise StudyError(
            f"cohort.splits.test_sites names {unknown[0]!r}, no case is from there; sites: {', '.join(sorted(sites))}"
        )
    undated = [case.case_id for case in cases if splits.test_from and days.get(case.case_id) is None]
    if undated:
        count = write_count(len(undated), "case")
        raise DataError(f"cohort.splits.test_from needs the date of each exam, {undated[0]} lacks it ({count}); add it")
    tested = [case.site in splits.test_sites or _is_late(days.get(case.case_id), splits.test_from) for case in cases]
    if not any(tested):
        raise StudyError(f"no exam is from cohort.splits.test_from, {splits.test_from}, on; choose an earlier day")
    frame = pd.DataFrame(
        {"patient_id": [case.patient_id for case in cases], "family_id": [case.family_id for case in cases]}
    )
    groups = connect_groups(frame, splits.group_by)
    apart = set(groups[np.array(tested)])
    marked, relatives = [], {}
    for case, is_tested, group in zip(cases, tested, groups, strict=True):
        if not is_tested and group in apart:
            relatives[case.case_id] = "the patient, or one of the family, stands in the fixed test part"
        else:
            marked.append(replace(case, part="test" if is_tested else ""))
    return marked, relatives


def _is_late(day: date | None, start: date | None) -> bool:
    return start is not None and day is not None and day >= start


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
    if not cases:
        raise DataError("folds need cases, got none; see exclusions.csv")
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
    if splits.scheme == "site":
        _check_sites(folded)
    _check_enough(folded, splits)
    strata = _strata(folded, splits)
    parts = [
        _plan_repeat(folded, strata, splits, repeat, derive_seed(seed, "folds", repeat))
        for repeat in range(splits.repeats)
    ]
    fixed = frame[frame["fixed"]]
    if len(fixed):
        if fixed["label"].nunique() < 2:
            raise SingleClassError(
                f"labels must hold carriers and non-carriers in the fixed test part, got only "
                f"{fixed['label'].iloc[0]} in {write_count(len(fixed), 'case')}; widen it or leave part_column empty"
            )
        parts.append(fixed.assign(repeat=0, fold=FIXED, part="test", inner=""))
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
    words = f"{write_count(counts[1], 'group')} (patients or families) with carriers and {counts[0]} with non-carriers"
    if 0 in counts.values():
        raise SingleClassError(f"labels must hold carriers and non-carriers, got {words}; widen the cohort")
    needed = max(splits.folds, 3) if splits.scheme == "stratified" else 3
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


def _plan_repeat(frame: pd.DataFrame, strata: np.ndarray, splits: SplitsTable, repeat: int, seed: int) -> pd.DataFrame:
    problem = ""
    for attempt in range(_ATTEMPTS):
        plan = _try_repeat(frame, strata, splits, derive_seed(seed, attempt))
        problem = plan if isinstance(plan, str) else _find_lone_class(plan)
        if not isinstance(plan, str) and not problem:
            return plan.assign(repeat=repeat)
    raise SingleClassError(
        f"labels must hold carriers and non-carriers in every part, {problem} after {_ATTEMPTS} attempts; use fewer "
        "folds or widen the cohort"
    )


def _find_lone_class(plan: pd.DataFrame) -> str:
    """A part that holds one class only, in words, or nothing."""
    one_class = plan.groupby(["fold", "part"])["label"].nunique() < 2
    if not one_class.any():
        return ""
    fold, part = one_class[one_class].index[0]
    label = plan.loc[(plan["fold"] == fold) & (plan["part"] == part), "label"].iloc[0]
    return f"got only {label} in the {part} part of fold {fold}"


def _try_repeat(frame: pd.DataFrame, strata: np.ndarray, splits: SplitsTable, seed: int) -> pd.DataFrame | str:
    """A plan, or why there is none with this seed."""
    groups, labels = frame["group"].to_numpy(), frame["label"].to_numpy()
    plans: list[pd.DataFrame] = []
    for fold, rest, test in _outer_folds(frame, strata, splits, seed):
        fewest = min(len(np.unique(groups[rest][labels[rest] == label])) for label in (0, 1))
        if fewest < 2:
            return f"fold {fold} leaves {write_count(fewest, 'group')} of a class to train and validate"
        inner = min(splits.inner_folds, fewest)
        common = pd.Series(groups[rest]).groupby(strata[rest]).nunique().max() >= inner
        by = strata[rest] if common else labels[rest]
        part = np.full(len(frame), "", dtype=object)
        number = np.full(len(frame), "", dtype=object)
        part[rest], part[test] = "train", "test"
        for at, (_, chosen) in enumerate(split_groups(by, groups[rest], inner, derive_seed(seed, fold))):
            number[rest[chosen]] = str(at)
        part[number == "0"] = "val"
        plans.append(frame.assign(fold=fold, part=part, inner=number).loc[part != ""])
    return pd.concat(plans, ignore_index=True)


def _outer_folds(
    frame: pd.DataFrame, strata: np.ndarray, splits: SplitsTable, seed: int
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Name, cases to learn from and cases to test."""
    if splits.scheme == "stratified":
        for fold, (rest, test) in enumerate(split_groups(strata, frame["group"].to_numpy(), splits.folds, seed)):
            yield str(fold), rest, test
        return
    for fold, (_, rest, test) in enumerate(split_sites(frame)):
        yield str(fold), rest, test


def split_sites(frame: pd.DataFrame, *, fewest: int = 0) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Leave one hospital out at a time; a family across hospitals is not learnt from where one of it is tested.

    Args:
        frame: A row a case: ``site, group, label`` (0 or 1).
        fewest: Groups of each class below which, at the hospital or among the rest, it is not left out.

    Yields:
        The hospital, and indices of the rest and of its own cases.
    """
    sites, groups = frame["site"].to_numpy(), frame["group"].to_numpy()
    for site in np.unique(sites):
        test = np.flatnonzero(sites == site)
        rest = np.flatnonzero((sites != site) & ~np.isin(groups, groups[test]))
        counts = [frame.iloc[rows].groupby("label")["group"].nunique() for rows in (test, rest)]
        if min(int(count.get(label, 0)) for count in counts for label in (0, 1)) >= fewest:
            yield str(site), rest, test


def split_groups(
    strata: np.ndarray, groups: np.ndarray, folds: int, seed: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Grouped folds; where each group is of one stratum, as even in groups as folds of single cases can be.

    Args:
        strata: What every fold should hold alike, shape (n,).
        groups: What no fold splits, shape (n,).
        folds: How many.
        seed: Decides which.

    Yields:
        Indices of the rest and of the fold.
    """
    random = seed % 2**32
    first = np.sort(np.unique(groups, return_index=True)[1])
    with warnings.catch_warnings():
        # A stratum with fewer cases than folds cannot be in every fold; the parts' classes are checked afterwards.
        warnings.filterwarnings("ignore", message="The least populated class", category=UserWarning)
        if pd.Series(strata).groupby(groups).nunique().max() == 1:
            exact = StratifiedKFold(folds, shuffle=True, random_state=random)
            for _, chosen in exact.split(first, strata[first]):
                test = np.isin(groups, groups[first[chosen]])
                yield np.flatnonzero(~test), np.flatnonzero(test)
        else:
            splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=random)
            yield from splitter.split(np.zeros(len(strata)), strata, groups)


def _check_sites(frame: pd.DataFrame) -> None:
    """Each hospital is a test of its own: it needs both classes.

    Raises:
        DataError: Naming what is missing and the ways on.
    """
    if frame["site"].nunique() < 2 or (frame["site"] == "").any():
        nameless = int((frame["site"] == "").sum())
        raise DataError(
            f'cohort.splits.scheme = "site" needs two hospitals and a site for each case, got '
            f'{frame["site"].nunique()} and {write_count(nameless, "case")} without; fill in site, or use "stratified"'
        )
    lone = frame.groupby("site")["label"].nunique() < 2
    if lone.any():
        raise SingleClassError(
            f"labels must hold carriers and non-carriers at every hospital that is tested, got one class at "
            f'{", ".join(lone[lone].index)}; give small hospitals one site, or use scheme = "stratified"'
        )


def _refuse_shared(rows: pd.DataFrame, place: str, what: str) -> None:
    for column in ("patient_id", "family_id"):
        named = rows[rows[column] != ""]
        parts = named.groupby(column)[what].nunique()
        shared = parts[parts > 1]
        if len(shared):
            where = sorted(named.loc[named[column] == shared.index[0], what].unique())
            kind = {"part": "part", "inner": "inner fold"}[what]
            raise LeakageError(
                f"{place}: a {column.removesuffix('_id')} must stay in one {kind}, {column} {shared.index[0]} stands "
                f"in {' and '.join(where)} ({len(shared)} such); keep each patient and family together"
            )
