import importlib
import sys
import tomllib
from pathlib import Path

import pytest

from genovox.core import extras
from genovox.core.errors import MissingExtraError


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(extras.EXTRAS, "explain", ("captum_of_nowhere", "json"))
    with pytest.raises(
        MissingExtraError, match=r"needs the extra \[explain\], captum_of_nowhere is not installed; run: "
    ):
        extras.import_optional("captum_of_nowhere", purpose='explain.methods = "shap"')
    assert extras.missing_modules("explain") == ["captum_of_nowhere"]


def test_a_module_that_is_there_is_imported_though_its_neighbour_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(extras.EXTRAS, "explain", ("json", "shap_of_nowhere"))
    assert extras.import_optional("json", purpose="a test") is importlib.import_module("json")


def test_every_extra_of_the_package_is_listed() -> None:
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    declared = tomllib.loads(project.read_text())["project"]["optional-dependencies"]
    assert set(extras.EXTRAS) == set(declared) - {"dev"}
    assert "torch" not in {module for modules in extras.EXTRAS.values() for module in modules}
    assert sys.modules["genovox.core.extras"] is extras
