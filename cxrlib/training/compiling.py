"""Loss, optimizer and learning-rate schedule of a run, as Keras takes them."""

from typing import TypeAlias

import keras

from cxrlib.runs.config import TrainingConfig
from cxrlib.training.losses import LogitDistillationLoss, RDropLoss
from cxrlib.training.monitored import monitored

_WARM_UP_SHARE = 0.05

LearningRate: TypeAlias = float | keras.optimizers.schedules.LearningRateSchedule


def schedule(config: TrainingConfig, steps: int) -> LearningRate:
    """The learning rate of fine-tuning over so many steps."""
    if config.schedule == "constant":
        return config.learning_rate
    warm_up = max(1, round(_WARM_UP_SHARE * steps))
    return keras.optimizers.schedules.CosineDecay(
        config.learning_rate / 20,
        max(1, steps - warm_up),
        alpha=0.02,
        warmup_target=config.learning_rate,
        warmup_steps=warm_up,
    )


def compile_model(
    config: TrainingConfig, model: keras.Model, learning_rate: LearningRate, *, paired: bool = False
) -> None:
    """Compile a network whose first output is the class, and whose second may be evidence.

    Args:
        config: what to do.
        model: the network.
        learning_rate: of every step.
        paired: whether a batch holds two variants of each image, one after the other.
    """
    loss: object = _loss(config, paired=paired)
    watched: object = monitored()
    loss_weights = None
    if len(model.outputs) > 1:
        watched = {"probability": watched}
        loss = {"probability": loss, "evidence": keras.losses.BinaryCrossentropy(from_logits=True)}
        loss_weights = {"probability": 1.0, "evidence": config.evidence_weight}
    model.compile(
        _optimizer(config, learning_rate), loss, loss_weights=loss_weights, metrics=watched
    )
    model.optimizer.build(model.trainable_variables)


def _loss(config: TrainingConfig, *, paired: bool) -> keras.losses.Loss:
    if config.distill_from_start:
        return LogitDistillationLoss()
    kind = (
        keras.losses.CategoricalCrossentropy
        if config.head == "softmax"
        else keras.losses.BinaryCrossentropy
    )
    loss = kind(label_smoothing=config.label_smoothing)
    return RDropLoss(loss, config.consistency_weight) if paired else loss


def _optimizer(config: TrainingConfig, learning_rate: LearningRate) -> keras.optimizers.Optimizer:
    match config.optimizer:
        case "adam":
            return keras.optimizers.Adam(learning_rate)
        case "adamw":
            return keras.optimizers.AdamW(learning_rate)
        case "nadam":
            return keras.optimizers.Nadam(learning_rate)
        case "sgd":
            return keras.optimizers.SGD(learning_rate, momentum=0.9, nesterov=True)
