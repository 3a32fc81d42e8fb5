"""The backbones of the registry, and the scaling that each wants.

Those with ImageNet weights are keras.applications'.
"""

import keras
from keras import layers

from cxrlib.networks.entries import register

# Means and deviations that the ImageNet weights of keras.applications were trained with.
_CAFFE_MEANS = (103.939, 116.779, 123.68)
_TORCH_MEANS = (0.485, 0.456, 0.406)
_TORCH_DEVIATIONS = (0.229, 0.224, 0.225)
_CNN_GROWTH = (1, 1.5, 3, 6)  # filters of each convolution, relative to the first's
_CONVNEXT_DEPTHS, _CONVNEXT_WIDTHS = (3, 3, 9, 3), (96, 192, 384, 768)
_LAYER_SCALE = 1e-6


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
def _cnn(scaled: keras.KerasTensor, weights: None, *, width: int, blocks: int) -> keras.Model:
    """Convolutions with batch normalization, pooling after the first two, and a dense layer.

    The first strides, where most of the time would go; normalization comes after pooling, which
    leaves it a quarter of the work. The last feature map has an eighth of the input's side: a
    place of it sees about a third of the image's width at 150 px, and heatmaps point there.
    """
    x = scaled
    for block in range(1, blocks + 1):
        filters = round(width * _CNN_GROWTH[min(block, len(_CNN_GROWTH)) - 1])
        kernel, stride = (5, 2) if block == 1 else (3, 1)
        x = layers.Conv2D(
            filters, kernel, stride, padding="same", use_bias=False, name=f"block{block}_conv"
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


@register(
    "efficientnetv2b0",
    heatmap_layer="top_activation",
    fine_layer="block6a_expand_activation",
    scale=_colour,
)
def _efficientnetv2b0(scaled: keras.KerasTensor, weights: str | None) -> keras.Model:
    """Tan and Le, ICML 2021; its own layers do the scaling."""
    return keras.applications.EfficientNetV2B0(
        input_tensor=scaled, include_top=False, weights=weights
    )


def _load_convnext(backbone: keras.Model, weights: str) -> None:
    """Fill `_convnexttiny` with weights of keras.applications': the same numbers in their order."""
    theirs = keras.applications.ConvNeXtTiny(
        input_shape=(32, 32, 3), include_top=False, weights=weights
    )
    pairs = zip(theirs.get_weights(), backbone.get_weights(), strict=True)
    backbone.set_weights([given.reshape(own.shape) for given, own in pairs])


@register(
    "convnexttiny",
    heatmap_layer="norm",
    fine_layer="stage3_block9",
    scale=_torch,
    load=_load_convnext,
)
def _convnexttiny(scaled: keras.KerasTensor, weights: str | None) -> keras.Model:
    """Liu et al., CVPR 2022.

    Written out, because keras.applications nests models in it and adds outside of layers. The scale
    of each channel (LayerScale) is a depth-wise convolution of one place.
    """

    def normalized(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
        return layers.LayerNormalization(epsilon=1e-6, name=name)(x)

    x = layers.Conv2D(_CONVNEXT_WIDTHS[0], 4, 4, name="stem_conv")(scaled)
    x = normalized(x, "stem_norm")
    for stage, (depth, width) in enumerate(
        zip(_CONVNEXT_DEPTHS, _CONVNEXT_WIDTHS, strict=True), start=1
    ):
        if stage > 1:
            x = normalized(x, f"stage{stage}_norm")
            x = layers.Conv2D(width, 2, 2, name=f"stage{stage}_downsample")(x)
        for block in range(1, depth + 1):
            name = f"stage{stage}_block{block}"
            y = layers.DepthwiseConv2D(7, padding="same", name=f"{name}_depthwise")(x)
            y = normalized(y, f"{name}_norm")
            y = layers.Dense(4 * width, name=f"{name}_expand")(y)
            y = layers.Activation("gelu", name=f"{name}_gelu")(y)
            y = layers.Dense(width, name=f"{name}_project")(y)
            y = layers.DepthwiseConv2D(
                1,
                use_bias=False,
                depthwise_initializer=keras.initializers.Constant(_LAYER_SCALE),
                name=f"{name}_layer_scale",
            )(y)
            x = layers.Add(name=name)([x, y])
    x = normalized(x, "norm")
    backbone = keras.Model(keras.utils.get_source_inputs(scaled), x)
    if weights:
        _load_convnext(backbone, weights)
    return backbone
