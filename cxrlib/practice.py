"""Training without a data set: phantoms, and a run on them that takes about a minute on a CPU."""

import tempfile
from pathlib import Path

from cxrlib import phantom
from cxrlib.config import for_network
from cxrlib.pixels import cache_folder

PATIENTS = 600
_PIXELS = 128


def dataset_folder() -> Path:
    """A data set of synthetic radiographs, drawn on first use in half a minute.

    Raises:
        OSError: the cache cannot be written.
    """
    # Another number of patients is another data set.
    folder = cache_folder() / f"phantoms-{PATIENTS}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent) as partial:
            drawn = Path(partial) / folder.name
            phantom.write_dataset(drawn, patients=PATIENTS, size=_PIXELS)
            try:
                drawn.rename(folder)
            except OSError:
                if not folder.is_dir():  # somebody else may have drawn it meanwhile
                    raise
    return folder


def values() -> dict[str, object]:
    """What to ask of such a run, for `TrainingConfig`."""
    return for_network(
        "cnn", size=96, fine_tune_epochs=12, batch=8, augmentation="none", dropout=0.0
    )
