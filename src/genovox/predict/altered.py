"""Altered inputs: what do the networks still score when what they should read is taken away?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from genovox.core.names import model_folder
from genovox.core.seeds import derive_seed
from genovox.core.study import Study
from genovox.core.volume import Array, Mask
from genovox.dataset.cases import PreparedCase, read_prepared_cases
from genovox.evaluate.predictions import gather_units
from genovox.evaluate.schema import LabelUnit, Metric
from genovox.evaluate.scoring import estimate_within_fold_auc
from genovox.learning.loop import score_cases
from genovox.preprocess.cache import load_mask
from genovox.train.fitted import FittedMap, load_map
from genovox.train.fold import load_networks

CENTRE = 0.5
"""Side of the box around a lesion that is taken out, as a share of the crop's."""
Alter = Callable[[Array, Mask, np.random.Generator], Array]


@dataclass(frozen=True)
class Alteration:
    """One way to take something away.

    Attributes:
        question: What it asks.
        alter: Makes the altered volume, shape (channel, z, y, x), of a volume, its foreground and random numbers.
        is_alarm: Whether a score that still tells the label is a fault; otherwise it is only told.
        meaning: What it means if the score still tells the label.
    """

    question: str
    alter: Alter
    is_alarm: bool
    meaning: str


def remove_foreground(volume: Array, mask: Mask, _: np.random.Generator) -> Array:
    """The background alone: each channel's foreground takes the median of what lies outside it."""
    altered = volume.copy()
    altered[:, mask] = np.median(volume[:, ~mask], axis=1)[:, None]
    return altered


def shuffle_foreground(volume: Array, mask: Mask, random: np.random.Generator) -> Array:
    """The same values in the foreground, in random order, alike in all channels: no anatomy is left."""
    altered = volume.copy()
    altered[:, mask] = volume[:, mask][:, random.permutation(int(mask.sum()))]
    return altered


def scramble_phases(volume: Array, _: Mask, random: np.random.Generator) -> Array:
    """Channels exchanged so that none stays in its place."""
    shift = int(random.integers(1, len(volume)))
    return np.ascontiguousarray(np.roll(volume, shift, axis=0))


def remove_centre(volume: Array, _: Mask, random: np.random.Generator) -> Array:
    """Without the lesion: the middle of the crop takes the values of voxels drawn from the rest."""
    altered = volume.copy()
    inside = np.zeros(volume.shape[1:], dtype=bool)
    sides = volume.shape[1:]
    box = tuple(slice(round(side * (1 - CENTRE) / 2), round(side * (1 + CENTRE) / 2)) for side in sides)
    inside[box] = True
    rest = volume[:, ~inside]
    altered[:, inside] = rest[:, random.integers(rest.shape[1], size=int(inside.sum()))]
    return altered


ALTERATIONS: Mapping[str, Alteration] = {
    "input-background": Alteration(
        "Do the networks score without the breast, from the background alone?",
        remove_foreground,
        True,
        "they read something outside the breast, or its outline",
    ),
    "input-no-lesion": Alteration(
        "Do the networks score without the lesion?",
        remove_centre,
        False,
        "they read more than the lesion",
    ),
    "input-shuffled": Alteration(
        "Do the networks score with the voxels of the breast in random order?",
        shuffle_foreground,
        True,
        "brightness alone is enough for them, which a scanner can give",
    ),
    "input-phases": Alteration(
        "Do the networks score with the phases exchanged?",
        scramble_phases,
        False,
        "they do not need the order of the phases",
    ),
}


def score_altered(
    study: Study, run: Path, tested: pd.DataFrame, *, label_unit: LabelUnit, device: str, resamples: int, seed: int
) -> dict[str, Metric | str]:
    """Score the test patients of the first repeat again, on altered inputs, by the networks of their folds.

    Args:
        study: The study.
        run: Its run, trained.
        tested: Test rows of one network: ``model, case_id, patient_id, repeat, fold, part, label, cluster``.
        label_unit: Whether the cases of a patient make one score, as the study says, or a case stands for itself.
        device: ``cpu`` or ``cuda``.
        resamples: Resamples of clusters.
        seed: Of resamples, shuffles and exchanges.

    Returns:
        By the name of an alteration: its AUC, or why there is none.
    """
    first = tested[tested["repeat"] == tested["repeat"].min()]
    inputs = _Inputs(study, run, device, seed, read_prepared_cases(run))
    found: dict[str, Metric | str] = {}
    for name, alteration in ALTERATIONS.items():
        reason = inputs.refuse(name, first["case_id"].tolist())
        if reason:
            found[name] = reason
            continue
        scored = [
            rows.assign(score=inputs.score(rows, alteration.alter)) for _, rows in first.groupby(["repeat", "fold"])
        ]
        units = gather_units(pd.concat(scored), label_unit=label_unit, patient_score=study.evaluate.patient_score)
        found[name] = estimate_within_fold_auc(units, resamples=resamples, seed=seed)
    return found


@dataclass(frozen=True)
class _Inputs:
    """The networks of a run and what they read."""

    study: Study
    run: Path
    device: str
    seed: int
    prepared: Mapping[str, PreparedCase]

    def refuse(self, name: str, case_ids: Sequence[str]) -> str:
        """Why an alteration means nothing in this study; empty if it does."""
        if name == "input-phases" and len(self.study.preprocess.channels) < 2:
            return "the input has one channel, there is no order to exchange"
        if name == "input-no-lesion" and self.study.cohort.unit != "lesion":
            return "the crops are not centred on lesions"
        if name in ("input-background", "input-shuffled"):
            shape = tuple(reversed(self.study.preprocess.shape))
            shares = [float(load_mask(self._mask(case_id), shape).mean()) for case_id in case_ids]
            whole = sum(not 0 < share < 1 for share in shares)
            if whole:
                return f"{whole} of {len(shares)} cases have no background, or no foreground, in their crop"
        return ""

    def score(self, rows: pd.DataFrame, alter: Alter) -> np.ndarray:
        """Mean score of a fold's networks, shape (cases,)."""
        model, repeat, fold = (rows[name].iloc[0] for name in ("model", "repeat", "fold"))
        folder = self.run / "train" / model_folder(model) / f"repeat-{repeat}" / f"fold-{fold}"
        mapped, table = load_map(folder, self.study.preprocess), self.study.train
        cases = [
            replace(
                self.prepared[case_id],
                fitted=_Altered(alter, mapped, self._mask(case_id), derive_seed(self.seed, case_id)),
            )
            for case_id in rows["case_id"]
        ]
        scores = [
            score_cases(network, cases, self.device, table.batch_size, flips=table.test_flips)
            for network in load_networks(folder)
        ]
        return np.asarray(np.mean(scores, axis=0))

    def _mask(self, case_id: str) -> Path:
        return self.run / "preprocess" / "masks" / f"{case_id}.npy"


@dataclass(frozen=True)
class _Altered:
    """What a case becomes when it is read: mapped as in its fold, then altered."""

    alter: Alter
    mapped: FittedMap | None
    mask: Path
    seed: int

    def __call__(self, volume: Array, landmarks: tuple[float, ...]) -> Array:
        whole = self.mapped(volume, landmarks) if self.mapped else volume
        return self.alter(whole, load_mask(self.mask, whole.shape[1:]), np.random.default_rng(self.seed))
