"""Late fusion: the score of several models that learnt apart, such as of a network and of clinical columns."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from genovox.cohort.splits import FIXED

PLACE = ["repeat", "fold", "part", "case_id"]
EDGE = 1e-6
"""Scores nearer to 0 or 1 count as this near."""


def blend_scores(predictions: pd.DataFrame, blends: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """What each blend says of every row that its members scored.

    Each member's log odds are counted from their mean over the fold's validation patients, in units of their SD within
    the validation parts of all folds, so that none counts more for being surer of itself. The blend is the sigmoid of
    the members' mean; it ranks patients and is no probability before calibration. No label is read and nothing is
    fitted to test patients.

    One SD for all folds, since five validation patients do not tell it, and since a member that has shrunk to nothing
    in one fold must not be blown up there. One that scores all validation patients alike counts as nothing. A fixed
    test part, whose scores are means over all folds, is counted from the mean of all validation rows.

    Args:
        predictions: As ``predictions.csv``, with every member.
        blends: Members of each blend.

    Returns:
        Rows of the blends, in the order of their first member's rows.

    References:
        Kittler et al. (1998), doi:10.1109/34.667881 (combining classifiers).
    """
    tables = [predictions.iloc[:0]]
    for blend, members in blends.items():
        rows = [predictions[predictions["model"] == member].set_index(PLACE) for member in members]
        log_odds = pd.concat([_scale(table) for table in rows], axis=1).mean(axis=1)
        blended = rows[0].assign(score=1 / (1 + np.exp(-log_odds)), model=blend, seed=0)
        tables.append(blended.reset_index()[predictions.columns])
    return pd.concat(tables, ignore_index=True)


def _scale(table: pd.DataFrame) -> pd.Series:
    """Log odds of a member's rows, indexed by ``PLACE``, in units of its validation rows."""
    score = table["score"].clip(EDGE, 1 - EDGE)
    log_odds = (score / (1 - score)).map(np.log)
    validation = log_odds.xs("val", level="part")
    means = validation.groupby(["repeat", "fold"]).mean()
    within = validation - validation.groupby(["repeat", "fold"]).transform("mean")
    sd = float(np.sqrt(within.pow(2).mean()))
    means.loc[(0, FIXED)] = validation.mean()
    folds_of_rows = pd.MultiIndex.from_frame(log_odds.index.to_frame()[["repeat", "fold"]])
    own = means.reindex(folds_of_rows).set_axis(log_odds.index)
    return (log_odds - own) / (sd if sd > EDGE else np.inf)
