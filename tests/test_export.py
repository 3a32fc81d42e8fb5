"""Networks that read: the numbers of Keras and the heatmaps of tf-keras-vis, of every network."""

import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from made_runs import shipped_member
from tf_keras_vis.gradcam import Gradcam
from tf_keras_vis.gradcam_plus_plus import GradcamPlusPlus
from tf_keras_vis.layercam import Layercam
from tf_keras_vis.saliency import Saliency

from cxrlib import metrics, runs
from cxrlib.__main__ import main
from cxrlib.images.preprocess import prepare
from cxrlib.inference import explain, session
from cxrlib.inference.classifier import Classifier
from cxrlib.networks import registry
from cxrlib.networks.loading import load_network
from cxrlib.networks.onnx_rules import ExportError
from cxrlib.runs import ensembles
from cxrlib.runs.folder import Run, RunError
from cxrlib.synthetic.phantom import phantom
from cxrlib.training import export

pytestmark = pytest.mark.slow
# Noise, as every radiograph has: where a pooled area is flat, which of its pixels is the largest
# and has the gradient is a matter of taste, and ONNX Runtime's is another than TensorFlow's.
NOISE = np.random.default_rng(5).normal(0, 8, (96, 96))
DRAWN = prepare(phantom(3, pneumonia=True, size=256).pixels, 96)
SQUARE = np.clip(DRAWN * 0.8 + 20 + NOISE, 0, 255).astype(np.uint8)
ORACLES = {"gradcam": Gradcam, "gradcam++": GradcamPlusPlus, "layercam": Layercam}


def made(name: str, head: str) -> keras.Model:
    """A network whose normalization has seen something."""
    keras.utils.set_random_seed(1)
    classes = 3 if head == "softmax" else 2
    model = registry.build(name, size=96, classes=classes, head=head, weights="none")
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = layer.get_weights()
            moved = [gamma, beta + 0.05 * rng.normal(size=beta.shape), mean, variance]
            layer.set_weights([values * rng.uniform(0.7, 1.3, values.shape) for values in moved])
        elif layer.name.endswith("_layer_scale"):  # next to nothing in a network that never learned
            layer.set_weights([rng.uniform(0.5, 1, w.shape) for w in layer.get_weights()])
    return model


def with_logits(model: keras.Model) -> keras.Model:
    """The same network with the head's activation left out."""
    head = model.get_layer("probability")
    linear = keras.layers.Dense(head.units, name="logits")
    output = linear(head.input)
    linear.set_weights(head.get_weights())
    return keras.Model(model.inputs, output)


def log_odds(logits: tf.Tensor) -> tf.Tensor:
    if logits.shape[-1] == 1:
        return logits[:, 0]
    return tf.reduce_logsumexp(logits[:, 1:], axis=1) - logits[:, 0]


