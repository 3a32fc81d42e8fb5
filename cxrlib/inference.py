"""Networks outside their training steps: loading, outputs, normalization statistics."""

import keras
import numpy as np
from tqdm import tqdm

from cxrlib.runs import Run, RunError

_BATCH = 64
_NORMALIZATION_PICTURES = 4096


def load_network(run: Run) -> keras.Model:
    """The network of a finished run, not compiled.

    Raises:
        RunError: its file is missing, damaged, or not of this version of Keras.
    """
    try:
        # Keras' safe mode: a run from elsewhere cannot bring code along.
        return keras.models.load_model(run.model_file, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunError(
            f"The network of the run {run.name} cannot be loaded with Keras "
            f"{keras.__version__}. Copy the run's folder again, or train anew."
        ) from error


def score(model: keras.Model, pixels: np.ndarray, rows: np.ndarray, what: str = "") -> np.ndarray:
    """The model's outputs ``[len(rows), …]`` for ``pixels[rows]``, a batch at a time."""
    starts = tqdm(range(0, len(rows), _BATCH), desc=what, disable=not what)
    return np.concatenate(
        [
            model.predict_on_batch(pixels[rows[start : start + _BATCH]][..., None])
            for start in starts
        ]
    )


def reestimate_normalization(
    model: keras.Model, pixels: np.ndarray, rows: np.ndarray, *, seed: int
) -> None:
    """Gather the trainable batch-normalization layers' statistics anew on plain pictures.

    Moving averages gathered under augmentation describe augmented pictures, not those that the
    network will be shown. A running mean over plain batches replaces them, in place (Wu and
    Johnson 2021, "Rethinking 'Batch' in BatchNorm", call this precise batch normalization).

    Args:
        model: the network, changed in place.
        pixels: ``uint8 [n, size, size]``.
        rows: the training pictures' rows.
        seed: for the order of the pictures.
    """
    normalizations = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    if not normalizations:
        return
    momenta = [layer.momentum for layer in normalizations]
    order = np.random.default_rng(seed).permutation(rows)[:_NORMALIZATION_PICTURES]
    starts = range(0, max(1, len(order) - _BATCH + 1), _BATCH)
    for step, start in enumerate(tqdm(starts, desc="normalization", unit=" batches")):
        for layer in normalizations:
            layer.momentum = step / (step + 1)
        model(pixels[order[start : start + _BATCH]][..., None], training=True)
    for layer, momentum in zip(normalizations, momenta, strict=True):
        layer.momentum = momentum
