"""A `TrainingConfig` and a data set → a run.

`train` is the whole job: images and folds, the network, both phases (`trainer.Trainer`), the
batch-normalization statistics gathered again, the model to serve, its judgement.
"""

import hashlib
import platform
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from cxrlib import __version__, runs
from cxrlib.data import dataset
from cxrlib.data.origin import origin
from cxrlib.evaluation import judge, model_card
from cxrlib.images.preprocess import Box, cached_pixels, square_side
from cxrlib.inference import lung_fields, out_of_distribution
from cxrlib.networks import registry
from cxrlib.networks.loading import reestimate_normalization, score
from cxrlib.runs import provenance
from cxrlib.runs.config import TrainingConfig, default_name, seed_of_split
from cxrlib.training import checkpoint, export
from cxrlib.training.trainer import Trainer, TrainingError

__all__ = ["TrainingError", "environment", "gpus", "train"]

_NORMALIZATION_PICTURES, _NORMALIZATION_BATCH = 4096, 64


def train(
    config: TrainingConfig, data: Path, *, models: Path = runs.MODELS, run: runs.Run | None = None
) -> runs.Run:
    """Train one run and judge it on the images it has not seen.

    Args:
        config: what to do.
        data: a data-set folder, as `dataset.find_root` wants it.
        models: where the run's folder goes.
        run: an unfinished run to go on with; from its checkpoint, if it has one.

    Returns:
        The finished run.

    Raises:
        DatasetError: the folder is not a data set.
        TrainingError: the configuration does not fit the data or the machine.
        WeightsError: pretrained weights are out of reach.
        RunError: there is a run of that name.
        StoppedError: the run was asked to stop; it can be gone on with.
    """
    if run:
        run.write_progress("looking through the images")
    table = dataset.index(data)
    for sentence in dataset.warnings(table):
        print(sentence, flush=True)
    folds = dataset.assign_folds(
        table,
        validation_fraction=config.validation_fraction,
        seed=seed_of_split(config.model_dump()),
    )
    classes = judge.class_numbers(table, config.class_names)
    rows = {fold: np.flatnonzero(folds == fold) for fold in ("train", "validation", "test")}
    _check(config, classes, rows["train"])
    pictures = _digest(table, folds)
    at = (
        checkpoint.load(run.checkpoint_file)
        if run and run.has_checkpoint
        else checkpoint.Checkpoint(pictures)
    )
    if at.pictures != pictures:
        raise TrainingError(
            f"The images in {data} are not those that this run was begun with. Bring them back, "
            "or train a new run on these."
        )

    keras.utils.set_random_seed(config.seed)
    keras.mixed_precision.set_global_policy(
        "mixed_float16" if config.mixed_precision and gpus() else "float32"
    )
    scope = _scope(config)
    with scope():
        # A checkpoint has all weights: the file they came from is no longer needed.
        model = _build(config, "none" if at.variables else config.weights)
        if keras.backend.backend() == "tensorflow" and not gpus():
            from cxrlib.networks.fused_batchnorm import fused

            model = fused(model)
    reader = _build(config, "none") if config.distribute else model
    if not at.variables:
        _check_begun_with(config, table, folds)
    if (config.weight_interpolation or config.distill_from_start) and not at.initial_weights:
        at.initial_weights = _begun(config, model)

    run = run or runs.create(config.name or default_name(config), models=models)
    recorded = config.for_record(run.name)
    run.save_config(recorded.model_dump_json(indent=1))
    if not at.variables:
        run.save_environment(environment())
    run.write_progress("decoding images")
    side = square_side(config.size) if config.crop == "lungs" else config.size
    whole = shown = cached_pixels(table, side, config.equalization)
    run.write_progress("finding the lungs")
    boxes, masks, shapes = _lung_fields(table, side)
    if config.crop == "lungs":
        shown = cached_pixels(table, config.size, config.equalization, boxes)

    trainer = Trainer(
        config,
        run,
        whole,
        shown,
        classes,
        boxes=boxes if config.crop == "lungs" else None,
        lungs=masks,
        train=rows["train"],
        validation=rows["validation"],
        at=at,
        model=model,
        reader=reader,
        scope=scope,
    )
    trainer.train()
    run.write_progress("judging")
    if config.weight_interpolation:
        # After Wortsman et al., CVPR 2022, "Robust fine-tuning of zero-shot models": half-way
        # between two networks of which one was begun with the other is a steadier one. Unlike
        # there the head was learned again in between, on the backbone begun with.
        kept, pairs = (
            config.weight_interpolation,
            zip(at.initial_weights, model.get_weights(), strict=True),
        )
        model.set_weights([kept * begun + (1 - kept) * reached for begun, reached in pairs])
    if config.recalibrates_batchnorm:
        plain = config.batchnorm_recalibration == "plain"
        reestimate_normalization(
            model, _plain(shown, rows["train"], config.seed) if plain else _augmented(trainer)
        )
    # A copy without the optimizer and without mixed precision is what gets served.
    keras.mixed_precision.set_global_policy("float32")
    served = _build(config, "none")
    served.set_weights(model.get_weights())
    run.save_model(served.save)
    export.export(run)

    pooled = registry.pooled_features(served, config.network)
    # Side by side, so that one pass gives both.
    both = keras.Model(served.input, keras.layers.Concatenate()([pooled, served.output]))
    features, outputs = np.split(
        score(both, shown, np.arange(len(table)), "features"), [pooled.shape[1]], axis=1
    )
    familiar = out_of_distribution.fit(shapes, features, rows["train"], rows["validation"])
    run.save_out_of_distribution(familiar.save)

    held_out = np.concatenate([rows["validation"], rows["test"]])
    distribution = judge.as_distribution(outputs[held_out])
    predictions, metrics = judge.evaluate(
        table.iloc[held_out].assign(split=folds.iloc[held_out]),
        distribution,
        config.class_names,
    )
    metrics[provenance.TRAINED_ON] = origin(table)
    run.finish(predictions, metrics, model_card.card(recorded, run.environment, metrics))
    return run


