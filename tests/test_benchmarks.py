"""What is written about the trials is what was found."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.mark.slow
def test_the_written_table_of_trials_is_the_one_found() -> None:
    ran = subprocess.run(
        [sys.executable, "models.py"], cwd=BENCHMARKS, capture_output=True, text=True, check=True
    )
    assert ran.stdout.startswith("| trial | seeds | ROC-AUC |")
    assert ran.stdout in (BENCHMARKS / "models.md").read_text(encoding="utf-8")
