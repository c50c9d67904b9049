import re
from pathlib import Path

import pytest
from pydantic import BaseModel

from genovox.core.errors import StudyError
from genovox.core.sections import PRESETS
from genovox.core.study import Study

# The example of the design page, whole.
DESIGN = """
[study]
schema = 1
name = "two-hospitals"
seed = 7
[cohort]
images = "dicom/"
tests = ["genetic_tests.csv"]
classifications = "variant_summary_2026-11.txt.gz"
genes = ["BRCA1", "BRCA2"]
vus = "exclude"
other_genes = "exclude"
unit = "breast"
breasts = "affected"
clinical = "clinical.csv"
phases = "phases.csv"
marks = "marks.csv"
[cohort.splits]
folds = 5
repeats = 3
group_by = ["patient_id", "family_id"]
stratify_by = ["label", "site"]
part_column = ""
[preprocess]
spacing_mm = [2.0, 2.0, 2.0]
shape = [96, 96, 96]
bias = "n4"
foreground = "breast"
motion = "rigid"
normalise = "joint-z"
channels = ["pre", "subtraction@90s", "washout"]
[augment]
preset = "breast-dce"
[train]
models = ["light", "resnet18", "resnet50@medicalnet", "radiomics", "clinical"]
epochs = 40
[evaluate]
[audit]
minimum_auc = 0.60
[explain]
[report]
"""


def _write(folder: Path, text: str, name: str = "study.toml") -> Path:
    (folder / name).write_text(text)
    return folder / name


def _refusal(folder: Path, text: str, *assignments: str) -> str:
    with pytest.raises(StudyError) as caught:
        Study.load(_write(folder, text), assignments)
    assert caught.value.exit_code == 2
    return str(caught.value)


def _with(table: str, line: str) -> str:
    return f'[cohort]\nimages = "m.csv"\n[{table}]\n{line}\n'


def test_the_example_of_the_design_is_read_whole(tmp_path: Path) -> None:
    study = Study.load(_write(tmp_path, DESIGN))
    assert study.study.name == "two-hospitals"
    assert study.seed == 7
    assert study.cohort.splits.repeats == 3
    assert study.cohort.tests == ("genetic_tests.csv",)
    assert study.cohort.classifications == ("variant_summary_2026-11.txt.gz",)
    assert (study.cohort.clinical, study.cohort.marks) == ("clinical.csv", "marks.csv")
    assert study.preprocess.channels == ("pre", "subtraction@90s", "washout")
    assert (study.preprocess.bias, study.preprocess.motion, study.preprocess.foreground) == ("n4", "rigid", "breast")
    assert study.train.models == ("light", "resnet18", "resnet50@medicalnet", "radiomics", "clinical")
    assert study.train.networks == ("light", "resnet18", "resnet50@medicalnet")


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_preset_gives_way_to_what_the_study_states(tmp_path: Path, preset: str) -> None:
    study = Study.load(_write(tmp_path, _with("preprocess", f'preset = "{preset}"')))
    for key, value in PRESETS[preset].items():
        assert getattr(study.preprocess, key) == value
    stated = Study.load(_write(tmp_path, _with("preprocess", f'preset = "{preset}"\nshape = [18, 19, 20]')))
    assert stated.preprocess.shape == (18, 19, 20)
    assert stated.preprocess.channels == PRESETS[preset]["channels"]


def test_a_run_keeps_what_its_preset_meant(tmp_path: Path) -> None:
    study = Study.load(_write(tmp_path, _with("preprocess", 'preset = "odelia"')))
    study.save_snapshot(tmp_path / "run")
    kept = Study.load_snapshot(tmp_path / "run")
    assert kept.preprocess == study.preprocess
    other = Study.load_snapshot(tmp_path / "run", ("preprocess.preset=mama-mia", "preprocess.shape=[18, 18, 18]"))
    assert other.preprocess.channels == PRESETS["mama-mia"]["channels"]
    assert other.preprocess.shape == (18, 18, 18)


def test_defaults(tmp_path: Path) -> None:
    study = Study.load(_write(tmp_path, '[cohort]\nimages = "m.csv"\n'))
    assert study.root == tmp_path
    assert study.preprocess.shape == (96, 96, 96)
    assert study.cohort.unit == "volume"


