"""How deep fine-tuning goes, counted in layers that have weights.

A layer here is one that can learn, such as a convolution or a dense layer, with the normalization
that belongs to it: the one that follows it, or where there is none before, as in DenseNet, the one
that precedes it. Pooling, dropout and activations do not count.

No Keras is imported here: a page names the layers of a network that nobody has built, from
`layers.json`, which a test compares with the registry.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

_NORMALIZATIONS = ("BatchNormalization", "_FusedNormalization", "LayerNormalization")
_NAMES = Path(__file__).with_name("layers.json")
# Scales of single channels (LayerScale) belong to the layer before them, as normalization does.
_SCALE = "_layer_scale"


def names(network: str, *, cnn_blocks: int = 4) -> list[str]:
    """The layers of a network of the registry that can learn, the head left out, first to last.

    Args:
        network: a key of the registry.
        cnn_blocks: of the network ``cnn``, how many blocks it has.
    """
    if network == "cnn":
        return [*(f"block{block}_conv" for block in range(1, cnn_blocks + 1)), "dense"]
    found: list[str] = json.loads(_NAMES.read_text(encoding="utf-8"))[network]
    return found


def describe(network_layers: Sequence[str], last: int | None) -> str:
    """Which layers are fine-tuned, in words.

    >>> describe(["conv1", "conv2", "conv3", "conv4"], 2)
    'the last 2 of 4 layers with weights (conv3, conv4) and the head'
    >>> describe(["conv1", "conv2"], None)
    'all 2 layers with weights and the head'
    """
    total = len(network_layers)
    if last is None or last >= total:
        return f"all {total} layers with weights and the head"
    chosen = network_layers[-last:]
    shown = chosen if last <= 4 else [*chosen[:2], "…", chosen[-1]]
    return f"the last {last} of {total} layers with weights ({', '.join(shown)}) and the head"


def steps(model: "keras.Model", features: str) -> list[list["keras.Layer"]]:
    """The same of a built network: each step is a layer and the normalization that goes with it.

    Args:
        model: a flat network whose layers are all trainable.
        features: name of the backbone's last layer; what comes after it is the head.
    """
    found: list[list[keras.Layer]] = []
    step_of: dict[str, list[keras.Layer]] = {}
    backbone = type(model)(model.inputs, model.get_layer(features).output)
    for layer in backbone.layers:
        if not layer.trainable_weights:
            continue
        before = _learning_before(layer)
        if _is_normalization(layer):
            if before is not None and type(before).__name__ not in _NORMALIZATIONS:
                step = step_of[before.name]
            else:
                step = []
                found.append(step)
        elif before is not None and _is_normalization(before) and step_of[before.name] == [before]:
            step = step_of[before.name]
        else:
            step = []
            found.append(step)
        step.append(layer)
        step_of[layer.name] = step
    return found


def name(step: Sequence["keras.Layer"]) -> str:
    """What a step is called: as its layer, or its normalization where it has no other."""
    return next((layer.name for layer in step if not _is_normalization(layer)), step[0].name)


def _is_normalization(layer: "keras.Layer") -> bool:
    return type(layer).__name__ in _NORMALIZATIONS or layer.name.endswith(_SCALE)


def _learning_before(layer: "keras.Layer") -> "keras.Layer | None":
    """The layer with weights that this one follows; None where several paths lead to it."""
    while True:
        source = layer.input
        if isinstance(source, list):
            return None
        layer = source._keras_history.operation
        if layer.trainable_weights:
            return layer
        if not layer._inbound_nodes[0].input_tensors:
            return None
