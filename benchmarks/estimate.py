"""The time and memory that *Train* estimates: python benchmarks/estimate.py

Small runs on synthetic radiographs on the CPU, each beside its estimate: the time from start to
finished run, and the most memory that its process held. On a machine with other work, what counts
is the processor time that it took, here that of all cores together: alone it takes somewhat more,
because not all of a run uses all cores.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cxrlib import arguments
from cxrlib.data import dataset
from cxrlib.runs.config import TrainingConfig, for_network
from cxrlib.synthetic import phantom
from cxrlib.training.estimate import estimate

ROOT = Path(__file__).resolve().parent.parent
RUNS = (
    "--network cnn --fine-tune-epochs 6",
    "--network cnn --augmentation none --size 224 --cnn-width 32 --fine-tune-epochs 3",
    "--network mobilenetv2 --size 128 --head-epochs 0 --weights none --fine-tune-epochs 2",
    "--network mobilenetv2 --size 224 --head-epochs 0 --weights none --fine-tune-epochs 1",
    "--network mobilenetv2 --size 128 --head-epochs 5 --fine-tune-epochs 0 --augmentation none",
    "--network mobilenetv2 --size 128 --head-epochs 1 --fine-tune-depth 5 --fine-tune-epochs 2",
    "--network resnet50 --size 96 --head-epochs 0 --weights none --fine-tune-epochs 1",
    "--network vgg16 --size 96 --head-epochs 0 --weights none --fine-tune-epochs 1",
    "--network densenet121 --size 96 --head-epochs 0 --weights none --fine-tune-epochs 1",
    "--network efficientnetb0 --size 128 --batch-size 16 --head-epochs 0 --weights none "
    "--fine-tune-epochs 1",
    "--network mobilenetv2 --size 160 --batch-size 64 --crop lungs --equalization clahe "
    "--head-epochs 0 --weights none --fine-tune-epochs 1",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--patients", type=int, default=600, help="synthetic ones (default: 600)")
    parser.add_argument("only", nargs="*", type=int, help="numbers of the runs, from 1 on")
    options = parser.parse_args()
    print("| run | seconds, estimated | took | all cores | GB, estimated | held | ratio |")
    print("|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        phantom.write_dataset(data, patients=options.patients, size=256)
        images = int((dataset.index(data).split != "test").sum())
        weights = backbone_weights(Path(scratch))
        for number in options.only or range(1, len(RUNS) + 1):
            print(row(RUNS[number - 1], data, images, weights, Path(scratch)), flush=True)


def backbone_weights(folder: Path) -> Path:
    """A file as ImageNet's weights of MobileNetV2 come in; time does not hang on what is in it."""
    file = folder / "backbone.weights.h5"
    code = (
        "import sys, keras; keras.applications.MobileNetV2(include_top=False, weights=None, "
        "input_shape=(128, 128, 3)).save_weights(sys.argv[1])"
    )
    subprocess.run([sys.executable, "-c", code, str(file)], check=True, stderr=subprocess.DEVNULL)
    return file


def row(line: str, data: Path, images: int, weights: Path, scratch: Path) -> str:
    command = ["train", *shlex.split(line), "--data", str(data), "--models", str(scratch)]
    if "--weights" not in line and "--network cnn" not in line:
        command += ["--weights", str(weights)]
    given = vars(arguments.parser().parse_args(command))
    values = {name: given[name] for name in TrainingConfig.model_fields if name in given}
    config = TrainingConfig(**for_network(values.pop("network"), **values))
    expected = estimate(config, images, gpus=0, cores=os.cpu_count() or 1)
    # Each decodes its images, as a first run does.
    environment = os.environ | {"CXR_CACHE_DIR": tempfile.mkdtemp(dir=scratch)}
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "cxrlib", *command, "--device", "cpu"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, used = os.wait4(process.pid, 0)
    took, held = time.monotonic() - started, used.ru_maxrss * 1024
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{line} ended with status {process.returncode}")
    worked = (used.ru_utime + used.ru_stime) / (os.cpu_count() or 1)
    return (
        f"| `{line}` | {expected.seconds:.0f} | {took:.0f} | {worked:.0f} "
        f"| {expected.memory / 1e9:.2f} | {held / 1e9:.2f} | {expected.memory / held:.2f} |"
    )


if __name__ == "__main__":
    main()
