"""The network that finds lung fields: a small U-Net (Ronneberger et al., MICCAI 2015)."""

import keras
from keras import layers

SIZE = 128
_WIDTHS = (16, 32, 64, 96)


def build() -> keras.Model:
    """A U-Net ready to train: ``[n, SIZE, SIZE, 1]`` in 0..255 to probabilities of lung."""
    pixels = keras.Input((SIZE, SIZE, 1), name="pixels")
    x = layers.Rescaling(1 / 127.5, offset=-1, name="scale")(pixels)
    # Lungs are large and smooth: at half the side most of the time is saved and little lost.
    x = _convolve(x, _WIDTHS[0], "stem", strides=2)
    across = []
    for level, width in enumerate(_WIDTHS):
        if level:
            across.append(x)
            x = layers.MaxPooling2D(name=f"down{level}")(x)
            x = _convolve(x, width, f"encoder{level}_1")
        x = _convolve(x, width, f"encoder{level}_2")
    for level in reversed(range(len(_WIDTHS) - 1)):
        x = layers.UpSampling2D(interpolation="bilinear", name=f"up{level}")(x)
        x = layers.Concatenate(name=f"join{level}")([x, across[level]])
        x = _convolve(x, _WIDTHS[level], f"decoder{level}")
    x = layers.Conv2D(1, 1, dtype="float32", name="logit")(x)
    x = layers.UpSampling2D(interpolation="bilinear", dtype="float32", name="full_size")(x)
    lung = layers.Activation("sigmoid", dtype="float32", name="lung")(x)
    return keras.Model(pixels, lung, name="unet")


def _convolve(
    x: keras.KerasTensor, width: int, name: str, *, strides: int = 1
) -> keras.KerasTensor:
    x = layers.Conv2D(
        width, 3, strides=strides, padding="same", use_bias=False, name=f"{name}_conv"
    )(x)
    x = layers.BatchNormalization(momentum=0.95, name=f"{name}_normalization")(x)
    return layers.ReLU(name=f"{name}_relu")(x)
