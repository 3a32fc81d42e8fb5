"""The metrics page: what its tabs show, and a walk through them in a browser."""

import io
import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from made_runs import (
    faithfulness_table,
    make_run,
    make_runs,
    make_three_class_run,
    pictures,
    stress_results,
)
from streamlit.testing.v1 import AppTest

from cxrlib import formatting, metrics, runs
from cxrlib.data import dataset
from cxrlib.data.folds import assign_folds
from cxrlib.evaluation.run_on_split import FALSE_NEGATIVE, FALSE_POSITIVE, Measured
from cxrlib.formatting import percent
from cxrlib.metrics import Estimate

ROOT = Path(__file__).resolve().parent.parent
TABS = [
    "Curves",
    "Threshold",
    "Calibration",
    "Errors",
    "Subgroups",
    "Robustness",
    "Learning",
    "Compare",
]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    make_runs(folder, pictures())
    return folder


@pytest.fixture
def open_page(models, monkeypatch):
    """Opens the page on the runs in ``models`` with the given query; no data set is at hand."""
    monkeypatch.setattr(runs, "finished", partial(runs.finished, models))
    monkeypatch.setattr(runs, "find", partial(runs.find, models=models))
    monkeypatch.setattr(dataset, "configured_place", lambda: None)

    def opened(**query):
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=90)
        app.query_params.update({"run": "good"} | query)
        app.run()
        app.switch_page("pages/metrics.py").run()
        assert not app.exception
        return app

    return opened


def table(app, number=0):
    return app.dataframe[number].value


def thumbnails(app):
    """What the page's grid of thumbnails holds."""
    return [
        item
        for component in app.get("bidi_component")
        for item in json.loads(component.proto.json).get("items", [])
    ]


# --- numbers --------------------------------------------------------------------------------------


def test_headline_is_that_of_metrics_json(open_page, models):
    app = open_page()
    found = json.loads((models / "good/metrics.json").read_text("utf-8"))
    numbers = found["splits"]["test"]["points"]["youden"]
    for metric, name in zip(
        app.metric, ("roc_auc", "sensitivity", "specificity", "ece"), strict=True
    ):
        assert metric.value == formatting.metric(name, numbers[name]["value"])
        assert metric.delta == formatting.interval(name, Estimate(**numbers[name]))
    assert app.metric[0].value.startswith("0.") and app.metric[1].value.endswith("%")
    estimate = Measured(runs.find("good"), "test").estimates("youden")["roc_auc"]
    assert table(app).set_index("metric").loc["ROC-AUC", "good"] == str(estimate)


def test_headline_takes_one_line_beside_the_other_tabs(open_page, models):
    app = open_page(tab="Errors")
    assert not app.metric
    found = json.loads((models / "good/metrics.json").read_text("utf-8"))
    number = found["splits"]["test"]["points"]["youden"]["roc_auc"]["value"]
    assert any(f"**{number:.3f}**" in line.value for line in app.markdown)


def test_validation_is_shown_with_a_warning(open_page):
    app = open_page(pictures="Validation")
    assert any("optimistic" in caption.value for caption in app.caption)


def test_operating_point_of_the_sidebar_is_used(open_page):
    app = open_page()

    def sensitivity():
        return float(app.metric[1].value.split()[0])

    before = sensitivity()
    app.session_state["point"] = "sensitivity_99"
    app.run()
    assert sensitivity() > before


# --- tabs -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("tab", TABS)
def test_every_tab_opens_for_one_run_and_for_three(open_page, tab):
    for others in ([], ["plain", "partial"]):
        app = open_page(tab=tab, **{"with": others})
        assert not app.exception and not app.error
        assert app.session_state.tab == tab


def test_threshold_starts_at_the_operating_point_and_follows_it(open_page):
    app = open_page(tab="Threshold")
    measured = Measured(runs.find("good"), "test")
    point = measured.points["youden"]
    assert app.slider(key="threshold").value == round(100 * point.threshold, 1)
    # To all digits: the table is that of metrics.json.
    shown = table(app).set_index("metric").iloc[:, 0]
    assert shown["Sensitivity"] == formatting.rate(measured.estimates("youden")["sensitivity"])

    app.slider(key="threshold").set_value(90.0).run()
    matrix = measured.confusion(0.9)
    shown = table(app).set_index("metric").iloc[:, 0]
    assert shown["Sensitivity"] == formatting.rate(matrix.proportions()["sensitivity"])

    app.session_state["point"] = "fixed_50"
    app.run()
    assert app.slider(key="threshold").value == 50


