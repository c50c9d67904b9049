"""Score volumes with the engine and with eager float32, as MONAI's users run it, in one run on the same networks.

    python benchmarks/infer.py [--quick] [--repeats 7] [--networks light resnet18] [--threads 1]

Both sides read the same batches of two volumes, 1x96^3, in turn, on one thread unless ``--threads`` says otherwise;
times are medians (of processor time where there is one thread), the ratio is the median of each turn's ratio. FLOP are
counted by torch (a multiplication and an addition are two) and given as a share of the measured peak of a matrix
product in the side's own number format. The quality part trains a light network for a few epochs on LIDC's nodule
masks (``GENOVOX_REAL_DATA``; without it, on drawn balls) and compares the AUC of both sides on other patients. Needs
the extra [fast]; without it the engine is torch. Prints one JSON object.
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from genovox.models.blocks import Network
from genovox.models.build import build_network
from genovox.predict.engine import Engine, Precision, open_engine

SHAPE = (1, 96, 96, 96)
BATCH = 2
MATRIX = 1024
CROPS, EPOCHS, TRAINING_SHARE = 600, 5, 0.5
REPOSITORY = Path(__file__).resolve().parent.parent


def time_turns(sides: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Seconds of each side's every turn, after one that is not counted: on one thread of the processor, else passed."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(repeats + 1):
        for name, work in sides.items():
            begun = clock()
            work()
            if turn:
                seconds[name].append(clock() - begun)
    return seconds


def measure_peak(dtype: torch.dtype, repeats: int) -> float:
    """GFLOP/s of a matrix product."""
    left, right = torch.randn(MATRIX, MATRIX).to(dtype), torch.randn(MATRIX, MATRIX).to(dtype)
    seconds = time_turns({"product": lambda: left @ right}, repeats)["product"]
    return float(2 * MATRIX**3 / min(seconds) / 1e9)


def count_gflop(network: Network) -> float:
    """GFLOP of one volume."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros((1, *SHAPE)))
    return float(counter.get_total_flops() / 1e9)


def calibrate(network: Network, volumes: Tensor) -> None:
    """Running statistics of batch norms as after training: those of real volumes, not of fresh weights."""
    network.train()
    with torch.no_grad():
        network(volumes)
    network.eval()


def compare_speed(name: str, precision: Precision, repeats: int, peaks: dict[str, float]) -> dict[str, Any]:
    torch.manual_seed(0)
    network = build_network(name, SHAPE[0])
    volumes = torch.randn((BATCH, *SHAPE))
    calibrate(network, volumes)
    begun = time.perf_counter()
    engine = open_engine([network], SHAPE, precision=precision)
    opened_s = time.perf_counter() - begun

    def score_eagerly() -> Tensor:
        with torch.inference_mode():
            return network(volumes)  # type: ignore[no-any-return]

    seconds = time_turns({"eager": score_eagerly, "engine": lambda: engine(volumes)}, repeats)
    gflop = count_gflop(network)
    difference = (engine(volumes)[0].double().sigmoid() - score_eagerly().double().sigmoid()).abs().max()
    rates = {side: BATCH / statistics.median(times) for side, times in seconds.items()}
    number_format = engine.way.split()[-1]
    return {
        "way": engine.way,
        "gflop_a_volume": round(gflop, 2),
        "eager_volumes_a_second": round(rates["eager"], 2),
        "engine_volumes_a_second": round(rates["engine"], 2),
        "ratio": round(statistics.median(a / b for a, b in zip(seconds["eager"], seconds["engine"], strict=True)), 2),
        "eager_share_of_float32_peak": round(rates["eager"] * gflop / peaks["float32"], 2),
        f"engine_share_of_{number_format}_peak": round(rates["engine"] * gflop / peaks[number_format], 2),
        "largest_difference_in_probability": float(difference),
        "opened_in_s": round(opened_s, 2),
    }


def read_nodules(count: int) -> tuple[Tensor, np.ndarray, np.ndarray]:
    """Crops (n, 1, 32, 32, 32), labels and patients: LIDC's nodules of three readers or more, else drawn balls."""
    folder = Path(os.environ.get("GENOVOX_REAL_DATA") or REPOSITORY.parent / "shared" / "data") / "lidc"
    random = np.random.default_rng(0)
    if not folder.is_dir():
        z, y, x = np.meshgrid(*(np.arange(32) - 15.5,) * 3, indexing="ij")
        labels = random.integers(0, 2, count)
        radii = random.normal(6 + labels, 1.5)
        drawn = np.stack([z**2 + y**2 + x**2 < radius**2 for radius in radii])
        return torch.from_numpy(drawn[:, None].astype(np.float32)), labels, np.arange(count)
    stored = np.load(folder / "lidc_nodule_masks_32.npz", allow_pickle=False)
    table = pd.read_csv(folder / "lidc_nodules.csv").set_index("nodule").loc[stored["nodule"]]
    usable = np.flatnonzero((table["n_readers"] >= 3) & (table["label"] >= 0))
    chosen = random.permutation(usable)[:count]
    crops = torch.from_numpy(stored["volumes"][chosen].astype(np.float32))[:, None]
    return crops, table["label"].to_numpy()[chosen].astype(int), table["patient_id"].to_numpy()[chosen]


def train(network: Network, crops: Tensor, labels: Tensor, epochs: int) -> None:
    """A plain loop, for weights that mean something."""
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3)
    generator = torch.Generator().manual_seed(0)
    network.train()
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(len(crops), generator=generator), 16):
            loss = functional.binary_cross_entropy_with_logits(network(crops[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    network.eval()


def compare_quality(name: str, precision: Precision, count: int, epochs: int) -> dict[str, Any]:
    crops, labels, patients = read_nodules(count)
    ids = np.unique(patients)
    training = np.isin(patients, np.random.default_rng(1).permutation(ids)[: int(len(ids) * TRAINING_SHARE)])
    torch.manual_seed(0)
    network = build_network(name, 1)
    train(network, crops[training], torch.from_numpy(labels[training]).float(), epochs)
    engine: Engine = open_engine([network], tuple(crops.shape[1:]), precision=precision)
    with torch.inference_mode():
        eager = torch.cat([network(part) for part in torch.split(crops[~training], 16)]).double().sigmoid().numpy()
    fast = torch.cat([engine(part)[0] for part in torch.split(crops[~training], 16)]).double().sigmoid().numpy()
    aucs = [float(roc_auc_score(labels[~training], scores)) for scores in (eager, fast)]
    return {
        "way": engine.way,
        "cases": int((~training).sum()),
        "auc_eager": round(aucs[0], 4),
        "auc_engine": round(aucs[1], 4),
        "auc_difference": round(aucs[1] - aucs[0], 5),
        "largest_difference_in_probability": float(np.abs(fast - eager).max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--networks", nargs="+", default=["light", "resnet18"])
    parser.add_argument("--precision", default="auto", choices=["auto", "float32"])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    repeats = 3 if options.quick else options.repeats
    peaks = {str(dtype).removeprefix("torch."): measure_peak(dtype, 3) for dtype in (torch.float32, torch.bfloat16)}
    answer = {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "peak_gflop_a_second": {dtype: round(peak, 1) for dtype, peak in peaks.items()},
        "speed": {name: compare_speed(name, options.precision, repeats, peaks) for name in options.networks},
        "quality": compare_quality(
            "light", options.precision, 200 if options.quick else CROPS, 2 if options.quick else EPOCHS
        ),
    }
    print(json.dumps(answer, indent=2))


if __name__ == "__main__":
    main()
