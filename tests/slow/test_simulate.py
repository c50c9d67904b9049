"""The cohort of the demo in the time and memory of a laptop."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from genovox.core.artifacts import read_table
from tests.slow.memory import watch_memory

pytestmark = pytest.mark.slow

GENOVOX = [sys.executable, "-c", "from genovox.cli.main import main; main()"]
SECONDS = 120
GIGABYTES = 2.0


def test_60_patients_in_two_minutes_and_two_gigabytes(tmp_path: Path) -> None:
    out = tmp_path / "hospital"
    started = time.monotonic()
    process = psutil.Popen(
        [*GENOVOX, "simulate", str(out), "--patients", "60", "--workers", "2", "--preview"], stdout=subprocess.PIPE
    )
    gigabytes = watch_memory(process, every_s=0.25)
    seconds = time.monotonic() - started
    print(f"60 patients: {seconds:.0f} s, {gigabytes:.2f} GB")
    process.stdout.close()
    assert process.returncode == 0
    assert len(read_table(out / "truth.csv")) == 60
    assert len(list((out / "dicom").iterdir())) == 60
    assert seconds < SECONDS
    assert gigabytes < GIGABYTES
