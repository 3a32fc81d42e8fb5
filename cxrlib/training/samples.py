"""Which images an epoch has, what the network shall say of them, and how much each counts."""

import numpy as np

from cxrlib.runs.config import TrainingConfig
from cxrlib.training.batches import Samples
from cxrlib.training.errors import TrainingError
from cxrlib.training.images import Pixels

# Synthetic opacities teach the evidence map, where their place is known, more than the label: real
# pneumonias look otherwise.
_SYNTHETIC_WEIGHT = 0.5


def real_samples(
    config: TrainingConfig, pixels: np.ndarray, classes: np.ndarray, train: np.ndarray
) -> Samples:
    """The images to train on, balanced as configured; the mean weight is one.

    Args:
        config: what to do.
        pixels: of all images.
        classes: ``int [n]``, indices into ``config.class_names``.
        train: rows to train on.

    Raises:
        TrainingError: a class has no image.
    """
    counts = np.bincount(classes[train], minlength=config.classes)
    if (counts == 0).any():
        missing = config.class_names[int(np.argmin(counts))]
        raise TrainingError(
            f"There is no image of the class {missing} to train on. Add some, or say "
            "with --meaning which class of the data set it is."
        )
    if config.imbalance == "oversample":
        rng = np.random.default_rng(config.seed)
        train = np.concatenate(
            [
                rng.permutation(np.resize(train[classes[train] == number], counts.max()))
                for number in range(config.classes)
            ]
        )
    weights = np.ones(len(train), np.float32)
    if config.imbalance == "class_weights":
        weights = (len(train) / (config.classes * counts))[classes[train]].astype(np.float32)
    return Samples(pixels, train, _targets(classes[train], config), weights)


def with_synthetic(config: TrainingConfig, real: Samples, pixels: Pixels) -> Samples:
    """The same, and normal images with opacities drawn into their lungs, as configured."""
    positive = _positive(real, config)
    normal = real.rows[~positive & pixels.lungs[real.rows].any(axis=(1, 2))]
    added = np.resize(
        np.random.default_rng(config.seed).permutation(normal),
        round(config.synthetic_opacity_ratio * len(normal)),
    )
    rows = np.concatenate([real.rows, added])
    return Samples(
        real.pixels,
        rows,
        np.concatenate([real.targets, _targets(np.ones(len(added), int), config)]),
        _with_synthetic_weights(config, real.weights, positive, len(added)),
        synthetic=np.arange(len(rows)) >= len(real.rows),
    )


def _with_synthetic_weights(
    config: TrainingConfig, weights: np.ndarray, positive: np.ndarray, added: int
) -> np.ndarray:
    """Pneumonia, drawn or not, weighs what it did.

    With an evidence map, drawn opacities teach their place; real pneumonias keep their weight.
    """
    if config.head == "evidence":
        relative = _SYNTHETIC_WEIGHT
    else:
        share = positive.sum() / (positive.sum() + added)
        weights, relative = np.where(positive, share * weights, weights), 1.0
    new = np.full(added, relative * weights[positive].mean())
    return np.concatenate([weights, new]).astype(np.float32)


def _positive(samples: Samples, config: TrainingConfig) -> np.ndarray:
    if config.head == "softmax":
        return samples.targets[:, 0] < 0.5
    return samples.targets[:, 0] >= 0.5


def _targets(classes: np.ndarray, config: TrainingConfig) -> np.ndarray:
    """``float32 [n, outputs]`` for ``classes [n]``."""
    one_hot = np.eye(config.classes, dtype=np.float32)[classes]
    return one_hot if config.head == "softmax" else one_hot[:, 1:]
