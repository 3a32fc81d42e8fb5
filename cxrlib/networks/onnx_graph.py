"""A Keras network as ONNX graphs: the forward pass, and the same with its gradient.

Written layer by layer with the rules of `onnx_rules`, so that a network is served without
TensorFlow, whichever of Keras' backends trained it.
"""

from collections.abc import Collection

import keras
import onnx
from onnx import TensorProto, helper

from cxrlib.networks import onnx_shapes  # noqa: F401, has rules
from cxrlib.networks.onnx_rules import (
    RULES,
    ExportError,
    Gradient,
    Graph,
    left_to_convolutions,
    linear,
)
from cxrlib.networks.pooling import LogSumExpPooling

_OPSET, _IR_VERSION = 18, 10
_SHARED = 1024  # bytes; smaller weights are kept in both graphs


def classifier_graphs(
    model: keras.Model, features_layer: str
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    """The graphs of a network of `registry.REGISTRY`.

    Both take ``pixels [n, size, size]`` in 0..255 and give, by these names, all ``float32``:

    - ``logits [n, outputs]``, before the last activation, and ``pooled [n, k]``, the output of
      the layer ``pool`` or, in a network without, the mean of the features over their plane;
    - ``features [n, k, height, width]``, the output of ``features_layer``, and
      ``features_gradient``, that of the log-odds of pneumonia with respect to them;
    - ``evidence [n, height, width]``, where the network has a layer of that name: the log-odds of
      pneumonia that the image would have for each place alone.

    The second graph also gives ``gradient [n, size, size]``, with respect to the pixels.

    Args:
        model: a flat network whose layers are used once each.
        features_layer: name of the layer that heatmaps are read from.

    Returns:
        The forward pass, and the pass with the gradient.

    Raises:
        ExportError: there is no rule for one of the layers.
    """
    writer = _Writer(model)
    layers = {layer.name: layer for layer in model.layers}
    features = layers[features_layer].output
    outputs = [
        writer.output("logits", model.output),
        writer.output("pooled", layers["pool"].output)
        if "pool" in layers
        else writer.mean("pooled", features),
        writer.output("features", features),
    ]
    if "evidence" in layers:
        outputs.append(writer.alone(layers["evidence"], layers["evidence_pool"]))
    gradients = writer.differentiate()
    outputs.append(writer.output("features_gradient", features, gradients))
    forward = writer.graph(outputs)
    outputs.append(writer.output("gradient", model.inputs[0], gradients))
    return forward, writer.graph(outputs)


def map_graph(model: keras.Model, name: str) -> onnx.ModelProto:
    """The graph from ``pixels [n, size, size]`` to a map of that shape, called ``name``.

    Raises:
        ExportError: there is no rule for one of the layers.
    """
    writer = _Writer(model)
    return writer.graph([writer.output(name, model.output)])


def share_weights(graph: onnx.ModelProto, file_name: str, stored: bytes) -> None:
    """Have a graph take its weights from another's file, as ONNX's external data.

    Args:
        graph: changed in place; to be stored in the same folder.
        file_name: of the other graph.
        stored: what that file holds.
    """
    for tensor in graph.graph.initializer:
        size = len(tensor.raw_data)
        place = stored.find(tensor.raw_data) if size >= _SHARED else -1
        if place >= 0:
            for key, value in (("location", file_name), ("offset", place), ("length", size)):
                tensor.external_data.add(key=key, value=str(value))
            tensor.data_location = TensorProto.EXTERNAL
            tensor.ClearField("raw_data")


class _Writer:
    """Writes a model's layers, then their gradients."""

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._graph = Graph()
        # From Keras' tensors to the names of what they are here.
        self._names = {
            id(model.inputs[0]): self._graph.add("Unsqueeze", "pixels", self._graph.integers(1))
        }
        self._tape: list[tuple[str, list[str], Gradient]] = []
        for layer in model.layers[1:]:
            self._write(layer)

    def _write(self, layer: keras.Layer) -> None:
        sources = layer.input if isinstance(layer.input, list) else [layer.input]
        inputs = [self._names[id(source)] for source in sources]
        if left_to_convolutions(layer):
            self._names[id(layer.output)] = inputs[0]
            return
        if layer.output is self._model.output and isinstance(layer, keras.layers.Dense):
            y, gradient = linear(self._graph, layer, inputs[0])
        elif write := RULES.get(type(layer)):
            y, gradient = write(self._graph, layer, inputs)
        else:
            raise ExportError(
                f"The layer {layer.name} is a {type(layer).__name__}, for which "
                "cxrlib/networks/onnx_rules.py has no rule: add one."
            )
        self._names[id(layer.output)] = y
        if y not in inputs:  # a layer that does nothing here has no gradient of its own either
            self._tape.append((y, inputs, gradient))

    def differentiate(self) -> dict[str, str]:
        """Write the gradients of the log-odds of pneumonia; their names, by what they are of."""
        add = self._graph.add
        logits = self._names[id(self._model.output)]
        gradients = {logits: self._gradient_of_log_odds(logits)}
        for y, inputs, gradient in reversed(self._tape):
            if y in gradients:
                for x, part in zip(inputs, gradient(gradients[y]), strict=True):
                    gradients[x] = add("Add", gradients[x], part) if x in gradients else part
        return gradients

    def _gradient_of_log_odds(self, logits: str) -> str:
        """As `metrics.log_odds_of_logits`, with respect to the logits ``[n, outputs]``."""
        graph, outputs = self._graph, self._model.output.shape[-1]
        if outputs == 1:
            return graph.add("Exp", graph.add("Mul", logits, graph.constant(0)))
        ends = map(graph.integers, (1, outputs, 1))
        ill = graph.add("Softmax", graph.add("Slice", logits, *ends))
        total = graph.add("ReduceSum", ill, graph.integers(1))
        return graph.add("Concat", graph.add("Neg", total), ill, axis=1)

    def output(
        self, name: str, tensor: keras.KerasTensor, gradients: dict[str, str] | None = None
    ) -> onnx.ValueInfoProto:
        """Give a tensor, or its gradient, the name of an output. A map of one channel loses it."""
        found = self._names[id(tensor)]
        if gradients is not None:
            found = gradients[found]
        *place, channels = tensor.shape[1:]
        if place and channels == 1:
            self._graph.add("Squeeze", found, self._graph.integers(1), name=name)
            shape = place
        else:
            self._graph.add("Identity", found, name=name)
            shape = [channels, *place]
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])

    def alone(self, evidence: keras.Layer, pooling: LogSumExpPooling) -> onnx.ValueInfoProto:
        """Give the name ``evidence`` to the logits that images have if one place speaks alone."""
        graph, place = self._graph, evidence.output
        scale, offset = (values.item() for values in self._model.layers[-1].get_weights())
        offset -= scale * pooling.one_place(place.shape)
        scaled = graph.add("Mul", self._names[id(place)], graph.constant(scale))
        logits = graph.add("Add", scaled, graph.constant(offset))
        graph.add("Squeeze", logits, graph.integers(1), name="evidence")
        return helper.make_tensor_value_info(
            "evidence", TensorProto.FLOAT, ["n", *place.shape[1:3]]
        )

    def mean(self, name: str, tensor: keras.KerasTensor) -> onnx.ValueInfoProto:
        """Give a map's mean over its plane the name of an output."""
        axes = self._graph.integers(2, 3)
        self._graph.add("ReduceMean", self._names[id(tensor)], axes, name=name, keepdims=0)
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", tensor.shape[-1]])

    def graph(self, outputs: list[onnx.ValueInfoProto]) -> onnx.ModelProto:
        """The graph of what these outputs need."""
        needed = {output.name for output in outputs}
        nodes = []
        for node in reversed(self._graph.nodes):
            if needed.intersection(node.output):
                needed.update(node.input)
                nodes.append(_with_outputs(node, needed))
        size = self._model.inputs[0].shape[1]
        pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", size, size])
        constants = [constant for constant in self._graph.constants if constant.name in needed]
        graph = helper.make_graph(nodes[::-1], self._model.name, [pixels], outputs, constants)
        opset = [helper.make_opsetid("", _OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=_IR_VERSION)
        onnx.checker.check_model(model)
        return model


def _with_outputs(node: onnx.NodeProto, needed: Collection[str]) -> onnx.NodeProto:
    """A node without a second output that nothing needs: pooling without places is faster."""
    if len(node.output) == 1 or node.output[1] in needed:
        return node
    alone = onnx.NodeProto()
    alone.CopyFrom(node)
    del alone.output[1:]
    return alone
