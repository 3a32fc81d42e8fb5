"""Between a network's outputs, probabilities of its classes, and log-odds of pneumonia.

Classes are the last axis, NORMAL first. A sigmoid head has one output, pneumonia's.
"""

import numpy as np

from cxrlib.metrics.arrays import Floats


def as_distribution(outputs: np.ndarray) -> np.ndarray:
    """A head's outputs, sigmoid ``[n, 1]`` or softmax ``[n, classes]``, as ``[n, classes]``.

    >>> as_distribution(np.array([[0.25]]))
    array([[0.75, 0.25]])
    """
    if outputs.shape[1] == 1:
        return np.concatenate([1 - outputs, outputs], axis=1)
    return outputs


def distribution_of_logits(logits: np.ndarray) -> Floats:
    """Class probabilities ``float64 [n, classes]`` of a head's logits ``[n, outputs]``."""
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    odds = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def log_odds(distribution: np.ndarray) -> np.ndarray:
    """Log-odds of pneumonia ``[n]`` from class probabilities ``[n, classes]``.

    >>> log_odds(np.array([[0.5, 0.3, 0.2]]))
    array([0.])
    """
    return np.log(distribution[:, 1:].sum(axis=1)) - np.log(distribution[:, 0])


def log_odds_of_logits(logits: np.ndarray) -> np.ndarray:
    """Log-odds of pneumonia ``[n]`` from a head's logits ``[n, outputs]``.

    A sigmoid's logit is just that; of softmax logits it is that of everything but NORMAL.
    """
    if logits.shape[1] == 1:
        return logits[:, 0]
    return np.logaddexp.reduce(logits[:, 1:], axis=1) - logits[:, 0]
