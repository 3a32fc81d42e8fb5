"""Figures hold the data they should, and read on both themes."""

import io
import json
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import altair
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from cxrlib import metrics, plots
from cxrlib.formatting import rate

ROOT = Path(__file__).resolve().parent.parent
RNG = np.random.default_rng(3)
TRUTH = RNG.random(120) < 0.6
SCORES = np.clip(RNG.normal(0.35 + 0.3 * TRUTH, 0.2), 0, 1)
MATRIX = metrics.confusion(TRUTH, SCORES, 0.5)
NAMES = ["plain", "with $dollars$", "_underscored"]


def named(value):
    return dict.fromkeys(NAMES, value)


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


# --- images -------------------------------------------------------------------------------------


def test_overlay_leaves_cold_places_alone_and_colours_hot_ones():
    pixels = RNG.integers(0, 256, (20, 30), dtype=np.uint8)
    heat = np.zeros((20, 30), np.float32)
    heat[5, 5] = 1
    shown = plots.overlay(pixels, heat, opacity=1)
    hot = np.zeros((20, 30), bool)
    hot[5, 5] = True
    assert (shown[~hot] == pixels[~hot][:, None]).all()
    assert shown[5, 5].tolist() == [254, 232, 56]  # cividis at its upper end


def test_for_screen_keeps_proportions_and_small_images():
    assert plots.for_screen(np.zeros((3000, 1500), np.uint8)).shape == (1000, 500)
    small = np.zeros((300, 200), np.uint8)
    assert plots.for_screen(small) is small
    assert plots.for_overlay(small).shape == (900, 600)
    assert plots.for_overlay(np.zeros((900, 600), np.uint8)).shape == (900, 600)


# --- one visual language --------------------------------------------------------------------------


def contrast(one, other):
    """Contrast ratio of two colours, WCAG 2.2."""

    def luminance(colour):
        rgb = np.array(to_rgb(colour))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return linear @ (0.2126, 0.7152, 0.0722)

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_stand_out_on_both_themes(theme):
    settings = tomllib.loads((ROOT / ".streamlit/config.toml").read_text("utf-8"))
    background = settings["theme"][theme]["backgroundColor"]
    assert contrast(plots.INK[theme], background) > 7
    assert min(contrast(colour, background) for colour in plots.SERIES) > 3


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_svg_has_the_theme_s_ink_and_no_background(theme):
    text = plots.svg(plots.confusion_figure(MATRIX), theme)
    ElementTree.fromstring(text)
    other = {"light": "dark", "dark": "light"}[theme]
    assert plots.INK[theme] in text
    assert plots.INK[other] not in text
    assert "#ffffff" not in text


def test_png_is_an_image_on_white():
    with Image.open(io.BytesIO(plots.png(plots.confusion_figure(MATRIX)))) as picture:
        assert picture.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


# --- curves ---------------------------------------------------------------------------------------


def test_roc_figure_shows_curves_bands_and_operating_points():
    curve = metrics.roc(TRUTH, SCORES)
    band = metrics.roc_band(TRUTH, SCORES, replicates=50)
    figure = plots.roc_figure(named(curve), named(band), named(MATRIX))
    (axes,) = figure.axes
    drawn = axes.get_lines()
    # Chance, then a curve and a mark for each run.
    assert len(drawn) == 1 + 2 * len(NAMES)
    assert np.array_equal(drawn[1].get_xdata(), curve.fpr)
    assert np.array_equal(drawn[1].get_ydata(), curve.tpr)
    mark = [float(drawn[2].get_xdata()[0]), float(drawn[2].get_ydata()[0])]
    assert mark == [1 - MATRIX.specificity, MATRIX.sensitivity]
    (shaded,) = axes.collections[0].get_paths()
    assert shaded.vertices[:, 1].max() == band.high.max()
    # Runs differ in more than their colour.
    assert len({line.get_linestyle() + str(line._dash_pattern) for line in drawn[1::2]}) == 3


def test_a_run_may_have_any_name():
    curve = metrics.roc(TRUTH, SCORES)
    band = metrics.roc_band(TRUTH, SCORES, replicates=10)
    figure = plots.roc_figure(named(curve), named(band), named(MATRIX))
    assert legend(figure) == ["plain", r"with \$dollars\$", "_underscored"]
    plots.png(figure)


def test_precision_recall_figure_leaves_the_conventional_point_out():
    curve = metrics.precision_recall(TRUTH, SCORES)
    band = metrics.precision_recall_band(TRUTH, SCORES, replicates=50)
    figure = plots.precision_recall_figure(
        {"run": curve}, {"run": band}, {"run": MATRIX}, prevalence=TRUTH.mean()
    )
    chance, drawn, _ = figure.axes[0].get_lines()
    assert np.array_equal(drawn.get_xdata(), curve.recall[1:])
    assert np.array_equal(drawn.get_ydata(), curve.precision[1:])
    # Precision at a recall is that of the next point (Davis & Goadrich 2006).
    assert drawn.get_drawstyle() == "steps-pre"
    assert chance.get_ydata() == [TRUTH.mean()] * 2


