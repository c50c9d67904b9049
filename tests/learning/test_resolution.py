"""What the machine decides is decided once."""

import os
from dataclasses import asdict, replace
from pathlib import Path

from genovox.core.artifacts import write_json
from genovox.core.sections import TrainTable
from genovox.core.tasks import available_cores
from genovox.learning.resolution import record_resolution, resolve

TABLE = TrainTable()


def test_what_was_decided_is_kept(tmp_path: Path) -> None:
    first = resolve(tmp_path, "cpu", TABLE)
    write_json(tmp_path / "resolved.json", asdict(first) | {"threads": 77})
    assert resolve(tmp_path, "cpu", TABLE).threads == 77
    assert resolve(tmp_path, "auto", TABLE).threads == 77


def test_looking_writes_nothing(tmp_path: Path) -> None:
    resolve(tmp_path, "auto", TABLE)
    assert not list(tmp_path.iterdir())


def test_threads_leave_room_for_five_folds(tmp_path: Path) -> None:
    resolution = resolve(tmp_path, "cpu", TABLE)
    assert resolution.threads == max(1, (os.cpu_count() or 1) // 5)
    assert resolution.default_workers == max(1, available_cores() // resolution.threads)


def test_a_record_of_another_machine_is_read_as_it_is(tmp_path: Path) -> None:
    record = asdict(resolve(tmp_path, "cpu", TABLE)) | {"device": "cuda", "torch": "9.9", "threads": 4}
    write_json(tmp_path / "resolved.json", record)
    assert asdict(resolve(tmp_path, "recorded", TABLE)) == record
    assert resolve(tmp_path, "cpu", TABLE).device == "cpu"


def test_a_record_with_unknown_fields_is_made_anew(tmp_path: Path) -> None:
    write_json(tmp_path / "resolved.json", {"device": "cpu", "of_a_later_version": 1})
    assert resolve(tmp_path, "cpu", TABLE) == resolve(tmp_path / "new", "cpu", TABLE)


def test_another_torch_decides_anew(tmp_path: Path) -> None:
    record = asdict(resolve(tmp_path, "cpu", TABLE)) | {"torch": "0.1", "threads": 77}
    write_json(tmp_path / "resolved.json", record)
    assert resolve(tmp_path, "cpu", TABLE).threads != 77


def test_a_study_that_began_on_another_processor_keeps_its_precision(tmp_path: Path) -> None:
    record = asdict(resolve(tmp_path, "cpu", TABLE)) | {"precision": "bf16-mixed"}
    write_json(tmp_path / "resolved.json", record)
    assert resolve(tmp_path, "cpu", TABLE).precision == "bf16-mixed"
    assert resolve(tmp_path, "cpu", TrainTable(precision="bf16")).precision == "bf16-mixed"
    assert resolve(tmp_path, "cpu", TrainTable(precision="fp32")).precision == "32-true"


def test_what_was_asked_for_by_name_does_not_outlive_the_asking(tmp_path: Path) -> None:
    own = resolve(tmp_path, "cpu", TABLE).precision
    for named, decided in (("bf16", "bf16-mixed"), ("fp32", "32-true")):
        table = TrainTable.model_validate({"precision": named})
        record_resolution(tmp_path, resolve(tmp_path, "cpu", table), table)
        assert resolve(tmp_path, "cpu", table).precision == decided
        assert resolve(tmp_path, "cpu", TABLE).precision == own
        assert resolve(tmp_path, "recorded", TABLE).precision == decided


def test_auto_keeps_what_auto_once_decided(tmp_path: Path) -> None:
    decided = replace(resolve(tmp_path, "cpu", TABLE), precision="bf16-mixed")
    record_resolution(tmp_path, decided, TABLE)
    assert resolve(tmp_path, "cpu", TABLE) == decided


def test_compiling_or_not_is_decided_by_the_study(tmp_path: Path) -> None:
    write_json(tmp_path / "resolved.json", asdict(resolve(tmp_path, "cpu", TABLE)) | {"threads": 77})
    compiled = resolve(tmp_path, "cpu", TrainTable(compile=True))
    assert compiled.compile
    assert compiled.threads != 77
