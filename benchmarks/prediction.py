"""Speed of reading X-rays: python benchmarks/prediction.py

Prints ratios measured within one run, because times on shared machines are noisy:

- explained prediction (probability, Grad-CAM, saliency) against the bare compiled forward pass;
- the usual way (model.predict, tf-keras-vis Grad-CAM and Saliency made anew) against ours;
- scoring a folder from its files against the network's raw batched throughput;
- importing cxrlib, and what it loads.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image
from tf_keras_vis.gradcam import Gradcam
from tf_keras_vis.saliency import Saliency
from tf_keras_vis.utils.model_modifiers import ReplaceToLinear

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cxrlib import runs
from cxrlib.images.preprocess import prepare
from cxrlib.inference.classifier import Classifier
from cxrlib.networks import lungs
from cxrlib.networks.loading import load_network
from cxrlib.synthetic.phantom import phantom
from pages.shared.memory import set_up_heaps

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


def explained(classifier: Classifier) -> None:
    pixels = phantom(1, pneumonia=True, size=1000).pixels
    square = classifier.prepare(pixels)[None, ..., None].astype(np.float32)
    small = prepare(pixels, lungs.SIZE)[None, ..., None].astype(np.float32)
    # Reading takes two networks: the one that finds the lungs, and the run's own. Bare is as they
    # were trained, before anything is made faster.
    finder = load_network(classifier.lungs.run)
    bare = tf.function(
        lambda x, y: (finder(x, training=False), classifier.model(y, training=False))
    )
    tensors = tf.constant(small), tf.constant(square)

    def usual() -> None:
        classifier.model.predict(square, verbose=0)
        Gradcam(classifier.model, model_modifier=ReplaceToLinear(), clone=True)(
            lambda output: output[:, 0], square
        )
        Saliency(classifier.model, model_modifier=ReplaceToLinear(), clone=True)(
            lambda output: output[:, 0], square
        )

    forward, read = alternate(
        lambda: bare(*tensors)[1].numpy(), lambda: classifier.read(pixels), repeat=10
    )
    read_again, slow = alternate(lambda: classifier.read(pixels), usual, repeat=1)
    print(f"forward passes {forward * 1e3:.1f} ms, explained prediction {read * 1e3:.1f} ms")
    print(f"explained / forward: {read / forward:.2f}  (wanted: at most 2.5)")
    print(f"predict + tf-keras-vis rebuilt / explained: {slow / read_again:.1f}  (at least 15)")


def folder(classifier: Classifier, side: int, quality: int) -> None:
    finder = load_network(classifier.lungs.run)
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
                classifier.model.predict_on_batch(squares)

        raw, read = alternate(
            bare,
            lambda: list(classifier.predict_files(files)),
            repeat=1,
        )
    print(
        f"{len(files)} files of {side} px: predict {len(files) / read:.0f} a second, raw networks "
        f"{len(files) / raw:.0f}; ratio {raw / read:.2f}  (at least 0.8)"
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
    parser.add_argument("--served", action="store_true", help="with the app's setting of the heap")
    options = parser.parse_args()
    if options.served:
        set_up_heaps()
    start()
    reader = Classifier(runs.find(options.run))
    explained(reader)
    folder(reader, 224, 90)
    folder(reader, 1200, 90)
