from pathlib import Path

import pytest

from genovox.core import errors
from genovox.core.errors import StudyError
from genovox.core.study import Study


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.UsageError, 2),
        (errors.StudyError, 2),
        (errors.MissingExtraError, 2),
        (errors.DataError, 3),
        (errors.ImageError, 3),
        (errors.TableError, 3),
        (errors.SingleClassError, 3),
        (errors.DiskFullError, 3),
        (errors.LeakageError, 4),
    ],
)
def test_exit_codes(kind: type[errors.GenovoxError], code: int) -> None:
    error = kind("what, where, next step")
    assert error.exit_code == code
    assert str(error) == "what, where, next step"
    assert isinstance(error, errors.GenovoxError)


def test_a_gate_is_named() -> None:
    assert errors.GateError("exclusions", "message").check == "exclusions"
    assert errors.GateError("exclusions", "message").exit_code == 4
    assert errors.LeakageError("message").check == "fold-disjointness"


@pytest.mark.parametrize(
    ("table", "line", "words"),
    [
        ("preprocess", "spacing = 2", 'unknown key preprocess.spacing; did you mean "spacing_mm"?'),
        ("cohort.splits", "fold = 5", 'unknown key cohort.splits.fold; did you mean "folds"?'),
        ("tarin", "epochs = 3", 'unknown key tarin; did you mean "train"?'),
        ("augment", "zzz = 3", "unknown key augment.zzz; valid: preset"),
        ("study", "schema_version = 1", 'unknown key study.schema_version; did you mean "schema"?'),
        ("study", "schema = 0", "study.schema = 0: must be 1 or more"),
        ("study", 'name = "a/b"', 'study.name = "a/b": '),
        ("study", "seed = -1", "study.seed = -1: "),
        ("train", "epochs = true", "train.epochs = true: must be a whole number, such as 40"),
        ("train", 'epochs = "40"', 'train.epochs = "40": must be a whole number; write 40'),
        ("train", "epochs = 1.5", "train.epochs = 1.5: must be a whole number, such as 40"),
        ("train", "learning_rate = nan", "train.learning_rate = NaN: must be a finite number, such as 0.001"),
        ("train", 'models = "light"', 'train.models = "light": must be a list; write ["light"]'),
        ("train", "models = []", 'train.models = []: must have at least 1 value, such as ["light"]'),
        ("preprocess", "spacing_mm = [2.0, 2.0]", "preprocess.spacing_mm = [2.0, 2.0]: value 3 is missing; add it"),
        ("preprocess", "spacing_mm = [2, 2, -1]", "preprocess.spacing_mm[2] = -1: must be more than 0"),
        (
            "preprocess",
            'spacing_mm = "coarse"',
            'preprocess.spacing_mm = "coarse": must be a list, such as [2.0, 2.0, 2.0] or "native"',
        ),
        ("preprocess", 'shape = [96, "a", 96]', 'preprocess.shape[1] = "a": must be a whole number'),
        ("preprocess", 'normalise = "z"', 'preprocess.normalise = "z": must be "joint-z", "percentile", '),
        ("cohort.splits", "group_by = []", "cohort.splits.group_by = []: must have at least 1 value"),
        (
            "cohort.splits",
            'group_by = ["site"]',
            'cohort.splits.group_by[0] = "site": must be "patient_id" or "family_id"',
        ),
        ("cohort.splits", 'group_by = ["label"]', 'cohort.splits.group_by[0] = "label": must be "patient_id" or "fam'),
        (
            "cohort.splits",
            'group_by = ["patient_id"]',
            'cohort.splits.group_by = ["patient_id"]: must name patient_id ',
        ),
        (
            "cohort.splits",
            'test_from = "soon"',
            'cohort.splits.test_from = "soon": must be a day, such as "2024-12-31"',
        ),
        ("cohort.splits", "test_from = 2024", 'cohort.splits.test_from = 2024: must be a day, such as "2024-12-31"'),
        ("cohort.eligibility", 'leave_out = ["a"]', 'cohort.eligibility.leave_out[0] = "a": must have at least 2 lett'),
        ("preprocess", "shape = 96", "preprocess.shape = 96: must be a list; write [96, 96, 96]"),
        ("preprocess", "shape = [96, 96, 96, 3]", "preprocess.shape = [96, 96, 96, 3]: must have no more than 3 val"),
        ("preprocess", 'bias = "N4"', 'preprocess.bias = "N4": must be "n4" or "none"; did you mean "n4"?'),
        ("train", 'models = "light, radiomics"', 'train.models = "light, radiomics": must be a list; write ["light", '),
        ("train", 'test_flips = "True"', 'train.test_flips = "True": must be true or false; write true'),
        ("train", "average = 1.0", "train.average = 1.0: must be less than 1"),
        ("train", 'tracking = ["curves"]', 'train.tracking = ["curves"]: must be text in quotation marks; write "curv'),
        ("train", "parts = 3", "train.parts = 3: must be a table, written in braces"),
        (
            "train",
            "search = 3",
            "train.search = 3: must be a table of keys; write [train.search] and its keys below it",
        ),
        ("study", "name = 5", 'study.name = 5: must be text in quotation marks; write "5"'),
        (
            "study",
            'name = "a b"',
            'study.name = "a b": must be letters, digits and . _ - only, and begin with a letter ',
        ),
        ("audit", "minimum_auc = 0.5", "audit.minimum_auc = 0.5: must be more than 0.5"),
    ],
)
def test_a_wrong_value_is_one_line(tmp_path: Path, table: str, line: str, words: str) -> None:
    (tmp_path / "study.toml").write_text(f'[cohort]\nimages = "m.csv"\n[{table}]\n{line}\n')
    with pytest.raises(StudyError) as caught:
        Study.load(tmp_path / "study.toml")
    message = str(caught.value)
    assert message.startswith(f"study.toml: {words}")
    assert len(message.splitlines()) == 1
