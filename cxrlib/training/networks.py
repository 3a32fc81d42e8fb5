"""The networks of a run: the one that trains, where it lies, and what it starts from."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from cxrlib import runs
from cxrlib.networks import depth, registry
from cxrlib.runs.config import TrainingConfig, seed_of_split
from cxrlib.training.environment import gpus
from cxrlib.training.errors import TrainingError
from cxrlib.training.images import Split


@dataclass(frozen=True)
class Networks:
    """The network that trains and the one that validates.

    Attributes:
        model: trained in place.
        eval_model: ``model``, or where that lies on several devices, a twin on one of them
            (`predict_on_batch` would give its outputs once for each device).
        scope: where models are to be made and compiled.
    """

    model: keras.Model
    eval_model: keras.Model
    scope: Callable[[], AbstractContextManager[object]]

    def synchronized(self) -> keras.Model:
        """The network that validates, with the weights reached."""
        if self.eval_model is not self.model:
            self.eval_model.set_weights(self.model.get_weights())
        return self.eval_model


def make_networks(config: TrainingConfig, *, has_checkpoint: bool) -> Networks:
    """The networks of a run, before it has learned.

    Args:
        config: what to do.
        has_checkpoint: whether all weights are loaded later: the file they came from at first is
            no longer needed.

    Raises:
        TrainingError: the machine is not what the configuration wants.
        WeightsError: pretrained weights are out of reach.
    """
    scope = _scope(config)
    with scope():
        model = build(config, "none" if has_checkpoint else config.weights)
        if keras.backend.backend() == "tensorflow" and not gpus():
            from cxrlib.networks.fused_batchnorm import fused

            model = fused(model)
    return Networks(model, build(config, "none") if config.distribute else model, scope)


def build(config: TrainingConfig, weights: str) -> keras.Model:
    """A network as a run is configured, with other weights."""
    return registry.build(
        config.network,
        size=config.size,
        classes=config.classes,
        head=config.head,
        weights=weights,
        dropout=config.dropout,
        hidden_units=config.hidden_units,
        cnn_width=config.cnn_width,
        cnn_blocks=config.cnn_blocks,
    )


def freeze(config: TrainingConfig, model: keras.Model) -> None:
    """Make only those layers trainable that fine-tuning is asked to train, and name them.

    Raises:
        TrainingError: none of them has weights.
    """
    steps = depth.steps(model, registry.REGISTRY[config.network].heatmap_layer)
    if config.fine_tune_layers is None:
        known = [depth.name(step) for step in steps]
        print(f"Fine-tuning {depth.describe(known, config.fine_tune_depth)}", flush=True)
        frozen = steps[: -config.fine_tune_depth] if config.fine_tune_depth else []
        for layer in (layer for step in frozen for layer in step):
            layer.trainable = False
        return
    backbone = [layer for layer in model.layers if layer.name != "probability"]
    if not any(layer.weights for layer in backbone[-config.fine_tune_layers :]):
        raise TrainingError(
            f"The last {config.fine_tune_layers} layers of {config.network} have no weights to "
            "learn. Set fine_tune_depth instead, which counts those that have."
        )
    for layer in backbone[: -config.fine_tune_layers]:
        layer.trainable = False


def _scope(config: TrainingConfig) -> Callable[[], AbstractContextManager[object]]:
    """Where models are made: anywhere, or mirrored on all devices of the machine."""
    if not config.distribute:
        return nullcontext
    if keras.backend.backend() != "tensorflow":
        raise TrainingError(
            "Only TensorFlow spreads a batch over several GPUs: set distribute off."
        )
    import tensorflow as tf

    # Without GPUs, what counts are logical CPU devices, which someone must have asked for.
    devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(devices) < 2:
        raise TrainingError(
            "There is only one device to train on, so a batch cannot be spread: set distribute off."
        )
    return tf.distribute.MirroredStrategy([device.name for device in devices]).scope


def initial_weights(config: TrainingConfig, model: keras.Model) -> list[np.ndarray]:
    """All weights of the run that this one starts from, its head's too.

    Raises:
        TrainingError: its network is another one.
    """
    found = keras.models.load_model(config.weights, compile=False, safe_mode=True).get_weights()
    if [array.shape for array in found] != [array.shape for array in model.get_weights()]:
        raise TrainingError(
            f"{config.weights} has another number of classes or another head: it can neither "
            "teach this run nor be mixed with it. Set distill_from_start off and "
            "weight_interpolation=0, or classes and head as they are there."
        )
    return found


def check_initial_run(config: TrainingConfig, split: Split) -> None:
    """That the run which this one starts from has not learned what is held out here.

    Raises:
        TrainingError: it has, or it reads images in another way and is to teach this run.
    """
    source = runs.Run(Path(config.weights).parent)
    if not config.weights.endswith(".keras") or not source.finished:
        return
    theirs = source.config
    if config.distill_from_start:
        for field in ("crop", "size", "equalization"):
            if (learned := theirs.get(field)) != getattr(config, field):
                raise TrainingError(
                    f"The run {source.name}, which is to teach this one, reads images with "
                    f"{field}={learned}. Set {field} as it is there, or distill_from_start off."
                )
    held_out = set(source.predictions.query("split == 'validation'").path)
    paths = split.table.path
    # Without one image in common it was trained on another set.
    if not held_out.isdisjoint(paths) and not held_out.issuperset(
        paths[split.folds == "validation"]
    ):
        raise TrainingError(
            f"The run {source.name}, which this one would begin with, was trained on images that "
            "this one would be validated on. Take the same images, validation_fraction="
            f"{theirs.get('validation_fraction')} and split_seed={seed_of_split(theirs)}, as that "
            "run did, or begin with other weights."
        )
