"""What the commands of `python -m cxrlib` take."""

import argparse
from pathlib import Path

from cxrlib import runs
from cxrlib.data.classes import MEANINGS
from cxrlib.inference.methods import METHODS
from cxrlib.runs import options

_SPLITS = ("test", "val", "train", "validation", "all")


def parser() -> argparse.ArgumentParser:
    """Every command with its options; ``command`` is which one."""
    root = argparse.ArgumentParser(
        prog="python -m cxrlib",
        description="Pneumonia in chest X-rays. For education and research, not for diagnosis.",
    )
    commands = root.add_subparsers(required=True, dest="command", metavar="COMMAND")

    command = commands.add_parser(
        "download", help="fetch the Kaggle data set (2.3 GB), or one at a URL"
    )
    command.add_argument("url", nargs="?", metavar="URL", help="such as s3://bucket/chest_xray")

    command = commands.add_parser("train", help="train a run")
    _add_data(command)
    command.add_argument("--models", type=Path, default=runs.MODELS, help="where runs are kept")
    command.add_argument(
        "--config",
        type=Path,
        metavar="FILE.json",
        help="settings of another run, its config.json; options given beside it count more",
    )
    command.add_argument("--resume", metavar="RUN", help="continue an unfinished run")
    command.add_argument(
        "--device",
        metavar="cpu|gpu:N",
        help="device to train on (default: the first GPU, or the CPU)",
    )
    _add_cluster(command, "train as a job of a Ray cluster that sees the data set")
    options.add_arguments(command)

    command = commands.add_parser("sweep", help="train many runs that differ in some settings")
    command.add_argument("file", type=Path, metavar="FILE.toml", help="see docs/training.md")
    _add_data(command)
    command.add_argument("--models", type=Path, default=runs.MODELS, help="where runs are kept")
    _add_cluster(command, "train several at once on a Ray cluster, and stop poor ones early")

    command = commands.add_parser("delete", help="delete a run, finished or not, for good")
    command.add_argument("run", metavar="RUN", help="its name")
    command.add_argument("--models", type=Path, default=runs.MODELS, help="where runs are kept")
    command.add_argument(
        "--leave-job",
        action="store_true",
        help="do not stop its job on a Ray cluster, such as one that is gone",
    )

    command = commands.add_parser("train-lungs", help="train a network that finds lung fields")
    _add_data(command)
    command.add_argument("--lung-masks", type=Path, required=True, help="folder of masks")
    command.add_argument("--name", required=True, help="name of the run's folder")
    command.add_argument("--models", type=Path, default=runs.SHIPPED_LUNGS.parent)
    command.add_argument("--epochs", type=int, default=14)
    command.add_argument("--seed", type=int, default=0)

    command = commands.add_parser("evaluate", help="measure a run on a data set")
    _add_measured(command, split="test")
    command.add_argument(
        "--keep",
        metavar="NAME",
        help="keep the results with the run under this name, such as 'hospital B': Metrics and the "
        "model card show them beside its own splits",
    )

    command = commands.add_parser(
        "stress", help="measure a run on perturbed images, and on those of other hospitals"
    )
    _add_measured(command, split="validation")
    command.add_argument(
        "--also",
        action="append",
        nargs="+",
        default=[],
        metavar="SOURCE",
        help="images of another hospital, read as they are: a folder with NORMAL/ and PNEUMONIA/, "
        "or TABLE.csv COLUMN PNEUMONIA NORMAL: the column of labels, and the two labels to use",
    )

    command = commands.add_parser("faithfulness", help="test the heatmaps of a run")
    _add_measured(command, split="validation")
    command.add_argument(
        "--pictures",
        type=_count,
        default=30,
        help="number of radiographs, and of phantoms (default: 30 each)",
    )
    command.add_argument("--seed", type=int, default=0, help="seed that selects them (default: 0)")
    command.add_argument(
        "--boxes",
        type=Path,
        metavar="FILE.csv",
        help="test them on boxes that radiologists drew: a table file,left,top,width,height, with "
        "files relative to its folder and positions as shares of the image",
    )

    command = commands.add_parser(
        "describe",
        help="keep figures of its training data with a run: Data set shows them where the images "
        "are not available",
    )
    _add_data(command)
    _add_run(command)

    command = commands.add_parser("ensemble", help="save the mean of several runs as a run")
    command.add_argument("name", help="name of the new run")
    command.add_argument("members", nargs="+", metavar="RUN", help="two or more finished runs")
    command.add_argument("--note", default="", help="for the model card: how it was chosen")

    command = commands.add_parser(
        "predict", help="read X-rays: one line per file, or any number into a table"
    )
    command.add_argument(
        "paths",
        nargs="+",
        metavar="FILE_OR_FOLDER",
        help="with --out also a URL such as s3://bucket/archive, or a list of files: .txt with one "
        "path or URL per line, or .csv with a column named file",
    )
    _add_run(command)
    command.add_argument(
        "--out",
        type=Path,
        metavar="FILE.parquet|FILE.csv",
        help="write a table, read on all cores; the same command resumes after an interruption",
    )
    command.add_argument(
        "--heatmaps",
        type=Path,
        metavar="FOLDER",
        help="with --out: also write a small PNG of each image with its heatmap",
    )
    _add_cluster(command, "with --out: read on a Ray cluster that sees the files")
    command.add_argument("--json", action="store_true", help="one JSON object per line")
    command.add_argument(
        "--insist",
        action="store_true",
        help="also read images that do not look like frontal chest radiographs",
    )

    command = commands.add_parser("explain", help="write an X-ray with a heatmap overlaid")
    command.add_argument("file", type=Path)
    command.add_argument(
        "--method",
        choices=METHODS,
        help="default: evidence where the run has such a map, else gradcam",
    )
    command.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    _add_run(command)

    command = commands.add_parser(
        "export",
        help="write the ONNX files that a run reads with, or its network as .keras or .h5",
    )
    command.add_argument(
        "--out",
        type=Path,
        metavar="FILE.keras|FILE.h5",
        help="another file (default: the run's own, as ONNX)",
    )
    _add_run(command)
    return root


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number of images: give 1 or more.")
    return int(text)


def _add_cluster(parser: argparse.ArgumentParser, help_text: str) -> None:
    parser.add_argument(
        "--cluster", metavar="HOST:PORT", help=f"{help_text} (default: on this machine)"
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        metavar="FOLDER_OR_URL",
        help="data set: a folder, or a URL such as s3://bucket/chest_xray, which is copied to the "
        "cache (default: CXR_DATA_DIR)",
    )
    parser.add_argument(
        "--meaning",
        action="append",
        default=[],
        metavar="CLASS=MEANING",
        help="what a class of the data set means, where its name does not tell: "
        f"{', '.join(MEANINGS)}; kept for the folder",
    )


def _add_measured(parser: argparse.ArgumentParser, *, split: str) -> None:
    """What a command that measures a run takes: the run, the images, how it prints."""
    _add_data(parser)
    parser.add_argument(
        "--split",
        choices=_SPLITS,
        default=split,
        help="the images: an official folder, all, or the validation patients that the run held "
        f"out (needs the data it was trained on; default: {split})",
    )
    _add_run(parser)
    parser.add_argument("--json", action="store_true", help="JSON, not a table")


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--run", default=runs.SHIPPED, help="name or folder of a run (default: the shipped one)"
    )
