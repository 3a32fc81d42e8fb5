"""The command line, `python -m cxrlib COMMAND`; without one it lists them."""

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from pydantic import ValidationError

from cxrlib import config, dataset, ensembles, runs
from cxrlib.methods import METHODS
from cxrlib.radiograph import RadiographError

if TYPE_CHECKING:
    from cxrlib.classifier import Classifier, Prediction
    from cxrlib.ensemble_classifier import EnsembleClassifier

# TensorFlow reports every CPU feature and missing GPU library at each start; its errors stay.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

PICTURE_SUFFIXES = {
    ".jpeg", ".jpg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".dcm", ".dicom",
}  # fmt: skip
# Seeds from here on, which no training on phantoms uses.
_PHANTOMS = 1_000_000
_SPLITS = ("test", "val", "train", "validation")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.run_command(options)
    except ValidationError as error:
        for field, sentence in config.problems(error).items():
            option = f"--{field.replace('_', '-')}: " if field else ""
            print(f"{option}{sentence}", file=sys.stderr)
    except (dataset.DatasetError, runs.RunError, RadiographError) as error:
        print(error, file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cxrlib",
        description="Pneumonia in chest X-rays. For education and research, not for diagnosis.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("download", help="fetch the Kaggle data set (2.3 GB)")
    command.set_defaults(run_command=_download)

    command = commands.add_parser("train", help="train a run")
    _add_data(command)
    command.add_argument("--models", type=Path, default=runs.MODELS, help="where runs are kept")
    command.add_argument("--config", type=Path, metavar="FILE.json", help="start from a run's")
    command.add_argument("--resume", metavar="RUN", help="go on with an unfinished run")
    command.add_argument(
        "--device", metavar="cpu|gpu:N", help="where (default: the first GPU, or the CPU)"
    )
    config.add_arguments(command)
    command.set_defaults(run_command=_train)

    command = commands.add_parser("train-lungs", help="train a network that finds lung fields")
    _add_data(command)
    command.add_argument("--lung-masks", type=Path, required=True, help="folder of masks")
    command.add_argument("--name", required=True, help="name of the run's folder")
    command.add_argument("--models", type=Path, default=runs.SHIPPED_LUNGS.parent)
    command.add_argument("--epochs", type=int, default=14)
    command.add_argument("--seed", type=int, default=0)
    command.set_defaults(run_command=_train_lungs)

    command = commands.add_parser("evaluate", help="measure a run on a data set")
    _add_measured(command, split="test")
    command.set_defaults(run_command=_evaluate)

    command = commands.add_parser(
        "stress", help="measure a run on pictures changed on purpose, and from elsewhere"
    )
    _add_measured(command, split="validation")
    command.add_argument(
        "--also",
        action="append",
        nargs="+",
        default=[],
        metavar="SOURCE",
        help="pictures from elsewhere, as they are: a folder with NORMAL/ and PNEUMONIA/, or "
        "TABLE.csv COLUMN ILL WELL, the column of labels and the two labels to be used",
    )
    command.set_defaults(run_command=_stress)

    command = commands.add_parser(
        "faithfulness", help="put the explanation methods to the test on a run"
    )
    _add_measured(command, split="validation")
    command.add_argument(
        "--pictures", type=_count, default=30, help="radiographs, and phantoms (default: 30 each)"
    )
    command.add_argument("--seed", type=int, default=0, help="which ones (default: 0)")
    command.set_defaults(run_command=_faithfulness)

    command = commands.add_parser("predict", help="read X-rays: a line a file")
    command.add_argument("paths", nargs="+", type=Path, metavar="FILE_OR_FOLDER")
    _add_run(command)
    command.add_argument("--json", action="store_true", help="one JSON object a line")
    command.add_argument(
        "--insist",
        action="store_true",
        help="read pictures too that do not look like frontal chest radiographs",
    )
    command.set_defaults(run_command=_predict)

    command = commands.add_parser("explain", help="write an X-ray with a heatmap over it")
    command.add_argument("file", type=Path)
    command.add_argument("--method", choices=METHODS, default="gradcam")
    command.add_argument("--out", type=Path, required=True, metavar="FILE.png")
    _add_run(command)
    command.set_defaults(run_command=_explain)

    command = commands.add_parser("export", help="write a run's network as .keras or .h5")
    command.add_argument("--out", type=Path, required=True, metavar="FILE.keras|FILE.h5")
    _add_run(command)
    command.set_defaults(run_command=_export)
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of pictures: give 1 or more.")
    return int(text)


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, help="data-set folder (default: CXR_DATA_DIR)")


