"""The architectures, by name.

Every network is one flat functional graph (never a model in a model), so that any layer can be
reached for heatmaps. It takes grey images ``[n, size, size, 1]`` in 0..255; the scaling its
backbone wants is a layer inside. The layer ``probability`` is last. Before it the backbone's
features are averaged over the plane (``pool``); or, with the head ``evidence``, they become one map
of log-odds, the layer ``evidence``, whose smooth maximum is the score.

Backbones are registered with a decorator in `backbones`; the tests walk the registry.
"""

import random
from pathlib import Path

import keras
from keras import layers

from cxrlib.networks import backbones  # noqa: F401, fills the registry
from cxrlib.networks.entries import REGISTRY
from cxrlib.networks.loading import folded
from cxrlib.networks.pooling import LogSumExpPooling

__all__ = ["REGISTRY", "WeightsError", "build", "head_layers", "pooled_features"]

_JOINED, _REFINED = 128, 64  # channels of the evidence head
_SHARPNESS = 4.0
_NO_EVIDENCE = -2.0  # log-odds that every place begins with


class WeightsError(ValueError):
    """Weights could not be fetched or do not fit; says what to do."""


def build(
    name: str,
    *,
    size: int = 224,
    classes: int = 2,
    head: str = "sigmoid",
    weights: str = "imagenet",
    dropout: float = 0.2,
    hidden_units: int = 0,
    cnn_width: int = 16,
    cnn_blocks: int = 4,
) -> keras.Model:
    """A network ready to train: ``[n, size, size, 1]`` in 0..255 to probabilities.

    Args:
        name: a key of `REGISTRY`.
        size: side of the input in pixels, 96 to 512.
        classes: 2 (normal, pneumonia) or 3 (normal, bacterial, viral).
        head: ``sigmoid``, one output ``[n, 1]``, the probability of pneumonia; ``softmax``,
            ``[n, classes]``; or ``evidence``, as ``sigmoid``, made from a map of local evidence.
            The last needs a size that is a multiple of 32.
        weights: ``imagenet`` (fetched by Keras), ``none``, or the path of an .h5 file with the
            backbone's weights, or of a run's model.keras, whose backbone it then begins with.
        dropout: share of features dropped before the last layer while training.
        hidden_units: of a dense layer with ReLU between the pooled features and the last layer, of
            the heads sigmoid and softmax; 0 for none.
        cnn_width: of the network ``cnn``, filters of the first convolution; those of the others
            grow with it.
        cnn_blocks: of the network ``cnn``, convolutions.

    Raises:
        WeightsError: the weights cannot be fetched or do not fit.
        ValueError: no such network, size or head.
    """
    if name not in REGISTRY:
        raise ValueError(f"No network is called {name!r}; there are {', '.join(REGISTRY)}.")
    if not 96 <= size <= 512:
        raise ValueError(f"A network's input is 96 to 512 pixels a side, not {size}.")
    if head != "softmax" and classes != 2:
        raise ValueError(f"The head {head} tells two classes apart; use softmax for three.")
    network = REGISTRY[name]
    pixels = keras.Input((size, size, 1), name="pixels")
    shape = {"width": cnn_width, "blocks": cnn_blocks} if name == "cnn" else {}
    backbone = _backbone(name, network.scale(pixels), weights, fold=head == "evidence", shape=shape)
    if head == "evidence":
        if size % 32:
            raise ValueError(
                f"The evidence head needs a size that is a multiple of 32, not {size}."
            )
        return _with_evidence(name, folded(backbone), dropout)
    features = layers.GlobalAveragePooling2D(name="pool")(backbone.output)
    if hidden_units:
        features = layers.Dense(hidden_units, activation="relu", name="hidden")(features)
    # Without a seed of its own, dropout on PyTorch draws from a state that no checkpoint has.
    seed = random.randint(1, 10**9) if keras.backend.backend() == "torch" else None
    features = layers.Dropout(dropout, seed=seed, name="dropout")(features)
    # float32 under mixed precision too: 16-bit probabilities saturate and tie.
    probability = layers.Dense(
        1 if head == "sigmoid" else classes,
        activation=head,
        dtype="float32",
        name="probability",
    )(features)
    return keras.Model(pixels, probability, name=name)