def test_a_crop_too_small_for_a_network(tmp_path: Path) -> None:
    message = _refusal(tmp_path, _with("preprocess", "shape = [96, 96, 12]"))
    assert message.startswith("study.toml: light needs 16 voxels a side, preprocess.shape is [96, 96, 12]; enlarge")


@pytest.mark.parametrize("breasts", [None, "affected", "contralateral"])
def test_the_affected_breast_needs_a_clinical_table(tmp_path: Path, breasts: str | None) -> None:
    line = 'unit = "breast"' + (f'\nbreasts = "{breasts}"' if breasts else "")
    text = f'[cohort]\nimages = "dicom"\n{line}\n'
    message = _refusal(tmp_path, text)
    assert message == (
        f'study.toml: cohort.breasts = "{breasts or "affected"}" needs the affected side; give cohort.clinical '
        '(patient_id, affected_side), or use breasts = "both"'
    )
    assert Study.load(_write(tmp_path, text), ("cohort.breasts=both",)).cohort.breasts == "both"
    assert Study.load(_write(tmp_path, text), ("cohort.clinical=clinical.csv",)).cohort.clinical == "clinical.csv"


def test_labels_have_one_source(tmp_path: Path) -> None:
    text = '[cohort]\nimages = "m.csv"\nlabels = "l.csv"\ntests = ["t.csv"]\n'
    words = "study.toml: labels come from cohort.labels or from cohort.tests, both are given; drop one"
    assert _refusal(tmp_path, text) == words


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("minimum_review = 5", "cohort.minimum_review = 5: must be 4 or less"),
        ('precedence = ["me"]', 'cohort.precedence[0] = "me": must be "curated", "clinvar" or "laboratory"'),
        ('calls_origin = "somatic"', 'cohort.calls_origin = "somatic": must be "unknown" or "germline"'),
        ("classifications = 3", "cohort.classifications = 3: must be a list"),
    ],
)
def test_how_tests_are_read(tmp_path: Path, line: str, words: str) -> None:
    text = f'[cohort]\nimages = "m.csv"\ntests = ["t.csv"]\n{line}\n'
    assert _refusal(tmp_path, text).startswith(f"study.toml: {words}")


@pytest.mark.parametrize("key", ["classifications", "panels", "coverage"])
def test_what_goes_with_tests_alone(tmp_path: Path, key: str) -> None:
    message = _refusal(tmp_path, f'[cohort]\nimages = "m.csv"\nlabels = "l.csv"\n{key} = "x.csv"\n')
    assert message == f"study.toml: cohort.{key} goes with cohort.tests, which is empty; give the tests or drop it"


def test_one_file_or_several(tmp_path: Path) -> None:
    text = '[cohort]\nimages = "m.csv"\ntests = ["t.csv"]\n'
    cohort = Study.load(_write(tmp_path, f'{text}classifications = "a.txt"\ncoverage = ["b.bed", "c.bed"]\n')).cohort
    assert (cohort.classifications, cohort.coverage) == (("a.txt",), ("b.bed", "c.bed"))
    assert Study.load(_write(tmp_path, f'{text}classifications = ""\n')).cohort.classifications == ()
    study = Study.load(_write(tmp_path, f'{text}classifications = "a.txt"\n'))
    study.save_snapshot(tmp_path / "runs" / "study")
    assert Study.load_snapshot(tmp_path / "runs" / "study").as_dict() == study.as_dict()


def test_paths_of_the_cohort_become_relative(tmp_path: Path) -> None:
    names = {"images": "dicom", "clinical": "clinical.csv", "marks": "marks.csv", "panels": "panels.csv"}
    lines = [f'{key} = "{tmp_path}/{name}"' for key, name in names.items()]
    lines.append(f'tests = ["{tmp_path}/one.csv", "two.csv"]')
    cohort = Study.load(_write(tmp_path, "\n".join(["[cohort]", *lines]))).cohort
    assert {key: getattr(cohort, key) for key in names} == names
    assert (cohort.tests, cohort.labels) == (("one.csv", "two.csv"), "")


@pytest.mark.parametrize("models", ['["oracle"]', '["oracle", "light"]'])
def test_the_oracle_is_never_the_primary_model(tmp_path: Path, models: str) -> None:
    message = _refusal(tmp_path, _with("train", f"models = {models}"))
    assert message.startswith(
        'study.toml: train.models[0] = "oracle": the first is the study\'s primary model, oracle knows the truth'
    )
    path = _write(tmp_path, _with("train", 'models = ["light", "oracle"]'))
    with pytest.raises(StudyError, match=r"the oracle reads truth.csv beside the study, which only a simulated coh"):
        Study.load(path)
    (tmp_path / "truth.csv").write_text("patient_id,oracle\n")
    study = Study.load(path)
    assert study.train.networks == ("light",)


