"""Heatmaps: where on the picture the evidence for pneumonia comes from.

What every method explains is the log-odds of pneumonia, not its probability: a saturated
probability has no gradient left. `Explainer.read` returns the outputs together with Grad-CAM and
saliency from one compiled pass; the other methods, slower, are asked for by name.

A method is registered with a decorator and returns a map on the network's own grid or on that
of its last features; normalizing and enlarging is the same for all.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import keras
import numpy as np
import tensorflow as tf
from scipy.special import softmax
from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus
from tf_keras_vis.layercam import Layercam
from tf_keras_vis.saliency import Saliency
from tf_keras_vis.scorecam import Scorecam

from cxrlib.images.preprocess import WHOLE, Box
from cxrlib.inference.methods import METHODS
from cxrlib.networks.loading import folded
from cxrlib.networks.registry import REGISTRY

_SCORECAM_CHANNELS = 64
_SMOOTHGRAD_SAMPLES = 24
_SMOOTHGRAD_NOISE = 0.1
_INTEGRATION_STEPS = 32
_OCCLUSION_PATCHES = 14
# Small, for a server with little memory: 32 at once would take a quarter of a gigabyte; with a
# gradient, for which every layer's output is kept, half of one.
_BATCH = 8
_GRADIENT_BATCH = 4
# Held while a map is asked for by name: ten at once take half a gigabyte, and no less time.
_one_at_a_time = threading.Lock()
# The few largest gradients of a map of single pixels would leave the rest of it black.
_FINE = 10_000
_PERCENTILE = 99.5


@dataclass(frozen=True)
class Explanation:
    """A heatmap and the method that made it.

    Attributes:
        method: a key of `methods.METHODS`.
        values: ``float32 [rows, columns]`` in 0..1 on the grid it was computed on, relative to
            this picture's strongest place; all zero where nothing speaks for pneumonia.
        shape: the radiograph's ``(height, width)``.
        box: the part of the radiograph that the network saw.
    """

    method: str
    values: np.ndarray
    shape: tuple[int, int]
    box: Box = WHOLE

    @property
    def heatmap(self) -> np.ndarray:
        """The map on the radiograph's own grid, ``float32 [height, width]`` in 0..1."""
        return self.on(self.shape)

    def on(self, shape: tuple[int, int]) -> np.ndarray:
        """The map on a grid of another size, such as a smaller copy for the screen.

        Zero outside what the network saw.
        """
        sides = np.array([*shape[::-1], *shape[::-1]])
        left, top, right, bottom = np.rint(np.array(self.box) * sides).astype(int)
        whole = np.zeros(shape, np.float32)
        whole[top:bottom, left:right] = cv2.resize(
            self.values, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR
        )
        return whole


