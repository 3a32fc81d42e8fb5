"""Which values of a `config.TrainingConfig` do not go together, and what to change."""

from typing import Any


def check(config: Any) -> None:
    """Raise ``ValueError``, with the remedy, for values that do not go together.

    Args:
        config: a `config.TrainingConfig`, whose file imports this one.
    """
    _check_network(config)
    _check_learning(config)


def _check_network(config: Any) -> None:
    if config.classes == 3 and config.head != "softmax":
        raise ValueError(f"three classes need head=softmax: {config.head} tells only two apart")
    if config.head_epochs + config.fine_tune_epochs == 0:
        raise ValueError("nothing to train: set head_epochs or fine_tune_epochs above 0")
    if config.fine_tune_depth and config.fine_tune_layers:
        raise ValueError(
            "fine_tune_layers counted what fine_tune_depth counts otherwise: set one of them"
        )
    if config.network != "cnn" and (config.cnn_width, config.cnn_blocks) != (16, 4):
        raise ValueError("cnn_width and cnn_blocks are of network=cnn: leave them out, or set it")
    if config.hidden_units and config.head == "evidence":
        raise ValueError(
            "a map of evidence has no dense layer: set hidden_units=0, or another head"
        )
    if config.network == "cnn" and config.weights != "none":
        raise ValueError("the cnn has no pretrained weights: set weights=none")
    if config.weights == "none" and config.head_epochs > 0:
        raise ValueError(
            "a backbone without pretrained weights cannot stay frozen: set head_epochs=0"
        )


def _check_learning(config: Any) -> None:
    if config.consistency_weight and (not config.augments or not config.fine_tune_epochs):
        raise ValueError(
            "consistency_weight compares augmentations of an image in fine-tuning: set "
            "augmentation and fine_tune_epochs, or consistency_weight=0"
        )
    if config.synthetic_opacity_ratio and (config.classes == 3 or not config.fine_tune_epochs):
        raise ValueError(
            "a synthetic opacity is neither bacterial nor viral, and is for fine-tuning: set "
            "classes=2 and fine_tune_epochs, or synthetic_opacity_ratio=0"
        )
    if config.randomize_background and not config.augments and not config.fine_tune_epochs:
        raise ValueError(
            "the background is randomized together with augmentation or in fine-tuning: set "
            "augmentation or fine_tune_epochs, or randomize_background off"
        )
    if config.distill_from_start and (
        not config.weights.endswith(".keras") or not config.augments or not config.fine_tune_epochs
    ):
        raise ValueError(
            "distillation needs a run to learn from and augmented images: set weights to its "
            "model.keras, augmentation and fine_tune_epochs, or distill_from_start off"
        )
    if config.distill_from_start and (
        config.head_epochs or config.label_smoothing or config.consistency_weight
    ):
        raise ValueError(
            "distillation does not use the labels: set head_epochs, label_smoothing and "
            "consistency_weight to 0, or distill_from_start off"
        )
    if config.head == "evidence" and (config.size % 32 or config.head_epochs):
        raise ValueError(
            "an evidence map is learned together with its backbone, on a grid of 32 pixels: "
            "set head_epochs=0 and a size that is a multiple of 32, or another head"
        )
    if config.head == "evidence" and (
        config.distribute or config.consistency_weight or config.distill_from_start
    ):
        raise ValueError(
            "an evidence map learns from labels and synthetic opacities, on one device: set "
            "distribute and distill_from_start off and consistency_weight=0, or another head"
        )
    if config.weight_interpolation and not config.weights.endswith(".keras"):
        raise ValueError(
            "weight_interpolation needs the network of another run: set weights to its model.keras"
        )
    if config.consistency_weight and (config.distribute or config.batch_size % 2):
        raise ValueError(
            "consistency_weight compares pairs within a batch: set distribute off and an even "
            "batch_size"
        )
