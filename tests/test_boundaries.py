"""The floors of the house: what must open without TensorFlow does."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIGHT_ROOMS = [
    "cxrlib",
    "cxrlib.training.augment",
    "cxrlib.runs.config",
    "cxrlib.data.dataset",
    "cxrlib.data.external",
    "cxrlib.evaluation.judge",
    "cxrlib.data.examples",
    "cxrlib.evaluation.faithfulness",
    "cxrlib.inference.methods",
    "cxrlib.metrics",
    "cxrlib.synthetic.phantom",
    "cxrlib.images.preprocess",
    "cxrlib.plots",
    "cxrlib.images.radiograph",
    "cxrlib.inference.pdf_report",
    "cxrlib.runs",
    "cxrlib.evaluation.perturbations",
    "cxrlib.evaluation.stress",
    "cxrlib.__main__",
]
HEAVY = ("tensorflow", "keras")
SLOW = (*HEAVY, "cv2", "matplotlib", "numpy", "pandas", "PIL", "pydantic", "scipy", "sklearn")


def loaded_after(code: str, watched: tuple[str, ...] = HEAVY) -> str:
    """Which of the modules ``watched`` a process has loaded that has run ``code``."""
    look = f"import sys; print(sorted({set(watched)} & set(sys.modules)))"
    result = subprocess.run(
        [sys.executable, "-c", f"{code}\n{look}"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()[-1]


def test_light_rooms_do_not_load_tensorflow() -> None:
    assert loaded_after("import " + ", ".join(LIGHT_ROOMS)) == "[]"


@pytest.mark.parametrize("page", sorted(file.name for file in (ROOT / "pages").glob("*.py")))
def test_opening_a_page_does_not_load_tensorflow(page: str) -> None:
    code = (
        "from streamlit.testing.v1 import AppTest\n"
        f"app = AppTest.from_file('{ROOT}/app.py', default_timeout=60).run()\n"
        f"app.switch_page('pages/{page}').run()\n"
        "assert not app.exception, app.exception"
    )
    assert loaded_after(code) == "[]"


def test_the_empty_first_page_waits_for_no_slow_import() -> None:
    # AppTest would load pandas itself: the script is run as plain Python, which ends at the page.
    code = "import runpy; runpy.run_path('app.py'); import pages.diagnose_parts.intake"
    assert loaded_after(code, SLOW) == "[]"


def test_the_app_and_training_do_without_the_tests_oracles() -> None:
    rooms = (
        "cxrlib.inference.classifier, cxrlib.training.train, cxrlib.reviews.agreement, "
        "cxrlib.__main__"
    )
    loaded_after(f"import sys; sys.modules['sklearn'] = None; import {rooms}")
