"""How fast training is, as ratios measured within one run: python benchmarks/training.py

augmentation  a training step with augmentation over the same step on pictures in memory
              without it, MobileNetV2 at 224 px; at most 1.05
loading       pictures a second of `cnn` at 150 px from full-size files, over those of
              `ImageDataGenerator.flow_from_directory` with the same network, batch and, as far
              as it has them, augmentations, from the second epoch on; at least 5. Beside it the
              same of the first epoch, which decodes the files
memory        main memory after the last epoch over that after the second; about 1
watching      what a page that watches takes from a run: processor time of the server that polls
              the run's files, as a share of all cores; at most 0.01. Beside it the time of a step
              while a page watches over that while none does, which a browser on the same machine
              and whatever else runs there blur (needs Linux, Chromium and playwright)

Noise of a busy machine is taken out by alternating: each figure is the median over rounds.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TQDM_DISABLE"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import keras
import numpy as np
import tensorflow as tf

from cxrlib import runs
from cxrlib.data import dataset
from cxrlib.images.preprocess import cached_pixels
from cxrlib.networks import registry
from cxrlib.networks.fused_batchnorm import fused
from cxrlib.runs.config import TrainingConfig
from cxrlib.synthetic import phantom
from cxrlib.training import devices, jobs, practice
from cxrlib.training.augment import PRESETS
from cxrlib.training.batches import Batches, Samples, Variation
from cxrlib.training.prefetch import fit_input

ROOT = Path(__file__).resolve().parent.parent
PORT = 8698


def compiled(name: str, size: int) -> keras.Model:
    model = fused(registry.build(name, size=size, weights="none"))
    model.compile("adam", "binary_crossentropy")
    return model


def seconds(model: keras.Model, pictures: object) -> float:
    started = time.perf_counter()
    given = fit_input(pictures) if isinstance(pictures, Batches) else pictures
    model.fit(given, shuffle=False, verbose=0)
    return time.perf_counter() - started


def batches(pixels: np.ndarray, recipe: str, batch: int) -> Batches:
    rows = np.arange(len(pixels))
    targets = (rows % 2).astype(np.float32)[:, None]
    weights = np.ones(len(rows), np.float32)
    return Batches(
        Samples(pixels, rows, targets, weights),
        variation=Variation(PRESETS[recipe]),
        batch_size=batch,
        seed=0,
    )


def augmentation(rounds: int) -> None:
    """Step with augmentation over step on an array without it."""
    pixels = np.random.default_rng(0).integers(0, 256, (128, 224, 224), np.uint8)
    augmented = batches(pixels, "strong", batch=16)
    targets = (np.arange(len(pixels)) % 2).astype(np.float32)[:, None]
    # What is fitted is the same to the last weight; only where the pictures come from differs.
    # At the end of an epoch TensorFlow may wait for its tuning as long as the epoch took.
    options = tf.data.Options()
    options.autotune.enabled = False
    plain = tf.data.Dataset.from_tensor_slices((pixels[..., None], targets)).batch(16).cache()
    plain = plain.with_options(options)
    model = compiled("mobilenetv2", 224)
    seconds(model, augmented)
    seconds(model, plain)
    ratios = []
    for _ in range(rounds):
        with_it, without = seconds(model, augmented), seconds(model, plain)
        ratios.append(with_it / without)
    print(f"augmentation  {statistics.median(ratios):.3f}  (at most 1.05; rounds {spread(ratios)})")


def loading(rounds: int, folder: Path) -> None:
    """Pictures a second over the generator's; and memory from epoch to epoch."""
    phantom.write_dataset(folder, patients=60, size=1300)
    train = folder / "train"
    # Drawing takes long; for a generator, a copy is a file like another. Short epochs would
    # measure how `fit` starts.
    for file in list(train.rglob("*.jpeg")):
        for copy in range(7):
            shutil.copy(file, file.with_stem(f"{file.stem}-{copy}"))
    table = dataset.index(folder)
    table = table[table.split == "train"].reset_index(drop=True)
    table.attrs["root"] = str(folder)
    started = time.perf_counter()
    pixels = cached_pixels(table, 150, folder=folder / "cache")
    decoding = (time.perf_counter() - started) / len(table)
    ours = batches(pixels, "light", batch=32)
    recipe = PRESETS["light"]
    generator = tf.keras.preprocessing.image.ImageDataGenerator(
        rotation_range=recipe.rotation,
        width_shift_range=recipe.shift,
        height_shift_range=recipe.shift,
        zoom_range=recipe.zoom,
        brightness_range=(1 - recipe.contrast, 1 + recipe.contrast),
    ).flow_from_directory(
        str(train), (150, 150), color_mode="grayscale", class_mode="binary", batch_size=32
    )
    ours_model, theirs_model = compiled("cnn", 150), compiled("cnn", 150)
    seconds(ours_model, ours)
    seconds(theirs_model, generator)
    ratios, first, memory = [], [], []
    for _ in range(rounds):
        our_pace = len(ours) * 32 / seconds(ours_model, ours)
        memory.append(devices.process_memory(os.getpid()) or 0)
        their_pace = generator.n / seconds(theirs_model, generator)
        ratios.append(our_pace / their_pace)
        first.append(1 / (1 / our_pace + decoding) / their_pace)
    print(
        f"loading       {statistics.median(ratios):.2f}  (at least 5; rounds {spread(ratios)}; "
        f"last {our_pace:.0f} against {their_pace:.0f} pictures a second); first epoch "
        f"{statistics.median(first):.2f}, {1 / decoding:.0f} files decoded a second"
    )
    for _ in range(rounds):
        seconds(ours_model, ours)
        memory.append(devices.process_memory(os.getpid()) or 0)
    print(
        f"memory        {memory[-1] / memory[rounds]:.3f}  (about 1; "
        f"{memory[-1] / 2**20:.0f} MB after {len(memory) + 1} epochs)"
    )