def _with_evidence(name: str, backbone: keras.Model, dropout: float) -> keras.Model:
    """A backbone with a head that finds evidence place by place.

    The backbone's normalization is folded into its convolutions: with the statistics of ImageNet
    it learns as well, more quickly, and no batch of drawn and plain images unsettles them.
    """
    # Enlarged by repetition, whose gradient is as simple: networks are exported with it.
    joined = layers.Conv2D(_JOINED, 1, name="deep")(backbone.output)
    if fine_layer := REGISTRY[name].fine_layer:
        enlarged = layers.UpSampling2D(2, name="enlarged")(joined)
        fine = layers.Conv2D(_JOINED, 1, name="fine")(backbone.get_layer(fine_layer).output)
        joined = layers.Add(name="joined")([fine, enlarged])
    joined = layers.ReLU(name="joined_relu")(joined)
    joined = layers.Dropout(dropout, name="dropout")(joined)
    refined = layers.Conv2D(_REFINED, 3, padding="same", name="refined")(joined)
    refined = layers.ReLU(name="refined_relu")(refined)
    evidence = layers.Conv2D(
        1,
        1,
        bias_initializer=keras.initializers.Constant(_NO_EVIDENCE),
        dtype="float32",
        name="evidence",
    )(refined)
    score = LogSumExpPooling(_SHARPNESS, dtype="float32", name="evidence_pool")(evidence)
    probability = layers.Dense(
        1,
        activation="sigmoid",
        kernel_initializer="ones",
        dtype="float32",
        name="probability",
    )(score)
    return keras.Model(backbone.inputs[0], probability, name=name)


def head_layers(model: keras.Model) -> list[keras.Layer]:
    """The layers of a plain head after the pooled features, in order."""
    return [layer for layer in model.layers if layer.name in ("hidden", "dropout", "probability")]


def pooled_features(model: keras.Model, name: str) -> keras.KerasTensor:
    """The mean over the plane of a network's last features, ``[n, k]``, by its registry's name.

    The plain heads read it; of what is no chest radiograph it tells with any head.
    """
    for layer in model.layers:
        if layer.name == "pool":
            return layer.output
    features = model.get_layer(REGISTRY[name].heatmap_layer).output
    return layers.GlobalAveragePooling2D(name="pool")(features)


def _backbone(
    name: str, scaled: keras.KerasTensor, weights: str, *, fold: bool, shape: dict[str, int]
) -> keras.Model:
    """A backbone with its weights.

    Args:
        name: of the network.
        scaled: its input.
        weights: as of `build`.
        fold: whether its normalization will be folded, and that of a run may be already.
        shape: further arguments of the backbone.
    """
    network = REGISTRY[name]
    if weights == "none":
        return network.backbone(scaled, None, **shape)
    if not network.pretrained:
        raise WeightsError(f"The network {name} has no pretrained weights: use weights=none.")
    if weights != "imagenet":
        if not Path(weights).is_file():
            raise WeightsError(f"There is no weights file {weights}. Check the path.")
        backbone = network.backbone(scaled, None)
        try:
            if weights.endswith(".keras"):
                run = keras.models.load_model(weights, compile=False, safe_mode=True)
                learned = keras.Model(run.input, run.get_layer(network.heatmap_layer).output)
                if fold:
                    backbone, learned = folded(backbone), folded(learned)
                backbone.set_weights(learned.get_weights())
            else:
                network.load(backbone, weights)
        except (ValueError, OSError, KeyError) as error:
            raise WeightsError(
                f"The file {weights} does not hold weights of {name}: it takes those of "
                "keras.applications without the top (include_top=False), or the model.keras of a "
                "run of this network (from an evidence head to an evidence head only)."
            ) from error
        return backbone
    try:
        return network.backbone(scaled, "imagenet")
    except Exception as error:
        # Keras reports a failed download as a bare Exception.
        if "URL fetch failure" not in str(error):
            raise
        raise WeightsError(
            f"The ImageNet weights of {name} could not be downloaded. Is this machine online? "
            "Otherwise pass a weights file, or weights=none to start from scratch."
        ) from error
