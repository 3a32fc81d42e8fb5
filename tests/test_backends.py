"""Training on another backend of Keras than TensorFlow, in a process of its own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cxrlib import runs
from cxrlib.inference.classifier import Classifier
from cxrlib.synthetic import phantom

ROOT = Path(__file__).resolve().parent.parent

# Stopped in its second epoch, then resumed.
PROGRAM = """
import sys, threading, time
from pathlib import Path
from cxrlib import runs
from cxrlib.runs.config import TrainingConfig, for_network
from cxrlib.runs.folder import StoppedError
from cxrlib.training import progress
from cxrlib.training.train import train

progress._EVERY = 0.0
data, models = map(Path, sys.argv[1:])
config = TrainingConfig(
    **for_network("cnn", size=96, batch_size=4, fine_tune_epochs=2, augmentation="light")
)
run = runs.create("other", models=models)

def stop():
    while not (run.progress.get("epoch") == 2 and run.progress.get("activity") == "training"):
        time.sleep(0.005)
    run.request_stop()

threading.Thread(target=stop, daemon=True).start()
try:
    train(config, data, run=run)
except StoppedError:
    assert run.has_checkpoint and len(run.history) == 1
    run.clear_marks()
    train(config, data, run=run)
else:
    sys.exit("it was not stopped")
"""


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("jax") is None, reason="needs JAX: pip install -r requirements-dev.txt"
)
def test_jax_trains_stops_resumes_and_what_it_trained_reads_and_explains(
    phantoms: Path, tmp_path: Path
) -> None:
    environment = {"KERAS_BACKEND": "jax", "CXR_CACHE_DIR": str(tmp_path / "cache")}
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(phantoms), str(tmp_path / "models")],
        cwd=ROOT, env=os.environ | environment, capture_output=True, text=True,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr[-2000:]
    run = runs.find("other", models=tmp_path / "models")
    assert run.environment["backend"] == "jax"
    assert list(run.history.epoch) == [1, 2]
    reader = Classifier(run)
    pixels = phantom.phantom(3, pneumonia=True).pixels
    assert 0 <= reader.predict(pixels).probability <= 1
    assert reader.explain(pixels, "gradcam").heatmap.shape == pixels.shape