def watching(rounds: int, folder: Path) -> None:
    """What a watching page's server takes from the processor; a step's time with and without."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("watching      not measured: needs Chromium")
        return
    from playwright.sync_api import sync_playwright

    os.environ["CXR_CACHE_DIR"], os.environ["CXR_MODELS_DIR"] = str(folder), str(folder / "models")
    config = TrainingConfig(**practice.values() | {"fine_tune_epochs": 500, "patience": 500})
    run = jobs.create(config, practice.folder(), on=["cpu"], models=folder / "models")
    jobs.launch(run)
    server = subprocess.Popen(
        [sys.executable, "-m", "streamlit", "run", "app.py", f"--server.port={PORT}",
         "--server.headless=true"],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while run.progress.get("epoch", 0) < 3:
            time.sleep(1)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
            )
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{PORT}")
            page.get_by_role("link", name="Train", exact=True).click()
            page.get_by_role("tab", name="In progress").click()
            page.get_by_role("button", name="Stop").wait_for()
            watched = page.url
            ratios, shares = [], []
            for _ in range(rounds):
                page.goto("about:blank")
                time.sleep(3)
                step_alone, taken_alone = observe(run, server.pid)
                page.goto(watched)
                page.get_by_role("button", name="Stop").wait_for()
                time.sleep(5)
                step, taken = observe(run, server.pid)
                ratios.append(step / step_alone)
                shares.append((taken - taken_alone) / (os.cpu_count() or 1))
            browser.close()
    finally:
        server.terminate()
        run.request_stop()
        while jobs.alive(run):
            time.sleep(0.5)
    print(
        f"watching      {statistics.median(shares):.4f}  (at most 0.01; rounds {min(shares):.4f} "
        f"to {max(shares):.4f}; a step takes {statistics.median(ratios):.3f} times as long, "
        f"rounds {spread(ratios)})"
    )


def observe(run: runs.Run, server: int, window: float = 20) -> tuple[float, float]:
    """Seconds a training step, and processor seconds of the server a second."""
    first, busy, started = steps_done(run), processor_seconds(server), time.monotonic()
    time.sleep(window)
    last, busy = steps_done(run), processor_seconds(server) - busy
    passed = time.monotonic() - started
    return passed / (last - first), busy / passed


def processor_seconds(pid: int) -> float:
    """What a process, and those it has started and waited for, have used so far."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, after_name[11:15])) / os.sysconf("SC_CLK_TCK")


def steps_done(run: runs.Run) -> int:
    """Steps so far, read at the moment they are written."""
    before = run.progress
    while (now := run.progress) == before or "step" not in now:
        time.sleep(0.005)
    return (now["epoch"] - 1) * now["steps"] + now["step"]


def spread(ratios: list[float]) -> str:
    return f"{min(ratios):.2f} to {max(ratios):.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("only", nargs="*", choices=["augmentation", "loading", "watching", []])
    options = parser.parse_args()
    chosen = options.only or ["augmentation", "loading", "watching"]
    with tempfile.TemporaryDirectory() as scratch:
        if "augmentation" in chosen:
            augmentation(options.rounds)
        if "loading" in chosen:
            loading(options.rounds, Path(scratch) / "full-size")
        if "watching" in chosen:
            watching(options.rounds, Path(scratch) / "watched")


if __name__ == "__main__":
    main()
