"""The architectures, by name.

Every network is one flat functional graph (never a model in a model), so that any layer can be
reached for heatmaps. It takes grey images ``[n, size, size, 1]`` in 0..255; the scaling its
backbone wants is a layer inside. The layer ``probability`` is last. Before it the backbone's
features are averaged over the plane (``pool``); or, with the head ``evidence``, they become one map
of log-odds, the layer ``evidence``, whose smooth maximum is the score.

A network is registered with a decorator; the tests walk the registry.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
from keras import layers

from cxrlib.networks.loading import folded
from cxrlib.networks.pooling import LogSumExpPooling

_JOINED, _REFINED = 128, 64  # channels of the evidence head
_SHARPNESS = 4.0
_NO_EVIDENCE = -2.0  # log-odds that every place begins with

# Means and deviations that the ImageNet weights of keras.applications were trained with.
_CAFFE_MEANS = (103.939, 116.779, 123.68)
_TORCH_MEANS = (0.485, 0.456, 0.406)
_TORCH_DEVIATIONS = (0.229, 0.224, 0.225)


class WeightsError(ValueError):
    """Weights could not be fetched or do not fit; says what to do."""


@dataclass(frozen=True)
class Network:
    """An entry of the registry.

    Attributes:
        backbone: from the scaled input tensor to a model that ends in a feature map.
        scale: from grey pixels 0..255 to what the backbone expects.
        heatmap_layer: name of the last layer whose output keeps the image's plane.
        fine_layer: name of the last layer of twice its resolution, which the evidence head joins
            with it; None where the last is fine enough.
    """

    backbone: Callable[..., keras.Model]
    scale: Callable[[keras.KerasTensor], keras.KerasTensor]
    heatmap_layer: str
    fine_layer: str | None = None
    pretrained: bool = True


REGISTRY: dict[str, Network] = {}


def register(
    name: str,
    *,
    heatmap_layer: str,
    scale: Callable[[keras.KerasTensor], keras.KerasTensor],
    fine_layer: str | None = None,
    pretrained: bool = True,
) -> Callable[[Callable[..., keras.Model]], Callable[..., keras.Model]]:
    """Enter the decorated ``backbone(input_tensor, weights) -> keras.Model`` under ``name``."""

    def enter(backbone: Callable[..., keras.Model]) -> Callable[..., keras.Model]:
        REGISTRY[name] = Network(backbone, scale, heatmap_layer, fine_layer, pretrained)
        return backbone

    return enter


def build(
    name: str,
    *,
    size: int = 224,
    classes: int = 2,
    head: str = "sigmoid",
    weights: str = "imagenet",
    dropout: float = 0.2,
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
    backbone = _backbone(name, network.scale(pixels), weights, fold=head == "evidence")
    if head == "evidence":
        if size % 32:
            raise ValueError(
                f"The evidence head needs a size that is a multiple of 32, not {size}."
            )
        return _with_evidence(name, folded(backbone), dropout)
    features = layers.GlobalAveragePooling2D(name="pool")(backbone.output)
    features = layers.Dropout(dropout, name="dropout")(features)
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


def pooled_features(model: keras.Model, name: str) -> keras.KerasTensor:
    """The mean over the plane of a network's last features, ``[n, k]``, by its registry's name.

    The plain heads read it; of what is no chest radiograph it tells with any head.
    """
    for layer in model.layers:
        if layer.name == "pool":
            return layer.output
    features = model.get_layer(REGISTRY[name].heatmap_layer).output
    return layers.GlobalAveragePooling2D(name="pool")(features)


def _backbone(name: str, scaled: keras.KerasTensor, weights: str, *, fold: bool) -> keras.Model:
    """``fold``: whether its normalization will be folded, and that of a run may be already."""
    network = REGISTRY[name]
    if weights == "none":
        return network.backbone(scaled, None)
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
                backbone.load_weights(weights)
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


def _colour(pixels: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Concatenate(name="grey_to_rgb")([pixels, pixels, pixels])


def _unit(pixels: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Rescaling(1 / 255, name="scale")(pixels)


def _signed_unit(pixels: keras.KerasTensor) -> keras.KerasTensor:
    return _colour(layers.Rescaling(1 / 127.5, offset=-1, name="scale")(pixels))


def _caffe(pixels: keras.KerasTensor) -> keras.KerasTensor:
    means = [-mean for mean in _CAFFE_MEANS]
    return layers.Rescaling([1.0] * 3, offset=means, name="scale")(_colour(pixels))


def _torch(pixels: keras.KerasTensor) -> keras.KerasTensor:
    pairs = list(zip(_TORCH_MEANS, _TORCH_DEVIATIONS, strict=True))
    return layers.Rescaling(
        [1 / (255 * deviation) for _, deviation in pairs],
        offset=[-mean / deviation for mean, deviation in pairs],
        name="scale",
    )(_colour(pixels))


@register("cnn", heatmap_layer="dense", scale=_unit, pretrained=False)
def _cnn(scaled: keras.KerasTensor, weights: None) -> keras.Model:
    """Four convolutions with batch normalization, pooling after two of them, a dense layer.

    The first strides, where most of the time would go; normalization comes after pooling, which
    leaves it a quarter of the work. The last feature map has an eighth of the input's side: a
    place of it sees about a third of the image's width at 150 px, and heatmaps point there.
    """
    x = scaled
    for block, width in enumerate((16, 24, 48, 96), start=1):
        kernel, stride = (5, 2) if block == 1 else (3, 1)
        x = layers.Conv2D(
            width, kernel, stride, padding="same", use_bias=False, name=f"block{block}_conv"
        )(x)
        if block <= 2:
            x = layers.MaxPooling2D(name=f"block{block}_pool")(x)
        # Keras' 0.99 would take hundreds of steps to leave the initial statistics behind.
        x = layers.BatchNormalization(momentum=0.9, name=f"block{block}_normalization")(x)
        x = layers.ReLU(name=f"block{block}_relu")(x)
    # Dense over channels, place by place: what is averaged over the plane after it is linear in
    # the score, and Grad-CAM exact.
    x = layers.Dense(64, activation="relu", name="dense")(x)
    return keras.Model(keras.utils.get_source_inputs(scaled), x)


@register(
    "mobilenetv2",
    heatmap_layer="out_relu",
    fine_layer="block_13_expand_relu",
    scale=_signed_unit,
)
def _mobilenetv2(scaled: keras.KerasTensor, weights: str | None) -> keras.Model:
    """Sandler et al., CVPR 2018."""
    return keras.applications.MobileNetV2(input_tensor=scaled, include_top=False, weights=weights)


@register("vgg16", heatmap_layer="block5_conv3", fine_layer="block5_conv3", scale=_caffe)
def _vgg16(scaled: keras.KerasTensor, weights: str | None) -> keras.Model:
    """Simonyan and Zisserman, ICLR 2015."""
    return keras.applications.VGG16(input_tensor=scaled, include_top=False, weights=weights)


@register("resnet50", heatmap_layer="conv5_block3_out", fine_layer="conv4_block6_out", scale=_caffe)
def _resnet50(scaled: keras.KerasTensor, weights: str | None) -> keras.Model:
    """He et al., CVPR 2016."""
    return keras.applications.ResNet50(input_tensor=scaled, include_top=False, weights=weights)


@register(
    "efficientnetb0",
    heatmap_layer="top_activation",
    fine_layer="block6a_expand_activation",
    scale=_colour,
)
def _efficientnetb0(scaled: keras.KerasTensor, weights: str | None) -> keras.Model:
    """Tan and Le, ICML 2019; its own layers do the scaling."""
    return keras.applications.EfficientNetB0(
        input_tensor=scaled, include_top=False, weights=weights
    )


@register("densenet121", heatmap_layer="relu", fine_layer="pool4_relu", scale=_torch)
def _densenet121(scaled: keras.KerasTensor, weights: str | None) -> keras.Model:
    """Huang et al., CVPR 2017."""
    return keras.applications.DenseNet121(input_tensor=scaled, include_top=False, weights=weights)