class Explainer:
    """Heatmaps for one network of `networks.REGISTRY`.

    Args:
        model: the network; it is not changed.
        name: its name in the registry, which knows the layer that heatmaps are read from.
    """

    def __init__(self, model: keras.Model, name: str) -> None:
        self.heatmap_layer = REGISTRY[name].heatmap_layer
        self.logits = with_logits(folded(model))
        pooled = self.logits.get_layer("pool").output
        self._maps_pooled_logits = keras.Model(
            self.logits.inputs,
            [self.logits.get_layer(self.heatmap_layer).output, pooled, self.logits.output],
        )
        self._pooled_and_logits = keras.Model(self.logits.inputs, [pooled, self.logits.output])
        shape = (None, *model.input_shape[1:])
        signature = [tf.TensorSpec(shape, tf.float32)]
        self._pass = tf.function(self._explained, input_signature=signature)
        self._outputs = tf.function(
            lambda pictures: self._pooled_and_logits(pictures, training=False),
            input_signature=signature,
        )
        self._gradients = tf.function(self._input_gradients, input_signature=signature)

    def read(self, square: np.ndarray) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Features, outputs, Grad-CAM and saliency of one prepared picture, in one pass.

        Args:
            square: ``uint8 [size, size]``.

        Returns:
            The pooled features ``float32 [k]``, the head's logits ``float32 [outputs]`` and raw
            maps by method: ``gradcam`` on the grid of `heatmap_layer` (Selvaraju et al., ICCV
            2017), ``saliency`` on the network's (Simonyan et al., ICLR workshop 2014).
        """
        features, logits, gradcam, saliency = self._pass(_as_batch(square))
        maps = {"gradcam": gradcam[0].numpy(), "saliency": saliency[0].numpy()}
        return features[0].numpy(), logits[0].numpy(), maps

    def outputs_of(self, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of ``uint8 [n, size, size]`` the pooled features ``float32 [n, k]`` and the head's
        logits ``float32 [n, outputs]``.
        """
        features, logits = self._outputs(squares[..., None].astype(np.float32))
        return features.numpy(), logits.numpy()

    def explain(self, square: np.ndarray, method: str) -> np.ndarray:
        """The raw map of any method of `methods.METHODS` for one prepared picture."""
        with _one_at_a_time:
            return _IMPLEMENTATIONS[method](self, square)

    def _explained(self, pictures: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(pictures)
            maps, pooled, logits = self._maps_pooled_logits(pictures, training=False)
            score = log_odds(logits)
        to_maps, to_pixels = tape.gradient(score, [maps, pictures])
        weights = tf.reduce_mean(to_maps, axis=(1, 2), keepdims=True)
        gradcam = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1))
        return pooled, logits, gradcam, tf.abs(to_pixels[..., 0])

    def _input_gradients(self, pictures: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(pictures)
            score = log_odds(self.logits(pictures, training=False))
        return tape.gradient(score, pictures)[..., 0]


def untrained(model: keras.Model, *, seed: int) -> keras.Model:
    """The same network as it was before it learned anything, its random weights set by a seed."""
    keras.utils.set_random_seed(seed)
    return keras.models.clone_model(model)


def with_logits(model: keras.Model) -> keras.Model:
    """The same network, sharing its layers, with the head's activation left out."""
    head = model.get_layer("probability")
    linear = keras.layers.Dense(head.units, dtype="float32", name="logits")
    output = linear(head.input)
    linear.set_weights(head.get_weights())
    return keras.Model(model.inputs, output)


def log_odds(logits: tf.Tensor) -> tf.Tensor:
    """Log-odds of pneumonia ``[n]`` from a head's logits ``[n, outputs]``.

    A sigmoid's logit is just that; of softmax logits it is that of everything but NORMAL.
    """
    if logits.shape[-1] == 1:
        return logits[:, 0]
    return tf.reduce_logsumexp(logits[:, 1:], axis=1) - logits[:, 0]


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Class probabilities ``float64 [n, classes]`` of a head's logits ``[n, outputs]``."""
    if logits.shape[1] == 1:
        logits = np.concatenate([np.zeros_like(logits), logits], axis=1)
    return softmax(logits.astype(np.float64), axis=1)


def normalize(raw: np.ndarray) -> np.ndarray:
    """A raw map relative to its strongest place, ``float32`` in 0..1; zero stays zero."""
    top = np.percentile(raw, _PERCENTILE) if raw.size > _FINE else raw.max()
    if top <= 0:
        return np.zeros(raw.shape, np.float32)
    return np.clip(raw / top, 0, 1).astype(np.float32)


_IMPLEMENTATIONS: dict[str, Callable[[Explainer, np.ndarray], np.ndarray]] = {}


def _method(
    name: str,
) -> Callable[
    [Callable[[Explainer, np.ndarray], np.ndarray]], Callable[[Explainer, np.ndarray], np.ndarray]
]:
    """Enter the decorated implementation under a name that `methods.METHODS` describes."""
    if name not in METHODS:
        raise KeyError(name)

    def enter(
        implementation: Callable[[Explainer, np.ndarray], np.ndarray],
    ) -> Callable[[Explainer, np.ndarray], np.ndarray]:
        _IMPLEMENTATIONS[name] = implementation
        return implementation

    return enter


@_method("gradcam")
def _gradcam(explainer: Explainer, square: np.ndarray) -> np.ndarray:
    return explainer.read(square)[2]["gradcam"]


@_method("saliency")
def _saliency(explainer: Explainer, square: np.ndarray) -> np.ndarray:
    return explainer.read(square)[2]["saliency"]


@_method("gradcam++")
def _gradcam_plus_plus(explainer: Explainer, square: np.ndarray) -> np.ndarray:
    return _tf_keras_vis(GradcamPlusPlus, explainer, square)


@_method("layercam")
def _layercam(explainer: Explainer, square: np.ndarray) -> np.ndarray:
    return _tf_keras_vis(Layercam, explainer, square)


@_method("scorecam")
def _scorecam(explainer: Explainer, square: np.ndarray) -> np.ndarray:
    # It calls `predict`, whose progress bar would go among the command line's results.
    keras.utils.disable_interactive_logging()
    return _tf_keras_vis(Scorecam, explainer, square, max_N=_SCORECAM_CHANNELS, batch_size=_BATCH)


def _tf_keras_vis(
    method: type, explainer: Explainer, square: np.ndarray, **options: int
) -> np.ndarray:
    maps = method(explainer.logits, clone=False)(
        log_odds,
        _as_batch(square),
        penultimate_layer=explainer.heatmap_layer,
        seek_penultimate_conv_layer=False,
        expand_cam=False,
        normalize_cam=False,
        **options,
    )
    return np.asarray(maps)[0]


@_method("smoothgrad")
def _smoothgrad(explainer: Explainer, square: np.ndarray) -> np.ndarray:
    maps = Saliency(explainer.logits, clone=False)(
        log_odds,
        _as_batch(square),
        smooth_samples=_SMOOTHGRAD_SAMPLES,
        smooth_noise=_SMOOTHGRAD_NOISE,
        normalize_map=False,
    )
    return np.asarray(maps)[0]


@_method("integrated_gradients")
def _integrated_gradients(explainer: Explainer, square: np.ndarray) -> np.ndarray:
    """Path from black, midpoint rule; what speaks against pneumonia is left out."""
    picture = _as_batch(square)
    steps = (np.arange(_INTEGRATION_STEPS, dtype=np.float32) + 0.5) / _INTEGRATION_STEPS
    mean = np.zeros(square.shape, np.float32)
    for shares in np.split(steps, _INTEGRATION_STEPS // _GRADIENT_BATCH):
        gradients = explainer._gradients(picture * shares[:, None, None, None]).numpy()
        mean += gradients.sum(axis=0) / _INTEGRATION_STEPS
    return np.maximum(mean * picture[0, ..., 0], 0)


@_method("occlusion")
def _occlusion(explainer: Explainer, square: np.ndarray) -> np.ndarray:
    """Fall of the log-odds when a square patch is painted over with the picture's mean."""
    picture = _as_batch(square)[0]
    size = picture.shape[0]
    edges = np.linspace(0, size, _OCCLUSION_PATCHES + 1).astype(int)
    margin = (edges[1] - edges[0]) // 2  # patches overlap, so that edges cut no finding in two
    covered = np.repeat(picture[None], _OCCLUSION_PATCHES**2, axis=0)
    for row in range(_OCCLUSION_PATCHES):
        for column in range(_OCCLUSION_PATCHES):
            covered[
                row * _OCCLUSION_PATCHES + column,
                max(0, edges[row] - margin) : edges[row + 1] + margin,
                max(0, edges[column] - margin) : edges[column + 1] + margin,
            ] = picture.mean()
    pictures = np.concatenate([picture[None], covered])
    scores = np.concatenate(
        [
            log_odds(explainer._outputs(pictures[start : start + _BATCH])[1]).numpy()
            for start in range(0, len(pictures), _BATCH)
        ]
    )
    falls = (scores[0] - scores[1:]).reshape(_OCCLUSION_PATCHES, _OCCLUSION_PATCHES)
    return np.maximum(falls, 0)


def _as_batch(square: np.ndarray) -> np.ndarray:
    return square[None, ..., None].astype(np.float32)
