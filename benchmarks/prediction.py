"""Speed of reading X-rays: python benchmarks/prediction.py

Prints ratios measured within one run, because times on shared machines are noisy:

- reading as it is served (lung fields, probability, Grad-CAM, with and without saliency) against
  one compiled TensorFlow pass through the same networks, normalization folded, that gives the same;
- the usual way (model.predict, tf-keras-vis Grad-CAM and Saliency made anew) against ours;
- an ensemble of three with Grad-CAM against that TensorFlow pass of one;
- scoring a folder from its files against the networks' raw batched throughput in Keras;
- importing the command line, and what it loads.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image
from tf_keras_vis.gradcam import Gradcam
from tf_keras_vis.saliency import Saliency
from tf_keras_vis.utils.model_modifiers import ReplaceToLinear

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cxrlib import runs
from cxrlib.images.preprocess import prepare, square_side
from cxrlib.inference.classifier import Classifier
from cxrlib.inference.ensemble import EnsembleClassifier
from cxrlib.networks import lungs
from cxrlib.networks.loading import folded, load_network
from cxrlib.networks.registry import REGISTRY
from cxrlib.runs import ensembles
from cxrlib.synthetic.phantom import phantom

ROUNDS = 7
BATCH = 32


def alternate(*jobs: Callable[[], object], repeat: int) -> list[float]:
    """Median seconds a call of each job, taken in turns so that all see the same noise."""
    times: list[list[float]] = [[] for _ in jobs]
    for job in jobs:
        job()
    for _ in range(ROUNDS):
        for job, taken in zip(jobs, times, strict=True):
            start = time.perf_counter()
            for _ in range(repeat):
                job()
            taken.append((time.perf_counter() - start) / repeat)
    return [float(np.median(taken)) for taken in times]


def with_tensorflow(finder: keras.Model, model: keras.Model, layer: str) -> Callable:
    """Lung fields, features, output and quick heatmaps of one image, compiled together."""
    finder, model = folded(finder), folded(model)
    head = model.get_layer("probability")
    linear = keras.layers.Dense(head.units)
    score = linear(head.input)
    linear.set_weights(head.get_weights())
    features = model.get_layer(layer).output
    pooled = keras.layers.GlobalAveragePooling2D()(features)
    evidence = [layer.output for layer in model.layers if layer.name == "evidence"]
    parts = keras.Model(model.inputs, [features, pooled, score, *evidence])

    @tf.function
    def explained(small: tf.Tensor, square: tf.Tensor) -> tuple[tf.Tensor, ...]:
        with tf.GradientTape() as tape:
            tape.watch(square)
            features, pooled, logits, *maps = parts(square, training=False)
            score = logits[:, 0]
        to_features, to_pixels = tape.gradient(score, [features, square])
        weights = tf.reduce_mean(to_features, axis=(1, 2), keepdims=True)
        gradcam = tf.nn.relu(tf.reduce_sum(weights * features, axis=-1))
        if maps:  # evidence is read from the mirror image as well
            maps += parts(square[:, :, ::-1], training=False)[3:]
        return finder(small, training=False), pooled, logits, gradcam, tf.abs(to_pixels), *maps

    return explained


def explained(classifier: Classifier) -> None:
    pixels = phantom(1, pneumonia=True, size=1000).pixels
    finder, model = load_network(classifier.lungs.run), load_network(classifier.run)
    layer = REGISTRY[classifier.config["network"]].heatmap_layer
    compiled = with_tensorflow(finder, model, layer)
    model_input = classifier.prepare(pixels)[None, ..., None].astype(np.float32)

    def as_before() -> None:
        # What decoding is followed by either way, and then the networks.
        square = prepare(pixels, square_side(classifier.config["size"]))
        small = prepare(square, lungs.SIZE)[None, ..., None].astype(np.float32)
        for array in compiled(tf.constant(small), tf.constant(model_input)):
            array.numpy()

    def usual() -> None:
        model.predict(model_input, verbose=0)
        for method in (Gradcam, Saliency):
            method(model, model_modifier=ReplaceToLinear(), clone=True)(
                lambda output: output[:, 0], model_input
            )

    three = ensemble_of_three(classifier.run)
    before, both, forward, ensemble = alternate(
        as_before,
        lambda: classifier.read(pixels),
        lambda: classifier.read(pixels, ["gradcam"]),
        lambda: three.read(pixels, ["gradcam"]),
        repeat=10,
    )
    read, slow = alternate(lambda: classifier.read(pixels), usual, repeat=1)
    print(f"TensorFlow {before * 1e3:.1f} ms, explained reading {both * 1e3:.1f} ms")
    print(f"explained reading / TensorFlow: {both / before:.2f}  (wanted: at most 0.8)")
    print(f"without saliency / TensorFlow: {forward / before:.2f}  (at most 0.4)")
    print(f"three networks, without saliency / TensorFlow: {ensemble / before:.2f}  (at most 1)")
    print(f"predict + tf-keras-vis rebuilt / explained reading: {slow / read:.1f}  (at least 50)")


def ensemble_of_three(run: runs.Run) -> EnsembleClassifier:
    """The mean of a run and two copies of it."""
    with tempfile.TemporaryDirectory() as name:
        members = [shutil.copytree(run.folder, Path(name) / f"copy{n}").name for n in range(3)]
        whole = shutil.copytree(runs.find(runs.SHIPPED).folder, Path(name) / "mean")
        (whole / "config.json").write_text(json.dumps({"name": "mean", "members": members}))
        return EnsembleClassifier(runs.Run(whole))


def folder(classifier: Classifier, side: int, quality: int) -> None:
    finder, model = load_network(classifier.lungs.run), load_network(classifier.run)
    with tempfile.TemporaryDirectory() as name:
        files = []
        for seed in range(16):
            picture = Image.fromarray(phantom(seed, pneumonia=False, size=side).pixels)
            for copy in range(16):
                files.append(Path(name) / f"{seed}-{copy}.jpeg")
                picture.save(files[-1], quality=quality)
        size = classifier.config["size"]
        squares = np.zeros((BATCH, size, size, 1), np.float32)
        small = np.zeros((BATCH, lungs.SIZE, lungs.SIZE, 1), np.float32)

        def bare() -> None:
            for _ in range(len(files) // BATCH):
                finder.predict_on_batch(small)
                model.predict_on_batch(squares)

        raw, read = alternate(
            bare,
            lambda: list(classifier.predict_files(files)),
            repeat=1,
        )
    print(
        f"{len(files)} files of {side} px: predict {len(files) / read:.0f} a second, raw networks "
        f"{len(files) / raw:.0f}; ratio {raw / read:.2f}"
    )


def start() -> None:
    code = "import sys, cxrlib.__main__; print('tensorflow' in sys.modules)"
    began = time.perf_counter()
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    print(
        f"importing the command line: {time.perf_counter() - began:.2f} s, "
        f"TensorFlow loaded: {loaded.stdout.strip()}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", default=runs.SHIPPED)
    options = parser.parse_args()
    start()
    reader = Classifier(ensembles.networks(runs.find(options.run))[0])
    explained(reader)
    folder(reader, 224, 90)
    folder(reader, 1200, 90)
