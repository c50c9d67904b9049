"""Predicted memory against measured memory, and what is made of it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from genovox.core.study import Study
from genovox.learning.resolution import Resolution
from genovox.train.memory import available_mb, estimate_training
from genovox.train.needs import count_workers, list_needs, suggest_settings

RESOLUTION = Resolution("cpu", "32-true", 1, compile=False, torch=torch.__version__)
MEASURE = """
import sys, torch
import genovox.train.fold  # what a fold's process holds before its network
from pathlib import Path
from genovox.models.build import build_network
torch.set_num_threads(1)
name, channels, side, batch = sys.argv[1], *map(int, sys.argv[2:])
network = build_network(name, channels).to(memory_format=torch.channels_last_3d)
optimizer = torch.optim.AdamW(network.parameters(), fused=True)
for _ in range(2):
    network(torch.randn(batch, channels, side, side, side)).sum().backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
best = {name: value.clone() for name, value in network.state_dict().items()}
lines = Path("/proc/self/status").read_text().splitlines()
print(next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM")))
"""


def _study(tmp_path: Path, models: str, shape: str = "[64, 48, 32]") -> Study:
    text = f'[cohort]\nimages = "m.csv"\n[preprocess]\nshape = {shape}\n[train]\nmodels = {models}\n'
    (tmp_path / "study.toml").write_text(text)
    return Study.load(tmp_path / "study.toml")


@pytest.mark.parametrize(("name", "channels", "side", "batch"), [("light", 3, 64, 4), ("resnet10", 2, 64, 2)])
def test_the_estimate_is_right_within_a_third(name: str, channels: int, side: int, batch: int) -> None:
    command = [sys.executable, "-c", MEASURE, name, str(channels), str(side), str(batch)]
    measured = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    estimate = estimate_training(name, channels, (side,) * 3, batch, "32-true")
    assert measured / 1.33 < estimate.total_mb < measured * 1.33


def test_more_cases_and_fewer_bits_change_activations_alone() -> None:
    small, large = (estimate_training("light", 1, (48, 48, 48), size, "32-true") for size in (2, 8))
    assert small.weights_mb == large.weights_mb
    assert 3.5 < large.activations_mb / small.activations_mb < 4.5
    assert estimate_training("light", 1, (48, 48, 48), 8, "bf16-mixed").activations_mb < large.activations_mb


def test_workers_are_no_more_than_fit(tmp_path: Path) -> None:
    needs = list_needs(_study(tmp_path, '["light", "resnet18@medicalnet", "radiomics"]'), RESOLUTION)
    assert [need.model for need in needs] == ["light", "resnet18@medicalnet"]
    largest = needs[1].memory.total_mb
    machine = replace(RESOLUTION, threads=1)
    cores = machine.default_workers
    assert count_workers(needs, machine, 100 * largest) == cores
    assert count_workers(needs, machine, largest) == 1
    assert count_workers([], machine, 1) == 1
    assert count_workers(needs, replace(machine, device="cuda"), 100 * largest) == 1


def test_what_does_not_fit_gets_advice(tmp_path: Path) -> None:
    study = _study(tmp_path, '["resnet18"]', "[128, 128, 128]")
    (need,) = list_needs(study, RESOLUTION)
    assert suggest_settings(need, study, RESOLUTION, 2 * need.memory.total_mb) == []
    lines = suggest_settings(need, study, RESOLUTION, need.memory.total_mb // 2)
    assert lines[0].startswith("train.batch_size=2 with train.accumulate=4") or "train.batch_size=" in lines[0]
    assert any("bf16" in line for line in lines)
    assert "preprocess.shape=[80, 80, 80]" in lines[2]


def test_there_is_some_memory() -> None:
    assert available_mb() > 100
