"""Peak memory of training one network, beside what ``genovox doctor`` says of it.

    python -m benchmarks.memory [--networks resnet50 …] [--side 128] [--batch 2]

Each network trains one epoch of two batches, and scores as many cases, in a process of its own.
"""

import argparse
import json
import multiprocessing
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.preprocess import read_peak_mb
from genovox.core.sections import AugmentTable, TrainTable
from genovox.dataset.cases import PreparedCase
from genovox.learning.loop import train_network
from genovox.learning.resolution import Resolution
from genovox.models.build import build_network
from genovox.train.memory import estimate_training

CHANNELS = ("pre", "subtraction1", "subtraction2", "washout")


def write_cases(folder: Path, shape: tuple[int, ...], count: int) -> list[PreparedCase]:
    """Volumes of noise, every other one positive and brighter."""
    random = np.random.default_rng(0)
    cases = []
    for number in range(count):
        path = folder / f"{number}.npy"
        np.save(path, random.normal(number % 2, 1, shape).astype(np.float32))
        cases.append(PreparedCase(f"c{number}", f"p{number}", "", "", number % 2, path.stem, path))
    return cases


def train_alone(name: str, shape: tuple[int, int, int, int], batch: int, queue: "multiprocessing.Queue[Any]") -> None:
    """Train and put the peak memory in MB, and seconds."""
    torch.manual_seed(0)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        cases = write_cases(Path(folder), shape, 4 * batch)
        train_network(
            build_network(name, shape[0]),
            training=cases[: 2 * batch],
            validation=cases[2 * batch :],
            table=TrainTable(epochs=1, batch_size=batch, warmup_epochs=0),
            augment=AugmentTable(preset="isotropic"),
            resolution=Resolution("cpu", "32-true", 1, False, torch.__version__),
            seed=0,
            channels=CHANNELS,
        )
    queue.put((read_peak_mb(), round(time.perf_counter() - started)))


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", nargs="+", default=["light", "resnet10", "resnet18", "resnet50"])
    parser.add_argument("--side", type=int, default=128)
    parser.add_argument("--batch", type=int, default=2)
    arguments = parser.parse_args()
    shape = (len(CHANNELS), *[arguments.side] * 3)
    context = multiprocessing.get_context("spawn")
    rows: dict[str, Any] = {}
    for name in arguments.networks:
        queue: multiprocessing.Queue[Any] = context.Queue()
        process = context.Process(target=train_alone, args=(name, shape, arguments.batch, queue))
        process.start()
        peak, seconds = queue.get()
        process.join()
        need = estimate_training(name, shape[0], shape[1:], arguments.batch, "32-true")
        rows[name] = {"peak_mb": peak, "seconds": seconds, "predicted": asdict(need)}
    print(json.dumps({"shape": shape, "batch": arguments.batch, "networks": rows}, indent=2))


if __name__ == "__main__":
    main()
