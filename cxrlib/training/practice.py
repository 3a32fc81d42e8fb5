"""Training without a data set: phantoms, and a run on them that takes half a minute on a CPU."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cxrlib.images.preprocess import cache_folder
from cxrlib.runs.config import for_network
from cxrlib.synthetic import phantom

PATIENTS = 600
_PIXELS = 128


def folder() -> Path:
    """Where the data set of synthetic radiographs is, once it is drawn."""
    # Another number of patients is another data set.
    return (cache_folder() / f"synthetic-{PATIENTS}").resolve()


def draw(on_progress: Callable[[int], None] | None = None) -> None:
    """Draw the data set, which takes half a minute.

    Args:
        on_progress: told after each of `PATIENTS` how many are drawn.

    Raises:
        OSError: the cache cannot be written.
    """
    place = folder()
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as partial:
        drawn = Path(partial) / place.name
        phantom.write_dataset(drawn, patients=PATIENTS, size=_PIXELS, on_progress=on_progress)
        try:
            drawn.rename(place)
        except OSError:
            if not place.is_dir():  # somebody else may have drawn it meanwhile
                raise


def values() -> dict[str, Any]:
    """What to ask of such a run, for `TrainingConfig`."""
    return for_network(
        "cnn", size=_PIXELS, fine_tune_epochs=20, batch_size=8, augmentation="none", dropout=0.0
    )
