"""Training without a data set: phantoms, and a run on them that takes about a minute on a CPU."""

import shutil
from pathlib import Path

from cxrlib import phantom
from cxrlib.config import for_network
from cxrlib.pixels import cache_folder

PATIENTS = 600
_PIXELS = 128


def dataset_folder() -> Path:
    """A data set of synthetic radiographs, drawn on first use in some seconds."""
    # Another number of patients is another data set.
    folder = cache_folder() / f"phantoms-{PATIENTS}"
    if not folder.is_dir():
        partial = folder.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        phantom.write_dataset(partial, patients=PATIENTS, size=_PIXELS)
        partial.rename(folder)
    return folder


def values() -> dict[str, object]:
    """What to ask of such a run, for `TrainingConfig`."""
    return for_network(
        "cnn", size=96, fine_tune_epochs=12, batch=8, augmentation="none", dropout=0.0
    )
