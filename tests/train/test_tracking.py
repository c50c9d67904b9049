"""MLflow gets a run a network with its curves, never a person; without it, or where it fails, one clear line."""

import sqlite3
from pathlib import Path

import pytest

from genovox.core.errors import MissingExtraError, UsageError
from genovox.core.study import Study
from genovox.learning.journal import EpochRecord
from genovox.train.tracking import DATABASE, Tracker, Tracking, open_tracking
from tests.conftest import write_study

mlflow = pytest.importorskip("mlflow")
pytestmark = pytest.mark.filterwarnings("ignore::Warning")  # of other people's packages


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return Study.load(
        write_study(tmp_path_factory.mktemp("tracked"), patients=4), ('train.tracking="curves"', "train.epochs=2")
    )


@pytest.fixture(scope="module")
def tracking(study: Study) -> Tracking:
    found = open_tracking(study)
    assert found is not None
    return found


def test_a_study_without_the_key_is_tracked_nowhere(study: Study) -> None:
    silent = study.model_copy(update={"train": study.train.model_copy(update={"tracking": ""})})
    assert open_tracking(silent) is None
    with Tracker(None, "light", {}) as tracker:
        tracker.add(EpochRecord(1, 0.1, 0.7, 0.6, best=True))


def test_a_run_has_parameters_and_curves(study: Study, tracking: Tracking) -> None:
    with Tracker(tracking, "light repeat 0 fold 1", {"model": "light", "epochs": 2}) as tracker:
        tracker.add(EpochRecord(1, 0.1, 0.7, 0.6, best=True))
        tracker.add(EpochRecord(2, 0.05, 0.5, 0.65, best=False))
    client = mlflow.MlflowClient(tracking_uri=tracking.uri)
    run = client.search_runs([tracking.experiment])[0]
    assert run.info.run_name == "light repeat 0 fold 1"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"model": "light", "epochs": "2"}
    history = client.get_metric_history(run.info.run_id, "validation_loss")
    assert [(point.step, point.value) for point in history] == [(1, 0.6), (2, 0.65)]
    assert client.get_experiment(tracking.experiment).name == study.study.name
    assert open_tracking(study) == tracking


def test_a_network_that_fails_is_said_to_have_failed(tracking: Tracking) -> None:
    with pytest.raises(ZeroDivisionError), Tracker(tracking, "broken", {}):
        raise ZeroDivisionError
    client = mlflow.MlflowClient(tracking_uri=tracking.uri)
    runs = client.search_runs([tracking.experiment], filter_string="attributes.run_name = 'broken'")
    assert [run.info.status for run in runs] == ["FAILED"]


def test_what_is_written_names_no_user_and_no_machine(study: Study, tracking: Tracking) -> None:
    with sqlite3.connect(study.root / "curves" / DATABASE) as database:
        assert {row[0] for row in database.execute("select key from tags")} <= {"mlflow.runName"}
        assert {row[0] for row in database.execute("select user_id from runs")} <= {"unknown", "", None}


def test_a_store_that_goes_away_costs_a_warning_and_no_fold(
    tracking: Tracking, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = Tracking(f"sqlite:///{tmp_path / 'nowhere' / 'deeper' / DATABASE}", "1")
    (tmp_path / "nowhere").write_text("a file where a folder should be")
    with caplog.at_level("WARNING", logger="genovox"), Tracker(gone, "light", {"a": 1}) as tracker:
        tracker.add(EpochRecord(1, 0.1, 0.7, 0.6, best=True))
    assert "light is no longer tracked" in caplog.text


def test_an_address_that_nobody_knows_is_wrong_usage(study: Study) -> None:
    odd = study.model_copy(update={"train": study.train.model_copy(update={"tracking": "gopher://curves"})})
    with pytest.raises(UsageError, match="must be a folder or the address of an MLflow server"):
        open_tracking(odd)


def test_a_server_that_is_down_is_one_short_sentence(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    place = "http://127.0.0.1:9"
    down = study.model_copy(update={"train": study.train.model_copy(update={"tracking": place})})
    with pytest.raises(UsageError) as caught:
        open_tracking(down)
    assert str(caught.value) == (
        "train.tracking must be a folder or the address of an MLflow server that answers, "
        f'got "{place}" (connection refused); start it, or leave the key out'
    )


def test_without_the_package_the_extra_is_named(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    find = "importlib.util.find_spec"
    monkeypatch.setattr(find, lambda name: None if name == "mlflow" else object())
    with pytest.raises(MissingExtraError, match=r"pip install 'genovox\[tracking\]'") as raised:
        open_tracking(study)
    assert raised.value.exit_code == 2
