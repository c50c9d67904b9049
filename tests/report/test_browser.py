"""The page in a real browser: nothing is cut off, nothing is fetched, every picture shows."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import FinishedRun

CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PROBE = """<script>
addEventListener('load', () => {
  const root = document.documentElement;
  const broken = [...document.images].filter(image => !image.complete || !image.naturalWidth).length;
  const wide = root.scrollWidth > innerWidth + 1;
  const fetched = performance.getEntriesByType('resource').filter(e => !e.name.startsWith('data:')).length;
  root.setAttribute('data-probe', [document.images.length, broken, wide, fetched].join(' '));
});
</script>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="CHROMIUM IS NOT INSTALLED: the report is not opened")


@pytest.mark.parametrize("width", [1280, 500])
def test_page_opens_whole(finished_run: FinishedRun, tmp_path: Path, width: int) -> None:
    page = (finished_run.run / "report" / "index.html").read_text(encoding="utf-8")
    probed = tmp_path / "index.html"
    probed.write_text(page.replace("</body>", PROBE + "</body>"), encoding="utf-8")
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900"]
    done = subprocess.run(
        [*command, "--dump-dom", probed.as_uri()], capture_output=True, text=True, check=True, timeout=120
    )
    match = re.search(r'data-probe="(\d+) (\d+) (true|false) (\d+)"', done.stdout)
    assert match, "the page did not load"
    images, broken, wide, fetched = match.groups()
    assert int(images) > 5
    assert (broken, wide, fetched) == ("0", "false", "0")


def test_folded_parts_are_printed_open(page: str, tmp_path: Path) -> None:
    heights = """<script>
addEventListener('load', () => {
  const shown = [...document.querySelectorAll('details')].map(one => one.offsetHeight - one.firstChild.offsetHeight);
  document.documentElement.setAttribute('data-probe', [shown.length, Math.round(Math.min(...shown))].join(' '));
});
</script>"""
    probed = tmp_path / "print.html"
    probed.write_text(page.replace("@media print", "@media all").replace("</body>", heights + "</body>"), "utf-8")
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", probed.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    match = re.search(r'data-probe="(\d+) (\d+)"', done.stdout)
    assert match, "the page did not load"
    assert int(match[1]) > 2
    assert int(match[2]) > 40
