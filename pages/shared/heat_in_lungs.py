"""How much of a heatmap lies inside the lungs, in a sentence."""

from typing import TYPE_CHECKING

from cxrlib import plots

if TYPE_CHECKING:
    from cxrlib.inference.classifier import Prediction
    from cxrlib.inference.explain import Explanation

_GRID = (256, 256)


def share_warning(prediction: "Prediction", explanation: "Explanation") -> str:
    """A warning where no more of the heat lies inside the lungs than by chance; else empty."""
    share, by_chance = _shares(prediction, explanation)
    if share is None or share > by_chance:
        return ""
    return (
        f"Only {plots.percent(share)} of the heat lies inside the lungs, no more than by chance "
        f"({plots.percent(by_chance)}). The model may rely on something else in the image."
    )


def share_in_words(prediction: "Prediction", explanation: "Explanation") -> str:
    """How much of the heat lies inside the lungs, or the warning; empty where neither is known."""
    share, _ = _shares(prediction, explanation)
    if share is None:
        return ""
    warning = share_warning(prediction, explanation)
    return f"⚠ {warning}" if warning else f"{plots.percent(share)} of it lies inside the lungs."


def _shares(
    prediction: "Prediction", explanation: "Explanation"
) -> tuple[float, float] | tuple[None, None]:
    """The share inside the lungs, and that of heat spread evenly over what the network saw."""
    if not prediction.lungs.found or not explanation.values.any():
        return None, None
    lungs = prediction.lungs
    return lungs.share(explanation.on(_GRID)), lungs.share_by_chance(prediction.seen)