def _plain(shown: np.ndarray, train: np.ndarray, seed: int) -> Iterator[np.ndarray]:
    """Batches of training images as they are when they are read."""
    order = np.random.default_rng(seed).permutation(train)[:_NORMALIZATION_PICTURES]
    for start in range(0, max(1, len(order) - _NORMALIZATION_BATCH + 1), _NORMALIZATION_BATCH):
        yield shown[order[start : start + _NORMALIZATION_BATCH]][..., None]


def _augmented(trainer: Trainer) -> Iterator[np.ndarray]:
    """Batches of one more epoch of fine-tuning."""
    config = trainer.config
    batches = trainer.augmented_batches()
    batches.start_epoch(config.fine_tune_epochs)
    for number in range(min(len(batches), _NORMALIZATION_PICTURES // config.batch_size)):
        yield batches[number][0]


def _lung_fields(table: pd.DataFrame, side: int) -> tuple[list[Box], np.ndarray, np.ndarray]:
    """Of each image the lungs' box, their mask, and their `out_of_distribution.shape`."""
    boxes, masks, shapes = [], [], []
    for found in lung_fields.shipped().find_cached(table, side):
        boxes.append(found.box)
        masks.append(found.mask)
        shapes.append(out_of_distribution.shape(found))
    return boxes, np.stack(masks), np.stack(shapes)


def _check(config: TrainingConfig, classes: np.ndarray, train: np.ndarray) -> None:
    if (classes < 0).any():
        raise TrainingError(
            f"{(classes < 0).sum()} pneumonia images do not say in their names whether it is "
            "bacterial or viral (person1_bacteria_2.jpeg): train with classes=2."
        )
    if len(train) < config.batch_size:
        raise TrainingError(
            f"A batch of {config.batch_size} is larger than the {len(train)} images to "
            "train on: choose a smaller batch."
        )


def _digest(table: pd.DataFrame, folds: pd.Series) -> str:
    """What tells these images and their folds from others."""
    key = hashlib.blake2b(digest_size=16)
    key.update("".join(table.digest + folds).encode())
    return key.hexdigest()


def _build(config: TrainingConfig, weights: str) -> keras.Model:
    return registry.build(
        config.network,
        size=config.size,
        classes=config.classes,
        head=config.head,
        weights=weights,
        dropout=config.dropout,
    )


def _check_begun_with(config: TrainingConfig, table: pd.DataFrame, folds: pd.Series) -> None:
    """That the run whose network this one begins with has not learned what is held out here."""
    source = runs.Run(Path(config.weights).parent)
    if not config.weights.endswith(".keras") or not source.finished:
        return
    if config.distill_from_start:
        for field in ("crop", "size", "equalization"):
            if (learned := source.config.get(field)) != getattr(config, field):
                raise TrainingError(
                    f"The run {source.name}, which is to teach this one, reads images with "
                    f"{field}={learned}. Set {field} as it is there, or distill_from_start off."
                )
    known = set(source.predictions.query("split == 'validation'").path)
    # Without one image in common it was trained on another set.
    theirs = source.config
    if not known.isdisjoint(table.path) and not known.issuperset(table.path[folds == "validation"]):
        raise TrainingError(
            f"The run {source.name}, which this one would begin with, was trained on images that "
            "this one would be validated on. Take the same images, validation_fraction="
            f"{theirs.get('validation_fraction')} and split_seed={seed_of_split(theirs)}, as that "
            "run did, or begin with other weights."
        )


def _begun(config: TrainingConfig, model: keras.Model) -> list[np.ndarray]:
    """All weights of the run that this one begins with, its head's too."""
    begun = keras.models.load_model(config.weights, compile=False, safe_mode=True).get_weights()
    if [array.shape for array in begun] != [array.shape for array in model.get_weights()]:
        raise TrainingError(
            f"{config.weights} has another number of classes or another head: it can neither "
            "teach this run nor be mixed with it. Set distill_from_start off and "
            "weight_interpolation=0, or classes and head as they are there."
        )
    return begun


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


def environment() -> dict[str, object]:
    """Versions and device, for the run's record."""
    return {
        "cxrlib": __version__,
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "numpy": np.__version__,
        "device": ", ".join(gpus()) or f"CPU ({platform.machine()})",
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def gpus() -> list[str]:
    """The GPUs that the Keras backend can use, by its names for them."""
    if keras.backend.backend() == "torch":  # which Keras lists no devices for
        import torch

        return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return keras.distribution.list_devices("gpu")
