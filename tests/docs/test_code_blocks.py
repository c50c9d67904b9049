"""Every ``bash`` and ``python`` block of the README and the docs runs, in the order of the pages."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
_BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(ROOT / "examples", folder / "examples")
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_run(page: Path, workplace: Path) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for kind, code in _BLOCK.findall(page.read_text(encoding="utf-8")):
        command = ["bash", "-euc", code] if kind == "bash" else [sys.executable, "-c", code]
        done = subprocess.run(command, cwd=workplace, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{page.name}:\n{code}\n{done.stdout}\n{done.stderr}"


def test_links_between_pages_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8")):
            assert target.startswith("http") or (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_study_file_page_lists_every_key() -> None:
    from genovox.core.study import Study

    page = (ROOT / "docs" / "study-file.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `([a-z_.]+)` ", page, re.MULTILINE))
    content = Study.model_validate({"cohort": {"images": "m.csv"}}).as_dict()
    assert listed == _keys(content)


def _keys(content: dict[str, object], prefix: str = "") -> set[str]:
    keys = set()
    for name, value in content.items():
        keys |= _keys(value, f"{prefix}{name}.") if isinstance(value, dict) and value else {prefix + name}
    return keys
