"""What is said of the run in use wherever it is chosen."""

from cxrlib import runs
from cxrlib.runs.provenance import trained_on


def is_synthetic(name: str) -> bool:
    """Whether a finished run was trained on synthetic radiographs, as far as can be told."""
    try:
        return trained_on(runs.find(name).metrics) == "synthetic"
    except runs.RunError:
        return False  # the page says what is wrong with it