def test_a_blend_is_never_the_primary_model(tmp_path: Path) -> None:
    message = _refusal(tmp_path, _with("train", 'models = ["light+radiomics", "light", "radiomics"]'))
    assert "light+radiomics is a blend, which learns nothing and cannot be it; put one that learns first" in message
    assert message.endswith('such as ["light", "radiomics", "light+radiomics"]')
    table = Study.load(_write(tmp_path, _with("train", 'models = ["light", "radiomics", "light+radiomics"]'))).train
    assert table.networks == ("light",)
    assert table.fitted == ("light", "radiomics")
    assert table.blends == {"light+radiomics": ("light", "radiomics")}


def test_a_blend_of_pretrained_networks_names_no_network_of_its_own(tmp_path: Path) -> None:
    table = Study.load(
        _write(tmp_path, _with("train", 'models = ["light@self", "clinical", "clinical+light@self"]'))
    ).train
    assert table.pretrained == ("light",)


def test_paths_in_a_blend_become_relative_like_those_of_its_members(tmp_path: Path) -> None:
    paths = [f"light@{tmp_path}/{name}.pth" for name in ("a+b", "c")]
    models = ", ".join(f'"{model}"' for model in (*paths, "+".join(paths)))
    table = Study.load(_write(tmp_path, _with("train", f"models = [{models}]"))).train
    assert table.models == ("light@a+b.pth", "light@c.pth", "light@a+b.pth+light@c.pth")
    assert table.networks == table.models[:2]


def test_every_problem_is_told_at_once(tmp_path: Path) -> None:
    message = _refusal(tmp_path, _with("train", 'epochs = "x"\nbatch_size = 1\n[explain]\nmethod = 1'))
    assert [line.split(":")[1].split(" =")[0] for line in message.splitlines()] == [
        " train.epochs",
        " train.batch_size",
        " unknown key explain.method; valid",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cohort is missing; add it"),
        ("[cohort]", "cohort.images is missing; add it"),
        ("cohort = 3", "cohort = 3: must be a table of keys; write [cohort] and its keys below it"),
        ("study = 3\n[cohort]\nimages = ''", "study = 3: must be a table of keys; write [study]"),
        ("[cohort\n", "is not valid TOML"),
        ('root = "x"\n[cohort]\nimages = "m.csv"', "unknown table [root]"),
        ("[study]\nschema = 2\n[future]\n", "study.schema is 2, this genovox reads up to 1; update genovox"),
    ],
)
def test_a_file_of_another_kind(tmp_path: Path, text: str, words: str) -> None:
    assert words in _refusal(tmp_path, text)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="no such study file"):
        Study.load(tmp_path / "study.toml")
    with pytest.raises(StudyError, match="cannot be read"):
        Study.load(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StudyError, match=r"is not valid TOML: it is no text; correct it, or make one with: genovox"):
        Study.load(tmp_path / "binary.toml")


@pytest.mark.parametrize(("name", "content"), [("labels.csv", b"patient_id,label\n"), ("a.nii.gz", b"\x1f\x8b\x08")])
def test_a_table_or_a_scan_is_no_study(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(StudyError, match=r"is not valid TOML: .*; give a study.toml or a run folder, or make a study"):
        Study.load(tmp_path / name)


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_bytes(b"\xef\xbb\xbf[cohort]\r\nimages = 'm.csv'\r\n")
    assert Study.load(path).cohort.images == "m.csv"


def test_assignments_replace_values(tmp_path: Path) -> None:
    path = _write(tmp_path, _with("train", "epochs = 40"))
    study = Study.load(
        path,
        (
            "train.epochs=3",
            "study.name = plain",
            'preprocess.channels=["pre","post1"]',
            "cohort.splits.folds=4",
            "preprocess.spacing_mm=native",
            "evaluate.resamples=500",
        ),
    )
    assert (study.train.epochs, study.study.name, study.cohort.splits.folds) == (3, "plain", 4)
    assert study.preprocess.channels == ("pre", "post1")
    assert study.preprocess.spacing_mm == "native"
    assert study.evaluate.resamples == 500


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("train.epochs", "--set takes TABLE.KEY=VALUE such as train.epochs=3, got 'train.epochs'"),
        ("epochs=3", "--set takes TABLE.KEY=VALUE"),
        ("train.epochs=many", 'train.epochs = "many": must be a whole number, such as 40'),
        ("train.epoch=3", 'unknown key train.epoch; did you mean "epochs"?'),
        ("train.epochs.deep=3", "epochs is a value, not a table"),
    ],
)
def test_a_wrong_assignment(tmp_path: Path, assignment: str, words: str) -> None:
    assert words in _refusal(tmp_path, _with("train", "epochs = 40"), assignment)