def _add_measured(parser: argparse.ArgumentParser, *, split: str) -> None:
    """What a command that measures a run takes: the run, the pictures, how it prints."""
    _add_data(parser)
    parser.add_argument(
        "--split",
        choices=_SPLITS,
        default=split,
        help="the pictures: an official folder, or the validation patients that the run held out "
        f"(needs the data it was trained on; default: {split})",
    )
    _add_run(parser)
    parser.add_argument("--json", action="store_true", help="JSON, not a table")


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--run", default=runs.SHIPPED, help="name or folder of a run (default: the shipped one)"
    )


def _data(options: argparse.Namespace) -> Path:
    folder = options.data or dataset.configured_folder()
    if folder is None:
        raise dataset.DatasetError(
            "No data set was named: pass --data FOLDER or set CXR_DATA_DIR. "
            "`python -m cxrlib download` fetches it."
        )
    return folder


def _download(options: argparse.Namespace) -> int:
    folder = dataset.download()
    print(f"The data set is in {folder}\nSet CXR_DATA_DIR={folder} to use it everywhere.")
    return 0


def _train(options: argparse.Namespace) -> int:
    from cxrlib import jobs

    if options.resume:
        return _work(runs.find_unfinished(options.resume, models=options.models))
    given = {
        name: value
        for name, value in vars(options).items()
        if name in config.TrainingConfig.model_fields
    }
    if options.config:
        try:
            given = json.loads(options.config.read_text(encoding="utf-8")) | given
        except (OSError, ValueError) as error:
            print(f"{options.config} is not a run's config.json: {error}", file=sys.stderr)
            return 2
    network = given.pop("network", config.TrainingConfig.model_fields["network"].default)
    wanted = config.TrainingConfig(**config.for_network(network, **given))
    data = dataset.find_root(_data(options))
    run = jobs.create(wanted, data, on=options.device and [options.device], models=options.models)
    try:
        return _work(run)
    finally:
        if not run.finished and not run.began:
            runs.delete(run)  # it never got to learn anything


def _work(run: runs.Run) -> int:
    from cxrlib import jobs

    try:
        jobs.work(run)
    except runs.StoppedError:
        print(f"Stopped. Go on with: python -m cxrlib train --resume {run.name}", file=sys.stderr)
        return 1
    except ValueError as error:
        # cxrlib's errors say what to do; of others, the way to them is needed.
        if not type(error).__module__.startswith("cxrlib."):
            raise
        print(error, file=sys.stderr)
        return 2
    print(f"\nThe run is in {run.folder}\n\n{run.card}")
    return 0


