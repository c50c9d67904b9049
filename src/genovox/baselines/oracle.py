"""Models that are no networks: what can be scored without looking at a voxel."""

import pandas as pd

from genovox.core.artifacts import read_table
from genovox.core.errors import TableError
from genovox.core.sections import ORACLE, TRUTH
from genovox.core.study import Study


def score_oracle(study: Study, predictions: pd.DataFrame) -> pd.DataFrame:
    """What the oracle of a simulated cohort says of every row that the first network scored.

    The oracle is the posterior probability of a carrier given everything of the tumour that was drawn, the best score
    any reader of the images can reach. It is the same in every repeat and fold, since it learns nothing.

    Args:
        study: The study; ``truth.csv`` beside it has ``patient_id, oracle``.
        predictions: As ``predictions.csv``.

    Returns:
        Rows of the model ``oracle``.

    Raises:
        TableError: If the truth lacks a patient or holds a score outside [0, 1].
    """
    truth = read_table(study.root / TRUTH, required=("patient_id", "oracle"))
    scores = dict(zip(truth["patient_id"], pd.to_numeric(truth["oracle"], errors="coerce"), strict=True))
    rows: pd.DataFrame = predictions[predictions["model"] == predictions["model"].iloc[0]].copy()
    rows["score"] = rows["patient_id"].map(scores)
    odd = ~rows["score"].between(0, 1)
    if odd.any():
        raise TableError(
            f"the oracle needs a score from 0 to 1 for every patient, {TRUTH} has none for "
            f"{rows.loc[odd, 'patient_id'].iloc[0]}; leave {ORACLE} out of train.models unless the cohort is simulated"
        )
    rows["model"] = ORACLE
    rows["seed"] = 0
    return rows
