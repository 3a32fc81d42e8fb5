"""Commands that read X-rays."""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cxrlib import runs, urls
from cxrlib.formatting import percent
from cxrlib.images import files
from cxrlib.images.radiograph import RadiographError
from cxrlib.inference.classifier import Prediction
from cxrlib.inference.ensemble import load
from cxrlib.inference.methods import METHODS


def predict(options: argparse.Namespace) -> int:
    if options.out:
        return _read_archive(options)
    if options.cluster or options.heatmaps or any(map(urls.is_url, options.paths)):
        print("--cluster, --heatmaps and URLs need a table: --out FILE.csv", file=sys.stderr)
        return 2
    classifier = load(runs.find(options.run))
    images, left_out = _images([Path(path) for path in options.paths])
    failed = not images
    if failed:
        print("No images were found.", file=sys.stderr)
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
        print("Stopped. Run the same command again to resume.", file=sys.stderr)
        return 1
    print(
        f"{options.out}: {summary.files:,} files, of which {summary.refused:,} were rejected and "
        f"{summary.errors:,} could not be read; the table gives the reasons."
    )
    return 0


def _in_words(prediction: Prediction) -> str:
    if prediction.refused:
        return f"rejected: {prediction.reason}"
    remark = f"  (analyzed anyway; {prediction.reason})" if prediction.reason else ""
    return f"{percent(prediction.probability)}  {prediction.verdict}{remark}"


def _images(paths: Sequence[Path]) -> tuple[list[Path], dict[Path, str]]:
    """Files as they are named, of folders the images in them; and what was left out of those."""
    images: list[Path] = []
    left_out: dict[Path, str] = {}
    for path in paths:
        found, others = files.find(path) if path.is_dir() else ([path], {})
        images += found
        left_out |= others
    return images, left_out


def explain_file(options: argparse.Namespace) -> int:
    from PIL import Image

    from cxrlib import plots
    from cxrlib.images import radiograph

    picture = radiograph.read_file(options.file)
    classifier = load(runs.find(options.run))
    method = options.method or classifier.methods[0]
    if method not in classifier.methods:
        raise runs.RunError(
            f"The network of the run {classifier.run.name} has no evidence map. Choose from "
            f"{', '.join(classifier.methods)}."
        )
    prediction = classifier.predict(picture.pixels)
    explanation = classifier.explain(picture.pixels, method)
    Image.fromarray(plots.overlay(picture.pixels, explanation.heatmap)).save(options.out, "PNG")
    print(f"{options.out}: {METHODS[method].title}, {_in_words(prediction)}")
    return 0
