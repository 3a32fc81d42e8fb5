"""A run's report: figures, tables and model card as one HTML file that needs nothing else."""

import base64
from collections.abc import Mapping
from datetime import datetime
from html import escape

import pandas as pd
from markdown_it import MarkdownIt
from matplotlib.figure import Figure

from cxrlib import formatting, metrics, plots
from cxrlib.evaluation import compare_runs, subgroups, three_classes
from cxrlib.evaluation.run_on_split import Curves, Measured
from cxrlib.runs import provenance
from cxrlib.runs.contents import METRIC_TITLES
from cxrlib.runs.operating_points import POINT_TITLES
from cxrlib.runs.provenance import SYNTHETIC_RUN

_STYLE = """\
body{font:16px/1.5 system-ui,sans-serif;color:#16191b;background:#fff;max-width:60rem;
margin:2rem auto;padding:0 1rem}
h1,h2{line-height:1.2} h2{margin-top:2.5rem;border-bottom:1px solid #c9d1d4}
table{border-collapse:collapse;font-size:.9rem;display:block;overflow-x:auto;margin:1rem 0}
th,td{text-align:left;padding:.25rem .75rem;border-bottom:1px solid #dfe5e7;white-space:nowrap}
.figures{display:flex;flex-wrap:wrap;gap:1rem} figure{margin:0;flex:1 1 24rem;max-width:34rem}
figure img{width:100%} figcaption{font-weight:600}
@page{size:A4;margin:15mm 12mm}
@media print{body{font-size:10.5pt;margin:0;padding:0;max-width:none}
h1,h2,h3{break-after:avoid} h2{margin-top:1.5rem} figure,tr{break-inside:avoid}
.figures{display:block;orphans:1;widows:1}
figure{display:inline-block;vertical-align:top;width:48%;margin:0 0 1rem}
table{display:table;font-size:8.5pt} th,td{padding:.15rem .5rem}}"""


def html(measured: Measured, point: str, *, prevalence: float) -> str:
    """The report of a run on one split.

    Args:
        measured: the run and its split.
        point: name of the operating point that calls are made at.
        prevalence: share of pneumonia among the thousand patients, 0..1.
    """
    run, counts = measured.run, measured.counts
    kind = provenance.trained_on(measured.metrics)
    threshold = measured.points[point].threshold
    results = {
        METRIC_TITLES[name]: formatting.metric(name, found)
        for name, found in measured.estimates(point).items()
    }
    matrix = measured.confusion(threshold)
    groups = subgroups.by_subtype(measured.predictions, threshold)
    by_class = measured.by_class
    errors = measured.errors(threshold)
    # A mean of runs did not learn anything itself.
    learning = {"Learning curves": plots.learning_figure(run.history)} if run.has_history else {}
    body = [
        f"<h1>Run {escape(run.name)}</h1>",
        f"<p>{counts['pictures']} {escape(measured.split)} images of {counts['patients']} "
        f"patients, {counts['pneumonia']} with pneumonia. Operating point "
        f"{escape(POINT_TITLES[point])}: pneumonia where the calibrated probability is at least "
        f"{formatting.rate(threshold)}. Written {datetime.now():%Y-%m-%d %H:%M}.</p>",
        "<p><strong>For education and research, not for diagnosis.</strong> Trained on "
        f"{provenance.TITLES[kind]}."
        + (f" <strong>{SYNTHETIC_RUN}</strong></p>" if kind == "synthetic" else "</p>"),
        "<h2>Results</h2>",
        _table(pd.DataFrame(results.items(), columns=["metric", "value (95 % interval)"])),
        f"<p>{matrix.tp} true positives, {matrix.fn} false negatives, {matrix.fp} false positives, "
        f"{matrix.tn} true negatives.</p>",
        _figures(_drawn(measured, point, prevalence)),
        "<h2>Subgroups</h2>",
        *([f"<p>{escape(by_class.sentence())}</p>", _table(by_class.table())] if by_class else []),
        _table(subgroups.as_table(groups)),
        "<h2>Errors</h2>",
        _table(errors.assign(probability=errors.probability.map(formatting.percent))),
        "<h2>Training</h2>",
        _figures(learning),
        _table(compare_runs.settings(run).rename("value").reset_index()),
        _table(pd.DataFrame(run.environment.items(), columns=["environment", "value"])),
        # A card may come from elsewhere: what looks like HTML in it stays text, and no image is
        # fetched.
        MarkdownIt("commonmark", {"html": False}).enable("table").disable("image").render(run.card),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Run {escape(run.name)}</title><style>{_STYLE}</style></head><body>"
        + "\n".join(body)
        + "</body></html>\n"
    )


def _drawn(measured: Measured, point: str, prevalence: float) -> dict[str, Figure]:
    threshold = measured.points[point].threshold
    matrix = measured.confusion(threshold)
    curves = Curves([measured], point)
    drawn = {
        "ROC": curves.roc_figure(),
        "Precision–recall": curves.precision_recall_figure(),
        "Confusion matrix": plots.confusion_figure(matrix),
        "Calibration": measured.calibration_figure(),
        "Probabilities by class": measured.histogram_figure(threshold),
    }
    if by_class := measured.by_class:
        drawn["Three classes"] = plots.classes_figure(by_class.counts, three_classes.NAMES)
    if 0 < measured.prevalence < 1:
        title = f"1,000 patients, {formatting.percent(prevalence)} of them with pneumonia"
        drawn[title] = plots.patients_figure(metrics.natural_frequencies(matrix, prevalence))
    return drawn


def _figures(drawn: Mapping[str, Figure]) -> str:
    images = []
    for title, figure in drawn.items():
        data = base64.b64encode(plots.svg(figure).encode()).decode()
        images.append(
            f"<figure><figcaption>{escape(title)}</figcaption>"
            f'<img alt="{escape(title)}" src="data:image/svg+xml;base64,{data}"></figure>'
        )
    return f'<div class="figures">{"".join(images)}</div>'


def _table(table: pd.DataFrame) -> str:
    return table.to_html(index=False, border=0, na_rep=formatting.UNDEFINED)
