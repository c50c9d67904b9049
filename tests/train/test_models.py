"""Every kind of model in one study: networks from nothing and from weights, frozen ones, and models of columns."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from genovox.audit.provenance import check_fitted
from genovox.cli.main import run_command
from genovox.core.artifacts import read_json, read_table
from genovox.dataset.cases import read_prepared_cases
from genovox.learning.checkpoint import load_network
from genovox.learning.loop import score_cases
from genovox.models.build import build_network
from genovox.predict.bundle import load_bundle
from genovox.train.fold import list_networks
from tests.conftest import FinishedRun


@pytest.fixture(scope="module")
def study(finished_run: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished study with weights beside it: a light network's own, in another's clothes."""
    folder = tmp_path_factory.mktemp("models") / "study"
    shutil.copytree(finished_run.study.parent, folder)
    torch.manual_seed(11)
    network = build_network("light", 1)
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    (folder / "old").mkdir()
    torch.save({"state_dict": state, "epoch": 3}, folder / "old" / "best.pth")
    torch.save({"conv1.weight": torch.zeros(1)}, folder / "other.pth")
    torch.save({name: value for name, value in state.items() if "conv1" not in name[:13]}, folder / "holes.pth")
    return folder / "study.toml"


def _train(study: Path, models: list[str], *more: str) -> int:
    names = ", ".join(f'"{model}"' for model in models)
    return run_command(["train", str(study), "--quiet", "--workers=1", "--set", f"train.models=[{names}]", *more])


def test_weights_and_columns_run_on_the_same_folds(study: Path) -> None:
    models = ["light", "light@old/best.pth", "radiomics", "metadata"]
    assert _train(study, models) == 0
    train = study.parent / "runs" / "small" / "train"
    table = read_table(train / "predictions.csv")
    assert list(dict.fromkeys(table["model"])) == models
    tested = table[table["part"] == "test"]
    cases = {model: sorted(zip(rows["fold"], rows["case_id"], strict=True)) for model, rows in tested.groupby("model")}
    assert all(found == cases["light"] for found in cases.values())
    report = read_json(train / "light@old-best.pth" / "weights.json")
    assert report["coverage"]["percent"] == 100
    assert report["coverage"]["reshaped"] == ["conv1.weight"]
    assert report["file"]["path"] == "best.pth"
    scores = {model: rows["score"].astype(float).to_numpy() for model, rows in table.groupby("model", sort=False)}
    assert not np.allclose(scores["light"], scores["light@old/best.pth"])
    fit = read_json(train / "radiomics" / "repeat-0" / "fold-0" / "fold.json")
    assert fit["candidates"] >= fit["terms"] > 0
    networks = read_json(train / "networks.json")
    assert {name.split("/")[0] for name in networks} == {"light", "light@old-best.pth"}


def test_the_rest_of_the_road_takes_them(study: Path) -> None:
    blend = "light@old/best.pth+radiomics"
    models = f'["metadata", "light@old/best.pth", "radiomics", "{blend}"]'
    assert run_command(["run", str(study), "--quiet", "--workers=1", "--set", f"train.models={models}"]) == 0
    run = study.parent / "runs" / "small"
    assert read_json(run / "evaluate" / "metrics.json")["primary"] == "metadata"
    assert read_json(run / "explain" / "summary.json")["model"] == "light@old/best.pth"
    rows = read_table(run / "train" / "predictions.csv")
    assert len(rows[rows["model"] == blend]) == len(rows[rows["model"] == "radiomics"]) > 0
    assert blend in read_json(run / "evaluate" / "metrics.json")["models"]
    assert not (run / "train" / "light@old-best.pth-radiomics").exists()
    page = (run / "report" / "index.html").read_text(encoding="utf-8")
    assert f"{blend} averages what light@old/best.pth and radiomics say apart" in page
    image = next((study.parent).glob("*.nii.gz"), None) or next(study.parent.rglob("*.nii.gz"))
    manifest = pd.read_csv(study.parent / "manifest.csv", dtype=str)
    images = [str(study.parent / name) for name in manifest["image"].iloc[0].split(";")]
    assert image.exists()
    assert run_command(["predict", str(run), *images]) == 0


def test_changed_weights_train_their_folds_anew_and_no_others(study: Path) -> None:
    assert _train(study, ["light", "light@old/best.pth"]) == 0
    train = study.parent / "runs" / "small" / "train"

    def stamps(model: str) -> list[int]:
        return [path.stat().st_mtime_ns for path in sorted((train / model).rglob("fold.json"))]

    plain, begun = stamps("light"), stamps("light@old-best.pth")
    torch.manual_seed(12)
    torch.save(build_network("light", 1).state_dict(), study.parent / "old" / "best.pth")
    assert _train(study, ["light", "light@old/best.pth"]) == 0
    assert stamps("light") == plain
    assert all(new != old for new, old in zip(stamps("light@old-best.pth"), begun, strict=True))


