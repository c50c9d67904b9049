"""The pretrain stage: networks that have seen the scans of untested patients before they are told a label."""

import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from genovox.cohort.stage import UNTESTED
from genovox.core.artifacts import Stage, require_stage, write_json
from genovox.core.case import Case, read_cases
from genovox.core.errors import DataError, UsageError
from genovox.core.sections import SELF
from genovox.core.seeds import derive_seed
from genovox.core.study import Study
from genovox.core.tasks import Inner, available_cores, show_progress
from genovox.dataset.cases import PreparedCase
from genovox.learning.checkpoint import NOBODY, pretrained_path, save_network
from genovox.learning.journal import Journal, count_epochs
from genovox.learning.resolution import Resolution, record_resolution, resolve
from genovox.models.build import build_network
from genovox.preprocess import stage as preprocess
from genovox.pretrain.masked import pretrain_network

log = logging.getLogger(__name__)

FORMAT = 1
RECORD = "pretrain.json"
FEWEST = 10
"""Patients under which there is nothing to learn from; one in ten shows the loss and is not learnt from."""


def open_stage(study: Study, run: Path, device: str) -> Stage:
    """The pretrain stage of a study some model of which starts from ``@self``.

    Raises:
        UsageError: If no model does, or the device is not there.
    """
    if not study.train.pretrained:
        raise UsageError(
            f"pretrain makes what NETWORK@{SELF} starts from, train.models names none; add one such as light@{SELF}"
        )
    upstream = {name: require_stage(run, name)["key"] for name in ("cohort", "preprocess")}
    resolution = resolve(run / "pretrain", device, study.train)
    content = study.as_dict()
    config = content["pretrain"] | {
        "augment": content["augment"],
        "networks": list(study.train.pretrained),
        "resolved": asdict(resolution),
    }
    return Stage("pretrain", run, FORMAT, config, upstream, {}, study.seed)


def build_stage(study: Study, stage: Stage, workers: int | None) -> None:
    """Write ``<network>.safetensors`` and its folder of curves for each network, and ``pretrain.json``.

    Raises:
        DataError: If there are too few cases to learn from.
    """
    resolution = Resolution(**stage.config["resolved"])
    record_resolution(stage.folder, resolution, study.train)
    untested, tested = _read_learnt(study, stage.run)
    road = preprocess.open_stage(study, stage.run, stage.device)
    cases = [*untested, *tested]
    rows, failures, _ = preprocess.prepare_cases(study, road, cases, stage.folder, workers or available_cores())
    if failures:
        case_id, reason = next(iter(failures.items()))
        log.warning(
            "pretrain: %d of %d cases cannot be used, such as %s: %s", len(failures), len(cases), case_id, reason
        )
    prepared = _describe_prepared(stage.folder, cases, rows)
    patients = {case.patient_id for case in prepared}
    _refuse_few(len(patients))
    training, validation = split_patients(prepared, study.seed)
    described = {network: _pretrain(study, stage, network, training, validation) for network in study.train.pretrained}
    tested_ids = {case.case_id for case in tested}
    write_json(
        stage.folder / RECORD,
        {
            "cases": len(prepared),
            "patients": len(patients),
            "transductive": any(case.case_id in tested_ids for case in prepared),
            "networks": described,
        },
    )
    if tested:
        log.warning("pretrain: the test patients' scans are learnt from too; figures are transductive, and say so")


def judge_patients(study: Study, run: Path) -> None:
    """Say before preprocessing that there are too few patients to learn from.

    Args:
        study: Some model of which starts from ``@self``.
        run: With its cohort.

    Raises:
        DataError: If there are too few even if none is lost on the way.
    """
    _refuse_few(len({case.patient_id for cases in _read_learnt(study, run) for case in cases}))


def _read_learnt(study: Study, run: Path) -> tuple[list[Case], list[Case]]:
    """Cases without a label, and with one where the study says so."""
    tested = read_cases(run / "cohort" / "cases.csv") if study.pretrain.cases == "all" else []
    return read_cases(run / "cohort" / UNTESTED), tested


def _refuse_few(patients: int) -> None:
    if patients < FEWEST:
        raise DataError(
            f"pretraining needs {FEWEST} patients or more, there are {patients} without a label that are no "
            f"relatives of tested patients; add untested patients to cohort.images, or drop @{SELF} from train.models"
        )


def split_patients(cases: list[PreparedCase], seed: int) -> tuple[tuple[PreparedCase, ...], tuple[PreparedCase, ...]]:
    """Cases to learn from and every tenth patient, whose loss is shown."""
    patients = sorted({case.patient_id for case in cases})
    generator = torch.Generator().manual_seed(derive_seed(seed, "pretrain"))
    order = torch.randperm(len(patients), generator=generator).tolist()
    shown = {patients[index] for index in order[: max(1, len(patients) // 10)]}
    parts = ([case for case in cases if (case.patient_id in shown) is kept] for kept in (False, True))
    training, validation = parts
    return tuple(training), tuple(validation)


def _pretrain(
    study: Study,
    stage: Stage,
    network: str,
    training: tuple[PreparedCase, ...],
    validation: tuple[PreparedCase, ...],
) -> dict[str, Any]:
    resolution = Resolution(**stage.config["resolved"])
    seed = derive_seed(study.seed, "pretrain", network)
    torch.manual_seed(seed)
    folder = stage.folder / network
    epochs = Inner("epochs", study.pretrain.epochs, lambda: count_epochs(folder))
    with show_progress(f"pretraining {network}", 1, inner=epochs) as advance, Journal(folder) as journal:
        made = pretrain_network(
            build_network(network, len(study.preprocess.channels)),
            training=training,
            validation=validation,
            table=study.pretrain,
            augment=study.augment,
            resolution=resolution,
            seed=seed,
            channels=study.preprocess.channels,
            follow=journal.add,
        )
        last = made.history[-1]
        advance(f"{network}: {last.validation_loss:.3f} of the variance of hidden blocks is left unexplained")
    if made.stopped:
        log.warning(
            "pretrain %s: %s; what the epoch before made is kept; lower pretrain.learning_rate (now %g) or look at "
            "those cases' QC pictures",
            network,
            made.stopped,
            study.pretrain.learning_rate,
        )
    save_network(
        pretrained_path(stage.run, network),
        made.network,
        name=network,
        channels=made.network.channels,
        lineage=NOBODY.meet((*training, *validation), labels=False),
    )
    return {
        "epochs": len(made.history),
        "training_loss": last.training_loss,
        "validation_loss": last.validation_loss,
        "stopped": made.stopped,
        "seed": seed,
    }


def _describe_prepared(folder: Path, cases: list[Case], rows: list[dict[str, Any]]) -> list[PreparedCase]:
    made = {row["case_id"]: row for row in rows}
    return [
        PreparedCase(
            case_id=case.case_id,
            patient_id=case.patient_id,
            family_id=case.family_id,
            site=case.site,
            label=0,  # never read: nothing here looks at a label
            key=str(made[case.case_id]["key"]),
            volume=folder / "volumes" / f"{case.case_id}.npy",
            digest=str(made[case.case_id]["digest"]),
        )
        for case in cases
        if case.case_id in made
    ]
