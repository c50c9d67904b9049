"""What two processes do in the tests of followers: train as torchrun has them train, and fail in every way."""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import distributed

from genovox.core.errors import DataError
from genovox.core.sections import AugmentTable, TrainTable
from genovox.core.volume import Array
from genovox.dataset.cases import PreparedCase
from genovox.learning.loop import DivergedError, TrainedNetwork, train_network
from genovox.learning.resolution import Resolution
from genovox.models.build import build_network
from genovox.train import followers
from genovox.train.followers import run_together, train_together

WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "uneven": {"batch_size": 3, "label_smoothing": 0.1},
    "accumulate": {"accumulate": 2, "average": 0.9, "loss": "focal"},
    "thaw": {"thaw_epochs": 1, "layer_decay": 0.7, "keep": "last"},
    "mix": {"mix": "mixup"},
    "bf16": {"precision": "bf16-mixed"},
    "batchnorm": {"network": "light-batchnorm"},
}
TINY = "one"
"""Training of three cases in one batch, then of a single one: one process has none."""


@dataclass(frozen=True)
class Spoilt:
    """A map of intensities that one of the processes cannot apply."""

    rank: int

    def __call__(self, array: Array, landmarks: tuple[float, ...]) -> Array:
        if followers.current_ranks().rank == self.rank:
            raise DataError("the disk of this process has gone")
        return array


def write_cases(folder: Path) -> list[PreparedCase]:
    random = np.random.default_rng(0)
    found = []
    for number in range(17):
        volume = random.normal(number % 2, 1, (1, 16, 16, 16)).astype(np.float32)
        np.save(folder / f"{number}.npy", volume)
        found.append(PreparedCase(f"c{number}", f"p{number}", "", "", number % 2, "key", folder / f"{number}.npy"))
    return found


def describe_job(training: list[PreparedCase], validation: list[PreparedCase], **settings: Any) -> dict[str, Any]:
    device = sys.argv[3]
    precision, mix = settings.pop("precision", "32-true"), settings.pop("mix", "none")
    network = settings.pop("network", "light")
    torch.manual_seed(1)
    return {
        "network": build_network(network, 1),
        "training": training,
        "validation": validation,
        "table": TrainTable.model_validate({"epochs": 2, "batch_size": 4, "warmup_epochs": 0} | settings),
        "augment": AugmentTable.model_validate({"preset": "light", "mix": mix}),
        "resolution": Resolution(device, precision, 1, compile=False, torch=torch.__version__),
        "seed": 5,
    }


def measure_difference(one: TrainedNetwork, both: TrainedNetwork) -> float:
    there = both.network.state_dict()
    return max(float((value - there[name]).abs().max()) for name, value in one.network.state_dict().items())


def compare(folder: Path) -> int:
    cases = write_cases(folder)
    found: dict[str, Any] = {"refused": []}
    for name, settings in WAYS.items():
        one, both = (
            train(**describe_job(cases[:11], cases[11:], **settings)) for train in (train_network, train_together)
        )
        found[name] = measure_difference(one, both)
        found[f"{name} losses"] = [[record.validation_loss for record in made.history] for made in (one, both)]
    one, both = (
        train(**describe_job(cases[:1], cases[1:2], loss="plain")) for train in (train_network, train_together)
    )
    found[TINY] = measure_difference(one, both)
    np.save(folder / "huge.npy", np.full((1, 16, 16, 16), 3e38, np.float32))
    huge = replace(cases[3], case_id="huge", volume=folder / "huge.npy")
    for train in (train_network, train_together):
        try:
            train(**describe_job([*cases[:3], huge, *cases[4:11]], cases[11:]))
        except DivergedError as error:
            found["refused"].append(str(error))
    found["after a fault"] = measure_difference(
        train_network(**describe_job(cases[:11], cases[11:])), train_together(**describe_job(cases[:11], cases[11:]))
    )
    (folder / "found.json").write_text(json.dumps(found))
    return 0


def fail(folder: Path, rank: int) -> int:
    cases = write_cases(folder)
    spoilt = [replace(case, fitted=Spoilt(rank)) for case in cases]
    try:
        train_together(**describe_job(spoilt[:11], cases[11:]))
    except DataError as error:
        (folder / f"failed-{rank}.txt").write_text(str(error))
    return 0 if followers.are_together() else 3


if __name__ == "__main__":
    if torch.cuda.device_count() < 2:
        distributed.is_nccl_available = lambda: False  # it refuses two processes on one GPU, gloo does not
    place = Path(sys.argv[2])
    sys.exit(run_together(lambda: compare(place) if sys.argv[1] == "compare" else fail(place, int(sys.argv[1]))))
