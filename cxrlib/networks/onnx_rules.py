"""How each kind of layer is written in ONNX, and its gradient.

A rule adds the nodes that compute its layer, and returns a function that adds those of the gradient
with respect to its inputs (reverse-mode differentiation). Images and maps, ``[n, height, width,
channels]`` in Keras, are ``[n, channels, height, width]`` here.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import onnx
from numpy.typing import ArrayLike
from onnx import helper, numpy_helper

from cxrlib.runs.folder import RunError

# From the gradient with respect to the output, by name, those with respect to the inputs.
Gradient = Callable[[str], list[str]]
Rule = Callable[["Graph", keras.Layer, Sequence[str]], tuple[str, Gradient]]

Shape = tuple[Any, ...]  # of a Keras tensor

HEIGHT_AND_WIDTH = (2, 3)
_STEEP = 2.0**96  # makes 1 or more of any positive number that matters


class ExportError(RunError):
    """A network cannot be written as ONNX; says what in it."""


class Graph:
    """An ONNX graph under construction: nodes in order, and constants."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._kept: dict[tuple[str, tuple[int, ...], bytes], str] = {}

    def add(
        self, operation: str, *inputs: str, name: str = "", second: str = "", **attributes: Any
    ) -> str:
        """Add a node; the name of its output. ``second``: the name of its second, if it has one."""
        name = name or f"{operation}_{len(self.nodes)}"
        outputs = [name, second] if second else [name]
        self.nodes.append(helper.make_node(operation, inputs, outputs, **attributes))
        return name

    def constant(self, values: object) -> str:
        """Add numbers as ``float32``; their name."""
        return self._keep(np.asarray(values, np.float32))

    def integers(self, *values: int) -> str:
        """Add ``int64 [len(values)]``, as ONNX takes axes and sizes; their name."""
        return self._keep(np.asarray(values, np.int64))

    def _keep(self, values: np.ndarray) -> str:
        key = str(values.dtype), values.shape, values.tobytes()
        if key not in self._kept:
            self._kept[key] = name = f"constant_{len(self.constants)}"
            self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return self._kept[key]


RULES: dict[type[keras.Layer], Rule] = {}


def rule(*kinds: type[keras.Layer]) -> Callable[[Rule], Rule]:
    """Enter the decorated rule for some kinds of layers."""

    def enter(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, function))
        return function

    return enter


def _nothing(gradient: str) -> list[str]:
    return [gradient]


@rule(keras.layers.Dropout)
def _identity(graph: Graph, layer: keras.Layer, inputs: Sequence[str]) -> tuple[str, Gradient]:
    return inputs[0], _nothing


# Activations


@rule(keras.layers.ReLU)
def _relu(graph: Graph, layer: keras.layers.ReLU, inputs: Sequence[str]) -> tuple[str, Gradient]:
    if layer.negative_slope or layer.threshold:
        raise ExportError(f"The layer {layer.name} is not a plain ReLU.")
    return _rectified(graph, inputs[0], layer.max_value, layer.output.shape)


@rule(keras.layers.Activation)
def _activation(
    graph: Graph, layer: keras.layers.Activation, inputs: Sequence[str]
) -> tuple[str, Gradient]:
    return _activated(graph, inputs[0], layer.activation, layer.output.shape)


def _activated(graph: Graph, x: str, activation: Callable, shape: Shape) -> tuple[str, Gradient]:
    match activation.__name__:
        case "linear":
            return x, _nothing
        case "relu":
            return _rectified(graph, x, None, shape)
        case "relu6":
            return _rectified(graph, x, 6, shape)
        case "sigmoid":
            y = graph.add("Sigmoid", x)
            return y, lambda g: [graph.add("Mul", g, graph.add("Mul", y, _rest(graph, y)))]
        case "silu":
            gate = graph.add("Sigmoid", x)
            y = graph.add("Mul", x, gate)

            def gradient(g: str) -> list[str]:
                # (x s)' = s + x s (1 - s)
                slope = graph.add("Add", gate, graph.add("Mul", y, _rest(graph, gate)))
                return [graph.add("Mul", g, slope)]

            return y, gradient
        case "gelu":
            return _gelu(graph, x)
        case name:
            raise ExportError(f"The activation {name} has no rule in {__name__}.")


