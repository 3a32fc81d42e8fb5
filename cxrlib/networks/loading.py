"""Networks outside their training steps: loading, outputs, normalization statistics."""

import zlib
from collections.abc import Callable, Iterable
from zipfile import BadZipFile

import keras
import numpy as np
from tqdm import tqdm

from cxrlib.networks.pooling import LogSumExpPooling  # noqa: F401, networks are loaded with it
from cxrlib.runs.folder import Run, RunError

_BATCH = 64


def load_network(run: Run) -> keras.Model:
    """The network of a finished run, not compiled.

    Raises:
        RunError: its file is missing, damaged, or not of this version of Keras.
    """
    try:
        # Keras' safe mode: a run from elsewhere cannot bring code along.
        return keras.models.load_model(run.model_file, compile=False, safe_mode=True)
    except (OSError, ValueError, TypeError, KeyError, BadZipFile, zlib.error) as error:
        raise RunError(
            f"The network of the run {run.name} cannot be loaded with Keras "
            f"{keras.__version__}. Copy the run's folder again, or retrain."
        ) from error


def folded(model: keras.Model) -> keras.Model:
    """A network for reading only: normalization folded into the convolutions before it.

    It computes the same (Jacob et al., CVPR 2018, section 3.2) in about two thirds of the time, and
    a gradient through it no longer computes that of the normalization's own weights.

    Args:
        model: a flat network, not changed; normalization that follows no convolution is kept.
    """
    after = {}
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            before = layer.input._keras_history.operation
            if (
                isinstance(before, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)
                and before.activation is keras.activations.linear
                and len(before._outbound_nodes) == 1
            ):
                after[before.name] = layer
    gone = {layer.name for layer in after.values()}

    def clone(layer: keras.Layer) -> keras.Layer:
        biased = {"use_bias": True} if layer.name in after else {}
        return type(layer).from_config(layer.get_config() | biased)

    def call(layer: keras.Layer, *args: object, **options: object) -> object:
        return args[0] if layer.name in gone else layer(*args, **options)

    clone_of = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer in clone_of.layers:
        weights = model.get_layer(layer.name).get_weights()
        if layer.name in after:
            weights = _fold(weights, after[layer.name])
        layer.set_weights(weights)
    return clone_of


def _fold(
    weights: list[np.ndarray], normalization: keras.layers.BatchNormalization
) -> list[np.ndarray]:
    """Kernel and bias of a convolution that does what it and its normalization did."""
    kernel, *bias = weights
    gamma, beta, mean, variance = normalization.get_weights()
    scale = gamma / np.sqrt(variance + normalization.epsilon)
    # The last axes are the outputs': one in a convolution, channel and multiplier depth-wise.
    outputs = kernel.shape[3:] if kernel.shape[3:] == scale.shape else kernel.shape[2:]
    return [kernel * scale.reshape(outputs), beta + ((bias[0] if bias else 0) - mean) * scale]


def score(model: keras.Model, pixels: np.ndarray, rows: np.ndarray, what: str = "") -> np.ndarray:
    """The model's outputs ``[len(rows), …]`` for ``pixels[rows]``, a batch at a time."""
    starts = tqdm(range(0, len(rows), _BATCH), desc=what, disable=not what)
    return np.concatenate(
        [
            model.predict_on_batch(pixels[rows[start : start + _BATCH]][..., None])
            for start in starts
        ]
    )


def reestimate_normalization(model: keras.Model, batches: Iterable[np.ndarray]) -> None:
    """Gather the trainable batch-normalization layers' statistics again.

    Moving averages lag behind the weights, and know nothing of weights that were averaged. The
    mean over some batches replaces them, in place (Wu and Johnson 2021, "Rethinking 'Batch' in
    BatchNorm", call this precise batch normalization).

    Args:
        model: the network, changed in place.
        batches: of training images in random order, ``uint8 [batch, size, size, 1]`` each.
    """
    normalizations = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    if not normalizations:
        return
    momenta = [layer.momentum for layer in normalizations]
    statistics = [
        variable
        for layer in normalizations
        for variable in (layer.moving_mean, layer.moving_variance)
    ]
    sums = [np.zeros(variable.shape) for variable in statistics]
    for layer in normalizations:
        layer.momentum = 0.0  # a pass leaves the statistics of its batch
    normalize, count = _in_training(model), 0
    for batch in tqdm(batches, desc="normalization", unit=" batches"):
        normalize(batch)
        for total, variable in zip(sums, statistics, strict=True):
            total += keras.ops.convert_to_numpy(variable)
        count += 1
    for variable, total in zip(statistics, sums, strict=True):
        variable.assign(total / count)
    for layer, momentum in zip(normalizations, momenta, strict=True):
        layer.momentum = momentum


def _in_training(model: keras.Model) -> Callable[[np.ndarray], object]:
    """A pass as in training, which changes the statistics of normalization.

    Keras keeps the outputs of all layers during a pass; a graph of TensorFlow's drops each when no
    layer wants it any more, which takes a tenth of the memory.
    """

    def forward(batch: np.ndarray) -> object:
        return model(batch, training=True)

    if keras.backend.backend() != "tensorflow":
        return forward
    import tensorflow as tf

    return tf.function(forward, reduce_retracing=True)
