"""Training on phantoms: stopped and resumed like uninterrupted, reproducible, in words refused."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrlib import runs
from cxrlib.formatting import setting
from cxrlib.images.preprocess import prepare
from cxrlib.runs.config import TrainingConfig, for_network
from cxrlib.runs.folder import StoppedError
from cxrlib.synthetic import phantom
from cxrlib.training.estimate import COSTS, estimate

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent


def small(**values: object) -> TrainingConfig:
    return TrainingConfig(
        **for_network("cnn", **{"size": 96, "batch_size": 4, "fine_tune_epochs": 4} | values)
    )


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXR_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def whole(phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    """A run that nobody interrupted; its validation AUC does not improve for two epochs."""
    from cxrlib.training.train import train

    return train(small(patience=2), phantoms, models=tmp_path_factory.mktemp("models"))


def stop_within(run: runs.Run, epoch: int) -> None:
    """Ask for a stop in the middle of an epoch, like a person who looks on."""
    while True:
        now = run.progress
        if now.get("epoch", 0) >= epoch and now.get("activity") == "training":
            run.request_stop()
            return
        time.sleep(0.005)


def test_run_stopped_within_an_epoch_ends_as_if_it_had_not_been(
    whole: runs.Run, phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from cxrlib.training import progress
    from cxrlib.training.train import train

    monkeypatch.setattr(progress, "_EVERY", 0.0)  # so that the looker-on sees every batch
    run = runs.create("cut", models=tmp_path)
    looker = threading.Thread(target=stop_within, args=(run, 2), daemon=True)
    looker.start()
    with pytest.raises(StoppedError):
        train(small(patience=2), phantoms, run=run)
    looker.join()
    assert run.stopped
    assert not run.finished
    assert len(run.history) == 1
    run.clear_marks()
    train(small(patience=2), phantoms, run=run)
    assert run.finished
    timeless = [name for name in run.history if name != "seconds"]
    pd.testing.assert_frame_equal(
        run.history[timeless], whole.history[timeless], rtol=1e-3, atol=1e-4
    )
    np.testing.assert_allclose(run.predictions.score, whole.predictions.score, atol=1e-3)
    assert not run.checkpoint_file.exists()


def test_command_line_repeats_a_run_from_its_configuration(phantoms: Path, tmp_path: Path) -> None:
    from cxrlib.training.train import train

    config = small(
        fine_tune_epochs=1, crop="lungs", randomize_background=True, synthetic_opacity_ratio=1,
        name="first",
    )  # fmt: skip
    first = train(config, phantoms, models=tmp_path)
    assert f"To the normal images {setting(1)} were added" in first.card
    subprocess.run(
        [sys.executable, "train.py", "--config", str(first.folder / "config.json"),
         "--data", str(phantoms), "--models", str(tmp_path), "--device", "cpu"],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    (again,) = [run for run in runs.finished(tmp_path) if run.name != "first"]
    assert again.history.loss[0] == pytest.approx(first.history.loss[0], rel=1e-4)
    assert list(again.predictions.path) == list(first.predictions.path)


def test_history_follows_training_and_validation(whole: runs.Run) -> None:
    history = whole.history
    for side in ("", "val_"):
        of = {name: history[f"{side}{name}"] for name in ("auc", "sensitivity", "accuracy")}
        assert all(values.between(0, 1).all() for values in of.values())
        recall, precision = history[f"{side}sensitivity"], history[f"{side}precision"]
        f1 = (2 * precision * recall / (precision + recall)).dropna()
        np.testing.assert_allclose(history[f"{side}f1"][f1.index], f1, rtol=1e-6)
    assert (history[["loss", "val_loss"]] > 0).all(axis=None)
    assert list(history.epoch) == list(range(1, len(history) + 1))


def test_tensorboard_reads_the_history(whole: runs.Run) -> None:
    import tensorflow as tf

    curves: dict[str, dict[int, float]] = {}
    for file in whole.tensorboard_folder.glob("events.*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name == "scalars"
                curve = curves.setdefault(value.tag, {})
                curve[event.step] = tf.make_ndarray(value.tensor).item()
    steps = range(1, len(whole.history) + 1)
    for name in (
        "loss",
        "auc",
        "sensitivity",
        "val_loss",
        "val_auc",
        "val_sensitivity",
        "learning_rate",
    ):
        wanted = dict(zip(steps, whole.history[name], strict=True))
        assert curves[name] == pytest.approx(wanted, rel=1e-5)


def test_batch_larger_than_the_data_is_refused_before_a_folder_is_made(
    phantoms: Path, tmp_path: Path
) -> None:
    from cxrlib.training.train import TrainingError, train

    with pytest.raises(TrainingError, match="choose a smaller batch"):
        train(small(batch_size=1000), phantoms, models=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_three_classes_oversampled_with_the_head_trained_alone_first(
    phantoms: Path, tmp_path: Path
) -> None:
    from cxrlib.networks import registry
    from cxrlib.training.train import train

    # Stands for pretrained weights: what is in them does not matter here.
    weights = tmp_path / "backbone.weights.h5"
    import keras

    keras.applications.MobileNetV2(
        input_shape=(96, 96, 3), include_top=False, weights=None
    ).save_weights(weights)
    run = train(
        TrainingConfig(
            size=96, batch_size=16, weights=str(weights), classes=3, head="softmax",
            imbalance="oversample", head_epochs=2, fine_tune_epochs=1, fine_tune_depth=10,
            consistency_weight=1, name="three",
        ),
        phantoms,
        models=tmp_path / "models",
    )  # fmt: skip
    assert list(run.history.phase) == ["head", "head", "fine-tune"]
    assert {"normal", "bacterial", "viral"} < set(run.predictions)
    trained = keras.saving.load_model(run.model_file)
    untouched = registry.build(
        "mobilenetv2", size=96, classes=3, head="softmax", weights=str(weights)
    )
    kernels = (model.get_layer("block_1_expand").kernel for model in (trained, untouched))
    np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(kernel) for kernel in kernels))
    late = (model.get_layer("Conv_1").kernel for model in (trained, untouched))
    assert np.any(np.not_equal(*(keras.ops.convert_to_numpy(kernel) for kernel in late)))


def test_weights_begun_with_are_mixed_in_at_the_end_also_after_a_stop(
    phantoms: Path, tmp_path: Path
) -> None:
    import keras

    from cxrlib.networks import registry
    from cxrlib.training.train import train

    begun = registry.build("mobilenetv2", size=96, weights="none")
    begun.save(tmp_path / "model.keras")

    def trained(name: str, **values: float) -> keras.Model:
        config = TrainingConfig(
            size=96, batch_size=16, weights=str(tmp_path / "model.keras"), augmentation="none",
            head_epochs=1, fine_tune_epochs=0, **values,
        )  # fmt: skip
        run = runs.create(name, models=tmp_path / "models")
        if values:
            run.request_stop()
            with pytest.raises(StoppedError):
                train(config, phantoms, run=run)
            (tmp_path / "model.keras").unlink()  # resuming does without
            run.clear_marks()
        train(config, phantoms, run=run)
        return keras.saving.load_model(run.model_file)

    reached, mixed = trained("reached"), trained("mixed", weight_interpolation=0.25)
    for one, start, end in zip(
        mixed.get_weights(), begun.get_weights(), reached.get_weights(), strict=True
    ):
        np.testing.assert_allclose(one, 0.25 * start + 0.75 * end, atol=1e-5)


def test_an_evidence_map_is_learned_with_averaged_weights_also_after_a_stop(
    phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    from cxrlib.training import progress
    from cxrlib.training.train import train

    monkeypatch.setattr(progress, "_EVERY", 0.0)
    config = small(
        head="evidence", weight_averaging=True, augmentation="machines", imbalance="oversample",
        synthetic_opacity_ratio=0.75, fine_tune_epochs=2, patience=2, crop="lungs",
    )  # fmt: skip
    straight = train(config, phantoms, models=tmp_path / "straight")
    run = runs.create("stopped", models=tmp_path)
    watcher = threading.Thread(target=stop_within, args=(run, 2))
    watcher.start()
    with pytest.raises(StoppedError):
        train(config, phantoms, run=run)
    watcher.join()
    run.clear_marks()
    train(config, phantoms, run=run)
    pd.testing.assert_frame_equal(
        run.history.drop(columns="seconds"), straight.history.drop(columns="seconds")
    )
    networks = [keras.saving.load_model(one.model_file) for one in (run, straight)]
    for one, other in zip(*(network.get_weights() for network in networks), strict=True):
        np.testing.assert_array_equal(one, other)
    assert networks[0].get_layer("evidence").output.shape[1:] == (12, 12, 1)


def test_a_run_teaches_what_it_says_of_unchanged_images_also_after_a_stop(
    phantoms: Path, tmp_path: Path
) -> None:
    import keras

    from cxrlib.networks import registry
    from cxrlib.networks.loading import load_network
    from cxrlib.training.train import train

    models, file = tmp_path / "models", tmp_path / "model.keras"
    keras.utils.set_random_seed(0)
    teacher = registry.build("mobilenetv2", size=96, weights="none")
    # As it is, it says 0.5 of all; with this head something else of each radiograph.
    head = teacher.get_layer("probability")
    features = keras.Model(teacher.input, teacher.get_layer("pool").output)
    config = TrainingConfig(
        size=96, batch_size=16, weights=str(file), distill_from_start=True, head_epochs=0,
        fine_tune_epochs=1,
        augmentation="light", learning_rate=1e-5, dropout=0, synthetic_opacity_ratio=0.5,
    )  # fmt: skip
    radiographs = [prepare(phantom.phantom(n, pneumonia=n % 2 > 0).pixels, 96) for n in range(16)]
    seen = features.predict(np.stack(radiographs)[..., None], verbose=0)
    kernel = np.random.default_rng(0).normal(size=(seen.shape[1], 1))
    scale = 0.3 / (seen @ kernel).std()
    head.set_weights([kernel * scale, -(seen @ kernel).mean(axis=0) * scale])
    teacher.save(file)
    run = runs.create("taught", models=models)
    run.request_stop()
    with pytest.raises(StoppedError):
        train(config, phantoms, run=run)
    file.unlink()  # resuming does without
    run.clear_marks()
    train(config, phantoms, run=run)
    assert run.history.loss[0] < 0.3  # of the labels: 0.7
    learned = load_network(run)
    for one, other in zip(teacher.layers, learned.layers, strict=True):
        if isinstance(one, keras.layers.BatchNormalization):
            np.testing.assert_array_equal(one.get_weights(), other.get_weights())
        elif isinstance(one, keras.layers.Conv2D):
            assert (one.get_weights()[0] != other.get_weights()[0]).any()


def test_two_logical_devices_train_one_run(phantoms: Path, tmp_path: Path) -> None:
    program = f"""
