"""The rules of `onnx_rules` for layers that pad, pool, enlarge, join or reshape."""

from collections.abc import Sequence

import keras
import numpy as np

from cxrlib.networks.onnx_rules import (
    HEIGHT_AND_WIDTH,
    ExportError,
    Gradient,
    Graph,
    pads_of,
    rule,
)
from cxrlib.networks.pooling import LogSumExpPooling

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
        graph.add("Slice", g, *(graph.integers(*v) for v in (first, end, HEIGHT_AND_WIDTH)))
    ]


@rule(keras.layers.GlobalAveragePooling2D)
def _global_average(
    graph: Graph, layer: keras.layers.GlobalAveragePooling2D, inputs: Sequence[str]
) -> tuple[str, Gradient]:
    height, width = layer.input.shape[1:3]
    axes = graph.integers(*HEIGHT_AND_WIDTH)
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
    axes = graph.integers(*HEIGHT_AND_WIDTH)
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
    pads = pads_of(layer, layer.pool_size)
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
                product = graph.add("ReduceSum", product, graph.integers(*HEIGHT_AND_WIDTH))
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
