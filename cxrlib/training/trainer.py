"""The epochs of a run: two phases, validation after each epoch, and a checkpoint after each.

The head learns first, on the frozen backbone's features; then the last layers, or all, are
fine-tuned. Keras 3 and NumPy only: a run trains on any Keras backend.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import keras
import numpy as np
import pandas as pd

from cxrlib import metrics
from cxrlib.evaluation import judge
from cxrlib.images.preprocess import Box
from cxrlib.networks.loading import score
from cxrlib.runs.config import TrainingConfig
from cxrlib.runs.folder import Run, StoppedError
from cxrlib.training import checkpoint
from cxrlib.training.augment import PRESETS
from cxrlib.training.batches import Batches
from cxrlib.training.checkpoint import Checkpoint
from cxrlib.training.losses import LogitDistillationLoss, RDropLoss
from cxrlib.training.monitored import AUC, Sensitivity
from cxrlib.training.progress import EventLog, Watch, WeightAverage, by_metric

_WARM_UP_SHARE = 0.05
# Synthetic opacities teach the evidence map, where their place is known, more than the label: real
# pneumonias look otherwise.
_DRAWN_WEIGHT = 0.5
_LEAST_PROBABILITY = 1e-7  # the loss of a network that is certain and wrong stays finite


class TrainingError(ValueError):
    """The configuration does not fit the data or the machine; says what to change."""


class Trainer:
    """Trains the network of one run, from the beginning or from a checkpoint."""

    def __init__(
        self,
        config: TrainingConfig,
        run: Run,
        whole: np.ndarray,
        shown: np.ndarray,
        classes: np.ndarray,
        *,
        boxes: Sequence[Box] | None,
        lungs: np.ndarray,
        train: np.ndarray,
        validation: np.ndarray,
        at: Checkpoint,
        model: keras.Model,
        reader: keras.Model,
        scope: Callable[[], AbstractContextManager[object]],
    ) -> None:
        """Make ready.

        Args:
            config: what to do.
            run: where it is written down.
            whole: whole images ``uint8 [n, side, side]``, which augmentation starts from.
            shown: what the network sees of them without it, ``uint8 [n, size, size]``.
            classes: ``int [n]``, indices into ``config.class_names``.
            boxes: which part of each image it sees; None for the whole.
            lungs: ``uint8 [n, rows, columns]``, 1 in the lungs; all 0 where they are not known.
            train: rows to train on.
            validation: rows to validate on.
            at: where to begin.
            model: the network, trained in place.
            reader: the network that validates: ``model``, or where that lies on several
                devices, a twin on one of them (`predict_on_batch` would give its outputs once
                for each device).
            scope: where models are to be made and compiled.
        """
        self.config, self.run, self.at = config, run, at
        self.whole, self.shown, self.boxes, self.lungs = whole, shown, boxes, lungs
        self.model, self.reader, self.scope = model, reader, scope
        self.validation = validation
        self.is_pneumonia = classes[validation] > 0
        self.rows, self.weights = _balance(train, classes, config)
        self.positive = classes[self.rows] > 0
        self.targets = _targets(classes[self.rows], config)
        self.events = EventLog(run.tensorboard_folder)
        if at.variables:
            checkpoint.assign(model.variables, at.variables)

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
        if config.augmentation != "none" and not config.fine_tune_epochs:
            self._compile(self.model, config.head_learning_rate)
            self._epochs(
                "head",
                config.head_epochs,
                self.model,
                self.augmented_batches(),
                self._score_pictures,
            )
        else:
            # Features of a frozen backbone never change: computed once, an epoch takes seconds.
            # Before fine-tuning, plain images are good enough for a first head.
            self.run.write_progress("computing features")
            if self.reader is not self.model:
                self.reader.set_weights(self.model.get_weights())
                backbone = keras.Model(self.reader.input, self.reader.get_layer("pool").output)
            features = score(backbone, self.shown, np.unique(self.rows), "features")
            place = np.searchsorted(np.unique(self.rows), self.rows)
            held_out = score(backbone, self.shown, self.validation)
            with self.scope():
                taken = keras.Input(features.shape[1:])
                output = self.model.get_layer("probability")(self.model.get_layer("dropout")(taken))
                head = keras.Model(taken, output)
            self._compile(head, config.head_learning_rate)
            batches = Batches(
                features,
                place,
                self.targets,
                self.weights,
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
        if config.fine_tune_layers is not None:
            backbone = [layer for layer in self.model.layers if layer.name != "probability"]
            if not any(layer.weights for layer in backbone[-config.fine_tune_layers :]):
                raise TrainingError(
                    f"The last {config.fine_tune_layers} layers of {config.network} have no "
                    "weights to learn. Set fine_tune_layers higher."
                )
            for layer in backbone[: -config.fine_tune_layers]:
                layer.trainable = False
        batches = self.augmented_batches()
        if config.distill_from_start:
            self._ask_teacher(batches)
        steps = batches.steps * config.fine_tune_epochs
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule = (
            config.learning_rate
        )
        if config.schedule == "cosine":
            warm_up = max(1, round(_WARM_UP_SHARE * steps))
            learning_rate = keras.optimizers.schedules.CosineDecay(
                config.learning_rate / 20,
                max(1, steps - warm_up),
                alpha=0.02,
                warmup_target=config.learning_rate,
                warmup_steps=warm_up,
            )
        model = self.model
        if config.head == "evidence":
            outputs = {"probability": model.output, "evidence": self._evidence}
            model = keras.Model(model.input, outputs)
        self._compile(model, learning_rate, config.consistency_weight)
        self._epochs("fine-tune", config.fine_tune_epochs, model, batches, self._score_pictures)

    def _ask_teacher(self, batches: Batches) -> None:
        """Take for truth what the run begun with says of the images before they are changed.

        Of their labels no more is used than the weights of the classes.

        Normalization stays as it is there: what learns is what will be served, and gives unchanged
        images what the teacher gives them to begin with.
        """
        reached = self.model.get_weights() if self.at.variables else self.at.initial_weights
        self.run.write_progress("asking the run that teaches")
        self.reader.set_weights(self.at.initial_weights)
        said = [self.reader.predict_on_batch(pictures) for pictures in batches.unchanged()]
        batches.targets = np.concatenate(said)
        self.model.set_weights(reached)
        for layer in self.model.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.trainable = False

    def augmented_batches(self) -> Batches:
        """What fine-tuning sees."""
        config = self.config
        normal = self.rows[~self.positive & self.lungs[self.rows].any(axis=(1, 2))]
        drawn = np.resize(
            np.random.default_rng(config.seed).permutation(normal),
            round(config.synthetic_opacity_ratio * len(normal)),
        )
        rows = np.concatenate([self.rows, drawn])
        targets = np.concatenate([self.targets, _targets(np.ones(len(drawn), int), config)])
        return Batches(
            self.whole,
            rows,
            targets,
            self._with_drawn(drawn),
            batch_size=config.batch_size,
            seed=config.seed,
            recipe=PRESETS[config.augmentation],
            boxes=self.boxes,
            size=config.size,
            lungs=self.lungs,
            randomize_background=config.randomize_background,
            drawn=np.arange(len(rows)) >= len(self.rows),
            drawn_once=config.distill_from_start,
            variants=2 if config.consistency_weight else 1,
            evidence_grid=self._evidence.shape[1:3] if config.head == "evidence" else None,
        )

    @property
    def _evidence(self) -> keras.KerasTensor:
        return self.model.get_layer("evidence").output

    def _with_drawn(self, drawn: np.ndarray) -> np.ndarray:
        """The weights of ``rows`` and ``drawn``: pneumonia, drawn or not, weighs what it did.

        With an evidence map, drawn opacities teach their place; real pneumonias keep their weight.
        """
        if self.config.head == "evidence":
            weights, relative = self.weights, _DRAWN_WEIGHT
        else:
            share = self.positive.sum() / (self.positive.sum() + len(drawn))
            weights, relative = np.where(self.positive, share * self.weights, self.weights), 1.0
        added = np.full(len(drawn), relative * weights[self.positive].mean())
        return np.concatenate([weights, added]).astype(np.float32)

    def _score_pictures(self) -> np.ndarray:
        if self.reader is not self.model:
            self.reader.set_weights(self.model.get_weights())
        return score(self.reader, self.shown, self.validation)

    def _compile(
        self,
        model: keras.Model,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
        consistency_weight: float = 0,
    ) -> None:
        loss = (
            keras.losses.CategoricalCrossentropy
            if self.config.head == "softmax"
            else keras.losses.BinaryCrossentropy
        )(label_smoothing=self.config.label_smoothing)
        if consistency_weight:
            loss = RDropLoss(loss, consistency_weight)
        if self.config.distill_from_start:
            loss = LogitDistillationLoss()
        optimizer = {
            "adam": keras.optimizers.Adam,
            "adamw": keras.optimizers.AdamW,
            "nadam": keras.optimizers.Nadam,
            "sgd": lambda rate: keras.optimizers.SGD(rate, momentum=0.9, nesterov=True),
        }[self.config.optimizer]
        watched: object = [AUC(name="auc"), Sensitivity(name="sensitivity")]
        loss_weights = None
        if len(model.outputs) > 1:
            watched = {"probability": watched}
            of_map = keras.losses.BinaryCrossentropy(from_logits=True)
            loss = {"probability": loss, "evidence": of_map}
            loss_weights = {"probability": 1.0, "evidence": self.config.evidence_weight}
        with self.scope():
            model.compile(optimizer(learning_rate), loss, loss_weights, metrics=watched)
            model.optimizer.build(model.trainable_variables)

    def _epochs(
        self,
        phase: str,
        epochs: int,
        model: keras.Model,
        batches: Batches,
        validate: Callable[[], np.ndarray],
    ) -> None:
        """Train until the epochs are done or validation AUC stops rising; keep the best weights."""
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
        watch = Watch(
            self.run, phase, epochs=epochs, steps=batches.steps, batch_size=self.config.batch_size
        )
        while at.epoch < epochs and at.epoch - at.best_epoch < self.config.patience:
            if self.run.stop_requested:
                self._stop(model)
            started = time.monotonic() - at.seconds
            batches.start_epoch(at.epoch, step=at.step)
            watch.start_epoch(at.epoch, at.step, at.metrics)
            # Keras would shuffle the batches with Python's global random numbers, which no
            # checkpoint holds; `Batches` shuffles the images.
            callbacks = [watch]
            if self.config.weight_averaging:
                callbacks.append(WeightAverage(at.average, at.epoch * batches.steps + at.step))
            fitted = model.fit(batches, shuffle=False, verbose=0, callbacks=callbacks)
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
                    **{name: logs[name][0] for name in ("loss", "auc", "sensitivity")},
                    **row,
                    "learning_rate": float(
                        keras.ops.convert_to_numpy(model.optimizer.learning_rate)
                    ),
                    "seconds": round(time.monotonic() - started, 2),
                }
            )
            # Steadiness, which is what a run teaches, is not seen in validation's AUC.
            if row["val_auc"] > at.best_auc or self.config.distill_from_start:
                at.best_auc, at.best_epoch, at.best = row["val_auc"], at.epoch, model.get_weights()
            model.set_weights(trained)
            watch.end_epoch(row["val_auc"])
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
        pneumonia = 1 - judge.as_distribution(outputs)[:, 0].astype(np.float64)
        called = pneumonia >= 0.5
        of_truth = np.where(self.is_pneumonia, pneumonia, 1 - pneumonia)
        return {
            "val_loss": float(-np.log(np.maximum(of_truth, _LEAST_PROBABILITY)).mean()),
            "val_auc": metrics.roc_auc(self.is_pneumonia, pneumonia),
            "val_sensitivity": float(called[self.is_pneumonia].mean()),
            "val_specificity": float(1 - called[~self.is_pneumonia].mean()),
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


def _targets(classes: np.ndarray, config: TrainingConfig) -> np.ndarray:
    """``float32 [n, outputs]`` for ``classes [n]``."""
    one_hot = np.eye(config.classes, dtype=np.float32)[classes]
    return one_hot if config.head == "softmax" else one_hot[:, 1:]


def _balance(
    train: np.ndarray, classes: np.ndarray, config: TrainingConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on and the weight of each, whose mean is one."""
    counts = np.bincount(classes[train], minlength=config.classes)
    if (counts == 0).any():
        missing = config.class_names[int(np.argmin(counts))]
        raise TrainingError(f"There is no image of the class {missing} to train on.")
    if config.imbalance == "oversample":
        rng = np.random.default_rng(config.seed)
        train = np.concatenate(
            [
                rng.permutation(np.resize(train[classes[train] == number], counts.max()))
                for number in range(config.classes)
            ]
        )
    weights = np.ones(len(train), np.float32)
    if config.imbalance == "class_weights":
        weights = (len(train) / (config.classes * counts))[classes[train]].astype(np.float32)
    return train, weights
