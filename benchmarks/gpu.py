"""Train on a GPU: how much faster than eager float32, how busy the GPU is, and what each part of a step takes.

    python -m benchmarks.gpu [--repeats 3] [--jobs light:1x32:8 resnet18:4x96:8 resnet50:4x128:4]

A job is a network, channels x side of its cubes, and a batch. genovox trains as it would on this machine (bf16,
channels last, augmentation ``isotropic`` on the GPU); the other side is the loop of a tutorial, eager float32 from a
data loader with four workers, which augments nothing. Both take turns, times are medians. A GPU is busy while any
kernel runs: their union by torch's profiler, as a share of the time taken without it. The parts are timed alone:
reading from files to the GPU, augmenting batches that lie there, and the network's forward and backward pass and step.
Prints one JSON object.
"""

import argparse
import copy
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Generator, nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.memory import write_cases
from benchmarks.train import Volumes
from genovox.core.sections import AugmentTable, TrainTable
from genovox.dataset.augmented import Augmented
from genovox.dataset.cases import PreparedCase, load_batch
from genovox.dataset.loader import iterate_training
from genovox.dataset.shelf import Shelf
from genovox.learning.loop import train_network
from genovox.learning.precision import choose_layout
from genovox.learning.resolution import Resolution, resolve
from genovox.models.blocks import Network
from genovox.models.build import build_network

PRESET = "isotropic"
RATE = 1e-4
BATCHES = 8
EPOCHS = 2


def train_ours(network: Network, cases: list[PreparedCase], batch: int, resolution: Resolution) -> None:
    """Epochs of genovox's loop."""
    train_network(
        network,
        training=cases,
        validation=cases[:1],
        table=TrainTable(epochs=EPOCHS, batch_size=batch, learning_rate=RATE, warmup_epochs=0),
        augment=AugmentTable(preset=PRESET),
        resolution=resolution,
        seed=0,
    )


def train_eagerly(network: Network, cases: list[PreparedCase], batch: int) -> None:
    """Epochs as tutorials write them."""
    network = network.cuda().train()
    optimizer = torch.optim.AdamW(network.parameters(), RATE)
    loader = torch.utils.data.DataLoader(Volumes(cases), batch, shuffle=True, num_workers=4, persistent_workers=True)
    for _ in range(EPOCHS):
        for volumes, labels in loader:
            optimizer.zero_grad()
            loss = nn.functional.binary_cross_entropy_with_logits(network(volumes.cuda()), labels.cuda())
            loss.backward()
            optimizer.step()
            loss.item()


def time_synchronised(work: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    begun = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - begun


def measure_busy(work: Callable[[], object]) -> float:
    """Seconds in which a kernel ran."""
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        work()
        torch.cuda.synchronize()
    spans = sorted(
        (event.time_range.start, event.time_range.end)
        for event in profiler.events()
        if event.device_type.name == "CUDA" and not event.name.startswith(("Memcpy", "Memset"))
    )
    busy, reached = 0.0, 0.0
    for start, end in spans:
        busy += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return busy / 1e6


def time_parts(network: Network, cases: list[PreparedCase], batch: int) -> dict[str, float]:
    """Milliseconds a batch of each part, alone."""
    placed = load_batch(cases[:batch]).cuda()
    augmented = Augmented(PRESET, (), 0)
    layout = choose_layout(network, "bf16-mixed")
    network = network.cuda().train().to(memory_format=layout)  # type: ignore[call-overload]
    optimizer = torch.optim.AdamW(network.parameters(), RATE, fused=True)

    def compute(_: int) -> None:
        for _ in range(BATCHES):
            with torch.autocast("cuda", torch.bfloat16):
                logits = network(placed.contiguous(memory_format=layout))
            loss = logits.float().square().mean()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    parts: dict[str, Callable[[int], object]] = {
        "read": lambda turn: list(iterate_training(cases, batch, Generator().manual_seed(turn), shelf=Shelf("cuda"))),
        "augment": lambda turn: [augmented(BATCHES * turn + n, placed, cases[:batch]) for n in range(BATCHES)],
        "compute": compute,
    }
    times = {name: [time_synchronised(partial(part, turn)) for turn in range(4)] for name, part in parts.items()}
    return {name: round(1e3 / BATCHES * statistics.median(seconds[1:]), 2) for name, seconds in times.items()}


def compare(name: str, shape: tuple[int, ...], batch: int, repeats: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        cases = write_cases(Path(folder), shape, BATCHES * batch)
        resolution = resolve(Path(folder), "cuda", TrainTable())
        torch.manual_seed(0)
        fresh = build_network(name, shape[0])
        sides: dict[str, Callable[[], object]] = {
            "genovox": lambda: train_ours(copy.deepcopy(fresh), cases, batch, resolution),
            "eager": lambda: train_eagerly(copy.deepcopy(fresh), cases, batch),
        }
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        for turn in range(repeats + 1):
            for side, work in sides.items():
                taken = time_synchronised(work)
                if turn:
                    seconds[side].append(taken)
        medians = {side: statistics.median(times) for side, times in seconds.items()}
        return {
            "precision": resolution.precision,
            "cases_a_second": {side: round(EPOCHS * len(cases) / taken, 1) for side, taken in medians.items()},
            "ratio": round(medians["eager"] / medians["genovox"], 2),
            "gpu_busy": {side: round(measure_busy(work) / medians[side], 2) for side, work in sides.items()},
            "milliseconds_a_batch": {"whole": round(1e3 * medians["genovox"] / EPOCHS / BATCHES, 2)}
            | time_parts(copy.deepcopy(fresh), cases, batch),
            "peak_memory_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2),
        }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", nargs="+", default=["light:1x32:8", "resnet18:4x96:8", "resnet50:4x128:4"])
    options = parser.parse_args()
    result: dict[str, Any] = {"torch": torch.__version__, "gpu": torch.cuda.get_device_name()}
    for job in options.jobs:
        name, size, batch = job.split(":")
        channels, side = (int(number) for number in size.split("x"))
        result[job] = compare(name, (channels, side, side, side), int(batch), options.repeats)
        print(json.dumps({job: result[job]}), flush=True)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
