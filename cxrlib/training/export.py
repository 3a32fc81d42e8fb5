"""A run's network as the ONNX files that it is read with."""

from collections.abc import Callable

import keras
import numpy as np

from cxrlib import metrics
from cxrlib.images.preprocess import prepare
from cxrlib.inference import session
from cxrlib.inference.session import Session
from cxrlib.networks.loading import folded, load_network
from cxrlib.networks.onnx_graph import classifier_graphs, map_graph, share_weights
from cxrlib.networks.onnx_rules import ExportError
from cxrlib.networks.registry import REGISTRY
from cxrlib.runs.folder import Run
from cxrlib.synthetic.phantom import phantom

_CHECKED = 4  # images
_TOLERANCE = 1e-4  # of a probability


def export(run: Run) -> None:
    """Write the ONNX files of a run's network, checked against Keras.

    Args:
        run: a classifier's or lung finder's, with its network as ``.keras``.

    Raises:
        ExportError: a layer has no rule, or the outputs are not those of Keras.
        RunError: the network is missing or damaged.
    """
    model = load_network(run)
    if "network" not in run.config:  # a lung finder
        forward = map_graph(folded(model), "lung").SerializeToString()
        _check(run, model, lambda images: _lung(run, forward, images))
        run.save_onnx(forward, None)
        return
    graph, with_gradient = classifier_graphs(
        folded(model), REGISTRY[run.config["network"]].heatmap_layer
    )
    forward = graph.SerializeToString()
    _check(run, model, lambda images: _probabilities(run, forward, images))

    def gradient(file_name: str) -> bytes:
        share_weights(with_gradient, file_name, forward)
        with_gradient.metadata_props.add(key=session.FORWARD_DIGEST, value=session.digest(forward))
        return with_gradient.SerializeToString()

    run.save_onnx(forward, gradient)


def _check(run: Run, model: keras.Model, read: Callable[[np.ndarray], np.ndarray]) -> None:
    size = model.inputs[0].shape[1]
    images = np.stack(
        [prepare(phantom(seed, pneumonia=seed % 2 == 1).pixels, size) for seed in range(_CHECKED)]
    )
    expected = model.predict_on_batch(images[..., None])
    error = float(np.abs(read(images) - expected.reshape(len(images), -1)).max())
    if not error <= _TOLERANCE:
        raise ExportError(
            f"The exported network of the run {run.name} is not what was trained: its outputs "
            f"differ from Keras' by up to {error:.2g}. The run still has its network as .keras."
        )


def _lung(run: Run, forward: bytes, images: np.ndarray) -> np.ndarray:
    (lung,) = Session(run.name, forward, None, session.LUNG_OUTPUTS).run(images, ["lung"])
    return lung.reshape(len(images), -1)


def _probabilities(run: Run, forward: bytes, images: np.ndarray) -> np.ndarray:
    (logits,) = Session(run.name, forward, None).run(images, ["logits"])
    found = metrics.distribution_of_logits(logits)
    return found[:, 1:] if logits.shape[1] == 1 else found


def in_memory(model: keras.Model, network: str) -> Session:
    """A network of `networks.REGISTRY` to read with, without files.

    Raises:
        ExportError: a layer has no rule.
    """
    graphs = classifier_graphs(folded(model), REGISTRY[network].heatmap_layer)
    return Session(network, *(graph.SerializeToString() for graph in graphs))


def untrained(model: keras.Model, *, seed: int) -> keras.Model:
    """The same network as it was before it learned anything, its random weights set by a seed."""
    keras.utils.set_random_seed(seed)
    return keras.models.clone_model(model)
