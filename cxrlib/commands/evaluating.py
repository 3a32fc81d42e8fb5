"""Commands that measure runs."""

import argparse
import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from cxrlib import formatting, runs
from cxrlib.commands.data import folder_of
from cxrlib.data import dataset
from cxrlib.inference import lung_fields
from cxrlib.inference.ensemble import EnsembleClassifier, Reader, load
from cxrlib.labels import NORMAL, PNEUMONIA
from cxrlib.runs import provenance, records

# Seeds from here on, which no training on phantoms uses.
_PHANTOMS = 1_000_000


def evaluate(options: argparse.Namespace) -> int:
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
        title, threshold = operating_points.POINT_TITLES[name], formatting.rate(point.threshold)
        print(f"\n{title}: probability >= {threshold}")
        for metric, estimate in metrics.summary_from_json(measured["points"][name]).items():
            print(f"  {metric:18} {formatting.metric(metric, estimate)}")
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
    table = dataset.index(folder_of(options))
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


def stress_run(options: argparse.Namespace) -> int:
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


def describe(options: argparse.Namespace) -> int:
    from cxrlib.data import summary

    run = runs.find(options.run)
    run.save_data_summary(summary.summarize(run, dataset.index(folder_of(options))))
    return 0


def faithfulness_run(options: argparse.Namespace) -> int:
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
    from cxrlib.synthetic import phantom

    reader = load(run)
    table = _pictures(options, reader)
    shuffled = table.sample(frac=1, random_state=options.seed).drop_duplicates(["patient", "label"])
    chosen = {
        label: [
            radiograph.read_file(Path(table.attrs["root"]) / path).pixels
            for path in rows.path[: options.pictures]
        ]
        for label, rows in shuffled.groupby("label")
    }
    phantoms = [
        phantom.phantom(_PHANTOMS + options.seed + number, pneumonia=True)
        for number in range(options.pictures)
    ]
    images = chosen[PNEUMONIA], phantoms, chosen[NORMAL]
    if isinstance(reader, EnsembleClassifier):
        return faithfulness.measure_ensemble(reader, *images, seed=options.seed)
    from cxrlib.networks.loading import load_network
    from cxrlib.training import export

    untrained = export.in_memory(
        export.untrained(load_network(run), seed=options.seed), reader.config["network"]
    )
    return faithfulness.measure(reader, untrained, *images, seed=options.seed)


def save_ensemble(options: argparse.Namespace) -> int:
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