def _gelu(graph: Graph, x: str) -> tuple[str, Gradient]:
    """x times the normal distribution's share below x, by the error function."""
    erf = graph.add("Erf", graph.add("Mul", x, graph.constant(np.sqrt(0.5))))
    half = graph.constant(0.5)
    share = graph.add("Mul", graph.add("Add", erf, graph.constant(1)), half)

    def gradient(g: str) -> list[str]:
        # (x F)' = F + x f
        exponent = graph.add("Mul", graph.add("Mul", x, x), graph.constant(-0.5))
        density = graph.add(
            "Mul", graph.add("Exp", exponent), graph.constant(1 / np.sqrt(2 * np.pi))
        )
        return [graph.add("Mul", g, graph.add("Add", share, graph.add("Mul", x, density)))]

    return graph.add("Mul", x, share), gradient


def _rest(graph: Graph, share: str) -> str:
    return graph.add("Sub", graph.constant(1), share)


def _rectified(graph: Graph, x: str, most: float | None, shape: Shape) -> tuple[str, Gradient]:
    if most is None:
        y = graph.add("Relu", x)
    else:
        y = graph.add("Clip", x, graph.constant(0), graph.constant(most))

    def gradient(g: str) -> list[str]:
        inside = y  # positive where the gradient passes, else 0
        if most is not None:
            inside = graph.add("Mul", y, _affine(graph, y, -1, most, shape))
        steep = _affine(graph, inside, _STEEP, 0, shape)
        passes = graph.add("Clip", steep, graph.constant(0), graph.constant(1))
        return [graph.add("Mul", g, passes)]

    return y, gradient


def _affine(graph: Graph, x: str, factor: float, offset: float, shape: Shape) -> str:
    """Numbers of that shape (in Keras) times a factor, plus an offset.

    Maps are convolved with it, which takes the activation that follows along, in the blocked layout
    that ONNX Runtime convolves in. Comparisons, casts and products with a constant would each have
    it turned back and forth.
    """
    if len(shape) == 4:
        factors = graph.constant(np.full((shape[-1], 1, 1, 1), factor))
        offsets = graph.constant(np.full(shape[-1], offset))
        return graph.add("Conv", x, factors, offsets, group=shape[-1])
    return graph.add("Add", graph.add("Mul", x, graph.constant(factor)), graph.constant(offset))


# Scale and offset


@rule(keras.layers.Rescaling)
def _rescaling(
    graph: Graph, layer: keras.layers.Rescaling, inputs: Sequence[str]
) -> tuple[str, Gradient]:
    return _scaled(graph, inputs[0], layer.scale, layer.offset)


@rule(keras.layers.Normalization)
def _normalization(
    graph: Graph, layer: keras.layers.Normalization, inputs: Sequence[str]
) -> tuple[str, Gradient]:
    mean = keras.ops.convert_to_numpy(layer.mean)
    deviation = np.sqrt(keras.ops.convert_to_numpy(layer.variance))
    deviation = np.maximum(deviation, keras.config.epsilon())
    return _scaled(graph, inputs[0], 1 / deviation, -mean / deviation)


def _scaled(graph: Graph, x: str, scale: ArrayLike, offset: ArrayLike) -> tuple[str, Gradient]:
    by = _per_channel(graph, scale)
    y = graph.add("Add", graph.add("Mul", x, by), _per_channel(graph, offset))
    return y, lambda g: [graph.add("Mul", g, by)]


def _per_channel(graph: Graph, values: ArrayLike) -> str:
    return graph.constant(np.reshape(values, (-1, 1, 1)))


@rule(keras.layers.BatchNormalization)
def _batch_normalization(
    graph: Graph, layer: keras.layers.BatchNormalization, inputs: Sequence[str]
) -> tuple[str, Gradient]:
    gamma, beta, mean, variance = layer.get_weights()
    statistics = map(graph.constant, (gamma, beta, mean, variance))
    y = graph.add("BatchNormalization", inputs[0], *statistics, epsilon=layer.epsilon)
    scale = gamma / np.sqrt(variance + layer.epsilon)
    return y, lambda g: [graph.add("Mul", g, _per_channel(graph, scale))]


