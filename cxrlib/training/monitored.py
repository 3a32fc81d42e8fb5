"""What training shows of its batches as they are: augmented, balanced, and with dropout."""

from typing import Any

import keras


class _OfCalls:
    """A metric of the calls that outputs make, against the labels, or what a teacher calls."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any | None = None) -> None:
        """Take a batch into account."""
        super().update_state(_called(y_true), _pneumonia(y_pred))  # type: ignore[misc]


class AUC(_OfCalls, keras.metrics.AUC):
    """Area under the ROC curve."""


class TruePositives(_OfCalls, keras.metrics.TruePositives):
    """Pneumonias called at a probability of one half."""


class FalsePositives(_OfCalls, keras.metrics.FalsePositives):
    """Normal images called."""


class FalseNegatives(_OfCalls, keras.metrics.FalseNegatives):
    """Pneumonias not called."""


class TrueNegatives(_OfCalls, keras.metrics.TrueNegatives):
    """Normal images not called."""


def monitored() -> list[keras.metrics.Metric]:
    """What is counted during an epoch, by the names of `metrics.Confusion`; and the AUC."""
    return [
        AUC(name="auc"),
        TruePositives(name="tp"),
        FalsePositives(name="fp"),
        FalseNegatives(name="fn"),
        TrueNegatives(name="tn"),
    ]


def _called(targets: Any) -> Any:
    """1 where the label, or the run that teaches, says pneumonia."""
    return keras.ops.cast(_pneumonia(targets) >= 0.5, "float32")


def _pneumonia(outputs: Any) -> Any:
    """A head's outputs, or targets, as the probability of pneumonia ``[n, 1]``."""
    return outputs if outputs.shape[-1] == 1 else 1 - outputs[:, :1]