def test_threshold_of_the_address_is_kept(open_page):
    app = open_page(tab="Threshold", threshold="25", prevalence="30")
    assert app.slider(key="threshold").value == 25
    words = " ".join(text.value for text in app.markdown)
    assert "**300** have pneumonia" in words


def test_predictive_values_fall_with_the_prevalence(open_page):
    app = open_page(tab="Threshold", threshold="50")

    def value():
        shown = table(app).set_index("metric").iloc[:, 0]
        return float(shown["Positive predictive value"].split()[0])

    common = app.slider(key="prevalence").set_value(50).run() and value()
    rare = app.slider(key="prevalence").set_value(1).run() and value()
    assert rare < common


def test_errors_are_listed_without_images(open_page):
    app = open_page(tab="Errors", run="plain")
    measured = Measured(runs.find("plain"), "test")
    errors = measured.errors(measured.points["youden"].threshold)
    assert table(app).path.tolist() == errors.query("kind == @FALSE_NEGATIVE").path.tolist()
    assert any("under *Data set*" in caption.value for caption in app.caption)
    app.segmented_control(key="errors").set_value(FALSE_POSITIVE).run()
    assert table(app).path.tolist() == errors.query("kind == @FALSE_POSITIVE").path.tolist()


def test_errors_are_shown_where_the_images_are(open_page, tmp_path, monkeypatch, phantoms):
    index = dataset.index(phantoms)
    folds = assign_folds(index, validation_fraction=0.5, seed=0)
    rows = index.assign(split=folds)[folds == "validation"]
    # A stranger's run might name files that are none of its business.
    rows["path"] = rows.path.where(rows.label == "PNEUMONIA", "../chest_xray/" + rows.path)
    make_run(tmp_path, "good", rows, separation=0.1)
    monkeypatch.setattr(runs, "finished", partial(runs.finished.func, tmp_path))
    monkeypatch.setattr(runs, "find", partial(runs.find.func, models=tmp_path))
    monkeypatch.setattr(dataset, "configured_place", lambda: str(phantoms))
    measured = Measured(runs.find("good"), "validation")
    errors = measured.errors(measured.points["youden"].threshold)
    app = open_page(tab="Errors")
    counts = errors.kind.value_counts()
    assert 0 < len(thumbnails(app)) == min(24, counts[FALSE_NEGATIVE])
    first = errors.query("kind == @FALSE_NEGATIVE").iloc[0]
    assert thumbnails(app)[0]["id"] == first.path and thumbnails(app)[0]["url"]
    app.query_params["error"] = first.path
    app.run()
    assert not app.exception
    beside = " ".join(text.value for text in app.markdown)
    assert "Reference label: **pneumonia**" in beside and "wrong" in beside
    app.segmented_control(key="errors").set_value(FALSE_POSITIVE).run()
    assert not app.exception
    assert counts[FALSE_POSITIVE] and not thumbnails(app)
    assert any("not in the data-set folder" in caption.value for caption in app.caption)


def test_run_table_is_filtered(open_page):
    app = open_page(tab="Compare")
    # One run lacks images of the others: its figures are not ranked among theirs.
    assert [frame.value.run.tolist() for frame in app.dataframe] == [["good", "plain"], ["partial"]]
    app.multiselect(key="only_augmentation").set_value(["none"]).run()
    assert [frame.value.run.tolist() for frame in app.dataframe] == [["plain"]]


def test_filters_of_the_address_are_kept(open_page):
    app = open_page(tab="Compare", only_network="mobilenetv2", only_augmentation="strong")
    assert table(app).run.tolist() == ["good"]
    assert any(caption.value == "1 of 3 runs" for caption in app.caption)
    app = open_page(tab="Compare", only_network="cnn", only_augmentation="none")
    assert any("Remove a filter" in info.value for info in app.info)


def test_the_only_run_is_sent_to_training_for_another(open_page, tmp_path, monkeypatch):
    make_run(tmp_path, "good", pictures())
    monkeypatch.setattr(runs, "finished", partial(runs.finished.func, tmp_path))
    app = open_page(tab="Compare")
    assert any("no other run" in info.value for info in app.info)
    assert [link.proto.label for link in app.get("page_link")] == ["Train one"]


def test_comparison_shows_differences_tests_and_the_ensemble(open_page):
    app = open_page(tab="Compare", **{"with": ["plain"]})
    _, _, settings, tests, together = (frame.value for frame in app.dataframe)
    assert settings.setting.tolist() == ["augmentation", "imbalance"]
    assert tests.against.tolist() == ["plain"]
    assert together.run.tolist() == ["mean of these runs", "good", "plain"]


