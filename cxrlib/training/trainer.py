"""The epochs of a run: two phases, validation after each epoch, and a checkpoint after each.

The head learns first, on the frozen backbone's features; then the last layers, or all, are
fine-tuned. Keras 3 and NumPy only: a run trains on any Keras backend.
"""

import time
from collections.abc import Callable

import keras
import numpy as np
import pandas as pd

from cxrlib import metrics
from cxrlib.networks import registry
from cxrlib.networks.loading import score
from cxrlib.runs.config import TrainingConfig
from cxrlib.runs.folder import Run, StoppedError
from cxrlib.training import checkpoint
from cxrlib.training.augment import recipe_of
from cxrlib.training.batches import Batches, Framing, Samples, Variation
from cxrlib.training.checkpoint import Checkpoint
from cxrlib.training.compiling import LearningRate, compile_model, schedule
from cxrlib.training.errors import TrainingError
from cxrlib.training.images import Pixels, Split
from cxrlib.training.networks import Networks, freeze
from cxrlib.training.prefetch import fit_input
from cxrlib.training.progress import EventLog, Watch, WeightAverage, by_metric
from cxrlib.training.samples import real_samples, with_synthetic


class Trainer:
    """Trains the network of one run, from the beginning or from a checkpoint."""

    def __init__(
        self,
        config: TrainingConfig,
        run: Run,
        split: Split,
        pixels: Pixels,
        networks: Networks,
        at: Checkpoint,
    ) -> None:
        """Make ready.

        Args:
            config: what to do.
            run: where it is written down.
            split: the images and their folds.
            pixels: the same, decoded.
            networks: the network, and the one that validates.
            at: where to begin.

        Raises:
            TrainingError: a class has no image to train on.
        """
        self.config, self.run, self.pixels, self.at = config, run, pixels, at
        self.networks, self.model = networks, networks.model
        self.validation = split.rows("validation")
        self.is_pneumonia = split.classes[self.validation] > 0
        self.samples = real_samples(config, pixels.full, split.classes, split.rows("train"))
        self.events = EventLog(run.tensorboard_folder)
        if at.variables:
            checkpoint.assign(self.model.variables, at.variables)

    def train(self) -> None:
        """Do what is left to do of both phases.

        Raises:
            StoppedError: the run was asked to stop; a checkpoint of that moment is kept.
            TrainingError: the network diverged.
        """
        if self.config.head_epochs and self.at.phase != "fine-tune":
            self._train_head()
        if self.config.fine_tune_epochs:
            self._fine_tune()

    def _train_head(self) -> None:
        """Let the last layer learn while the backbone stays as it is."""
        config = self.config
        backbone = keras.Model(self.model.input, self.model.get_layer("pool").output)
        backbone.trainable = False
        if config.augments and not config.fine_tune_epochs:
            self._compile(self.model, config.head_learning_rate)
            self._epochs(
                "head",
                config.head_epochs,
                self.model,
                self.augmented_batches(),
                self._score_validation,
            )
        else:
            # Features of a frozen backbone never change: computed once, an epoch takes seconds.
            # Before fine-tuning, plain images are good enough for a first head.
            self.run.write_progress("computing features")
            model, inputs, rows = (
                self.networks.synchronized(),
                self.pixels.inputs,
                self.samples.rows,
            )
            backbone = keras.Model(model.input, model.get_layer("pool").output)
            used, place = np.unique(rows, return_inverse=True)
            features = score(backbone, inputs, used, "features")
            held_out = score(backbone, inputs, self.validation)
            with self.networks.scope():
                taken = keras.Input(features.shape[1:])
                output = taken
                for layer in registry.head_layers(self.model):
                    output = layer(output)
                head = keras.Model(taken, output)
            self._compile(head, config.head_learning_rate)
            batches = Batches(
                Samples(features, place, self.samples.targets, self.samples.weights),
                batch_size=config.batch_size,
                seed=config.seed,
            )
            self._epochs(
                "head",
                config.head_epochs,
                head,
                batches,
                lambda: head.predict(held_out, batch_size=1024, verbose=0),
            )
        for layer in self.model.layers:
            layer.trainable = True

    def _fine_tune(self) -> None:
        """Train the last N layers of the backbone, or all, together with the head."""
        config = self.config
        freeze(config, self.model)
        batches = self.augmented_batches()
        if config.distill_from_start:
            self._ask_teacher(batches)
        model = self.model
        if config.head == "evidence":
            outputs = {"probability": model.output, "evidence": self._evidence}
            model = keras.Model(model.input, outputs)
        learning_rate = schedule(config, batches.steps * config.fine_tune_epochs)
        self._compile(model, learning_rate, paired=config.consistency_weight > 0)
        self._epochs("fine-tune", config.fine_tune_epochs, model, batches, self._score_validation)

    def _ask_teacher(self, batches: Batches) -> None:
        """Take as targets what the initial run says of the images before they are changed.

        Of their labels no more is used than the weights of the classes.

        Normalization stays as it is there: what learns is what will be served, and gives unchanged
        images what the teacher gives them to begin with.
        """
        trained = self.model.get_weights() if self.at.variables else self.at.initial_weights
        self.run.write_progress("asking the run that teaches")
        teacher = self.networks.eval_model
        teacher.set_weights(self.at.initial_weights)
        batches.targets = np.concatenate(
            [teacher.predict_on_batch(images) for images in batches.unchanged()]
        )
        self.model.set_weights(trained)
        for layer in self.model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False

    def augmented_batches(self) -> Batches:
        """What fine-tuning sees."""
        config = self.config
        return Batches(
            with_synthetic(config, self.samples, self.pixels),
            Framing(self.pixels.boxes, config.size, self.pixels.lungs),
            Variation(
                recipe_of(config.augmentation, config.amounts),
                randomize_background=config.randomize_background,
                synthetic_once=config.distill_from_start,
                variants=2 if config.consistency_weight else 1,
                evidence_grid=self._evidence.shape[1:3] if config.head == "evidence" else None,
            ),
            batch_size=config.batch_size,
            seed=config.seed,
        )

    @property
    def _evidence(self) -> keras.KerasTensor:
        return self.model.get_layer("evidence").output

    def _score_validation(self) -> np.ndarray:
        return score(self.networks.synchronized(), self.pixels.inputs, self.validation)

    def _compile(
        self, model: keras.Model, learning_rate: LearningRate, *, paired: bool = False
    ) -> None:
        with self.networks.scope():
            compile_model(self.config, model, learning_rate, paired=paired)

    def _epochs(
        self,
        phase: str,
        epochs: int,
        model: keras.Model,
        batches: Batches,
        validate: Callable[[], np.ndarray],
    ) -> None:
        """Train until the epochs are done or validation stops improving; keep the best weights."""
        at = self.at
        if at.phase != phase:
            at.start_phase(phase)
        if at.optimizer:
            checkpoint.assign(model.optimizer.variables, at.optimizer)
        if at.metrics:
            # Keras makes the variables of losses and metrics when they first see outputs.
            blank = model.predict_on_batch(np.zeros((1, *model.input_shape[1:]), np.float32))
            model.compute_loss(y=blank, y_pred=blank)
            model.compute_metrics(None, blank, blank)
            if len(at.metrics) != len(model.metrics_variables):
                at.metrics = []  # of a version that counted other things
        watch = Watch(
            self.run, phase, epochs=epochs, steps=batches.steps, batch_size=self.config.batch_size
        )
        while at.epoch < epochs and at.epoch - at.best_epoch < self.config.patience:
            if self.run.stop_requested:
                self._stop(model)
            started = time.monotonic() - at.seconds
            batches.start_epoch(at.epoch, step=at.step)
            watch.start_epoch(at.epoch, at.step, at.metrics)
            callbacks = [watch]
            if self.config.weight_averaging:
                callbacks.append(WeightAverage(at.average, at.epoch * batches.steps + at.step))
            # Keras would shuffle the batches with Python's global random numbers, which no
            # checkpoint holds; `Batches` shuffles the images.
            fitted = model.fit(fit_input(batches), shuffle=False, verbose=0, callbacks=callbacks)
            logs = by_metric(fitted.history)
            at.step, at.seconds = watch.step, time.monotonic() - started
            if watch.stopped:
                self._stop(model)
            watch.write_progress("validating", {name: value[0] for name, value in logs.items()})
            trained = model.get_weights()
            if at.average:
                model.set_weights(at.average)
            row = self._validated(validate())
            at.epoch, at.step, at.seconds, at.metrics = at.epoch + 1, 0, 0.0, []
            at.history.append(
                {
                    "phase": phase,
                    "epoch": at.epoch,
                    "loss": logs["loss"][0],
                    "auc": logs["auc"][0],
                    **_at_one_half(
                        metrics.Confusion(
                            *(round(logs[cell][0]) for cell in ("tp", "fp", "fn", "tn"))
                        )
                    ),
                    **{f"val_{name}": value for name, value in row.items()},
                    "learning_rate": float(
                        keras.ops.convert_to_numpy(model.optimizer.learning_rate)
                    ),
                    "seconds": round(time.monotonic() - started, 2),
                }
            )
            reached = -row["loss"] if self.config.monitor == "loss" else row[self.config.monitor]
            # Steadiness, which is what a run teaches, is not seen in validation.
            if reached > at.best_score or self.config.distill_from_start:
                at.best_score, at.best_epoch, at.best = reached, at.epoch, model.get_weights()
            model.set_weights(trained)
            watch.end_epoch(row["auc"])
            self.run.save_history(pd.DataFrame(at.history))
            self.events.add(at.history[-1], len(at.history))
            self._save(model)
        watch.close()
        model.set_weights(at.best)

    def _validated(self, outputs: np.ndarray) -> dict[str, float]:
        """How the network does on the validation images, as columns of the history."""
        if not np.isfinite(outputs).all():
            raise TrainingError(
                "Training diverged: the network's outputs are no longer numbers. Choose a lower "
                "learning rate."
            )
        pneumonia = 1 - metrics.as_distribution(outputs)[:, 0].astype(np.float64)
        return {
            "loss": float(metrics.cross_entropy(self.is_pneumonia, pneumonia).mean()),
            "auc": metrics.roc_auc(self.is_pneumonia, pneumonia),
            **_at_one_half(metrics.confusion(self.is_pneumonia, pneumonia, 0.5)),
        }

    def _save(self, model: keras.Model) -> None:
        self.at.variables = checkpoint.values(self.model.variables)
        self.at.optimizer = checkpoint.values(model.optimizer.variables)
        self.run.save_checkpoint(self.at.save)

    def _stop(self, model: keras.Model) -> None:
        self.at.metrics = checkpoint.values(model.metrics_variables) if self.at.step else []
        self._save(model)
        self.run.mark_stopped()
        raise StoppedError


def _at_one_half(matrix: metrics.Confusion) -> dict[str, float]:
    """What calls at a probability of one half come to, as columns of the history."""
    return {
        name: getattr(matrix, name)
        for name in ("accuracy", "precision", "sensitivity", "specificity", "f1")
    }