def test_a_frozen_encoder_is_read_once_and_probed(study: Path) -> None:
    models = ["light@old/best.pth"]
    assert _train(study, models, "--set", 'train.transfer="frozen"') == 0
    train = study.parent / "runs" / "small" / "train" / "light@old-best.pth"
    assert len(list(train.glob("features-*.npz"))) == 1
    history = read_table(train / "repeat-0" / "fold-0" / "history.csv")
    assert list(history["epoch"]) == ["1"]
    record = read_json(train / "repeat-0" / "fold-0" / "fold.json")
    assert (record["networks"], record["epochs"], record["best_epochs"]) == (1, 0, [])
    log = (study.parent / "runs" / "small" / "run.log").read_text()
    assert (
        f"fold 0: a probe of frozen features, validation loss {float(history['validation_loss'].iloc[0]):.3f}, " in log
    )
    from safetensors.torch import load_file

    first, second = (load_file(train / "repeat-0" / f"fold-{fold}" / "network.safetensors") for fold in (0, 1))
    assert torch.equal(first["block2.conv2.weight"], second["block2.conv2.weight"])
    assert not torch.equal(first["fc.weight"], second["fc.weight"])


def test_what_the_file_leaves_open_is_the_same_in_every_frozen_fold(study: Path) -> None:
    part = 'train.parts={"light@old/best.pth" = ["conv1"]}'
    assert _train(study, ["light@old/best.pth"], "--set", 'train.transfer="frozen"', "--set", part) == 0
    train = study.parent / "runs" / "small" / "train" / "light@old-best.pth" / "repeat-0"
    from safetensors.torch import load_file

    first, second = (load_file(train / f"fold-{fold}" / "network.safetensors") for fold in (0, 1))
    assert torch.equal(first["block2.conv2.weight"], second["block2.conv2.weight"])
    assert not torch.equal(first["fc.weight"], second["fc.weight"])


