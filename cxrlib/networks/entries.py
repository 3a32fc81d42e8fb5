"""What the registry holds of each network, and how one is entered."""

from collections.abc import Callable
from dataclasses import dataclass

import keras


@dataclass(frozen=True)
class Network:
    """An entry of the registry.

    Attributes:
        backbone: from the scaled input tensor to a model that ends in a feature map.
        scale: from grey pixels 0..255 to what the backbone expects.
        heatmap_layer: name of the last layer whose output keeps the image's plane.
        fine_layer: name of the last layer of twice its resolution, which the evidence head joins
            with it; None where the last is fine enough.
        pretrained: whether ImageNet weights exist.
        load: fills the backbone from a file of keras.applications' weights.
    """

    backbone: Callable[..., keras.Model]
    scale: Callable[[keras.KerasTensor], keras.KerasTensor]
    heatmap_layer: str
    fine_layer: str | None = None
    pretrained: bool = True
    load: Callable[[keras.Model, str], object] = keras.Model.load_weights


REGISTRY: dict[str, Network] = {}


def register(
    name: str,
    *,
    heatmap_layer: str,
    scale: Callable[[keras.KerasTensor], keras.KerasTensor],
    fine_layer: str | None = None,
    pretrained: bool = True,
    load: Callable[[keras.Model, str], object] = keras.Model.load_weights,
) -> Callable[[Callable[..., keras.Model]], Callable[..., keras.Model]]:
    """Enter the decorated ``backbone(input_tensor, weights) -> keras.Model`` under ``name``."""

    def enter(backbone: Callable[..., keras.Model]) -> Callable[..., keras.Model]:
        REGISTRY[name] = Network(backbone, scale, heatmap_layer, fine_layer, pretrained, load)
        return backbone

    return enter
