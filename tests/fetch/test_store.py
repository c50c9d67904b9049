"""Downloads from a store on this machine that speaks S3 and fails as networks do."""

from collections import namedtuple
from collections.abc import Sequence
from pathlib import Path

import pytest

from genovox.core.errors import DataError
from genovox.fetch import store as module
from genovox.fetch.plan import FetchPlan, plan_fetch
from genovox.fetch.store import FetchResult, check_space, download_series, list_files, missing_gigabytes
from tests.fetch.conftest import Store


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_WAIT_S", 0.001)


@pytest.fixture
def plan(store: Store) -> FetchPlan:
    return plan_fetch("demo_breast", ("pre", "post"), index=store.index)


def _download(plan: FetchPlan, store: Store, folder: Path) -> FetchResult:
    return download_series(plan, folder, workers=2, store=store.address)


def _contents(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in folder.rglob("*.dcm"))


def _wanted(store: Store, series: Sequence[int] = (1, 2, 4, 5)) -> list[bytes]:
    uuids = [store.uuid(number) for number in series]
    return sorted(content for name, content in store.files.items() if any(uuid in name for uuid in uuids))


def test_what_is_chosen_comes_whole_and_only_once(plan: FetchPlan, store: Store, tmp_path: Path) -> None:
    assert missing_gigabytes(plan, tmp_path / "out") == pytest.approx(4 * 0.004 / 1000)
    result = _download(plan, store, tmp_path / "out")
    assert (result.fetched, result.kept, result.failures) == (4, 0, {})
    assert result.bytes == sum(map(len, _wanted(store)))
    assert _contents(tmp_path / "out") == _wanted(store)
    assert (tmp_path / "out" / "DEMO-1" / "1.1" / "1.2.1" / "0.dcm").is_file()
    asked = store.asked.total()
    assert _download(plan, store, tmp_path / "out") == FetchResult(0, 4, 0, {})
    assert store.asked.total() == asked
    assert missing_gigabytes(plan, tmp_path / "out") == 0