def test_calibration_figure_has_points_with_their_intervals():
    points = metrics.reliability(TRUTH, SCORES)
    figure = plots.calibration_figure({"after": points})
    (bars,) = figure.axes[0].containers
    line, _, (whiskers,) = bars.lines
    assert line.get_xdata().tolist() == [point.predicted for point in points]
    ends = [segment[:, 1].tolist() for segment in whiskers.get_segments()]
    assert np.allclose(ends, [(point.observed.low, point.observed.high) for point in points])


def test_curves_of_one_class_are_drawn_empty():
    truth = np.ones(5, bool)
    scores = np.linspace(0.1, 0.9, 5)
    figure = plots.roc_figure(
        {"run": metrics.roc(truth, scores)},
        {"run": metrics.roc_band(truth, scores)},
        {"run": metrics.confusion(truth, scores, 0.5)},
    )
    plots.svg(figure)


# --- counts ---------------------------------------------------------------------------------------


def test_confusion_figure_shows_the_counts_where_they_belong():
    figure = plots.confusion_figure(metrics.Confusion(tp=40, fp=3, fn=10, tn=7))
    cells = {
        (round(text.get_position()[0]), round(text.get_position()[1])): text.get_text()
        for text in figure.axes[0].texts[::3]
    }
    # Columns are calls, rows the truth; normal comes first.
    assert cells == {(0, 0): "7", (1, 0): "3", (0, 1): "10", (1, 1): "40"}
    assert [text.get_text() for text in figure.axes[0].texts[2::3]] == [
        rate(share) for share in (0.7, 0.3, 0.2, 0.8)
    ]


def test_histogram_figure_counts_every_image_of_every_group():
    groups = {"normal": SCORES[~TRUTH], "bacterial": SCORES[TRUTH]}
    figure = plots.histogram_figure(groups, threshold=0.42)
    for axes, (name, scores) in zip(figure.axes, groups.items(), strict=True):
        assert axes.get_title(loc="left") == f"{name}, {len(scores)}"
        heights, _ = np.histogram(scores, 40, (0, 1))
        assert axes.patches[0].get_xy()[:, 1].max() == heights.max()
        assert axes.get_lines()[0].get_xdata() == [0.42, 0.42]


@pytest.mark.parametrize("people", [(90, 45, 10, 855), (0, 0, 0, 1000), (1000, 0, 0, 0)])
def test_patients_figure_draws_each_person_once(people):
    tp, fp, fn, tn = people
    figure = plots.patients_figure(metrics.Confusion(tp, fp, fn, tn))
    crosses = [line for line in figure.axes[0].get_lines() if line.get_marker() == "x"]
    persons = [line for line in figure.axes[0].get_lines() if line.get_marker() != "x"]
    places = np.concatenate([line.get_xydata() for line in persons])
    assert len(np.unique(places, axis=0)) == 1000
    # Who is called wrongly is crossed out, so that no colour has to tell it.
    assert sum(len(line.get_xdata()) for line in crosses) == fp + fn
    assert legend(figure) == [
        f"{tp} true positive",
        f"{fn} false negative",
        f"{fp} false positive",
        f"{tn} true negative",
    ]


# --- training and subgroups -----------------------------------------------------------------------


def test_learning_figure_goes_on_where_fine_tuning_begins():
    history = pd.DataFrame(
        {
            "phase": ["head", "head", "fine-tune"],
            "epoch": [1, 2, 1],
            "loss": [3.0, 2.0, 1.0],
            "val_loss": [4.0, 3.0, 2.0],
            "val_auc": [0.8, 0.9, 0.95],
            "val_sensitivity": [0.7, 0.8, 0.9],
            "val_specificity": [0.6, 0.7, 0.8],
        }
    )
    charts = plots.learning_charts(history)
    assert [title.partition(",")[0] for title in charts] == ["Loss", "ROC-AUC", "Validation"]
    for chart in charts.values():
        json.dumps(chart, allow_nan=False)
        assert altair.Chart.from_dict(chart)
        begins, *_ = (layer for layer in chart["layer"] if layer["mark"]["type"] == "rule")
        assert begins["data"]["values"] == [{"x": 2.5}]
    aucs = [row["y"] for row in under_the_mouse(charts["ROC-AUC"])]
    assert aucs == [0.8, 0.9, 0.95]
    losses, areas, rates = plots.learning_figure(history).axes
    training, validation, begins = losses.get_lines()
    assert training.get_xydata().tolist() == [[1, 3], [2, 2], [3, 1]]
    assert validation.get_ydata().tolist() == [4, 3, 2]
    assert begins.get_xdata() == [2.5, 2.5]
    assert areas.get_lines()[0].get_ydata().tolist() == [0.8, 0.9, 0.95]
    assert rates.get_lines()[0].get_ydata().tolist() == [0.7, 0.8, 0.9]
    assert rates.yaxis.get_major_formatter()(0.7).endswith("%")
    assert not areas.yaxis.get_major_formatter()(0.8).endswith("%")


