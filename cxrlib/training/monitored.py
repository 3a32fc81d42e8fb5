"""What training shows of its batches as they are: augmented, balanced, and with dropout."""

from typing import Any

import keras


class AUC(keras.metrics.AUC):
    """Area under the ROC curve."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any | None = None) -> None:
        """Take a batch into account."""
        super().update_state(_called(y_true), _pneumonia(y_pred))


class Sensitivity(keras.metrics.Recall):
    """Share of the pneumonias that are called at a probability of one half."""

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any | None = None) -> None:
        """Take a batch into account."""
        super().update_state(_called(y_true), _pneumonia(y_pred))


def _called(targets: Any) -> Any:
    """1 where the label, or the run that teaches, says pneumonia."""
    return keras.ops.cast(_pneumonia(targets) >= 0.5, "float32")


def _pneumonia(outputs: Any) -> Any:
    """A head's outputs, or targets, as the probability of pneumonia ``[n, 1]``."""
    return outputs if outputs.shape[-1] == 1 else 1 - outputs[:, :1]
