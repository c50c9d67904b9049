import json
import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genovox.core.errors import DiskFullError
from genovox.preprocess.cache import RECORD, fetch_step, load_mask, read_step, save_array, save_mask


def _make(folder: Path) -> dict[str, Any]:
    save_array(folder / "voxels.npy", np.arange(1000, dtype=np.float32))
    return {"made": folder.name, "snr": float("nan")}


def _refuse(folder: Path) -> dict[str, Any]:
    pytest.fail(f"{folder} was made again")


def test_a_step_is_made_once(tmp_path: Path) -> None:
    first = fetch_step(tmp_path / "key", _make)
    again = fetch_step(tmp_path / "key", _refuse)
    assert again["made"] == first["made"]
    np.testing.assert_array_equal(np.load(tmp_path / "key" / "voxels.npy"), np.arange(1000, dtype=np.float32))
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "voxels.npy").unlink(),
        lambda folder: (folder / "voxels.npy").write_bytes((folder / "voxels.npy").read_bytes()[:-1]),
        lambda folder: (folder / "voxels.npy").write_bytes((folder / "voxels.npy").read_bytes()[:-1] + b"?"),
        lambda folder: (folder / RECORD).write_text("{}"),
        lambda folder: (folder / RECORD).write_text("not JSON"),
        lambda folder: (folder / RECORD).write_text("[]"),
        lambda folder: (folder / RECORD).unlink(),
    ],
)
def test_damage_is_seen_and_mended(tmp_path: Path, damage: Any) -> None:
    fetch_step(tmp_path / "key", _make)
    damage(tmp_path / "key")
    assert read_step(tmp_path / "key") is None
    fetch_step(tmp_path / "key", _make)
    assert read_step(tmp_path / "key") is not None
    np.testing.assert_array_equal(np.load(tmp_path / "key" / "voxels.npy"), np.arange(1000, dtype=np.float32))
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_step_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> dict[str, Any]:
        (folder / "half").write_text("half")
        raise ValueError("no voxels")

    with pytest.raises(ValueError, match="no voxels"):
        fetch_step(tmp_path / "key", fail)
    assert list(tmp_path.iterdir()) == []


def test_two_makers_of_one_step_agree(tmp_path: Path) -> None:
    def make_while_another_does(folder: Path) -> dict[str, Any]:
        fetch_step(tmp_path / "key", _make)
        return _make(folder)

    fetch_step(tmp_path / "key", make_while_another_does)
    assert read_step(tmp_path / "key") is not None
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def _write_slowly(folder: Path) -> dict[str, Any]:
    save_array(folder / "voxels.npy", np.zeros(1000, np.float32))
    (folder.parent / "started").touch()
    time.sleep(60)
    return {}


def test_a_killed_process_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    child = multiprocessing.get_context("spawn").Process(target=fetch_step, args=(tmp_path / "key", _write_slowly))
    child.start()
    while not (tmp_path / "started").exists():
        time.sleep(0.02)
        assert child.is_alive()
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join()
    assert read_step(tmp_path / "key") is None
    assert fetch_step(tmp_path / "key", _make)["made"]


def test_a_full_disk_says_so(tmp_path: Path) -> None:
    def fill(folder: Path) -> dict[str, Any]:
        raise OSError(28, "No space left on device")

    with pytest.raises(DiskFullError, match="free space there"):
        fetch_step(tmp_path / "key", fill)


def test_records_hold_json(tmp_path: Path) -> None:
    fetch_step(tmp_path / "key", _make)
    assert set(json.loads((tmp_path / "key" / RECORD).read_text())) == {"content", "digests"}


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 1, 1), (8, 8, 8)])
def test_masks_survive_the_disk(tmp_path: Path, shape: tuple[int, ...]) -> None:
    mask = np.random.default_rng(0).random(shape) > 0.4
    save_mask(tmp_path / "mask.npy", mask)
    np.testing.assert_array_equal(load_mask(tmp_path / "mask.npy", shape), mask)
