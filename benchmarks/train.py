"""Train a network with genovox's loop and as MONAI's examples do: eager float32, in one run on the same files.

    python -m benchmarks.train [--quick] [--repeats 3] [--networks light resnet18 resnet50] [--threads 1]

Each side reads the same volumes (1x96^3) from disk, batches of two, and follows the gradient of a binary cross-entropy
with AdamW; nothing is augmented on either side. genovox takes what it would on this machine (bf16 where the processor
has it, channels last, the fused optimizer). Epochs alternate; times are medians (of processor time on one thread). A
step's FLOP are three times a forward pass's, given as a share of the measured peak of a matrix product. Both sides'
losses are compared over the same steps from the same weights, without dropout, which each would draw for itself. Prints
one JSON object.
"""

import argparse
import copy
import json
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.infer import BATCH, SHAPE, count_gflop, measure_peak, time_turns
from benchmarks.memory import write_cases
from genovox.core.sections import AugmentTable, TrainTable
from genovox.dataset.cases import PreparedCase
from genovox.learning.loop import train_network
from genovox.learning.resolution import Resolution, resolve
from genovox.models.blocks import Network
from genovox.models.build import build_network

Train = Callable[[Network, list[PreparedCase]], float]

CASES = 4
RATE = 1e-4


def train_ours(network: Network, cases: list[PreparedCase], resolution: Resolution) -> float:
    """One epoch of genovox's loop; its loss."""
    table = TrainTable(epochs=1, batch_size=BATCH, learning_rate=RATE, warmup_epochs=0, loss="plain")
    trained = train_network(
        network,
        training=cases,
        validation=cases[:1],
        table=table,
        augment=AugmentTable(preset="none"),
        resolution=resolution,
        seed=0,
    )
    return trained.history[0].training_loss


class Volumes(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """As tutorials read files."""

    def __init__(self, cases: list[PreparedCase]) -> None:
        self.cases = cases

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        case = self.cases[index]
        return torch.from_numpy(np.load(case.volume)), torch.tensor(float(case.label))


def train_eagerly(network: Network, cases: list[PreparedCase]) -> float:
    """One epoch as tutorials write it, with a validation pass over one case as ours has; its loss."""
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-2)
    loss_function = nn.BCEWithLogitsLoss()
    loader = torch.utils.data.DataLoader(Volumes(cases), batch_size=BATCH, shuffle=True)
    network.train()
    total = 0.0
    for volumes, labels in loader:
        optimizer.zero_grad()
        loss = loss_function(network(volumes), labels)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        total += loss.item() * len(labels)
    network.eval()
    with torch.no_grad():
        network(Volumes(cases)[0][0][None])
    return total / len(cases)


def train_afresh(train: Train, network: Network, cases: list[PreparedCase]) -> float:
    """One epoch from the same weights each time."""
    return train(copy.deepcopy(network), cases)


def compare(name: str, cases: list[PreparedCase], resolution: Resolution, repeats: int, peak: float) -> dict[str, Any]:
    torch.manual_seed(0)
    fresh = build_network(name, SHAPE[0])
    for module in fresh.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    sides: dict[str, Train] = {"eager": train_eagerly, "genovox": partial(train_ours, resolution=resolution)}
    work = {side: partial(train_afresh, train, fresh, cases) for side, train in sides.items()}
    losses = {side: run() for side, run in work.items()}
    seconds = time_turns(dict(work), repeats)
    rates = {side: CASES / statistics.median(times) for side, times in seconds.items()}
    gflop = 3 * count_gflop(fresh)
    return {
        "gflop_a_case": round(gflop, 1),
        "cases_a_second": {side: round(rate, 3) for side, rate in rates.items()},
        "ratio": round(statistics.median(a / b for a, b in zip(seconds["eager"], seconds["genovox"], strict=True)), 2),
        "share_of_float32_peak": {side: round(rate * gflop / peak, 2) for side, rate in rates.items()},
        "loss_of_the_first_epoch": {side: round(loss, 4) for side, loss in losses.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one repeat, light and resnet18")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--networks", nargs="+", default=["light", "resnet18", "resnet50"])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.quick:
        options.repeats, options.networks = 1, ["light", "resnet18"]
    torch.set_num_threads(options.threads)
    peak = measure_peak(torch.float32, 5)
    with tempfile.TemporaryDirectory() as name:
        cases = write_cases(Path(name), SHAPE, CASES)
        resolution = replace(resolve(Path(name), "cpu", TrainTable()), threads=options.threads)
        result = {
            "torch": torch.__version__,
            "precision": resolution.precision,
            "float32_peak_gflop_a_second": round(peak, 1),
        } | {network: compare(network, cases, resolution, options.repeats, peak) for network in options.networks}
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