import tensorflow as tf
cpu, = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from pathlib import Path
from cxrlib.runs.config import TrainingConfig, for_network
from cxrlib.training.train import train
values = for_network("cnn", size=96, batch_size=8, fine_tune_epochs=1, distribute=True, name="two")
train(TrainingConfig(**values), Path({str(phantoms)!r}), models=Path({str(tmp_path)!r}))
"""
    subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, env=os.environ, capture_output=True
    )
    run = runs.find("two", models=tmp_path)
    held_out = run.predictions
    assert not held_out.path.duplicated().any()
    assert np.isfinite(held_out.score).all()


def test_spreading_over_one_device_is_refused(phantoms: Path, tmp_path: Path) -> None:
    from cxrlib.training.train import TrainingError, train

    with pytest.raises(TrainingError, match="only one device"):
        train(small(distribute=True), phantoms, models=tmp_path)


def test_costs_of_every_network_are_known() -> None:
    from cxrlib.networks import registry

    assert set(COSTS) == set(registry.REGISTRY)
    for name in ("cnn", "mobilenetv2"):
        model = registry.build(name, weights="none")
        values = sum(int(np.prod(layer.output.shape[1:])) for layer in model.layers)
        assert model.count_params() == pytest.approx(COSTS[name].parameters, rel=0.05)
        assert values == pytest.approx(COSTS[name].values, rel=0.05)


def test_normalization_goes_by_the_images_that_were_asked_for(
    phantoms: Path, tmp_path: Path
) -> None:
    import keras

    from cxrlib.data import dataset
    from cxrlib.data.folds import assign_folds
    from cxrlib.inference.classifier import Classifier
    from cxrlib.networks.loading import load_network
    from cxrlib.training.train import train

    def away_from_plain(statistics: str) -> float:
        """How far the first layer's means are from those over plain training images."""
        config = small(
            fine_tune_epochs=1, batchnorm_recalibration=statistics, augmentation="strong"
        )
        reader = Classifier(train(config, phantoms, models=tmp_path / statistics))
        table = dataset.index(phantoms)
        folds = assign_folds(
            table, validation_fraction=config.validation_fraction, seed=config.seed
        )
        pictures = reader.prepared(table)[np.flatnonzero(folds == "train")][..., None]
        model = load_network(reader.run)
        layers = [type(layer).__name__ for layer in model.layers]
        first = model.layers[layers.index("BatchNormalization")]
        into = keras.Model(model.input, first.input).predict(pictures, verbose=0)
        means = into.mean(axis=(0, 1, 2))
        return float(
            np.abs(means - keras.ops.convert_to_numpy(first.moving_mean)).max()
            / np.abs(means).max()
        )

    plain, augmented = away_from_plain("plain"), away_from_plain("augmented")
    assert plain < 0.03
    assert augmented > 2 * plain