def _train_lungs(options: argparse.Namespace) -> int:
    from cxrlib import lungs_training

    run = lungs_training.train(
        _data(options),
        options.lung_masks,
        name=runs.check_name(options.name),
        epochs=options.epochs,
        seed=options.seed,
        models=options.models,
    )
    print(f"\nThe run is in {run.folder}\n\n{run.card}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from cxrlib import evaluation, metrics
    from cxrlib.ensemble_classifier import load

    classifier = load(runs.find(options.run))
    table = _pictures(options, classifier)
    predictions = evaluation.predict_table(
        table,
        classifier.distribution_of(table),
        classifier.class_names,
        classifier.calibration,
    )
    measured = evaluation.measure(predictions, classifier.points)
    if options.json:
        print(json.dumps({"run": classifier.run.name, "split": options.split} | measured))
        return 0
    print(
        f"{classifier.run.name} on {options.split}: {measured['pictures']} pictures of "
        f"{measured['patients']} patients, {measured['pneumonia']} with pneumonia"
    )
    for name, point in classifier.points.items():
        print(f"\n{evaluation.POINT_TITLES[name]}: probability >= {point.threshold:.3f}")
        for metric, estimate in metrics.summary_from_json(measured["points"][name]).items():
            print(f"  {metric:18} {estimate}")
    return 0


def _pictures(
    options: argparse.Namespace, reader: "Classifier | EnsembleClassifier"
) -> pd.DataFrame:
    """The pictures of ``--split``, with the split's name."""
    table = dataset.index(_data(options))
    wanted = table.split == options.split
    if options.split == "validation":
        wanted = reader.held_out(table)
    elif options.split != "test":
        print("The run may have been trained on these pictures.", file=sys.stderr)
    if not wanted.any():
        raise dataset.DatasetError(
            f"The folder {table.attrs['root']} has no split {options.split}."
        )
    return table[wanted].assign(split=options.split)


def _stress(options: argparse.Namespace) -> int:
    from cxrlib import elsewhere, evaluation, stress
    from cxrlib.ensemble_classifier import load

    others = {}
    for source in options.also:
        name = elsewhere.name(source)
        if name in others:
            raise dataset.DatasetError(
                f"Two sources of pictures are in folders called {name}, which is what the table "
                "calls them: rename one."
            )
        others[name] = elsewhere.read(source)
    classifier = load(runs.find(options.run))
    table = stress.measure(
        classifier,
        _pictures(options, classifier),
        split=options.split,
        elsewhere=others,
    )
    classifier.run.save_stress(table)
    evaluation.rewrite_card(classifier.run)
    if options.json:
        print(table.to_json(orient="records", lines=True), end="")
    else:
        print(stress.readable(table).to_string(index=False))
    return 0


def _faithfulness(options: argparse.Namespace) -> int:
    from cxrlib import explain, faithfulness, methods, phantom, radiograph
    from cxrlib.classifier import Classifier

    run = runs.find(options.run)
    if members := ensembles.member_names(run):
        raise runs.RunError(
            f"{run.name} is the mean of several networks: test the heatmaps of "
            f"{' and '.join(members)}, each for itself."
        )
    classifier = Classifier(run)
    table = _pictures(options, classifier)
    ill = table[table.label == "PNEUMONIA"].sample(frac=1, random_state=options.seed)
    chosen = ill.drop_duplicates("patient").path[: options.pictures]
    measured = faithfulness.measure(
        classifier,
        explain.Explainer(
            explain.untrained(classifier.model, seed=options.seed), classifier.config["network"]
        ),
        [
            radiograph.read((Path(table.attrs["root"]) / path).read_bytes()).pixels
            for path in chosen
        ],
        [
            phantom.phantom(_PHANTOMS + options.seed + number, pneumonia=True)
            for number in range(options.pictures)
        ],
        seed=options.seed,
    )
    run.save_faithfulness(measured)
    if options.json:
        print(measured.to_json(orient="records", lines=True), end="")
    else:
        print(methods.readable(measured).to_string(index=False))
    return 0


def _predict(options: argparse.Namespace) -> int:
    from cxrlib.ensemble_classifier import load

    classifier = load(runs.find(options.run))
    failed = False
    for file, result in classifier.predict_files(_files(options.paths)):
        if isinstance(result, RadiographError):
            failed = True
            record, line = {"error": str(result)}, f"error: {result}"
        else:
            result = result.insist() if options.insist else result
            record, line = result.as_record(), _in_words(result)
        print(json.dumps({"file": str(file)} | record) if options.json else f"{file}: {line}")
    return 1 if failed else 0


def _in_words(prediction: "Prediction") -> str:
    if prediction.refused:
        return f"refused: {prediction.reason}"
    remark = f"  (insisted on; {prediction.reason})" if prediction.reason else ""
    return f"{prediction.probability:.3f}  {prediction.verdict}{remark}"


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    """Files as they are named; of a folder, the pictures in it by their endings."""
    for path in paths:
        if path.is_dir():
            yield from sorted(
                file for file in path.rglob("*") if file.suffix.lower() in PICTURE_SUFFIXES
            )
        else:
            yield path


def _explain(options: argparse.Namespace) -> int:
    from PIL import Image

    from cxrlib import plots, radiograph
    from cxrlib.ensemble_classifier import load

    try:
        picture = radiograph.read(options.file.read_bytes())
    except OSError as error:
        raise RadiographError(f"{options.file} cannot be opened: {error.strerror}.") from error
    classifier = load(runs.find(options.run))
    prediction = classifier.predict(picture.pixels)
    explanation = classifier.explain(picture.pixels, options.method)
    Image.fromarray(plots.overlay(picture.pixels, explanation.heatmap)).save(options.out, "PNG")
    print(f"{options.out}: {METHODS[options.method].title}, {_in_words(prediction)}")
    return 0


def _export(options: argparse.Namespace) -> int:
    run = runs.find(options.run)
    if options.out.suffix not in (".keras", ".h5"):
        print(f"{options.out} shall end in .keras or .h5.", file=sys.stderr)
        return 2
    if members := ensembles.member_names(run):
        raise runs.RunError(
            f"{run.name} is the mean of several networks: export {' and '.join(members)}, each to "
            "a file of its own."
        )
    import keras

    # Keras chooses the format by the file's ending.
    keras.saving.load_model(run.model_file, compile=False).save(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
