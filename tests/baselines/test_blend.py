"""A blend averages what its members say, each in units of its validation patients."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from genovox.baselines.blend import blend_scores

BLENDS = {"a+b": ("a", "b")}


def _draw(seed: int = 0, *, fixed: bool = False) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    rows: list[dict[str, str | int]] = []
    for model in ("a", "b"):
        for fold in ("0", "1"):
            for part, count in (("val", 12), ("test", 9)):
                rows += [
                    {"case_id": f"{part}{fold}-{number}", "model": model, "repeat": 0, "fold": fold, "part": part}
                    for number in range(count)
                ]
        if fixed:
            rows += [
                {"case_id": f"f{number}", "model": model, "repeat": 0, "fold": "fixed", "part": "test"}
                for number in range(5)
            ]
    table = pd.DataFrame(rows)
    spreads = table["model"].map({"a": 3.0, "b": 0.2})
    table["score"] = expit(random.normal(0.5, spreads))
    return table.assign(patient_id=table["case_id"], label=random.integers(0, 2, len(table)), seed=7)


def _units(table: pd.DataFrame, model: str, fold: str) -> tuple[float, float]:
    """Mean of a fold's validation scores, and SD within all folds, by the textbook."""
    chosen = table[(table["model"] == model) & (table["part"] == "val")]
    folds = {name: logit(rows["score"].to_numpy()) for name, rows in chosen.groupby("fold")}
    squares = [(value - np.mean(values)) ** 2 for values in folds.values() for value in values]
    every = np.concatenate(list(folds.values()))
    return float(np.mean(every if fold == "fixed" else folds[fold])), float(np.sqrt(np.mean(squares)))


@pytest.mark.parametrize("fixed", [False, True])
def test_members_count_alike(*, fixed: bool) -> None:
    table = _draw(fixed=fixed)
    blended = blend_scores(table, BLENDS)
    assert list(blended.columns) == list(table.columns)
    assert set(blended["model"]) == {"a+b"}
    for row in blended.itertuples():
        total = 0.0
        for model in ("a", "b"):
            own = table[(table["model"] == model) & (table["case_id"] == row.case_id)]["score"].item()
            mean, sd = _units(table, model, str(row.fold))
            total += (logit(own) - mean) / sd / 2
        assert row.score == pytest.approx(expit(total))


def test_order_of_rows_and_members_is_of_no_account() -> None:
    table = _draw()
    one = blend_scores(table, BLENDS).sort_values(["fold", "part", "case_id"], ignore_index=True)
    shuffled = table.sample(frac=1, random_state=1)
    other = blend_scores(shuffled, {"a+b": ("b", "a")}).sort_values(["fold", "part", "case_id"], ignore_index=True)
    np.testing.assert_allclose(one["score"], other["score"])


def test_a_test_patient_changes_nobody_elses_score() -> None:
    table = _draw()
    changed = table.copy()
    odd = (changed["part"] == "test") & (changed["case_id"] == "test0-3")
    changed.loc[odd, "score"] = 0.999
    before, after = (blend_scores(each, BLENDS).set_index("case_id")["score"] for each in (table, changed))
    assert list(before.index[before != after]) == ["test0-3"]


def test_a_member_that_says_the_same_of_everybody_counts_as_nothing() -> None:
    table = _draw()
    table.loc[table["model"] == "b", "score"] = 0.4
    blended = blend_scores(table, BLENDS)
    alone = table[table["model"] == "a"].reset_index(drop=True)
    for _, rows in blended.groupby(["fold", "part"]):
        assert list(rows["score"].rank()) == list(alone.loc[rows.index, "score"].rank())


def test_a_member_that_shrank_to_nothing_in_one_fold_stays_small_there() -> None:
    table = _draw()
    there = (table["model"] == "b") & (table["fold"] == "0")
    table.loc[there, "score"] = 0.5 + (table.loc[there, "score"] - 0.5) / 1000
    blended = blend_scores(table, BLENDS)
    alone = table[table["model"] == "a"].reset_index(drop=True)
    rows = blended[(blended["fold"] == "0") & (blended["part"] == "test")]
    assert rows["score"].corr(alone.loc[rows.index, "score"], method="spearman") > 0.99


def test_sure_scores_stay_finite() -> None:
    table = _draw()
    table.loc[table.index[::5], "score"] = 0.0
    table.loc[table.index[1::5], "score"] = 1.0
    assert blend_scores(table, BLENDS)["score"].between(0, 1).all()


def test_no_blend_no_rows() -> None:
    assert blend_scores(_draw(), {}).empty