def test_layers_without_weights_alone_cannot_be_fine_tuned(phantoms: Path, tmp_path: Path) -> None:
    from cxrlib.training.errors import TrainingError
    from cxrlib.training.train import train

    with pytest.raises(TrainingError, match="no weights to learn"):
        train(small(fine_tune_layers=2), phantoms, models=tmp_path)


def test_a_run_does_not_validate_on_what_the_run_it_begins_with_has_learned(
    phantoms: Path, tmp_path: Path
) -> None:
    from cxrlib.networks import registry
    from cxrlib.training.errors import TrainingError
    from cxrlib.training.train import train

    asked = {"size": 96, "batch_size": 16, "head_epochs": 1, "fine_tune_epochs": 0}
    asked |= {"augmentation": "none"}
    (tmp_path / "begun").mkdir()
    registry.build("mobilenetv2", size=96, weights="none").save(tmp_path / "begun" / "model.keras")
    weights = str(tmp_path / "begun" / "model.keras")
    first = train(
        TrainingConfig(weights=weights, seed=3, **asked), phantoms, models=tmp_path / "models"
    )
    asked["weights"] = str(first.model_file)
    with pytest.raises(TrainingError, match="seed=3"):
        train(TrainingConfig(seed=4, **asked), phantoms, models=tmp_path / "models")
    again = train(
        TrainingConfig(seed=3, name="again", **asked), phantoms, models=tmp_path / "models"
    )
    assert again.finished


@pytest.mark.parametrize("network", sorted(set(COSTS) - {"cnn"}))
def test_the_less_is_learned_the_less_is_estimated(network: str) -> None:
    def needs(**values: object) -> tuple[float, float]:
        config = TrainingConfig(**for_network(network, **values))
        expected = estimate(config, 5000, gpus=0, cores=2)
        return expected.seconds, expected.memory

    of_all = needs(fine_tune_epochs=3)
    of_last = needs(fine_tune_epochs=3, fine_tune_depth=2)
    frozen = needs(head_epochs=3, fine_tune_epochs=0, augmentation="none")
    for less, more in ((frozen, of_last), (of_last, of_all)):
        assert less[0] < more[0] and less[1] <= more[1]