def test_it_goes_on_where_it_stopped(plan: FetchPlan, store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    _download(plan, store, out)
    series = out / "DEMO-1" / "1.1" / "1.2.1"
    (series / ".complete.json").unlink()
    (series / "0.dcm").unlink()
    (series / "1.dcm").write_bytes(b"a part")
    (series / "2.dcm").write_bytes(bytes((series / "2.dcm").stat().st_size))  # of the right size, yet damaged
    store.asked.clear()
    assert _download(plan, store, out).fetched == 1
    assert {name.rsplit("/", 1)[1]: count for name, count in store.asked.items()} == {
        "0.dcm": 1,
        "1.dcm": 1,
        "2.dcm": 1,
    }
    assert _contents(out) == _wanted(store)


@pytest.mark.parametrize("damage", ["lost", "cut", "memory"])
def test_a_finished_series_that_was_touched_is_mended(
    plan: FetchPlan, store: Store, tmp_path: Path, damage: str
) -> None:
    out = tmp_path / "out"
    _download(plan, store, out)
    series = out / "DEMO-2" / "1.2" / "1.2.4"
    if damage == "lost":
        (series / "3.dcm").unlink()
    elif damage == "cut":
        (series / "3.dcm").write_bytes(b"")
    else:
        (series / ".complete.json").write_text("[1]")
    assert _download(plan, store, out).fetched == 1
    assert _contents(out) == _wanted(store)


@pytest.mark.parametrize("fault", ["503", "damaged", "short", "broken"])
def test_what_passes_is_tried_again(plan: FetchPlan, store: Store, tmp_path: Path, fault: str) -> None:
    store.faults[f"demo-bucket/{store.uuid(1)}/2.dcm"] = [fault, fault]
    assert _download(plan, store, tmp_path / "out").failures == {}
    assert _contents(tmp_path / "out") == _wanted(store)
    assert store.asked[f"demo-bucket/{store.uuid(1)}/2.dcm"] == 3


@pytest.mark.parametrize(
    ("fault", "times", "words"),
    [
        ("503", 9, "cannot be had (HTTP 503); check the network"),
        ("404", 1, "cannot be had (HTTP 404)"),
        ("broken", 9, "came 4 times with another size or MD5"),
        ("damaged", 9, "came 4 times with another size or MD5 than the store lists"),
    ],
)
def test_what_does_not_pass_fails_its_series_alone(
    plan: FetchPlan, store: Store, tmp_path: Path, *, fault: str, times: int, words: str
) -> None:
    store.faults[f"demo-bucket/{store.uuid(1)}/2.dcm"] = [fault] * times
    result = _download(plan, store, tmp_path / "out")
    assert result.fetched == 3
    assert list(result.failures) == ["1.2.1"]
    assert words in result.failures["1.2.1"]
    series = tmp_path / "out" / "DEMO-1" / "1.1" / "1.2.1"
    assert sorted(path.name for path in series.iterdir()) == ["0.dcm", "1.dcm"]
    store.faults.clear()
    assert _download(plan, store, tmp_path / "out") == FetchResult(1, 3, result_bytes(store, 1, (2, 3)), {})


def result_bytes(store: Store, number: int, files: Sequence[int]) -> int:
    return sum(len(store.files[f"demo-bucket/{store.uuid(number)}/{at}.dcm"]) for at in files)


def test_without_an_md5_the_size_is_what_is_verified(plan: FetchPlan, store: Store, tmp_path: Path) -> None:
    store.hide_md5 = True
    assert {file.md5 for file in list_files(store.address.format(bucket="demo-bucket"), store.uuid(1))} == {""}
    store.faults[f"demo-bucket/{store.uuid(1)}/2.dcm"] = ["short"]
    assert _download(plan, store, tmp_path / "out").failures == {}
    assert _contents(tmp_path / "out") == _wanted(store)


def test_the_store_must_list_as_many_files_as_the_index_counts(plan: FetchPlan, store: Store, tmp_path: Path) -> None:
    del store.files[f"demo-bucket/{store.uuid(1)}/3.dcm"]
    failures = _download(plan, store, tmp_path / "out").failures
    assert "the index counts 4 files, the store lists 3" in failures["1.2.1"]
    assert not (tmp_path / "out" / "DEMO-1" / "1.1" / "1.2.1").exists()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("no xml", "does not answer as a bucket does"),
        ("<R><Contents><Key>a</Key><Size>x</Size></Contents></R>", "does not answer as a bucket does"),
        ("<R><Contents><Key>elsewhere/0.dcm</Key><Size>1</Size></Contents></R>", "lists files that are none of series"),
        ("<R><Contents><Key>{uuid}/..</Key><Size>1</Size></Contents></R>", "lists files that are none of series"),
        ("<R><Contents><Key>{uuid}/a b</Key><Size>1</Size></Contents></R>", "lists files that are none of series"),
        (
            (
                "<R><Contents><Key>{uuid}/a/0.dcm</Key><Size>1</Size></Contents>"
                "<Contents><Key>{uuid}/b/0.dcm</Key><Size>1</Size></Contents></R>"
            ),
            "lists files that are none of series",
        ),
    ],
)
def test_what_is_no_list_of_the_series(store: Store, answer: str, words: str) -> None:
    store.faults[f"demo-bucket/{store.uuid(1)}/"] = [answer.replace("{uuid}", store.uuid(1))]
    with pytest.raises(DataError, match=words):
        list_files(store.address.format(bucket="demo-bucket"), store.uuid(1))


def test_no_network(plan: FetchPlan, tmp_path: Path) -> None:
    result = download_series(plan, tmp_path / "out", workers=1, store="http://127.0.0.1:9/{bucket}")
    assert len(result.failures) == 4
    assert "the same command goes on where it stopped" in result.failures["1.2.1"]


def test_a_disk_that_is_too_small_is_told_before(
    plan: FetchPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_space(plan, tmp_path / "not" / "yet")
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("shutil.disk_usage", lambda place: usage(2, 2, 1))
    with pytest.raises(DataError, match=r"0\.0 GB are still to come, 0\.0 GB are free at .*; choose fewer roles or"):
        check_space(plan, tmp_path / "out")


def test_a_folder_that_cannot_be_written(plan: FetchPlan, store: Store, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "DEMO-1" / "1.1" / "1.2.1" / "0.dcm").mkdir(parents=True)
    failures = _download(plan, store, out).failures
    assert list(failures) == ["1.2.1"]
    assert "cannot be written" in failures["1.2.1"]


def test_an_interruption_leaves_nothing_that_looks_whole(
    plan: FetchPlan, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_download_one", interrupt)
    with pytest.raises(KeyboardInterrupt):
        _download(plan, store, tmp_path / "out")
    monkeypatch.undo()
    assert _download(plan, store, tmp_path / "out").fetched == 4
