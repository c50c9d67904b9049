"""The explain stage: maps of the cases one would ask about first."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from genovox.cohort.splits import FIXED
from genovox.core.artifacts import Stage, read_json, read_table, require_stage, write_json
from genovox.core.case import read_cases
from genovox.core.errors import ImageError
from genovox.core.names import model_folder
from genovox.core.study import Study
from genovox.core.volume import Volume, affine_spacing_mm, reorient_to_ras, write_nifti
from genovox.dataset.cases import load_batch, read_affine, read_prepared_cases
from genovox.explain.cam import average_gradcams
from genovox.explain.localisation import foreground_share, map_to_scan
from genovox.explain.picture import draw_overlay
from genovox.preprocess.cache import load_mask
from genovox.scans.inspection import read_image
from genovox.train.fitted import attach_map, load_map
from genovox.train.fold import load_networks

log = logging.getLogger(__name__)

FORMAT = 2
METHOD = "gradcam"
GROUPS = ("right", "wrong", "borderline")


@dataclass(frozen=True)
class Explained:
    """One entry of ``summary.json``.

    Attributes:
        group: ``right`` (certain and right), ``wrong`` (certain and wrong) or ``borderline``.
        answer: What the map is evidence for: 1 or 0, by the fold's own threshold.
        members: Networks of the fold; the map is the mean of theirs, each scaled to its own peak.
        foreground_share: Share of the map in the foreground; None if the map is empty or there is no foreground.
        foreground_fraction: Share of the crop that is foreground: what a map without aim would score.
    """

    case_id: str
    group: str
    label: int
    score: float
    threshold: float
    answer: int
    repeat: int
    fold: str
    members: int
    foreground_share: float | None
    foreground_fraction: float | None


def open_stage(study: Study, run: Path, device: str) -> Stage:  # noqa: ARG001 - every stage opens alike
    """The explain stage of a study that is evaluated."""
    upstream = {name: require_stage(run, name)["key"] for name in ("preprocess", "train", "evaluate")}
    return Stage("explain", run, FORMAT, study.as_dict()["explain"], upstream, {}, study.seed)


def build_stage(study: Study, stage: Stage, workers: int | None) -> None:  # noqa: ARG001 - every stage builds alike
    """Write ``<case_id>/gradcam.nii.gz`` in the scan's space, ``<case_id>/gradcam.png`` and ``summary.json``."""
    model = next(iter(study.train.networks), "")
    entries = []
    if model:
        chosen = choose_cases(_read_scores(stage.run, model), study.explain.cases_per_group)
        entries = [_explain_case(study, stage, model, row) for row in chosen.to_dict("records")]
    else:
        log.info("explain: no model of this study looks at voxels, so there is nothing to map")
    summary = {"method": METHOD, "model": model, "cases": [asdict(entry) for entry in entries]}
    write_json(stage.folder / "summary.json", summary)


def choose_cases(scores: pd.DataFrame, count: int) -> pd.DataFrame:
    """The most certain right, the most certain wrong and the borderline cases.

    Certainty is the distance of the score from its fold's threshold. Right ones come from both classes in turn, so
    that one class does not fill the page.

    Args:
        scores: One row a case: ``case_id, label, score, threshold``.
        count: Cases a group, at most.

    Returns:
        The rows chosen, with ``group`` and ``answer``.
    """
    table = scores.assign(
        answer=(scores["score"] >= scores["threshold"]).astype(int),
        certainty=(scores["score"] - scores["threshold"]).abs(),
    ).sort_values(["certainty", "case_id"], ascending=[False, True])
    right = table[table["answer"] == table["label"]]
    turn = right.groupby("label").cumcount()
    right = right.assign(turn=turn).sort_values(["turn", "certainty"], ascending=[True, False], kind="stable")
    certain = right.head(count).drop(columns="turn")
    wrong = table[table["answer"] != table["label"]].head(count)
    rest = table[~table["case_id"].isin([*certain["case_id"], *wrong["case_id"]])]
    groups = zip(GROUPS, (certain, wrong, rest.tail(count)[::-1]), strict=True)
    return pd.concat([rows.assign(group=group) for group, rows in groups], ignore_index=True)


def _read_scores(run: Path, model: str) -> pd.DataFrame:
    """Test scores of the first repeat with each fold's threshold."""
    table: pd.DataFrame = read_table(run / "train" / "predictions.csv")
    table = table[(table["model"] == model) & (table["part"] == "test") & (table["fold"] != FIXED)]
    table = table.astype({"repeat": int, "label": int, "score": float})
    points = read_json(run / "evaluate" / "operating_points.json")["models"][model]
    thresholds = {(point["repeat"], point["fold"]): point["threshold"] for point in points}
    first: pd.DataFrame = table[table["repeat"] == table["repeat"].min()].copy()
    first["threshold"] = [thresholds[key] for key in zip(first["repeat"], first["fold"], strict=True)]
    return first


def _explain_case(study: Study, stage: Stage, model: str, row: dict[Any, Any]) -> Explained:
    case_id, run = row["case_id"], stage.run
    folder = run / "train" / model_folder(model) / f"repeat-{row['repeat']}" / f"fold-{row['fold']}"
    case = attach_map([read_prepared_cases(run)[case_id]], load_map(folder, study.preprocess))
    volume = load_batch(case)[0].numpy()
    networks = load_networks(folder)
    activation = average_gradcams(networks, torch.from_numpy(volume), for_positive=row["answer"] == 1)
    mask = load_mask(run / "preprocess" / "masks" / f"{case_id}.npy", volume.shape[1:])
    affine = read_affine(run, case_id)
    write_nifti(
        stage.folder / case_id / f"{METHOD}.nii.gz",
        map_to_scan(activation.map, affine, _read_scan(study, run, case_id)),
    )
    words = {"right": "certain and right", "wrong": "certain and wrong", "borderline": "borderline"}[row["group"]]
    ground, heat = _face_ras(affine, volume[_ground(study.preprocess.channels)], activation.map)
    draw_overlay(
        stage.folder / case_id / f"{METHOD}.png",
        f"{case_id}: {words}; label {row['label']}, score {row['score']:.2f} (threshold {row['threshold']:.2f}); "
        f"evidence for {row['answer']}",
        ground,
        heat,
        affine_spacing_mm(affine),
    )
    everything = bool(mask.all())
    return Explained(
        case_id=case_id,
        group=row["group"],
        label=int(row["label"]),
        score=float(row["score"]),
        threshold=float(row["threshold"]),
        answer=int(row["answer"]),
        repeat=int(row["repeat"]),
        fold=str(row["fold"]),
        members=len(networks),
        foreground_share=None if everything else foreground_share(activation.map, mask),
        foreground_fraction=None if everything else float(mask.mean()),
    )


def _face_ras(affine: np.ndarray, *arrays: np.ndarray) -> list[np.ndarray]:
    """Arrays (z, y, x) as pictures want them, whatever orientation the study asks for."""
    return [reorient_to_ras(Volume(array[np.newaxis], affine)).array[0] for array in arrays]


def _ground(channels: tuple[str, ...]) -> int:
    """The channel to draw the map on: a subtraction, where enhancement shows, else the first."""
    return next((index for index, name in enumerate(channels) if name.startswith("subtraction")), 0)


def _read_scan(study: Study, run: Path, case_id: str) -> Volume:
    case = next(case for case in read_cases(run / "cohort" / "cases.csv") if case.case_id == case_id)
    path = case.image_paths(study.root)[0]
    try:
        return read_image(path)
    except ImageError as error:
        raise ImageError(f"the scan of {case_id} is needed for its grid, but {error}") from None
