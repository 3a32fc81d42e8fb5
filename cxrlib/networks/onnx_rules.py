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

from cxrlib.networks.pooling import LogSumExpPooling
from cxrlib.runs.folder import RunError

# From the gradient with respect to the output, by name, those with respect to the inputs.
Gradient = Callable[[str], list[str]]
Rule = Callable[["Graph", keras.Layer, Sequence[str]], tuple[str, Gradient]]

_HEIGHT_AND_WIDTH = (2, 3)


class ExportError(RunError):
    """A network cannot be written as ONNX; says what in it."""


class Graph:
    """An ONNX graph under construction: nodes in order, and constants."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

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
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name


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
    return _rectified(graph, inputs[0], layer.max_value)


@rule(keras.layers.Activation)
def _activation(
    graph: Graph, layer: keras.layers.Activation, inputs: Sequence[str]
) -> tuple[str, Gradient]:
    return _activated(graph, inputs[0], layer.activation)


def _activated(graph: Graph, x: str, activation: Callable) -> tuple[str, Gradient]:
    match activation.__name__:
        case "linear":
            return x, _nothing
        case "relu":
            return _rectified(graph, x, None)
        case "relu6":
            return _rectified(graph, x, 6)
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
        case name:
            raise ExportError(f"The activation {name} has no rule in {__name__}.")


def _rest(graph: Graph, share: str) -> str:
    return graph.add("Sub", graph.constant(1), share)


def _rectified(graph: Graph, x: str, most: float | None) -> tuple[str, Gradient]:
    zero = graph.constant(0)
    if most is None:
        y = graph.add("Relu", x)
    else:
        ceiling = graph.constant(most)
        y = graph.add("Clip", x, zero, ceiling)

    def gradient(g: str) -> list[str]:
        open_ = graph.add("Greater", y, zero)
        if most is not None:
            open_ = graph.add("And", open_, graph.add("Less", y, ceiling))
        # A product of numbers: ONNX Runtime's Where takes five times as long.
        return [graph.add("Mul", g, graph.add("Cast", open_, to=onnx.TensorProto.FLOAT))]

    return y, gradient


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


# Convolutions


@rule(keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
def _convolution(
    graph: Graph,
    layer: keras.layers.Conv2D | keras.layers.DepthwiseConv2D,
    inputs: Sequence[str],
) -> tuple[str, Gradient]:
    kernel, *bias = layer.get_weights()
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        groups = kernel.shape[2]
        kernel = kernel.transpose(2, 3, 0, 1).reshape(-1, 1, *kernel.shape[:2])
    else:
        groups = layer.groups
        kernel = kernel.transpose(3, 2, 0, 1)
    y, before_activation = _convolved(graph, inputs[0], layer, kernel, bias, groups)
    z, activation = _activated(graph, y, layer.activation)
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
    sides, strides, pads = kernel.shape[2:], layer.strides, _pads(layer, kernel.shape[2:])
    weights = graph.constant(kernel)
    options = {"strides": strides, "pads": pads, "group": groups}
    y = graph.add("Conv", x, weights, *map(graph.constant, bias), **options)

    def gradient(g: str) -> list[str]:
        if strides == (1, 1) and (groups == 1 or groups == len(kernel)):
            # With the kernel turned over: the runtime does it once, when it loads the graph, and
            # convolves faster than it does the transposed convolution.
            turned = weights if groups > 1 else graph.add("Transpose", weights, perm=[1, 0, 2, 3])
            last, first = graph.integers(-1, -1), graph.integers(*(-side - 1 for side in sides))
            axes = graph.integers(*_HEIGHT_AND_WIDTH)
            turned = graph.add("Slice", turned, last, first, axes, graph.integers(-1, -1))
            back = [side - 1 - pad for side, pad in zip(sides * 2, pads, strict=True)]
            return [graph.add("Conv", g, turned, pads=back, group=groups)]
        before, after = layer.input.shape[1:3], layer.output.shape[1:3]
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


def _pads(layer: keras.Layer, sides: Sequence[int]) -> list[int]:
    """Top, left, bottom, right, as TensorFlow pads: the odd one at the end."""
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
    z, activation = _activated(graph, y, layer.activation)
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


# Padding, pooling, enlarging


@rule(keras.layers.ZeroPadding2D)
def _zero_padding(
    graph: Graph, layer: keras.layers.ZeroPadding2D, inputs: Sequence[str]
) -> tuple[str, Gradient]:
    (top, bottom), (left, right) = layer.padding
    height, width = layer.input.shape[1:3]
    y = graph.add("Pad", inputs[0], graph.integers(0, 0, top, left, 0, 0, bottom, right))
    first, end = (top, left), (top + height, left + width)
    return y, lambda g: [
        graph.add("Slice", g, *(graph.integers(*v) for v in (first, end, _HEIGHT_AND_WIDTH)))
    ]


@rule(keras.layers.GlobalAveragePooling2D)
def _global_average(
    graph: Graph, layer: keras.layers.GlobalAveragePooling2D, inputs: Sequence[str]
) -> tuple[str, Gradient]:
    height, width = layer.input.shape[1:3]
    axes = graph.integers(*_HEIGHT_AND_WIDTH)
    y = graph.add("ReduceMean", inputs[0], axes, keepdims=int(layer.keepdims))

    def gradient(g: str) -> list[str]:
        if not layer.keepdims:
            g = graph.add("Unsqueeze", g, axes)
        share = graph.add("Mul", g, graph.constant(1 / (height * width)))
        return [graph.add("Expand", share, graph.integers(1, 1, height, width))]

    return y, gradient


@rule(LogSumExpPooling)
def _log_sum_exp(
    graph: Graph, layer: LogSumExpPooling, inputs: Sequence[str]
) -> tuple[str, Gradient]:
    axes = graph.integers(*_HEIGHT_AND_WIDTH)
    sharpness = graph.constant(layer.sharpness)
    sharpened = graph.add("Mul", inputs[0], sharpness)
    total = graph.add("ReduceLogSumExp", sharpened, axes, keepdims=1)
    places = graph.constant(layer.one_place(layer.input.shape))
    pooled = graph.add("Sub", graph.add("Div", total, sharpness), places)
    y = graph.add("Squeeze", pooled, axes)

    def gradient(g: str) -> list[str]:
        shares = graph.add("Exp", graph.add("Sub", sharpened, total))  # a softmax over the plane
        return [graph.add("Mul", graph.add("Unsqueeze", g, axes), shares)]

    return y, gradient


@rule(keras.layers.AveragePooling2D)
def _average_pooling(
    graph: Graph, layer: keras.layers.AveragePooling2D, inputs: Sequence[str]
) -> tuple[str, Gradient]:
    if layer.padding != "valid" or layer.strides != layer.pool_size:
        raise ExportError(f"The layer {layer.name} averages over areas that overlap or are padded.")
    options = {"kernel_shape": layer.pool_size, "strides": layer.strides}
    y = graph.add("AveragePool", inputs[0], **options)

    def gradient(g: str) -> list[str]:
        channels, (rows, columns) = layer.input.shape[-1], layer.pool_size
        before, after = layer.input.shape[1:3], layer.output.shape[1:3]
        unread = [before[0] - after[0] * rows, before[1] - after[1] * columns]
        shares = graph.constant(np.full((channels, 1, rows, columns), 1 / (rows * columns)))
        options = {"strides": layer.strides, "output_padding": unread, "group": channels}
        return [graph.add("ConvTranspose", g, shares, **options)]

    return y, gradient


@rule(keras.layers.MaxPooling2D)
def _max_pooling(
    graph: Graph, layer: keras.layers.MaxPooling2D, inputs: Sequence[str]
) -> tuple[str, Gradient]:
    options = {"kernel_shape": layer.pool_size, "strides": layer.strides}
    places = f"{layer.name}_places"  # of each maximum, counted through all images of the batch
    pads = _pads(layer, layer.pool_size)
    y = graph.add("MaxPool", inputs[0], second=places, pads=pads, **options)

    def gradient(g: str) -> list[str]:
        height, width, channels = layer.input.shape[1:]
        row = graph.integers(-1)
        size = graph.add("ReduceProd", graph.add("Shape", inputs[0]), keepdims=1)
        flat = graph.add(
            "ScatterElements",
            graph.add("ConstantOfShape", size),
            graph.add("Reshape", places, row),
            graph.add("Reshape", g, row),
            reduction="add",  # areas that overlap may have the same maximum
        )
        return [graph.add("Reshape", flat, graph.integers(-1, channels, height, width))]

    return y, gradient


@rule(keras.layers.UpSampling2D)
def _upsampling(
    graph: Graph, layer: keras.layers.UpSampling2D, inputs: Sequence[str]
) -> tuple[str, Gradient]:
    weights = {"nearest": _repeated, "bilinear": _interpolated}[layer.interpolation]
    down, across = (
        weights(size, factor)
        for size, factor in zip(layer.input.shape[1:3], layer.size, strict=True)
    )

    def product(left: np.ndarray, x: str, right: np.ndarray) -> str:
        return graph.add(
            "MatMul", graph.add("MatMul", graph.constant(left), x), graph.constant(right)
        )

    y = product(down, inputs[0], across.T)
    return y, lambda g: [product(down.T, g, across)]


def _repeated(size: int, factor: int) -> np.ndarray:
    """What takes ``[size]`` to ``[size * factor]``, ``[size * factor, size]``."""
    return np.repeat(np.eye(size), factor, axis=0)


def _interpolated(size: int, factor: int) -> np.ndarray:
    """As `_repeated`, between the centres of the cells."""
    at = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)
    return np.maximum(0, 1 - np.abs(at[:, None] - np.arange(size)))


# Several inputs, other shapes


@rule(keras.layers.Add)
def _add(graph: Graph, layer: keras.layers.Add, inputs: Sequence[str]) -> tuple[str, Gradient]:
    first, *others = inputs
    y = first
    for other in others:
        y = graph.add("Add", y, other)
    return y, lambda g: [g] * len(inputs)


@rule(keras.layers.Multiply)
def _multiply(
    graph: Graph, layer: keras.layers.Multiply, inputs: Sequence[str]
) -> tuple[str, Gradient]:
    """Of two, one of which may have one number a channel."""
    one, other = inputs

    def gradient(g: str) -> list[str]:
        gradients = []
        for tensor, factor in zip(layer.input, (other, one), strict=True):
            product = graph.add("Mul", g, factor)
            if tensor.shape != layer.output.shape:
                product = graph.add("ReduceSum", product, graph.integers(*_HEIGHT_AND_WIDTH))
            gradients.append(product)
        return gradients

    return graph.add("Mul", one, other), gradient


@rule(keras.layers.Concatenate)
def _concatenate(
    graph: Graph, layer: keras.layers.Concatenate, inputs: Sequence[str]
) -> tuple[str, Gradient]:
    """Of channels."""
    channels = [tensor.shape[-1] for tensor in layer.input]

    def gradient(g: str) -> list[str]:
        ends = np.cumsum(channels).tolist()
        return [
            graph.add("Slice", g, *map(graph.integers, (end - count, end, 1)))
            for count, end in zip(channels, ends, strict=True)
        ]

    return graph.add("Concat", *inputs, axis=1), gradient


@rule(keras.layers.Reshape)
def _reshape(
    graph: Graph, layer: keras.layers.Reshape, inputs: Sequence[str]
) -> tuple[str, Gradient]:
    before, after = (_channels_first(t.shape) for t in (layer.input, layer.output))
    y = graph.add("Reshape", inputs[0], graph.integers(-1, *after))
    return y, lambda g: [graph.add("Reshape", g, graph.integers(-1, *before))]


def _channels_first(shape: Sequence[int]) -> list[int]:
    """Of ``[n, height, width, channels]`` or ``[n, channels]``, without ``n``."""
    return [shape[-1], *shape[1:-1]]
