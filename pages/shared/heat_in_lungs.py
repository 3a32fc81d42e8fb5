"""How much of a heatmap lies inside the lungs, said in a sentence."""

import numpy as np

from cxrlib.formatting import percent
from cxrlib.inference.classifier import Prediction


def share_warning(prediction: Prediction, heatmap: np.ndarray, heat: str = "the heat") -> str:
    """What to be warned of; empty where more of the heat lies inside the lungs than by chance.

    Args:
        prediction: of an image whose lungs were found.
        heatmap: ``[rows, columns]`` of the whole image, not zero everywhere.
        heat: what to call it.
    """
    by_chance = prediction.lungs.share_by_chance(prediction.seen)
    if prediction.lungs.share(heatmap) > by_chance:
        return ""
    return (
        f"Only {_words(prediction, heatmap, heat)}, no more than by chance "
        f"({percent(by_chance)}). The result may depend on something else in the image: look "
        "there yourself before you rely on it."
    )


def share_in_words(prediction: Prediction, heatmap: np.ndarray) -> str:
    """The share, or the warning, as a string; empty where there are no lungs or no heat."""
    if not prediction.lungs.found or not heatmap.any():
        return ""
    warning = share_warning(prediction, heatmap)
    return f"⚠ {warning}" if warning else f"{_words(prediction, heatmap, 'the heat')}."


def _words(prediction: Prediction, heatmap: np.ndarray, heat: str) -> str:
    return f"{percent(prediction.lungs.share(heatmap))} of {heat} lies inside the lungs"