@pytest.mark.parametrize("head", ["sigmoid", "softmax", "evidence"])
@pytest.mark.parametrize("name", registry.REGISTRY)
def test_what_reads_is_what_was_trained(name: str, head: str) -> None:
    model = made(name, head)
    reader = export.in_memory(model, name)
    outputs = model(np.stack([SQUARE, SQUARE[::-1]])[..., None], training=False).numpy()
    pooled, logits, maps = explain.read(reader, SQUARE, [*ORACLES, "saliency"])
    both, alone = reader.run(np.stack([SQUARE, SQUARE[::-1]]), ["logits", "pooled"])
    probabilities = metrics.distribution_of_logits(both)
    np.testing.assert_allclose(probabilities[:, -outputs.shape[1] :], outputs, atol=1e-5)
    np.testing.assert_allclose(logits, both[0], atol=1e-4)
    np.testing.assert_allclose(pooled, alone[0], atol=1e-4 * np.abs(pooled).max())

    linear = with_logits(model)
    picture = SQUARE[None, ..., None].astype(np.float32)
    features = {
        "penultimate_layer": registry.REGISTRY[name].heatmap_layer,
        "seek_penultimate_conv_layer": False,
    }
    for method, oracle in ORACLES.items():
        expected = oracle(linear, clone=False)(
            log_odds, picture, expand_cam=False, normalize_cam=False, **features
        )
        np.testing.assert_allclose(
            explain.normalize(maps[method]),
            explain.normalize(np.asarray(expected)[0]),
            atol=1e-3,
            err_msg=method,
        )
    if head == "evidence":
        layers = {layer.name: layer for layer in linear.layers}
        grid = keras.Model(linear.inputs, layers["evidence"].output)(picture).shape
        alone = np.full(grid, -50, np.float32)  # nothing elsewhere
        rows, columns = grid[1:3]
        (evidence,) = reader.run(SQUARE[None], ["evidence"])
        raw = keras.Model(linear.inputs, layers["evidence"].output)(picture)
        alone[0, rows // 2, columns // 2] = raw[0, rows // 2, columns // 2]
        expected = layers["logits"](layers["evidence_pool"](alone))
        assert evidence[0, rows // 2, columns // 2] == pytest.approx(
            expected.numpy().item(), abs=1e-3
        )
    expected = Saliency(linear, clone=False)(log_odds, picture, normalize_map=False)
    differences = np.abs(
        explain.normalize(maps["saliency"]) - explain.normalize(np.asarray(expected)[0])
    )
    # Rounding opens or shuts the odd unit that is at its threshold, and its few pixels change.
    assert np.quantile(differences, 0.9) < 1e-3
    assert differences.max() < 0.02


def test_score_cam_weights_maps_by_the_log_odds_of_what_they_leave_visible() -> None:
    """Also with one output, where tf-keras-vis takes a softmax of it, which is 1 for any image."""
    model = made("cnn", "sigmoid")
    layer = model.get_layer("dense")
    both = keras.Model(model.inputs, [layer.output, with_logits(model)(model.inputs)])
    features, _ = both.predict_on_batch(SQUARE[None, ..., None])
    maps = features[0]  # of the cnn all of the 64 are taken
    shares = tf.image.resize(maps, SQUARE.shape).numpy().transpose(2, 0, 1)
    low, high = shares.min((1, 2), keepdims=True), shares.max((1, 2), keepdims=True)
    shares = (shares - low) / np.where(high > low, high - low, 1)
    images = np.concatenate([0 * SQUARE[None], SQUARE * shares])[..., None]
    scores = both.predict_on_batch(images)[1][:, 0]
    expected = np.maximum(maps @ (scores[1:] - scores[0]), 0)
    told: list[float] = []
    found = explain.explain(export.in_memory(model, "cnn"), SQUARE, "scorecam", told.append)
    np.testing.assert_allclose(explain.normalize(found), explain.normalize(expected), atol=1e-3)
    assert told == sorted(told)
    assert told[-1] == 1


def test_integrated_gradients_add_up_to_the_score() -> None:
    """Their sum over the image is its score less that of black (completeness)."""
    model = made("cnn", "sigmoid")
    reader = export.in_memory(model, "cnn")
    steps = (np.arange(300, dtype=np.float32) + 0.5) / 300
    (gradients,) = reader.run(SQUARE * steps[:, None, None], ["gradient"])
    black, score = reader.run(np.stack([0 * SQUARE, SQUARE]), ["logits"])[0][:, 0]
    assert (gradients.mean(axis=0) * SQUARE).sum() == pytest.approx(score - black, rel=0.02)


def test_a_layer_without_a_rule_is_named() -> None:
    pixels = keras.Input((32, 32, 1))
    model = keras.Model(pixels, keras.layers.GaussianNoise(1, name="odd")(pixels))
    with pytest.raises(ExportError, match="odd is a GaussianNoise"):
        export.map_graph(model, "lung")


# --- a run's files --------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A copy of the shipped run."""
    return Run(Path(shutil.copytree(shipped_member().folder, tmp_path / "copy")))


def test_the_shipped_files_are_of_the_shipped_networks() -> None:
    drawn = [phantom(seed, pneumonia=bool(seed % 2)).pixels for seed in range(4)]
    for member in ensembles.networks(runs.find(runs.SHIPPED)):
        squares = np.stack([prepare(pixels, member.config["size"]) for pixels in drawn])
        (logits,) = session.load(member).run(squares, ["logits"])
        expected = load_network(member).predict_on_batch(squares[..., None])
        np.testing.assert_allclose(
            metrics.distribution_of_logits(logits)[:, 1:], expected, atol=1e-4
        )
    lungs = runs.Run(runs.SHIPPED_LUNGS)
    small = np.stack([prepare(pixels, 128) for pixels in drawn])
    (found,) = session.load(lungs, session.LUNG_OUTPUTS).run(small, ["lung"])
    expected = load_network(lungs).predict_on_batch(small[..., None])[..., 0]
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_an_old_run_says_which_command_makes_it_readable(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = phantom(5, pneumonia=True).pixels
    before = Classifier(run).read(pixels)
    run.onnx_file.unlink()
    run.gradient_file.unlink()
    with pytest.raises(RunError, match="python -m cxrlib export --run copy"):
        Classifier(run)
    assert main(["export", "--run", str(run.folder)]) == 0
    assert str(run.onnx_file) in capsys.readouterr().out
    after = Classifier(run).read(pixels)
    assert after[0].probability == pytest.approx(before[0].probability, abs=1e-6)
    for method, explanation in after[1].items():
        np.testing.assert_allclose(explanation.values, before[1][method].values, atol=1e-4)


def test_a_network_that_is_not_copied_whole_is_named(run: Run) -> None:
    run.onnx_file.unlink()
    run.model_file.unlink()
    with pytest.raises(RunError, match="not copied whole"):
        Classifier(run)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def foreign(file: Path) -> None:
    """A sound file of somebody else's."""
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 3])
    other = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 3])
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "foreign", [value], [other])
    onnx.save(onnx.helper.make_model(graph, ir_version=10), file)


