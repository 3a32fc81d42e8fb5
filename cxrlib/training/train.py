"""A `TrainingConfig` and a data set → a run.

`train` is the whole job in four steps: prepare images and network, fit (both phases, `Trainer`),
serve (the network as it is read with), judge.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from cxrlib import runs, urls
from cxrlib.data import entries, remote
from cxrlib.data.origin import origin
from cxrlib.evaluation import judge, model_card
from cxrlib.inference import out_of_distribution
from cxrlib.metrics import as_distribution
from cxrlib.networks import registry
from cxrlib.networks.loading import reestimate_normalization, score
from cxrlib.runs import provenance
from cxrlib.runs.config import TrainingConfig, default_name
from cxrlib.runs.folder import StoppedError
from cxrlib.training import export
from cxrlib.training.checkpoint import Checkpoint
from cxrlib.training.checkpoint import load as load_checkpoint
from cxrlib.training.environment import environment, gpus
from cxrlib.training.errors import TrainingError
from cxrlib.training.estimate import NORMALIZATION_IMAGES, normalization_batch
from cxrlib.training.images import Pixels, Split, decode, divide
from cxrlib.training.networks import (
    Networks,
    build,
    check_initial_run,
    initial_weights,
    make_networks,
)
from cxrlib.training.trainer import Trainer

__all__ = ["TrainingError", "train"]


def train(
    config: TrainingConfig,
    data: str | Path,
    *,
    models: Path = runs.MODELS,
    run: runs.Run | None = None,
) -> runs.Run:
    """Train one run and judge it on the images it has not seen.

    Args:
        config: what to do.
        data: a data-set folder, as `dataset.find_root` wants it, or the URL of one.
        models: where the run's folder goes.
        run: an unfinished run to resume; from its checkpoint, if it has one.

    Returns:
        The finished run.

    Raises:
        DatasetError: the folder is not a data set.
        TrainingError: the configuration does not fit the data or the machine.
        WeightsError: pretrained weights are out of reach.
        RunError: there is a run of that name.
        StoppedError: the run was asked to stop; it can be resumed.
    """
    job = _prepare(config, str(data), models, run)
    _fit(job)
    outputs = _serve(job)
    return _judge(job, outputs)


@dataclass(frozen=True)
class _Job:
    """What is prepared: where to write, what to learn from, with what, and from where on."""

    config: TrainingConfig
    run: runs.Run
    split: Split
    pixels: Pixels
    networks: Networks
    checkpoint: Checkpoint


def _prepare(config: TrainingConfig, data: str, models_folder: Path, run: runs.Run | None) -> _Job:
    """Check all that can be refused, make the run's folder, decode the images."""
    folder, place = remote.fetch(data, _fetching(run) if run else None), urls.public(data)
    if run:
        run.write_progress("looking through the images")
    meanings = {name: meaning for name, (_, meaning) in entries.meanings(folder).items()}
    if run and run.has_checkpoint:
        reached = load_checkpoint(run.checkpoint_file)
        _check_meanings(reached, meanings, place, run)
        split = divide(config, folder)
        _check_images(reached, split, place)
    else:
        split = divide(config, folder)
        reached = Checkpoint(split.digest, split.labels_digest, meanings)
    keras.utils.set_random_seed(config.seed)
    keras.mixed_precision.set_global_policy(
        "mixed_float16" if config.mixed_precision and gpus() else "float32"
    )
    networks = make_networks(config, has_checkpoint=bool(reached.variables))
    if not reached.variables:
        check_initial_run(config, split)
    if (config.weight_interpolation or config.distill_from_start) and not reached.initial_weights:
        reached.initial_weights = initial_weights(config, networks.model)

    run = run or runs.create(config.name or default_name(config), models=models_folder)
    run.save_config(config.for_record(run.name).model_dump_json(indent=1))
    if not reached.variables:
        # Where files lay on a machine is nobody's business; a URL is the same for everybody.
        run.save_environment(environment() | ({"data": place} if urls.is_url(data) else {}))
    return _Job(config, run, split, decode(config, split.table, run), networks, reached)


def _check_meanings(
    reached: Checkpoint, meanings: dict[str, str], place: str, run: runs.Run
) -> None:
    """That the data set's classes mean what they meant when the run was started.

    Raises:
        TrainingError: one of them means something else.
    """
    before = {
        name: meaning
        for name, meaning in reached.meanings.items()
        if meanings.get(name, meaning) != meaning
    }
    if before:
        changes = ", and ".join(
            f"{name} meant {meaning} and now means {meanings[name] or 'nothing yet'}"
            for name, meaning in before.items()
        )
        options = " ".join(f"--meaning '{name}={meaning}'" for name, meaning in before.items())
        raise TrainingError(
            f"Classes in {place} have changed their meaning since this run was started: {changes}. "
            f"Resume it with what they meant, python -m cxrlib train --resume {run.name} "
            f"{options}, or train a new run."
        )