def test_a_snapshot_keeps_the_study_and_where_it_lies(tmp_path: Path) -> None:
    home = tmp_path / "before"
    home.mkdir()
    study = Study.load(_write(home, _with("preprocess", "spacing_mm = [1, 2.5, 3]\nchannels = ['post1', 'washout']")))
    run = home / "runs" / "study"
    study.save_snapshot(run)
    again = Study.load_snapshot(run)
    assert again.as_dict() == study.as_dict()
    assert again.root == home.resolve()
    home.rename(tmp_path / "after")  # a study that moves with its runs stays whole
    moved = Study.load_snapshot(tmp_path / "after" / "runs" / "study", ("train.epochs=2",))
    assert moved.root == (tmp_path / "after").resolve()
    assert moved.train.epochs == 2


@pytest.mark.parametrize(("home", "name"), [("one", "other"), ("two", "study")])
def test_a_run_folder_is_one_studys(tmp_path: Path, home: str, name: str) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    study = Study.load(_write(tmp_path / "one", _with("study", 'name = "study"')))
    run = tmp_path / "run"
    study.refuse_foreign_run(run)
    study.save_snapshot(run)
    study.refuse_foreign_run(run)
    foreign = Study.load(_write(tmp_path / home, _with("study", f'name = "{name}"')))
    with pytest.raises(StudyError, match=f'run of another study, "study" of .*one, got "{name}"; give --out'):
        foreign.refuse_foreign_run(run)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="is no run folder"):
        Study.load_snapshot(tmp_path)


def test_no_table_shares_a_field_it_does_not_validate() -> None:
    for name, field in Study.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            assert annotation.model_config["extra"] == "forbid", name


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("epochs = 50", "train.snapshots = 4 cuts a cosine schedule .* train.epochs = 50 does not go with that"),
        ('schedule = "plateau"', "train.schedule = plateau does not go with that"),
        ("thaw_epochs = 2", "train.thaw_epochs = 2 does not go"),
        ('transfer = "frozen"', "train.transfer = frozen does not go"),
        ("search = {epochs = [8, 10]}", "train.epochs = 10 does not go"),
    ],
)
def test_snapshots_need_a_schedule_that_can_be_cut(tmp_path: Path, line: str, words: str) -> None:
    assert re.search(words, _refusal(tmp_path, _with("train", f"snapshots = 4\n{line}")))
    assert Study.load(_write(tmp_path, _with("train", "snapshots = 4"))).train.snapshots == 4


def test_a_table_without_a_study_is_read_by_the_defaults() -> None:
    assert Study.assume(("evaluate.resamples=300",)).evaluate.resamples == 300
    assert Study.assume().audit.minimum_auc == 0.6
    with pytest.raises(StudyError, match="resample"):
        Study.assume(("evaluate.resample=300",))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('transfer = "frozen"', r'train.transfer = "frozen" keeps the weights .* name some, such as light@self'),
        (
            "search = {learning_rate = [1e-3, 1e-3]}",
            r"train.search.learning_rate = \[0.001, 0.001\] holds a value twice",
        ),
        (
            f"search = {{epochs = {list(range(1, 12))}, weight_decay = {[share / 10 for share in range(10)]}}}",
            "train.search holds 110 combinations, each trained on 3 inner folds of every fold; at most 100",
        ),
        (
            'models = ["light@self"]\ntransfer = "frozen"\nsearch = {epochs = [10, 20]}',
            "train.search tries how networks learn",
        ),
    ],
)
def test_keys_of_training_that_do_nothing_or_never_end_are_refused(tmp_path: Path, line: str, words: str) -> None:
    assert re.search(words, _refusal(tmp_path, _with("train", line)))