def sparse(file: Path) -> None:
    """Larger than anything that is loaded; takes no room on the disk."""
    with file.open("r+b") as whole:
        whole.truncate(2**30)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (cut, "damaged"),
        (lambda file: file.write_bytes(b""), "damaged"),
        (lambda file: file.write_bytes(b"no network" * 999), "damaged"),
        (foreign, "not exported by cxrlib"),
        (lambda file: shutil.copy(runs.SHIPPED_LUNGS / "model.onnx", file), "not exported by"),
        (sparse, "larger than"),
    ],
)
def test_what_cannot_be_read_with_is_one_error(
    run: Run, harm: Callable[[Path], None], says: str
) -> None:
    harm(run.onnx_file)
    with pytest.raises(RunError, match=says):
        Classifier(run)


@pytest.mark.parametrize(
    ("harm", "says"),
    [(Path.unlink, "missing"), (cut, "damaged"), (foreign, "do not belong together")],
)
def test_a_gradient_that_cannot_be_used_is_one_error(
    run: Run, harm: Callable[[Path], None], says: str
) -> None:
    harm(run.gradient_file)
    reader, pixels = Classifier(run), phantom(5, pneumonia=True).pixels
    reader.read(pixels, ["gradcam"])
    with pytest.raises(RunError, match=says):
        reader.read(pixels, ["saliency"])


def test_a_gradient_is_never_taken_from_another_networks_weights(run: Run) -> None:
    reader = Classifier(run)
    weights = bytearray(run.onnx_file.read_bytes())
    weights[len(weights) // 2] ^= 255
    run.onnx_file.write_bytes(weights)
    with pytest.raises(RunError, match="do not belong together"):
        reader.explain(phantom(5, pneumonia=True).pixels, "saliency")
