"""The stage: its files, its key and the templates it is shipped with."""

from importlib import resources

import pytest

from genovox.core.errors import UsageError
from genovox.report import stage as report_stage

from .conftest import TinyRun


def test_stage_writes_both_files_and_is_current(tiny: TinyRun) -> None:
    stage = tiny.report()
    assert {path.name for path in stage.folder.iterdir()} == {"index.html", "model_card.md", "stage.json"}
    assert tiny.report().is_current()


def test_stage_is_stale_when_the_audit_changes(copied: TinyRun) -> None:
    copied.report()
    record = copied.run / "audit" / "stage.json"
    record.write_text(record.read_text().replace('"key": "', '"key": "0'))
    assert not report_stage.open_stage(copied.study, copied.run, "cpu").is_current()


def test_stage_needs_every_stage_before_it(copied: TinyRun) -> None:
    (copied.run / "explain" / "stage.json").unlink()
    with pytest.raises(UsageError, match="no finished stage explain"):
        report_stage.open_stage(copied.study, copied.run, "cpu")


def test_templates_are_part_of_the_package() -> None:
    names = {path.name for path in resources.files("genovox.report").joinpath("templates").iterdir()}
    assert {"page.html.j2", "style.css.j2", "card.md.j2"} <= names
