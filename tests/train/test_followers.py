"""Several processes train as one does, and end together: real processes, over the loopback."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from genovox.cli.main import run_command
from genovox.core.artifacts import read_json, read_table
from genovox.train.followers import are_together, current_ranks
from tests.conftest import REPOSITORY, write_study
from tests.train.together import TINY, WAYS

SCRIPT = Path(__file__).with_name("together.py")
LIMIT_S = 300
OPTIONS = ("--set=cohort.splits.folds=2", "--set=train.batch_size=3", "--device=cpu")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a study that is ready to be trained; to be copied to its side."""
    folder = tmp_path_factory.mktemp("prepared")
    study = write_study(folder, patients=16)
    for verb in ("cohort", "preprocess"):
        assert run_command([verb, str(study), *OPTIONS, "--workers=1", "--quiet"]) == 0
    return folder / "runs" / "small"


def _environment(rank: int, port: int, machines: int) -> dict[str, str]:
    here = 2 // machines
    places = {"RANK": rank, "LOCAL_RANK": rank % here, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": here, "MASTER_PORT": port}
    content = {name: str(value) for name, value in places.items()}
    path = os.pathsep.join([str(REPOSITORY / "src"), str(REPOSITORY)])
    return os.environ | content | {"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "test", "PYTHONPATH": path}


@contextmanager
def _start_two(*arguments: str, machines: int = 1) -> Iterator[list[subprocess.Popen[str]]]:
    """Two processes as torchrun starts them, but nobody ends one where the other has ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, *arguments],
            env=_environment(rank, port, machines),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def _finish(processes: list[subprocess.Popen[str]]) -> tuple[list[int], list[str]]:
    said = [process.communicate(timeout=LIMIT_S)[1] for process in processes]
    return [process.returncode for process in processes], said


def test_a_command_of_one_process_is_together_with_itself() -> None:
    assert current_ranks().size == 1
    assert are_together()


def _compare(folder: Path, device: str, tolerance: float, machines: int = 1) -> None:
    with _start_two(str(SCRIPT), "compare", str(folder), device, machines=machines) as processes:
        codes, said = _finish(processes)
    assert codes == [0, 0], said
    found = json.loads((folder / "found.json").read_text())
    for name in WAYS.keys() - {"bf16", "batchnorm"} | {TINY, "after a fault"}:
        assert found[name] < tolerance, name
        losses = found.get(f"{name} losses")
        assert losses is None or losses[0] == pytest.approx(losses[1], abs=tolerance)
    assert found["bf16"] < 1e-2  # two neighbours in bf16 differ by 0.4 to 0.8%
    assert found["batchnorm"] > tolerance  # statistics are of a share: docs/train.md says so
    one, both = found["refused"]
    assert one == both
    assert "huge" in both


def test_two_processes_train_the_network_that_one_does(tmp_path: Path) -> None:
    _compare(tmp_path, "cpu", 1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_two_processes_on_one_gpu_train_the_network_that_one_does(tmp_path: Path) -> None:
    _compare(tmp_path, "cuda", 1e-3, machines=2)  # each believes that the GPU is its machine's own


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_train_the_network_that_one_does(tmp_path: Path) -> None:
    _compare(tmp_path, "cuda", 1e-3)


def test_torchrun_writes_what_one_process_writes(prepared: Path) -> None:
    one, both = (prepared.with_name(name) for name in ("one", "both"))
    for run in (one, both):
        shutil.copytree(prepared, run)
    assert run_command(["train", str(one), "--workers=1", "--device=cpu", "--quiet"]) == 0
    command = ["-m", "torch.distributed.run", "--nproc-per-node=2", "-m", "genovox", "train", str(both), "--device=cpu"]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY / "src")}
    subprocess.run([sys.executable, *command], env=environment, check=True, timeout=LIMIT_S, capture_output=True)
    tables = [read_table(run / "train" / "predictions.csv") for run in (one, both)]
    scores = [table.pop("score").astype(float).to_numpy() for table in tables]
    assert tables[0].equals(tables[1])
    tested = tables[1][tables[1]["part"] == "test"]
    assert len(tested) == tested["case_id"].nunique() == 16
    np.testing.assert_allclose(scores[1], scores[0], atol=1e-4)
    paths = sorted(one.glob("train/light/*/*/network.safetensors"))
    assert len(paths) == 2
    for path in paths:
        there = load_file(both / path.relative_to(one))
        for name, value in load_file(path).items():
            torch.testing.assert_close(there[name], value, atol=1e-5, rtol=0)
    assert read_json(paths[0].with_name("fold.json"))["processes"] == 1
    assert read_json(both / paths[0].relative_to(one).with_name("fold.json"))["processes"] == 2
    assert read_json(one / "train" / "resolved.json") == read_json(both / "train" / "resolved.json")
    assert "2 processes train each network together" in (both / "run.log").read_text()


def test_a_follower_that_is_killed_ends_the_run_with_an_error(prepared: Path) -> None:
    run = prepared.with_name("killed")
    shutil.copytree(prepared, run)
    long = ("--set=train.epochs=100000", "--set=train.patience=100000")
    with _start_two("-m", "genovox", "train", str(run), "--device=cpu", *long) as processes:
        give_up = time.monotonic() + LIMIT_S
        while not list(run.glob("train/light/*/*/history.csv")) and time.monotonic() < give_up:
            time.sleep(0.05)
        processes[1].kill()
        codes, said = _finish(processes)
    assert codes[0] == 3
    assert "training on 2 processes needs all of them, one ended before the others; run" in said[0]
    assert "error: " in (run / "run.log").read_text()
    assert not (run / "train" / "predictions.csv").exists()


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_on_one_process_ends_both(tmp_path: Path, rank: int) -> None:
    with _start_two(str(SCRIPT), str(rank), str(tmp_path), "cpu") as processes:
        codes, said = _finish(processes)
    assert codes == [3, 3], said
    reason = (tmp_path / f"failed-{rank}.txt").read_text()
    if rank:
        assert "one failed (process 1: the disk of this process has gone)" in reason
        assert "error: process 1: the disk of this process has gone" in said[1]
    else:
        assert reason == "the disk of this process has gone"
