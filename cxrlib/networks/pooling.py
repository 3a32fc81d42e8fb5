"""Pooling that a network's evidence is read with."""

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable("cxrlib")
class LogSumExpPooling(keras.layers.Layer):
    """A smooth maximum of maps over their plane (Pinheiro and Collobert, CVPR 2015).

    ``log(mean(exp(sharpness * x))) / sharpness``: near the mean where the sharpness is small, near
    the maximum where it is large. A small opacity then counts nearly as a large one.

    ``[n, height, width, channels]`` become ``[n, channels]``.

    Args:
        sharpness: above 0.
    """

    def __init__(self, sharpness: float, **options: object) -> None:
        super().__init__(**options)
        self.sharpness = sharpness

    def call(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        """The pooled maps."""
        summed = ops.logsumexp(self.sharpness * inputs, axis=(1, 2))
        return summed / self.sharpness - self.one_place(inputs.shape)

    def one_place(self, shape: tuple[int, ...]) -> float:
        """How far one place has to rise above the others to raise the result from theirs to its.

        The result for a map that is 0 but for one place of this value, far above 0, is about 0.

        Args:
            shape: of the maps, ``(n, height, width, channels)``.
        """
        return float(np.log(shape[1] * shape[2])) / self.sharpness

    def get_config(self) -> dict[str, object]:
        """For saving."""
        return super().get_config() | {"sharpness": self.sharpness}