def test_intervals_figure_leaves_out_what_is_undefined():
    known = metrics.Estimate(0.9, 0.8, 0.95)
    undefined = metrics.Estimate(np.nan, np.nan, np.nan)
    figure = plots.intervals_figure(
        {"all": known, "viral": undefined, "old": known}, "AUC", in_percent=False
    )
    (axes,) = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["all", "old"]
    assert list(axes.get_lines()[0].get_xdata()) == [0.8, 0.95]


def test_steps_figure_draws_each_series_beside_the_other_and_its_first_row_as_a_line():
    rows = {"unchanged": metrics.Estimate(0.9, 0.8, 0.95), "blur": metrics.Estimate(0.7, 0.6, 0.8)}
    falling = {
        "unchanged": metrics.Estimate(0.8, 0.7, 0.9),
        "blur": metrics.Estimate(0.6, 0.5, 0.7),
    }
    series = {"sensitivity": rows, "specificity": falling}
    (axes,) = plots.steps_figure(series, "share").axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["unchanged", "blur"]
    verticals = [
        line.get_xdata()[0] for line in axes.get_lines() if list(line.get_ydata()) == [0, 1]
    ]
    assert verticals == [0.9, 0.8]
    (axes,) = plots.steps_figure(series, "share", limit=0.03).axes
    assert axes.get_lines()[-1].get_xdata()[0] == 0.03


def test_an_image_for_the_screen_is_the_image():
    grey = np.add.outer(np.arange(120), np.arange(90)).astype(np.uint8)
    red = np.stack([grey, grey // 2, grey // 4], axis=-1)
    for picture in (grey, red):
        seen = np.asarray(Image.open(io.BytesIO(plots.jpeg(picture))))
        assert seen.shape == picture.shape
        assert np.abs(seen.astype(int) - picture).mean() < 3


# --- charts -----------------------------------------------------------------------------------


def charts(truth: np.ndarray) -> dict[str, plots.Spec]:
    band = metrics.roc_band(truth, SCORES, replicates=10)
    recall_band = metrics.precision_recall_band(truth, SCORES, replicates=10)
    recall = metrics.precision_recall(truth, SCORES)
    return {
        "roc": plots.roc_chart(named(metrics.roc(truth, SCORES)), named(band), named(MATRIX)),
        "recall": plots.precision_recall_chart(
            named(recall), named(recall_band), named(MATRIX), prevalence=0.6, corner=True
        ),
        "calibration": plots.calibration_chart({"after": metrics.reliability(truth, SCORES)}),
        "histogram": plots.histogram_chart(
            {"normal": SCORES[~truth], "pneumonia": SCORES[truth]},
            0.42,
            lambda threshold: metrics.confusion(truth, SCORES, threshold),
        ),
    }


def under_the_mouse(chart: plots.Spec) -> list[dict[str, float]]:
    (layer,) = (layer for layer in chart["layer"] if "params" in layer)
    return layer["data"]["values"]


@pytest.mark.parametrize("truth", [TRUTH, np.ones_like(TRUTH)], ids=["both", "one class"])
def test_charts_are_vega_lite_and_json(truth):
    for name, chart in charts(truth).items():
        json.dumps(chart, allow_nan=False)
        assert altair.Chart.from_dict(chart), name


def test_under_the_mouse_stands_what_the_threshold_gives():
    drawn = charts(TRUTH)
    for row in under_the_mouse(drawn["roc"])[::7]:
        matrix = metrics.confusion(TRUTH, SCORES, row["threshold"])
        assert row["y"] == pytest.approx(matrix.sensitivity, abs=1e-4)
        assert row["specificity"] == pytest.approx(matrix.specificity, abs=1e-4)
    for row in under_the_mouse(drawn["recall"])[::7]:
        matrix = metrics.confusion(TRUTH, SCORES, row["threshold"])
        assert row["x"] == pytest.approx(matrix.sensitivity, abs=1e-4)
        assert row["y"] == pytest.approx(matrix.precision, abs=1e-4)
    rows = under_the_mouse(drawn["histogram"])
    assert sum(row["y"] for row in rows) == len(SCORES)
    for row in rows[::5]:
        matrix = metrics.confusion(TRUTH, SCORES, row["x"])
        assert (row["sensitivity"], row["specificity"]) == (
            matrix.sensitivity,
            matrix.specificity,
        )