def _check_images(reached: Checkpoint, split: Split, place: str) -> None:
    """That these are the images, folds and labels that the run was started with.

    Raises:
        TrainingError: they are others.
    """
    if reached.pictures != split.digest:
        raise TrainingError(
            f"The images in {place} are not those that this run was started with. Bring them back, "
            "or train a new run on these."
        )
    if reached.labels and reached.labels != split.labels_digest:  # earlier versions kept none
        raise TrainingError(
            f"The labels of some images in {place} have changed since this run was started. Bring "
            "them back, or train a new run with these."
        )


def _fetching(run: runs.Run) -> Callable[[int, int], None]:
    """Keeps with the run how many images of a data set at a URL are here."""

    def keep(done: int, of: int) -> None:
        run.write_progress("fetching images", done=done, of=of)
        if run.stop_requested:
            run.mark_stopped()
            raise StoppedError

    return keep


def _fit(job: _Job) -> None:
    """Train the network, and make its weights those that are served."""
    config, model = job.config, job.networks.model
    trainer = Trainer(config, job.run, job.split, job.pixels, job.networks, job.checkpoint)
    trainer.train()
    job.run.write_progress("evaluating")
    if config.weight_interpolation:
        # After Wortsman et al., CVPR 2022, "Robust fine-tuning of zero-shot models": half-way
        # between two networks of which one started from the other is a steadier one. Unlike
        # there the head was learned again in between, on the initial backbone.
        share = config.weight_interpolation
        pairs = zip(job.checkpoint.initial_weights, model.get_weights(), strict=True)
        model.set_weights([share * initial + (1 - share) * trained for initial, trained in pairs])
    if config.recalibrates_batchnorm:
        plain = config.batchnorm_recalibration == "plain"
        reestimate_normalization(model, _plain(job) if plain else _augmented(trainer))


def _plain(job: _Job) -> Iterator[np.ndarray]:
    """Batches of training images as they are when they are read."""
    rows = np.random.default_rng(job.config.seed).permutation(job.split.rows("train"))
    rows = rows[:NORMALIZATION_IMAGES]
    batch = normalization_batch(job.config.size)
    for start in range(0, max(1, len(rows) - batch + 1), batch):
        yield job.pixels.inputs[rows[start : start + batch]][..., None]


def _augmented(trainer: Trainer) -> Iterator[np.ndarray]:
    """Batches of one more epoch of fine-tuning."""
    config = trainer.config
    batches = trainer.augmented_batches()
    batches.start_epoch(config.fine_tune_epochs)
    for number in range(min(len(batches), NORMALIZATION_IMAGES // config.batch_size)):
        yield batches[number][0]


def _serve(job: _Job) -> np.ndarray:
    """Write the network that reads, and what it takes for a radiograph; outputs for all images."""
    # A copy without the optimizer and without mixed precision is what gets served.
    keras.mixed_precision.set_global_policy("float32")
    served = build(job.config, "none")
    served.set_weights(job.networks.model.get_weights())
    job.run.save_model(served.save)
    export.export(job.run)

    pooled = registry.pooled_features(served, job.config.network)
    # Side by side, so that one pass gives both.
    both = keras.Model(served.input, keras.layers.Concatenate()([pooled, served.output]))
    rows = np.arange(len(job.split.table))
    features, outputs = np.split(
        score(both, job.pixels.inputs, rows, "features"), [pooled.shape[1]], axis=1
    )
    detector = out_of_distribution.fit(
        job.pixels.shapes, features, job.split.rows("train"), job.split.rows("validation")
    )
    job.run.save_out_of_distribution(detector.save)
    return outputs


def _judge(job: _Job, outputs: np.ndarray) -> runs.Run:
    """Measure the run on what it has not seen, and finish it."""
    held_out = np.concatenate([job.split.rows("validation"), job.split.rows("test")])
    table = job.split.table
    predictions, metrics = judge.evaluate(
        table.iloc[held_out].assign(split=job.split.folds.iloc[held_out]),
        as_distribution(outputs[held_out]),
        job.config.class_names,
    )
    metrics[provenance.TRAINED_ON] = origin(table)
    recorded = job.config.for_record(job.run.name)
    job.run.finish(predictions, metrics, model_card.card(recorded, job.run.environment, metrics))
    return job.run
