"""The command line, `python -m cxrlib COMMAND`; without one it lists them."""

import argparse
import io
import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import ValidationError

from cxrlib import arguments, cluster, runs
from cxrlib.data import classes, dataset, entries
from cxrlib.images import files
from cxrlib.images.radiograph import RadiographError
from cxrlib.inference import lung_fields
from cxrlib.inference.archive import ArchiveError
from cxrlib.inference.classifier import Classifier, Prediction
from cxrlib.inference.ensemble import Reader, load
from cxrlib.inference.methods import METHODS
from cxrlib.labels import NORMAL, PNEUMONIA
from cxrlib.runs import config, ensembles, provenance, records, sweeps
from cxrlib.runs.folder import StoppedError
from cxrlib.runs.legacy import RENAMED
from cxrlib.training import devices

# TensorFlow reports every CPU feature and missing GPU library at each start; its errors stay.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# Seeds from here on, which no training on phantoms uses.
_PHANTOMS = 1_000_000


def main(given: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name may be in no alphabet
    options = arguments.parser().parse_args(given)
    devices.keep_memory()
    try:
        return _COMMANDS[options.command](options)
    except ValidationError as error:
        for field, sentence in config.problems(error).items():
            option = f"--{field.replace('_', '-')}: " if field else ""
            print(f"{option}{sentence}", file=sys.stderr)
    except (
        dataset.DatasetError,
        runs.RunError,
        RadiographError,
        ArchiveError,
        cluster.ClusterError,
        sweeps.SweepError,
    ) as error:
        print(error, file=sys.stderr)
    except OSError as error:
        from cxrlib.training.failures import disk_problem

        if not (sentence := disk_problem(error)):
            raise
        print(sentence, file=sys.stderr)
    return 2


def _data(options: argparse.Namespace) -> Path:
    folder = options.data or dataset.configured_folder()
    if folder is None:
        raise dataset.DatasetError(
            "No data set was named: pass --data FOLDER or set CXR_DATA_DIR. "
            "`python -m cxrlib download` fetches it."
        )
    if options.meaning:
        _give_meanings(folder, options.meaning)
    return folder


def _give_meanings(folder: Path, said: Sequence[str]) -> None:
    """Keep what classes of a data set mean, ``CLASS=MEANING`` each."""
    meanings = dict(one.rpartition("=")[::2] for one in said)
    for name, meaning in meanings.items():
        if not name or meaning not in classes.MEANINGS:
            raise dataset.DatasetError(
                f"--meaning takes CLASS=MEANING, where the meaning is one of "
                f"{', '.join(classes.MEANINGS)}."
            )
    classes.give(folder, meanings)
    known = entries.meanings(folder)
    if unknown := [name for name in meanings if name not in known]:
        raise dataset.DatasetError(
            f"The folder {folder} has no class {unknown[0]} to give a meaning. It has: "
            f"{', '.join(known) or 'NORMAL, PNEUMONIA'}."
        )


def _download(options: argparse.Namespace) -> int:
    folder = dataset.download()
    print(f"The data set is in {folder}\nSet CXR_DATA_DIR={folder} to use it everywhere.")
    return 0


def _train(options: argparse.Namespace) -> int:
    from cxrlib.training import jobs

    given = {
        name: value
        for name, value in vars(options).items()
        if name in config.TrainingConfig.model_fields or name in RENAMED
    }
    on = [devices.on_cluster(options.cluster)] if options.cluster else None
    on = [options.device] if options.device else on
    if options.resume:
        if given or options.config:
            print(
                "--resume goes on with what the run was asked to do: of the options only --data, "
                "--models, --device and --cluster go with it.",
                file=sys.stderr,
            )
            return 2
        run = runs.find_unfinished(options.resume, models=options.models)
        changed = {"data": str(_place_of_data(options).resolve())} if options.data else {}
        run.save_task(run.task | changed | ({"devices": on} if on else {}))
        return _work(run)
    if options.config:
        try:
            recorded = json.loads(options.config.read_text(encoding="utf-8"))
            if not isinstance(recorded, dict):
                raise ValueError("it holds no settings")
            given = config.repeat_settings(recorded, options.models) | given
        except (OSError, ValueError) as error:
            print(f"{options.config} is not a run's config.json: {error}", file=sys.stderr)
            return 2
    network = given.pop("network", config.TrainingConfig.model_fields["network"].default)
    wanted = config.TrainingConfig(**config.for_network(network, **given))
    run = jobs.create(wanted, _place_of_data(options), on=on, models=options.models)
    keeps_reason = False
    try:
        return _work(run)
    except OSError:
        keeps_reason = True  # and is resumed when the disk has room
        raise
    finally:
        followed = run.pending and run.task.get("job")  # a cluster goes on with it
        if not (run.finished or run.has_checkpoint or keeps_reason or followed):
            runs.delete(run)  # it never got to learn anything


def _place_of_data(options: argparse.Namespace) -> Path:
    """The data set to train on, which this machine need not see where a cluster does."""
    folder = _data(options)
    return folder if options.cluster and not folder.is_dir() else dataset.find_root(folder)


def _work(run: runs.Run) -> int:
    from cxrlib.training import jobs

    try:
        jobs.work(run)
    except StoppedError:
        how = (
            f" Go on with: python -m cxrlib train --resume {run.name}" if run.has_checkpoint else ""
        )
        print(f"Stopped.{how}", file=sys.stderr)
        return 1
    except ValueError as error:
        # cxrlib's errors say what to do; of others, the way to them is needed.
        if not type(error).__module__.startswith("cxrlib."):
            raise
        print(error, file=sys.stderr)
        return 2
    print(f"\nThe run is in {run.folder}\n\n{run.card}")
    return 0


def _sweep(options: argparse.Namespace) -> int:
    from cxrlib.training import sweep

    asked = sweeps.read(options.file)
    options.data = options.data or asked.data
    options.cluster = options.cluster or asked.cluster
    data = _place_of_data(options).resolve()
    asked = asked.model_copy(update={"data": data, "cluster": options.cluster})
    known = sweeps.trials(asked, options.models)
    with sweep.held(asked, options.models):
        try:
            if options.cluster:
                cluster.connect(options.cluster)
                from cxrlib.training.cluster_sweep import train_there

                train_there(asked, known, data, options.models, options.cluster)
            else:
                sweep.train_here(known, data, options.models)
        except (StoppedError, KeyboardInterrupt):
            print("Stopped. The same command goes on.", file=sys.stderr)
    print(sweep.report(asked, known))
    return 0 if all(trial.over for trial in known) else 1


def _train_lungs(options: argparse.Namespace) -> int:
    from cxrlib.training import lungs

    run = lungs.train(
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
    from cxrlib import metrics
    from cxrlib.evaluation import judge, three_classes
    from cxrlib.runs import operating_points

    if options.keep:
        records.check_set_name(options.keep)
    classifier = load(runs.find(options.run))
    table = _pictures(options, classifier)
    predictions = judge.predict_table(
        table,
        classifier.distribution_of(table),
        classifier.class_names,
        classifier.calibration,
    )
    measured = judge.measure(predictions, classifier.points)
    if options.keep:
        _keep(classifier.run, options.keep, measured, predictions, table.attrs["root"])
    trained_on = provenance.trained_on(classifier.run.metrics)
    if options.json:
        facts = {"run": classifier.run.name, "trained_on": trained_on, "split": options.split}
        print(json.dumps(facts | measured))
        return 0
    print(
        f"{classifier.run.name} on {options.split}: {measured['pictures']} images of "
        f"{measured['patients']} patients, {measured['pneumonia']} with pneumonia; trained on "
        f"{provenance.TITLES[trained_on]}"
    )
    for name, point in classifier.points.items():
        print(f"\n{operating_points.POINT_TITLES[name]}: probability >= {point.threshold:.3f}")
        for metric, estimate in metrics.summary_from_json(measured["points"][name]).items():
            print(f"  {metric:18} {estimate}")
        print("  " + ", ".join(f"{cell} {n}" for cell, n in measured["counts"][name].items()))
    if by_class := three_classes.read(measured):
        print(f"\n{by_class.sentence()}\n{by_class.table().to_string(index=False)}")
    return 0


def _keep(
    run: runs.Run, name: str, measured: dict[str, Any], predictions: pd.DataFrame, root: str
) -> None:
    """Keep results with the run, and in its model card."""
    from cxrlib.evaluation import model_card

    facts = {"data": dataset.fingerprint(Path(root)), "measured": f"{datetime.now():%Y-%m-%d}"}
    run.keep(name, measured | facts, predictions.assign(split=name))
    model_card.rewrite_card(run)


def _pictures(options: argparse.Namespace, reader: Reader) -> pd.DataFrame:
    """The images of ``--split``, with the split's name."""
    table = dataset.index(_data(options))
    for sentence in dataset.warnings(table):
        print(sentence, file=sys.stderr)
    wanted = (table.split == options.split) | (options.split == "all")
    if options.split == "validation":
        wanted = reader.held_out(table)
    elif options.split != "test":
        print("The run may have been trained on these images.", file=sys.stderr)
    if not wanted.any():
        raise dataset.DatasetError(
            f"The folder {table.attrs['root']} has no split {options.split}."
        )
    return table[wanted].assign(split=options.split)


def _stress(options: argparse.Namespace) -> int:
    from cxrlib.data import external
    from cxrlib.evaluation import model_card, stress, stress_table

    others = {}
    for source in options.also:
        name = external.name(source)
        if name in others:
            raise dataset.DatasetError(
                f"Two sources of images are in folders called {name}, which is what the table "
                "calls them: rename one."
            )
        others[name] = external.read(source)
    classifier = load(runs.find(options.run))
    table = stress.measure(
        classifier,
        _pictures(options, classifier),
        split=options.split,
        elsewhere=others,
        lungs=lung_fields.shipped(),
    )
    classifier.run.save_stress(table)
    model_card.rewrite_card(classifier.run)
    if options.json:
        print(table.to_json(orient="records", lines=True), end="")
    else:
        print(stress_table.readable(table).to_string(index=False))
    return 0


def _describe(options: argparse.Namespace) -> int:
    from cxrlib.data import summary

    run = runs.find(options.run)
    run.save_data_summary(summary.summarize(run, dataset.index(_data(options))))
    return 0


def _faithfulness(options: argparse.Namespace) -> int:
    from cxrlib.evaluation import boxes
    from cxrlib.inference import methods

    run = runs.find(options.run)
    measured = (
        boxes.measure(load(run), options.boxes)
        if options.boxes
        else _measure_heatmaps(run, options)
    )
    if (before := run.faithfulness) is not None:
        others = before[~before.measure.isin(measured.measure)]
        run.save_faithfulness(pd.concat([others, measured]))
    else:
        run.save_faithfulness(measured)
    if options.json:
        print(measured.to_json(orient="records", lines=True), end="")
    else:
        print(methods.readable(measured).to_string(index=False))
    return 0


def _measure_heatmaps(run: runs.Run, options: argparse.Namespace) -> pd.DataFrame:
    from cxrlib.evaluation import faithfulness
    from cxrlib.images import radiograph
    from cxrlib.networks.loading import load_network
    from cxrlib.synthetic import phantom
    from cxrlib.training import export

    if members := ensembles.member_names(run):
        raise runs.RunError(
            f"{run.name} is the mean of several networks: test the heatmaps of "
            f"{' and '.join(members)}, each for itself."
        )
    classifier = Classifier(run)
    table = _pictures(options, classifier)
    shuffled = table.sample(frac=1, random_state=options.seed).drop_duplicates(["patient", "label"])
    chosen = {
        label: [
            radiograph.read_file(Path(table.attrs["root"]) / path).pixels
            for path in rows.path[: options.pictures]
        ]
        for label, rows in shuffled.groupby("label")
    }
    return faithfulness.measure(
        classifier,
        export.in_memory(
            export.untrained(load_network(run), seed=options.seed), classifier.config["network"]
        ),
        chosen[PNEUMONIA],
        [
            phantom.phantom(_PHANTOMS + options.seed + number, pneumonia=True)
            for number in range(options.pictures)
        ],
        chosen[NORMAL],
        seed=options.seed,
    )


def _ensemble(options: argparse.Namespace) -> int:
    from cxrlib.evaluation import compare_runs

    if len(options.members) < 2:
        raise runs.RunError("A mean takes two runs or more: name another one.")
    members = [runs.find(name) for name in options.members]
    try:
        run = compare_runs.save_ensemble(options.name, members, note=options.note)
    except compare_runs.ComparisonError as error:
        raise runs.RunError(str(error)) from error
    print(run.card)
    return 0


def _predict(options: argparse.Namespace) -> int:
    if options.out:
        return _read_archive(options)
    classifier = load(runs.find(options.run))
    images, left_out = _images(options.paths)
    failed = not images
    if failed:
        print("There are no images in there.", file=sys.stderr)
    if left_out:
        print(files.sentence(left_out), file=sys.stderr)
    for file, result in classifier.predict_files(images):
        if isinstance(result, RadiographError):
            failed = True
            record: dict[str, object] = {"error": str(result)}
            line = f"error: {result}"
        else:
            result = result.insist() if options.insist else result
            record, line = result.as_record(), _in_words(result)
        print(json.dumps({"file": str(file)} | record) if options.json else f"{file}: {line}")
    return 1 if failed else 0


def _read_archive(options: argparse.Namespace) -> int:
    from cxrlib.inference import archive, cluster_reader

    engine = None
    if options.cluster:
        engine = partial(
            cluster_reader.read_on_cluster, address=options.cluster, sources=options.paths
        )
    try:
        summary = archive.read(
            options.paths,
            options.out,
            runs.find(options.run),
            insist=options.insist,
            heatmaps=options.heatmaps,
            engine=engine,
        )
    except KeyboardInterrupt:
        print("Stopped. The same command goes on.", file=sys.stderr)
        return 1
    print(
        f"{options.out}: {summary.files:,} files, of which {summary.refused:,} were refused and "
        f"{summary.errors:,} could not be read; the table says why."
    )
    return 0


def _in_words(prediction: Prediction) -> str:
    if prediction.refused:
        return f"refused: {prediction.reason}"
    remark = f"  (insisted on; {prediction.reason})" if prediction.reason else ""
    return f"{prediction.probability:.3f}  {prediction.verdict}{remark}"


def _images(paths: Sequence[Path]) -> tuple[list[Path], dict[Path, str]]:
    """Files as they are named, of folders the images in them; and what was left out of those."""
    images: list[Path] = []
    left_out: dict[Path, str] = {}
    for path in paths:
        found, others = files.find(path) if path.is_dir() else ([path], {})
        images += found
        left_out |= others
    return images, left_out


def _explain(options: argparse.Namespace) -> int:
    from PIL import Image

    from cxrlib import plots
    from cxrlib.images import radiograph

    picture = radiograph.read_file(options.file)
    classifier = load(runs.find(options.run))
    method = options.method or classifier.methods[0]
    if method not in classifier.methods:
        raise runs.RunError(
            f"The network of the run {classifier.run.name} has no map of evidence; there are "
            f"{', '.join(classifier.methods)}."
        )
    prediction = classifier.predict(picture.pixels)
    explanation = classifier.explain(picture.pixels, method)
    Image.fromarray(plots.overlay(picture.pixels, explanation.heatmap)).save(options.out, "PNG")
    print(f"{options.out}: {METHODS[method].title}, {_in_words(prediction)}")
    return 0


def _export(options: argparse.Namespace) -> int:
    run = runs.find(options.run)
    if options.out and options.out.suffix not in (".keras", ".h5"):
        print(f"{options.out} shall end in .keras or .h5.", file=sys.stderr)
        return 2
    if members := ensembles.member_names(run):
        raise runs.RunError(
            f"{run.name} is the mean of several networks: export {' and '.join(members)}, each for "
            "itself."
        )
    if options.out is None:
        from cxrlib.training.export import export

        export(run)
        print(f"{run.onnx_file} is what the run reads with.")
        return 0
    from cxrlib.networks.loading import load_network

    load_network(run).save(options.out)  # in the format of the file's ending
    return 0


_COMMANDS = {
    "download": _download,
    "train": _train,
    "sweep": _sweep,
    "train-lungs": _train_lungs,
    "evaluate": _evaluate,
    "stress": _stress,
    "describe": _describe,
    "faithfulness": _faithfulness,
    "ensemble": _ensemble,
    "predict": _predict,
    "explain": _explain,
    "export": _export,
}


if __name__ == "__main__":
    sys.exit(main())
