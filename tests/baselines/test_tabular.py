"""Models of table columns find what was planted, find nothing in noise, and never look at a test patient."""

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import rankdata
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from genovox.baselines.tabular import (
    FITTED,
    RECIPES,
    RIDGE,
    Recipe,
    TabularModel,
    as_numbers,
    fit_logistic,
    fit_tabular,
    load_tabular,
    save_tabular,
)
from genovox.core.artifacts import read_json, write_json
from genovox.core.errors import DataError, SingleClassError
from genovox.dataset.cases import PreparedCase


def _cases(labels: list[int], start: int = 0, families: list[str] | None = None) -> list[PreparedCase]:
    return [
        PreparedCase(
            case_id=f"c{number:03d}",
            patient_id=f"p{number:03d}",
            family_id=families[number - start] if families else "",
            site="",
            label=label,
            key="k",
            volume=Path("none.npy"),
        )
        for number, label in enumerate(labels, start)
    ]


def _noise(rows: int, columns: int, seed: int) -> pd.DataFrame:
    values = np.random.default_rng(seed).normal(size=(rows, columns))
    index = pd.Index([f"c{number:03d}" for number in range(rows)], name="case_id")
    return pd.DataFrame(values, index=index, columns=[f"f{number:02d}" for number in range(columns)])


def _planted(seed: int, *, shift: float) -> tuple[pd.DataFrame, list[PreparedCase], list[PreparedCase]]:
    """Forty features of 200 cases, of which f07 differs between the classes."""
    labels = [number % 2 for number in range(200)]
    features = _noise(200, 40, seed)
    features["f07"] += shift * np.array(labels)
    cases = _cases(labels)
    return features, cases[:140], cases[140:]


def _auc(fit_scores: dict[str, float], cases: list[PreparedCase]) -> float:
    return float(roc_auc_score([case.label for case in cases], [fit_scores[case.case_id] for case in cases]))


def test_a_planted_feature_is_found() -> None:
    features, training, test = _planted(1, shift=2.0)
    fit = fit_tabular("radiomics", features, training=training, test=test, seed=1)
    name, coefficient = fit.model.chosen[0]
    assert name == "f07"
    assert coefficient > 0
    assert _auc(fit.scores, test) > 0.85
    assert len(fit.model.terms) < 40 == fit.model.candidates
    assert set(fit.scores) == {case.case_id for case in (*training, *test)}
    assert all(0 < score < 1 for score in fit.scores.values())


def test_noise_scores_a_half_and_would_not_if_features_were_selected_outside() -> None:
    """Twenty cohorts of 60 cases with 100 features of noise, of which the ten that tell most stay."""
    inside: list[float] = []
    outside: list[float] = []
    labels = np.arange(60) % 2
    recipe = Recipe((0.1,), (10,))
    for seed in range(20):
        features = _noise(60, 100, seed)
        told = np.abs(rankdata(features, axis=0)[labels == 1].mean(0) - 30.5)
        best = features.iloc[:, np.argsort(-told)[:10]]
        for table, found in ((features, inside), (best, outside)):
            model = fit_logistic(table[:40], labels[:40], np.arange(40), seed=seed, recipe=recipe)
            assert len(model.terms) == 10
            found.append(float(roc_auc_score(labels[40:], model.score(table[40:]))))
    # The SD of one AUC is about 0.13, that of the mean 0.03.
    assert np.mean(inside) == pytest.approx(0.5, abs=0.09)
    assert np.mean(outside) > 0.75


def test_what_test_patients_are_never_changes_the_fit() -> None:
    features, training, test = _planted(2, shift=1.0)
    one = fit_tabular("radiomics", features, training=training, validation=test[:20], test=test[20:], seed=3)
    other = features.astype(object)
    others = [case.case_id for case in test]
    other.loc[others] = 1e9
    other.loc[others[:5]] = "not a number"
    flipped = [PreparedCase(**{**vars(case), "label": 1 - case.label}) for case in test]
    rest = features.loc[[case.case_id for case in training]].astype(object)
    again = pd.concat([rest, other.loc[others[::-1]]])
    two = fit_tabular("radiomics", again, training=training, validation=flipped[:20], test=flipped[20:], seed=3)
    assert two.model == one.model
    assert [two.scores[case.case_id] for case in training] == [one.scores[case.case_id] for case in training]


def test_the_order_of_patients_moves_no_score_by_more_than_rounding() -> None:
    features, training, test = _planted(4, shift=1.0)
    recipe = RIDGE
    labels = np.array([case.label for case in training])
    table = features.loc[[case.case_id for case in training]]
    turned = np.arange(len(labels))[::-1]
    one = fit_logistic(table, labels, np.arange(140), seed=1, recipe=recipe)
    two = fit_logistic(table.iloc[turned], labels[turned], turned, seed=1, recipe=recipe)
    rows = features.loc[[case.case_id for case in test]]
    assert two.score(rows) == pytest.approx(one.score(rows), rel=1e-6)