def test_weights_that_have_met_the_tested_patients_are_a_leak(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fold = "runs/small/train/light/repeat-0/fold-0"
    assert _train(study, ["light"]) == 0
    shutil.copy(study.parent / fold / "network.safetensors", study.parent / "again.safetensors")
    run, again = study.parent / "runs" / "small", ["light@again.safetensors"]
    assert _train(study, again) == 0
    assert "LEAK: its weights have learnt from the labels of" in capsys.readouterr().err
    met = {case for part in ("train", "val") for case in _list_cases(run, part)}
    report = read_json(run / "train" / "light@again.safetensors" / "weights.json")
    assert report["labelled_patients"] == len(met)
    check = check_fitted(run, read_table(run / "cohort" / "folds.csv"))
    assert check.status == "fail"
    assert f"weights that have learnt from the labels of {len(met)} tested patients" in check.finding


def _list_cases(run: Path, part: str) -> list[str]:
    folds = read_table(run / "cohort" / "folds.csv")
    return folds.query("repeat == '0' and fold == '0' and part == @part")["case_id"].tolist()


def test_a_finished_fold_that_lost_a_file_is_trained_anew(study: Path) -> None:
    assert _train(study, ["light"]) == 0
    run = study.parent / "runs" / "small"
    before = (run / "train" / "predictions.csv").read_bytes()
    for name in ("scores.csv", "network.safetensors"):
        (run / "train" / "light" / "repeat-0" / "fold-1" / name).unlink()
        (run / "train" / "stage.json").unlink()
        assert _train(study, ["light"]) == 0
        assert (run / "train" / "predictions.csv").read_bytes() == before


def test_what_spares_weights_does_nothing_to_a_network_from_nothing(study: Path) -> None:
    assert _train(study, ["light"]) == 0
    predictions = study.parent / "runs" / "small" / "train" / "predictions.csv"
    before = predictions.read_bytes()
    assert _train(study, ["light"], "--set", "train.thaw_epochs=5", "--set", "train.layer_decay=0.5") == 0
    assert predictions.read_bytes() == before


@pytest.mark.parametrize(
    ("models", "more", "words"),
    [
        (["light@holes.pth"], ["--set", 'train.transfer="frozen"'], "needs the encoder as its file has it, 9"),
        (
            ["light@old/best.pth"],
            ["--set", "train.thaw_epochs=9"],
            "layers of light@old/best.pth learn after 27 epochs",
        ),
        (["light@runs/small/train/light/repeat-0/fold-0/network.safetensors"], [], "copy the file out of small/train"),
        (["light@other.pth"], [], "must fit 95% of the encoder's parameters"),
        (["light@gone.pth"], [], "gone.pth is not there"),
        (["resnet18@medicalnet"], ["--set", "preprocess.shape=[32, 32, 32]"], ""),
        (["light"], ["--set", 'train.parts={light = ["conv1"]}'], "starts from no weights"),
        (["clinical"], [], "give cohort.clinical, or leave clinical out"),
    ],
)
def test_what_cannot_be_started_says_why(
    study: Path, models: list[str], more: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _train(study, models, *more) in {2, 3}
    assert words in capsys.readouterr().err


def test_members_of_a_fold_are_averaged_and_all_score_new_scans(study: Path) -> None:
    assert _train(study, ["light"], "--set", "train.members=2") == 0
    run = study.parent / "runs" / "small"
    fold = run / "train" / "light" / "repeat-0" / "fold-0"
    folders = [fold, fold / "member-2"]
    cases = read_prepared_cases(run)
    written = read_table(fold / "scores.csv")
    chosen = [cases[case_id] for case_id in written["case_id"]]
    scores = [
        score_cases(load_network(folder / "network.safetensors", name="light", channels=3), chosen, "cpu", 8)
        for folder in folders
    ]
    assert not np.allclose(scores[0], scores[1])
    np.testing.assert_allclose(np.mean(scores, axis=0), written["score"].astype(float), atol=1e-6)
    assert len(load_bundle(run).networks) == 2 * len(read_json(run / "train" / "networks.json"))
    assert _train(study, ["light"]) == 0
    assert not (fold / "member-2").exists()


def test_snapshots_are_cycles_of_each_member_and_all_are_averaged(study: Path) -> None:
    options = ["--set=train.members=2", "--set=train.snapshots=2", "--set=train.test_flips=true"]
    assert _train(study, ["light"], *options) == 0
    run = study.parent / "runs" / "small"
    fold = run / "train" / "light" / "repeat-0" / "fold-0"
    places = [fold, fold / "snapshot-2", fold / "member-2", fold / "member-2" / "snapshot-2"]
    assert list_networks(fold) == [place / "network.safetensors" for place in places]
    cases = read_prepared_cases(run)
    written = read_table(fold / "scores.csv")
    chosen = [cases[case_id] for case_id in written["case_id"]]
    scores = [
        score_cases(load_network(path, name="light", channels=3), chosen, "cpu", 8, flips=True)
        for path in list_networks(fold)
    ]
    assert len({tuple(one) for one in scores}) == 4
    np.testing.assert_allclose(np.mean(scores, axis=0), written["score"].astype(float), atol=1e-6)
    assert [list(read_table(place / "history.csv")["epoch"]) for place in places] == [["1"]] * 4
    record = read_json(fold / "fold.json")
    assert (record["networks"], record["snapshots"], record["epochs"], record["best_epochs"]) == (4, 2, 4, [1] * 4)
    losses = [float(read_table(place / "history.csv")["validation_loss"].iloc[0]) for place in places]
    assert record["validation_loss"] == pytest.approx(np.mean(losses))
    log = (run / "run.log").read_text()
    assert f"4 networks, 4 epochs in all, validation loss {min(losses):.3f} to {max(losses):.3f} in epoch 1, " in log
    assert len(load_bundle(run).networks) == 4 * len(read_json(run / "train" / "networks.json"))
    before = (run / "train" / "predictions.csv").read_bytes()
    (fold / "fold.json").unlink()  # killed before its end: it starts again, and ends the same
    (run / "train" / "stage.json").unlink()
    assert _train(study, ["light"], *options) == 0
    assert (run / "train" / "predictions.csv").read_bytes() == before
    assert _train(study, ["light"]) == 0
    assert list_networks(fold) == [fold / "network.safetensors"]


def test_a_search_is_kept_with_the_fold(study: Path) -> None:
    options = ["--set", "train.search.learning_rate=[0.0001, 0.003]", "--set", "train.search.folds=2"]
    assert _train(study, ["light"], *options) == 0
    fold = study.parent / "runs" / "small" / "train" / "light" / "repeat-0" / "fold-0"
    table = read_table(fold / "search.csv").astype(float)
    assert list(table.columns) == ["learning_rate", "loss_0", "loss_1", "loss"]
    best = table.sort_values("loss")["learning_rate"].iloc[0]
    assert read_json(fold / "fold.json")["settings"] == {"learning_rate": best}
    assert not (fold / "epochs.count").exists()
