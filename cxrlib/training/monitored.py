"""What training shows of its batches as they are: augmented, balanced, and with dropout."""

import keras


class AUC(keras.metrics.AUC):
    """Area under the ROC curve."""

    def update_state(
        self, y_true: object, y_pred: object, sample_weight: object | None = None
    ) -> None:
        """Take a batch into account."""
        super().update_state(_called(y_true), _pneumonia(y_pred))


class Sensitivity(keras.metrics.Recall):
    """Share of the pneumonias that are called at a probability of one half."""

    def update_state(
        self, y_true: object, y_pred: object, sample_weight: object | None = None
    ) -> None:
        """Take a batch into account."""
        super().update_state(_called(y_true), _pneumonia(y_pred))


def _called(targets: object) -> object:
    """1 where the label, or the run that teaches, says pneumonia."""
    return keras.ops.cast(_pneumonia(targets) >= 0.5, "float32")


def _pneumonia(outputs: object) -> object:
    """A head's outputs, or targets, as the probability of pneumonia ``[n, 1]``."""
    return outputs if outputs.shape[-1] == 1 else 1 - outputs[:, :1]
