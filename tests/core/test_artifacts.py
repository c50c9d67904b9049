import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from genovox.core import artifacts
from genovox.core.artifacts import FileHashes, Stage
from genovox.core.errors import DataError, DiskFullError, TableError, UsageError

WRITER = """
import sys
from pathlib import Path
from genovox.core.artifacts import write_text
target, size = Path(sys.argv[1]), int(sys.argv[2])
number = 0
while True:
    write_text(target, chr(97 + number % 26) * size)
    number += 1
"""
LIMITED = """
import resource, signal, sys
from pathlib import Path
import numpy as np
import pandas as pd
from genovox.core.artifacts import write_table, write_text
from genovox.core.errors import DiskFullError
from genovox.core.volume import Volume, write_nifti
from genovox.preprocess.cache import fetch_step, save_array
from genovox.preprocess.quality import draw_quality_picture
folder = Path(sys.argv[1])
if sys.argv[2] == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, resource.RLIM_INFINITY))
noise = np.random.default_rng(0).normal(size=(1, 120, 120, 120)).astype(np.float32)
volume = Volume(noise, np.eye(4))
writers = {
    "text": lambda path: write_text(path, "x" * 3_000_000),
    "table": lambda path: write_table(path, pd.DataFrame({"a": range(500_000)})),
    "step": lambda path: fetch_step(path, lambda step: save_array(step / "array.npy", noise) or {}),
    "volume.nii.gz": lambda path: write_nifti(path, volume),
    "picture.png": lambda path: draw_quality_picture(path, "", volume, noise[0] > 0, ("pre",)),
}
if sys.argv[2] != "limit":
    del writers["picture.png"]  # smaller than the disk
for name, write in writers.items():
    try:
        write(folder / name)
        print(name, "written")
    except DiskFullError as error:
        print(name, "full:", str(error).split(";")[1])
print(sorted(path.name for path in folder.iterdir()))
if sys.argv[2] == "limit":  # what measures coverage writes at exit
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
"""
HOLDER = """
import sys, time
from pathlib import Path
from genovox.core.artifacts import hold_run
with hold_run(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def _python(code: str, *arguments: object) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_a_file_is_whole_whenever_the_writer_is_killed(tmp_path: Path) -> None:
    target, size = tmp_path / "file.txt", 400_000
    random = np.random.default_rng(11)
    for _ in range(5):
        writer = _python(WRITER, target, size)
        while not target.exists():
            assert writer.poll() is None
            time.sleep(0.01)
        before, until, seen = target.stat().st_mtime_ns, time.monotonic() + random.uniform(0.05, 0.3), set()
        while time.monotonic() < until or target.stat().st_mtime_ns == before:
            text = target.read_text()
            assert len(text) == size
            assert len(set(text)) == 1
            seen.add(text[0])
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        text = target.read_text()
        assert len(text) == size
        assert len(set(text)) == 1
        assert seen


def test_file_size_limit_is_a_full_disk(tmp_path: Path) -> None:
    out, error = _python(LIMITED, tmp_path, "limit").communicate(timeout=60)
    assert "Traceback" not in error
    lines = out.splitlines()
    assert len(lines) == 6
    for line in lines[:4]:
        assert line.endswith("full:  free space there and run the same command again, finished work is kept"), line
    assert lines[-1].count("'") <= 2  # nothing is left half written


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("NO SMALL DISK: mounting a tmpfs needs root; the full disk was tested by a file size limit only")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk(small_disk: Path) -> None:
    out, error = _python(LIMITED, small_disk, "disk").communicate(timeout=60)
    assert "Traceback" not in error
    lines = out.splitlines()
    assert all(" full: " in line for line in lines[:-1])
    assert len(lines) == 5
    assert lines[-1] == "[]"


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    artifacts.write_json(tmp_path / "a.json", {"old": 1})
    with pytest.raises(ValueError, match="Out of range float"):
        artifacts.write_json(tmp_path / "a.json", {"new": float("nan")})

    def write_half() -> None:
        with artifacts.atomic_path(tmp_path / "a.json") as partial:
            partial.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_half()
    assert artifacts.read_json(tmp_path / "a.json") == {"old": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_other_troubles_are_not_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        artifacts.write_text(tmp_path / "file" / "below", "x")
    with pytest.raises(DiskFullError, match="No space left"):
        artifacts.raise_if_disk_full(OSError(28, "No space left on device"), tmp_path)


def test_a_table_comes_back_as_text(tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).normal(size=50).astype(np.float32)
    table = pd.DataFrame({"name": [f"NA{i}" if i else "NA" for i in range(50)], "score": numbers, "note": ""})
    artifacts.write_table(tmp_path / "t.csv", table)
    again = artifacts.read_table(tmp_path / "t.csv")
    assert again["name"].tolist() == table["name"].tolist()
    assert (again["note"] == "").all()
    np.testing.assert_array_equal(again["score"].astype(float).astype(np.float32), numbers)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is not a readable CSV table"),
        (b'a,b\n"1,2\n', "is not a readable CSV table"),
        (b"a,b\n1,2\n1,2,3\n", "is not a readable CSV table"),
        ("a,b\n1,é\n".encode("latin-1"), "save it as UTF-8 CSV"),
        ("a,b\n1,2\n".encode("utf-16"), "save it as UTF-8 CSV"),
        (b"PK\x03\x04\x14\x00\x06\x00\x08\x00\xff\xfe\x9c" + bytes(range(256)), "table|columns"),
        (b"a,b\n1,2,3\n4,5,6\n", "its rows hold more cells than the header"),
        (b"a,b\n1,2,\n", "remove commas at the ends of the rows"),
        (b"a,b, a\n1,2,3\n", "must name each column once, got 'a' twice"),
        (b"a,c\n1,2\n", "must have the columns a, b, got a, c; add b"),
        (b"a;b\n1;2\n", "must separate its columns by commas, got 'a;b'"),
        (b"a;b\n1;0,5\n2;0,7\n", "must separate its columns by commas, got 'a;b'"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(TableError, match=words) as caught:
        artifacts.read_table(tmp_path / "t.csv", required=("a", "b"))
    assert "t.csv" in str(caught.value)


def test_no_table_at_all(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="no such table"):
        artifacts.read_table(tmp_path / "t.csv")
    with pytest.raises(TableError, match="cannot be read"):
        artifacts.read_table(tmp_path)


def test_what_spreadsheets_do_to_a_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf a , b c\r\n 1 ,\r\n\r\n,,\r\n3,4\r\n".replace(b",,", b","))
    table = artifacts.read_table(tmp_path / "t.csv")
    assert table.to_dict("list") == {"a": ["1", "3"], "b c": ["", "4"]}
    assert table.index.tolist() == [0, 3]  # rows 2 and 5 of the sheet


def test_a_file_is_hashed_again_only_when_it_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0
    hash_file = artifacts.hash_file

    def counted(path: Path) -> str:
        nonlocal count
        count += 1
        return hash_file(path)

    monkeypatch.setattr(artifacts, "hash_file", counted)
    file, memory = tmp_path / "scan", tmp_path / "m" / "hashes.json"
    file.write_text("one")
    hashes = FileHashes(memory)
    first = hashes.digest(file)
    hashes.save()
    assert memory.exists()
    again = FileHashes(memory)
    assert again.digest(file) == first
    assert count == 1
    written = memory.stat().st_mtime_ns
    again.save()
    assert memory.stat().st_mtime_ns == written
    file.write_text("two")
    os.utime(file, ns=(1, 1))
    assert again.digest(file) != first
    os.utime(file, ns=(2, 2))
    again.digest(file)
    assert count == 3


def _stage(run: Path, **changes: object) -> Stage:
    parts: dict[str, object] = {
        "format": 1,
        "config": {"epochs": 40, "deep": {"er": [1, 2]}},
        "upstream": {"cohort": "k1"},
        "inputs": {"a.nii.gz": "h1"},
        "seed": 7,
    }
    return Stage("train", run, **(parts | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": 2}, "format 1 -> 2"),
        ({"config": {"epochs": 3, "deep": {"er": [1, 2]}}}, "epochs 40 -> 3"),
        ({"config": {"epochs": 40, "deep": {"er": [1]}}}, "deep.er [1, 2] -> [1]"),
        ({"upstream": {"cohort": "k2"}}, "cohort was rebuilt"),
        ({"inputs": {"a.nii.gz": "h2"}}, "a.nii.gz changed"),
        ({"inputs": {"a.nii.gz": "h1", "b.nii": "h"}}, "b.nii is new"),
        ({"inputs": {}}, "a.nii.gz is gone"),
        ({"seed": 8}, "seed 7 -> 8"),
        (
            {"inputs": {f"{i}.nii": "h" for i in range(9)}},
            "0.nii is new; 1.nii is new; 2.nii is new; 3.nii is new; 4.nii is new; and 5 more",
        ),
    ],
)
def test_every_part_of_the_key_counts_and_is_named(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    before, after = _stage(tmp_path), _stage(tmp_path, **changes)
    assert before.describe_change() == "not made yet"
    assert before.bring_up_to_date(lambda: _make_results(before))
    assert before.is_current()
    assert not before.bring_up_to_date(lambda: pytest.fail("a current stage was built again"))
    assert after.key != before.key
    assert not after.is_current()
    assert after.describe_change() == words


def _make_results(stage: artifacts.Stage) -> None:
    for name in artifacts.RESULTS[stage.name]:
        (stage.folder / name).touch()


def test_a_stage_that_lost_its_result_is_made_anew(tmp_path: Path) -> None:
    stage = _stage(tmp_path)
    stage.bring_up_to_date(lambda: _make_results(stage))
    (stage.folder / "predictions.csv").unlink()
    assert not stage.is_current()
    assert stage.describe_change() == "predictions.csv is gone"


@pytest.mark.parametrize("content", [b"", b"{", b"\x00\xff", b"[]"])
def test_a_damaged_memory_is_forgotten_and_a_damaged_record_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "hashes.json"
    path.write_bytes(content)
    assert artifacts.recall(path) == {}
    if content != b"[]":
        with pytest.raises(DataError, match=r"hashes.json cannot be read .*delete it"):
            artifacts.read_json(path)


def test_a_spreadsheet_and_a_doubled_column_are_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"PK\x03\x04\xa8\xff\xff")
    with pytest.raises(TableError, match="is a spreadsheet"):
        artifacts.read_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("patient_id,label,label\np,1,0\n")
    with pytest.raises(TableError, match="'label' twice"):
        artifacts.read_table(tmp_path / "t.csv")


def test_a_stage_is_valid_only_when_it_is_finished(tmp_path: Path) -> None:
    stage = _stage(tmp_path)
    stage.bring_up_to_date(lambda: None)
    changed = _stage(tmp_path, seed=8)

    def fail() -> None:
        assert not (stage.folder / "stage.json").exists()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        changed.bring_up_to_date(fail)
    with pytest.raises(UsageError, match=r"has no finished stage train; run: genovox train"):
        artifacts.require_stage(tmp_path, "train")
    stage.bring_up_to_date(lambda: None)
    record = artifacts.require_stage(tmp_path, "train")
    assert record["key"] == stage.key
    assert record["versions"]["genovox"]
    assert record["wall_s"] >= 0


def test_content_hash_ignores_key_order() -> None:
    assert artifacts.hash_content({"a": 1, "b": [2]}) == artifacts.hash_content({"b": [2], "a": 1})
    assert artifacts.hash_content({"a": 1}) != artifacts.hash_content({"a": 2})
    assert artifacts.hash_content(Path("x")) == artifacts.hash_content("x")
    assert json.dumps(artifacts.installed_versions())


def test_a_run_belongs_to_one_process(tmp_path: Path) -> None:
    holder = _python(HOLDER, tmp_path / "run")
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UsageError, match="another genovox process works in"), artifacts.hold_run(tmp_path / "run"):
        pass
    holder.kill()
    holder.communicate()
    with artifacts.hold_run(tmp_path / "run"):
        pass


def test_a_run_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="choose another folder with --out"), artifacts.hold_run(tmp_path / "file"):
        pass
