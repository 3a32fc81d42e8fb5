"""Class names, as the data set's folders and a run's files have them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

NORMAL, PNEUMONIA = "NORMAL", "PNEUMONIA"
BINARY = (NORMAL, PNEUMONIA)
SUBTYPES = (NORMAL, "BACTERIAL", "VIRAL")
CLASSES = {NORMAL: "Normal", PNEUMONIA: "Pneumonia"}  # as pages name them


def is_pneumonia(labels: "pd.Series[str]") -> "np.ndarray":
    """Which of the labels ``[n]`` are pneumonia, ``bool [n]``."""
    return (labels == PNEUMONIA).to_numpy()
