"""What training minimizes beyond Keras' own losses."""

from typing import Any

import keras
from keras import ops


class LogitDistillationLoss(keras.losses.Loss):
    """How far the log-odds are from those that another network gives.

    Log-odds rather than probabilities (Ba and Caruana, NeurIPS 2014): also where both networks are
    certain, one learns by how much. Huber's loss, so that an image that was changed beyond
    recognition does not outweigh the others.

    Targets and outputs ``[n, k]`` are probabilities of one class (k = 1, the other has the rest) or
    of all.
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each image, ``[n]``."""
        return keras.losses.huber(_log_odds(y_true), _log_odds(y_pred), delta=1.0)


class RDropLoss(keras.losses.Loss):
    """A loss, plus how far two variants of each image are read differently.

    R-Drop (Liang et al., NeurIPS 2021): half the sum of both Kullback-Leibler divergences between
    the outputs for the two, here for two augmentations instead of two dropouts. It weighs most
    where the variants lie on either side of even odds, so that a small change of the image does
    not change its verdict.

    Args:
        loss: what is minimized for each variant by itself.
        weight: of the divergence beside it.

    A batch holds the two variants of an image one after the other; targets and outputs
    ``[2 n, k]`` are probabilities of one class (k = 1, the other has the rest) or of all.
    """

    def __init__(self, loss: keras.losses.Loss, weight: float) -> None:
        super().__init__()
        self._loss, self._weight = loss, weight

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each variant, ``[2 n]``."""
        outputs = _distribution(y_pred)
        one, other = outputs[0::2], outputs[1::2]
        divergence = ops.sum((one - other) * (ops.log(one) - ops.log(other)), axis=-1) / 2
        return self._loss.call(y_true, y_pred) + self._weight * ops.repeat(divergence, 2)


def _log_odds(outputs: Any) -> Any:
    """Of each class but the first, against the first, ``[n, k]``."""
    logarithms = ops.log(_distribution(outputs))
    return logarithms[:, 1:] - logarithms[:, :1]


def _distribution(outputs: Any) -> Any:
    """Probabilities of all classes, none of them 0 or 1, so that their logarithms are finite."""
    outputs = ops.clip(outputs, keras.config.epsilon(), 1 - keras.config.epsilon())
    return outputs if outputs.shape[-1] > 1 else ops.concatenate([1 - outputs, outputs], axis=-1)