@rule(keras.layers.LayerNormalization)
def _layer_normalization(
    graph: Graph, layer: keras.layers.LayerNormalization, inputs: Sequence[str]
) -> tuple[str, Gradient]:
    """Over the channels of each place."""
    channels = graph.integers(1)

    def mean(x: str) -> str:
        return graph.add("ReduceMean", x, channels, keepdims=1)

    gamma, beta = layer.get_weights()
    scale = _per_channel(graph, gamma)
    centred = graph.add("Sub", inputs[0], mean(inputs[0]))
    variance = graph.add(
        "Add", mean(graph.add("Mul", centred, centred)), graph.constant(layer.epsilon)
    )
    deviation = graph.add("Sqrt", variance)
    normal = graph.add("Div", centred, deviation)
    y = graph.add("Add", graph.add("Mul", normal, scale), _per_channel(graph, beta))

    def gradient(g: str) -> list[str]:
        g = graph.add("Mul", g, scale)
        along = graph.add("Mul", normal, mean(graph.add("Mul", g, normal)))
        across = graph.add("Sub", graph.add("Sub", g, mean(g)), along)
        return [graph.add("Div", across, deviation)]

    return y, gradient


# Convolutions


@rule(keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
def _convolution(
    graph: Graph,
    layer: keras.layers.Conv2D | keras.layers.DepthwiseConv2D,
    inputs: Sequence[str],
) -> tuple[str, Gradient]:
    kernel, *bias = layer.get_weights()
    source = layer.input._keras_history.operation
    if isinstance(source, keras.layers.Concatenate) and left_to_convolutions(source):
        height, width, _, outputs = kernel.shape
        kernel = kernel.reshape(height, width, len(source.input), -1, outputs).sum(axis=2)
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        groups = kernel.shape[2]
        kernel = kernel.transpose(2, 3, 0, 1).reshape(-1, 1, *kernel.shape[:2])
    else:
        groups = layer.groups
        kernel = kernel.transpose(3, 2, 0, 1)
    y, before_activation = _convolved(graph, inputs[0], layer, kernel, bias, groups)
    z, activation = _activated(graph, y, layer.activation, layer.output.shape)
    return z, lambda g: before_activation(*activation(g))


def _convolved(
    graph: Graph,
    x: str,
    layer: keras.layers.Conv2D | keras.layers.DepthwiseConv2D,
    kernel: np.ndarray,
    bias: list[np.ndarray],
    groups: int,
) -> tuple[str, Gradient]:
    """Without activation; ``kernel`` is ``[outputs, inputs of a group, height, width]``."""
    sides, strides, pads = kernel.shape[2:], layer.strides, pads_of(layer, kernel.shape[2:])
    weights = graph.constant(kernel)
    options = {"strides": strides, "pads": pads, "group": groups}
    y = graph.add("Conv", x, weights, *map(graph.constant, bias), **options)
    padding = _padding_before(layer)
    before, after = (padding or layer).input.shape[1:3], layer.output.shape[1:3]

    def gradient(g: str) -> list[str]:
        # Convolved with the kernel turned over, where that takes no more arithmetic: the runtime
        # turns it once, when it loads the graph, and convolves faster than it does the transposed
        # convolution.
        first = [side - 1 - pad for side, pad in zip(sides, pads, strict=False)]
        last = [before[axis] + pads[axis] - strides[axis] * after[axis] for axis in (0, 1)]
        depthwise = groups == len(kernel)
        if min(first + last) >= 0 and (depthwise or (groups == 1 and strides == (1, 1))):
            if strides != (1, 1):
                g = _spread(graph, g, strides, layer.output.shape)
            turned = weights if groups > 1 else graph.add("Transpose", weights, perm=[1, 0, 2, 3])
            from_, to = graph.integers(-1, -1), graph.integers(*(-side - 1 for side in sides))
            axes = graph.integers(*HEIGHT_AND_WIDTH)
            turned = graph.add("Slice", turned, from_, to, axes, graph.integers(-1, -1))
            return [graph.add("Conv", g, turned, pads=first + last, group=groups)]
        unread = [
            before[axis]
            + pads[axis]
            + pads[axis + 2]
            - sides[axis]
            - strides[axis] * (after[axis] - 1)
            for axis in (0, 1)
        ]
        return [graph.add("ConvTranspose", g, weights, output_padding=unread, **options)]

    return y, gradient


def _spread(graph: Graph, x: str, strides: Sequence[int], shape: Shape) -> str:
    """A map with zeros between its places; ``shape`` is in Keras.

    With channels last, where a place is one block of memory.
    """
    height, width, channels = shape[1:]
    places = graph.add("Transpose", x, perm=[0, 2, 3, 1])
    places = graph.add("Reshape", places, graph.integers(-1, height, 1, width, 1, channels))
    zeros = graph.integers(*[0] * 8, strides[0] - 1, 0, strides[1] - 1, 0)
    places = graph.add("Pad", places, zeros)
    sides = height * strides[0], width * strides[1]
    places = graph.add("Reshape", places, graph.integers(-1, *sides, channels))
    return graph.add("Transpose", places, perm=[0, 3, 1, 2])


def left_to_convolutions(layer: keras.Layer) -> bool:
    """Whether only convolutions read what this layer makes, and do its work themselves here.

    They pad a map, and add up the parts of their kernels that read copies of the same.
    """
    readers = [node.operation for node in layer._outbound_nodes]
    match layer:
        case keras.layers.ZeroPadding2D():
            kinds = keras.layers.Conv2D | keras.layers.DepthwiseConv2D
            return all(isinstance(one, kinds) and one.padding == "valid" for one in readers)
        case keras.layers.Concatenate():
            copies = all(tensor is layer.input[0] for tensor in layer.input)
            return copies and all(
                type(one) is keras.layers.Conv2D and one.groups == 1 for one in readers
            )
    return False


def _padding_before(layer: keras.Layer) -> keras.layers.ZeroPadding2D | None:
    """The padding that is left to this convolution."""
    source = layer.input._keras_history.operation
    left = isinstance(source, keras.layers.ZeroPadding2D) and left_to_convolutions(source)
    return source if left else None


def pads_of(layer: keras.Layer, sides: Sequence[int]) -> list[int]:
    """Top, left, bottom, right, as TensorFlow pads: the odd one at the end."""
    if padding := _padding_before(layer):
        (top, bottom), (left, right) = padding.padding
        return [top, left, bottom, right]
    if layer.padding == "valid":
        return [0] * 4
    totals = [
        max((-(-size // stride) - 1) * stride + side - size, 0)
        for size, side, stride in zip(layer.input.shape[1:3], sides, layer.strides, strict=True)
    ]
    return [total // 2 for total in totals] + [total - total // 2 for total in totals]


@rule(keras.layers.Dense)
def _dense(graph: Graph, layer: keras.layers.Dense, inputs: Sequence[str]) -> tuple[str, Gradient]:
    y, before_activation = linear(graph, layer, inputs[0])
    z, activation = _activated(graph, y, layer.activation, layer.output.shape)
    return z, lambda g: before_activation(*activation(g))


def linear(graph: Graph, layer: keras.layers.Dense, x: str) -> tuple[str, Gradient]:
    """A dense layer without its activation, place by place where it stands on a map."""
    kernel, *bias = layer.get_weights()
    if len(layer.input.shape) == 4:
        weights = graph.constant(kernel.T[:, :, None, None])
        y = graph.add("Conv", x, weights, *map(graph.constant, bias))
        return y, lambda g: [
            graph.add("Conv", g, graph.add("Transpose", weights, perm=[1, 0, 2, 3]))
        ]
    weights = graph.constant(kernel)
    y = graph.add("Gemm", x, weights, *map(graph.constant, bias))
    return y, lambda g: [graph.add("Gemm", g, weights, transB=1)]