def test_a_saved_mean_is_shown_on_request(open_page, tmp_path, monkeypatch):
    make_runs(tmp_path, pictures())
    monkeypatch.setattr(runs, "finished", partial(runs.finished.func, tmp_path))
    monkeypatch.setattr(runs, "find", partial(runs.find.func, models=tmp_path))
    app = open_page(tab="Compare", **{"with": ["plain"]})
    app.text_input(key="ensemble_name").set_value("both").run()
    buttons = {button.label: button for button in app.button}
    buttons["Save as a run"].click().run()
    assert not app.exception and (tmp_path / "both/metrics.json").is_file()
    (shown,) = (button for button in app.button if button.label == "See its numbers")
    shown.click().run()
    assert not app.exception and not app.error
    assert app.session_state.run == "both" and app.session_state.tab == "Curves"
    assert list(table(app)) == ["metric", "both", "plain"]


def test_tables_show_text_and_download_numbers(open_page, monkeypatch):
    taken = {}

    def take(table, name, *others, csv=None, **options):
        taken[name] = table if csv is None else csv

    for page in ("one_run", "several_runs"):
        monkeypatch.setattr(f"pages.metrics_parts.{page}.show_table", take)
    measured = Measured(runs.find("good"), "test")
    threshold = measured.points["youden"].threshold
    open_page(tab="Threshold")
    sensitivity = taken["good-test-threshold"].set_index("metric").loc["Sensitivity"]
    found = measured.confusion(threshold).proportions()["sensitivity"]
    assert sensitivity.to_dict() == vars(found)
    open_page(tab="Subgroups")
    assert taken["good-test-subgroups"].sensitivity[0] == found.value
    open_page(tab="Compare", **{"with": ["plain"]})
    assert taken["ensemble"].roc_auc_low.between(0, 1).all()


def test_a_table_shows_a_probability_as_the_page_does(open_page):
    app = open_page(tab="Errors", run="plain")
    frame = app.dataframe[0]
    shown = pa.ipc.open_stream(frame.proto.arrow_data.styler.display_values).read_pandas()
    assert shown.probability.tolist() == [percent(value) for value in frame.value.probability]


def test_robustness_of_a_run_that_was_not_tested_says_how(open_page):
    app = open_page(tab="Robustness")
    commands = [info.value for info in app.info]
    assert "python -m cxrlib stress --data FOLDER --run good" in commands[0]
    assert "python -m cxrlib faithfulness --data FOLDER --run good" in commands[1]


def test_robustness_shows_steps_elsewhere_and_heatmaps(open_page, tmp_path, monkeypatch):
    good, *_ = make_runs(tmp_path, pictures())
    good.save_stress(stress_results())
    good.save_faithfulness(faithfulness_table())
    monkeypatch.setattr(runs, "finished", partial(runs.finished.func, tmp_path))
    monkeypatch.setattr(runs, "find", partial(runs.find.func, models=tmp_path))
    app = open_page(tab="Robustness")
    assert any(
        f"at most **{formatting.rate(0.042)}** (blur 0.4 %)" in text.value for text in app.markdown
    )
    steps, elsewhere, heatmaps = (frame.value for frame in app.dataframe)
    assert steps.perturbation.tolist() == ["unchanged", "gamma 0.8", "blur 0.4 %", "blur 1 %"]
    assert elsewhere.images.tolist() == ["abroad"]
    assert heatmaps.method.tolist() == ["Grad-CAM", "Chance (reference)"]
    drawn = [str(image.proto) for image in app.get("image")]
    app.segmented_control(key="steps").set_value("strong").run()
    assert not app.exception
    assert [str(image.proto) for image in app.get("image")] != drawn
    assert len(drawn) == 2


def test_subgroups_of_a_three_class_run_show_which_is_taken_for_which(open_page, tmp_path, models):
    three = make_three_class_run(tmp_path, "three", pictures())
    (models / "three").symlink_to(three.folder)
    try:
        app = open_page(run="three", tab="Subgroups")
    finally:
        (models / "three").unlink()
    shown = Measured(three, "test").by_class
    pd.testing.assert_frame_equal(table(app), shown.table(), check_dtype=False)
    assert shown.sentence() in [markdown.value for markdown in app.markdown]


# --- what may go wrong ----------------------------------------------------------------------------