def test_same_seed_same_fit_to_the_last_bit() -> None:
    features, training, test = _planted(5, shift=0.5)
    one, two = (fit_tabular("radiomics", features, training=training, test=test, seed=9) for _ in range(2))
    assert one == two


def test_one_step_agrees_with_another_implementation() -> None:
    """Without choices it is the ridge regression of standardised columns."""
    features = _noise(80, 3, 6)
    drawn = features["f00"].to_numpy() + np.random.default_rng(6).normal(size=80)
    labels = (drawn > 0.4).astype(np.int64)
    model = fit_logistic(features, labels, np.arange(80), seed=1, recipe=RIDGE)
    scaled = (features - features.mean()) / features.std(ddof=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        other = LogisticRegression(C=1.0, class_weight="balanced", tol=1e-9, max_iter=5000).fit(scaled, labels)
    assert model.score(features) == pytest.approx(other.predict_proba(scaled)[:, 1], abs=1e-4)
    assert dict(model.chosen)["f00"] == pytest.approx(other.coef_[0][0], abs=1e-3)


def test_families_stay_together_in_inner_folds() -> None:
    """A feature that only names the family helps within a family and nowhere else: a split family would choose it."""
    families = [f"F{number // 8}" for number in range(96)]
    labels = [number // 8 % 2 for number in range(96)]
    random = np.random.default_rng(7)
    own = random.normal(size=(12, 30))[np.arange(96) // 8] + 0.01 * random.normal(size=(96, 30))
    features = pd.DataFrame(own, index=[f"c{n:03d}" for n in range(96)]).add_prefix("f")
    together = fit_tabular("radiomics", features, training=_cases(labels, families=families), seed=1).model
    apart = fit_tabular("radiomics", features, training=_cases(labels), seed=1).model
    assert together.inner_loss is not None
    assert apart.inner_loss is not None
    assert apart.inner_loss < 0.3
    assert together.inner_loss > 0.5


def test_constant_empty_and_repeated_columns_go() -> None:
    features, training, test = _planted(8, shift=2.0)
    features = features[["f07", "f01"]].assign(flat=3.0, gone=np.nan, twin=lambda table: 5 * table["f07"] - 1)
    fit = fit_tabular("radiomics", features, training=training, test=test, seed=1)
    assert {term.column for term in fit.model.terms} <= {"f07", "f01"}
    assert fit.model.chosen[0][0] == "f07"


def test_nothing_to_learn_from_says_a_half() -> None:
    features, training, test = _planted(9, shift=0)
    fit = fit_tabular("radiomics", features[["f00"]].assign(f00=1.0), training=training, test=test, seed=1)
    assert fit.model.terms == ()
    assert set(fit.scores.values()) == {0.5}


def test_gaps_count_as_the_median_of_training_patients_and_say_that_they_are_gaps() -> None:
    features, training, test = _planted(10, shift=0)
    features["f00"] = np.where(np.arange(200) % 2 == 1, np.nan, features["f00"])
    model = fit_tabular("metadata", features[["f00"]], training=training, test=test, seed=1).model
    number = next(term for term in [*model.terms] if term.kind == "missing")
    assert number.coefficient > 1
    assert "f00 = empty" in dict(model.chosen)
    known = features["f00"].iloc[: len(training)].dropna()
    assert [term.fill for term in model.terms if term.kind == "number"] == [pytest.approx(known.median())]


def test_three_patients_take_the_most_cautious_choice() -> None:
    features = _noise(4, 20, 11)
    cases = _cases([1, 0, 0, 1])
    fit = fit_tabular("radiomics", features, training=cases[:3], test=cases[3:], seed=1)
    recipe = RECIPES["radiomics"]
    assert fit.model.strength == recipe.strengths[0]
    assert len(fit.model.terms) <= recipe.counts[0]
    assert fit.model.inner_loss is None
    assert 0 < fit.scores["c003"] < 1


def test_inner_folds_that_lose_a_class_are_passed_over() -> None:
    """One family holds nearly all carriers."""
    labels = np.array([1] * 10 + [1, 0] + [0] * 10)
    groups = np.array([0] * 10 + [1, 2] + list(range(3, 13)))
    model = fit_logistic(_noise(22, 4, 12), labels, groups, seed=1, recipe=RECIPES["clinical"])
    assert model.strength in RECIPES["clinical"].strengths


@pytest.mark.parametrize(("labels", "told"), [([1, 1, 1], r"got only 1 in 3"), ([], r"got none in 0")])
def test_one_class_is_refused(labels: list[int], told: str) -> None:
    with pytest.raises(SingleClassError, match=told):
        fit_tabular("radiomics", _noise(3, 2, 1), training=_cases(labels), seed=1)


def test_a_case_without_features_is_named() -> None:
    with pytest.raises(DataError, match=r"none of c003"):
        fit_tabular("radiomics", _noise(3, 2, 1), training=_cases([1, 0, 1, 0]), seed=1)


def _clinic(rows: int = 120) -> tuple[pd.DataFrame, list[PreparedCase]]:
    """Carriers are younger and more often triple negative; hospital names are rare words."""
    random = np.random.default_rng(13)
    labels = np.arange(rows) % 2
    table = pd.DataFrame(
        {
            "age": [
                str(age) if number % 10 else ""
                for number, age in enumerate((60 - 12 * labels + random.normal(0, 8, rows)).round())
            ],
            "subtype": np.where(random.random(rows) < 0.2 + 0.5 * labels, "triple negative", "luminal"),
            "grade": random.choice(["1", "2", "3"], rows),
            "scanned": [f"2019-{1 + number % 12:02d}-{1 + number % 28:02d}" for number in range(rows)],
            "remark": [f"word {number}" for number in range(rows)],
        },
        index=pd.Index([f"c{number:03d}" for number in range(rows)], name="case_id"),
    )
    return table, _cases(labels.tolist())


def test_words_numbers_and_dates_are_told_apart() -> None:
    table, cases = _clinic()
    fit = fit_tabular("clinical", table, training=cases[:80], test=cases[80:], seed=1)
    kinds = {term.column: term.kind for term in fit.model.terms if term.kind != "missing"}
    assert kinds == {"age": "number", "subtype": "level", "grade": "level", "scanned": "day"}
    signs = {name: coefficient > 0 for name, coefficient in fit.model.chosen}
    assert not signs["age"]
    assert signs.get("subtype = triple negative", not signs.get("subtype = luminal"))
    assert _auc(fit.scores, cases[80:]) > 0.7


def test_a_word_never_seen_and_an_empty_cell_are_scored() -> None:
    table, cases = _clinic()
    model = fit_tabular("clinical", table, training=cases, seed=1).model
    odd = pd.DataFrame(
        {"age": ["", "unknown"], "subtype": "other", "grade": "", "scanned": ["", "soon"], "remark": ""}, dtype=str
    )
    scores = model.score(odd)
    assert scores[0] == scores[1]
    assert np.isfinite(scores).all()


def test_a_value_far_outside_is_cut_off() -> None:
    features, training, _ = _planted(14, shift=2.0)
    model = fit_tabular("radiomics", features[["f07"]], training=training, seed=1).model
    far = model.score(pd.DataFrame({"f07": [1e3, 1e9]}))
    assert far[0] == far[1] < 1


def test_a_table_without_a_column_is_refused() -> None:
    features, training, _ = _planted(15, shift=2.0)
    model = fit_tabular("radiomics", features, training=training, seed=1).model
    with pytest.raises(DataError, match=r"needs the column f\d\d, the table has none"):
        model.score(pd.DataFrame({"age": [1.0]}))


def test_saved_as_plain_json_and_read_again(tmp_path: Path) -> None:
    table, cases = _clinic()
    model = fit_tabular("clinical", table, training=cases, seed=1).model
    save_tabular(tmp_path, model)
    again = load_tabular(tmp_path)
    assert again == model
    assert again.score(table).tolist() == model.score(table).tolist()
    assert json.loads((tmp_path / FITTED).read_text())["terms"][0]["column"] in table.columns


@pytest.mark.parametrize("damage", ["[]", '{"format": 1}', '{"format": 1, "terms": [{"color": 1}]}'])
def test_a_damaged_fit_is_refused(tmp_path: Path, damage: str) -> None:
    (tmp_path / FITTED).write_text(damage)
    with pytest.raises(DataError, match=r"is no fitted model of table columns"):
        load_tabular(tmp_path)


def test_a_fit_of_another_format_is_refused(tmp_path: Path) -> None:
    save_tabular(tmp_path, TabularModel((), 0.0, 1.0, 0))
    write_json(tmp_path / FITTED, read_json(tmp_path / FITTED) | {"format": 99})
    with pytest.raises(DataError, match=r"must be of format 1, got 99; train again"):
        load_tabular(tmp_path)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        (["1", "2", "3", "4", "5", "6"], "number"),
        (["1", "2", "3", "1", "2", "3"], None),
        (["a", "b", "c", "d", "e", "f"], None),
        (["2019-01-0" + digit for digit in "123456"], "day"),
        (["1", "2", "3", "4", "5", "6", "7", "8", "?", ""], "number"),
        ([""] * 6, None),
    ],
)
def test_kinds_of_columns(cells: list[str], kind: str | None) -> None:
    found = as_numbers(pd.Series(cells))
    assert (found[0] if found else None) == kind


def test_recipes_try_the_cautious_first() -> None:
    for recipe in RECIPES.values():
        assert isinstance(recipe, Recipe)
        assert list(recipe.strengths) == sorted(recipe.strengths)
        assert list(recipe.counts) == sorted(recipe.counts)