def test_without_a_run_the_page_says_what_to_do(open_page, monkeypatch, tmp_path):
    monkeypatch.setattr(runs, "finished", partial(runs.finished.func, tmp_path))
    app = open_page()
    assert "python train.py" in app.info[0].value


def test_a_damaged_run_is_named_and_the_others_are_shown(open_page, tmp_path, monkeypatch):
    make_runs(tmp_path, pictures())
    (tmp_path / "plain/metrics.json").write_text("{", encoding="utf-8")
    (tmp_path / "partial/predictions.csv").unlink()
    monkeypatch.setattr(runs, "finished", partial(runs.finished.func, tmp_path))
    monkeypatch.setattr(runs, "find", partial(runs.find.func, models=tmp_path))
    app = open_page()
    assert len(app.metric) == 4
    captions = [caption.value.replace("\\", "") for caption in app.caption]
    assert any("metrics.json of the run plain is damaged" in text for text in captions)
    assert any("The run partial has no predictions.csv" in text for text in captions)


def test_a_damaged_run_in_use_is_named(open_page, tmp_path, monkeypatch):
    make_runs(tmp_path, pictures())
    (tmp_path / "good/predictions.csv").unlink()
    monkeypatch.setattr(runs, "finished", partial(runs.finished.func, tmp_path))
    monkeypatch.setattr(runs, "find", partial(runs.find.func, models=tmp_path))
    assert "The run good has no predictions.csv" in open_page().error[0].value


def test_page_needs_no_tensorflow():
    code = (
        "import sys, pages.metrics_parts.errors, pages.metrics_parts.one_run, "
        "pages.metrics_parts.several_runs, pages.metrics_parts.robustness; "
        "assert 'matplotlib' not in sys.modules, 'curves wait for it'; "
        "import cxrlib.evaluation.html_report; "
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0


# --- in a browser ---------------------------------------------------------------------------------


@pytest.mark.browser
def test_walk_through_the_tabs(app, page, phantoms, tmp_path):
    from playwright.sync_api import expect

    url = app(CXR_DATA_DIR=str(phantoms), CXR_CACHE_DIR=str(tmp_path))
    page.goto(url)
    page.get_by_role("heading", name="Diagnose").wait_for()
    page.get_by_role("link", name="Metrics").click()

    taken = page.get_by_role("tabpanel").get_by_test_id("stDownloadButton")

    def take(kind):
        return taken.get_by_role("button", name=kind)

    def download(button):
        with page.expect_download() as started:
            button.click()
        return Path(started.value.path()).read_bytes()

    for name in TABS:
        page.get_by_role("tab", name=name).click()
        taken.first.wait_for()
        assert not page.get_by_test_id("stException").count()
        assert name == "Curves" or f"tab={name}" in page.url

    page.get_by_role("tab", name="Curves").click()
    chart = page.get_by_test_id("stVegaLiteChart").first
    chart.hover()
    page.locator("#vg-tooltip-element").get_by_text("Specificity").wait_for()
    shown = page.locator("#vg-tooltip-element tr").all_inner_texts()
    pointed_at = dict(row.split("\t") for row in shown)
    measured = Measured(runs.find(runs.SHIPPED), "validation")
    curve = metrics.roc(measured.truth, measured.predictions.probability)
    on_curve = np.column_stack([curve.thresholds, curve.tpr, 1 - curve.fpr])
    names = ("Threshold", "Sensitivity", "Specificity")
    read = [float(pointed_at[name].split("%")[0]) / 100 for name in names]
    assert np.abs(on_curve - read).max(axis=1).min() < 0.001, "no threshold gives that"
    page.mouse.move(0, 0)
    assert download(take("PNG").first).startswith(b"\x89PNG")

    page.get_by_role("tab", name="Threshold").click()
    slider = page.get_by_role("slider", name="Threshold")
    drawn = page.get_by_test_id("stImage").locator("img").first
    before, patients = slider.get_attribute("aria-valuetext"), drawn.get_attribute("src")
    slider.press("PageDown")
    expect(drawn).not_to_have_attribute("src", patients)
    assert slider.get_attribute("aria-valuetext") != before
    assert ElementTree.fromstring(download(take("SVG").first)).tag.endswith("svg")
    assert download(take("PNG").first).startswith(b"\x89PNG")
    csv = pd.read_csv(io.BytesIO(download(take("CSV").first)))
    assert "Positive predictive value" in csv.metric.tolist()
    assert b"Model card" in download(page.get_by_role("button", name="Report as HTML"))
