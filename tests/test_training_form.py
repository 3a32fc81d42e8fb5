"""The form of a new run, without training: what it asks, sets by itself, previews and remembers."""

import os
import time
from functools import partial
from pathlib import Path

import pytest
from made_runs import make_run, pictures
from streamlit.testing.v1 import AppTest

from cxrlib import runs
from cxrlib.runs.config import group_of
from pages.training_parts import fields

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def page(phantoms: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("CXR_DATA_DIR", str(phantoms))
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("CXR_TRAINING", "on")
    for name in ("finished", "unfinished"):
        found = partial(getattr(runs, name), tmp_path / "models")
        monkeypatch.setattr(runs, name, lambda *models, found=found: found())
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=90).run()
    return app.switch_page("pages/training.py").run()


def words(page: AppTest) -> str:
    return "\n".join(part.value for part in [*page.markdown, *page.caption, *page.error])


def may_start(page: AppTest) -> bool:
    return not next(b for b in page.button if b.label == "Start training").disabled


def test_a_newcomer_is_asked_ten_things() -> None:
    basic = [name for name, field in fields.FIELDS.items() if group_of(field) == "Basic"]
    assert len(basic) == 9  # and the device


def test_what_one_setting_asks_of_others_is_set_at_once(page: AppTest) -> None:
    page.selectbox(key="new_classes").set_value(3).run()
    assert may_start(page) and page.selectbox(key="new_head").value == "softmax"
    page.selectbox(key="new_classes").set_value(2).run()
    page.selectbox(key="new_weights").set_value("none").run()
    assert may_start(page) and page.number_input(key="new_head_epochs").value == 0
    page.selectbox(key="new_network").set_value("cnn").run()
    page.number_input(key="new_cnn_blocks").set_value(6).run()
    page.selectbox(key="new_network").set_value("vgg16").run()
    assert may_start(page)


def test_the_form_names_the_layers_that_are_fine_tuned(page: AppTest) -> None:
    page.selectbox(key="new_network").set_value("vgg16").run()
    page.number_input(key="new_fine_tune_depth").set_value(2).run()
    assert "block5_conv2, block5_conv3" in words(page)
    page.selectbox(key="new_network").set_value("cnn").run()
    assert "block4_conv, dense" in words(page)


def test_amounts_are_previewed_and_bad_ones_refused(page: AppTest) -> None:
    page.selectbox(key="new_augmentation").set_value("none").run()
    images = len(page.get("image"))
    page.number_input(key="new_rotation").set_value(25.0).run()
    assert "rotation ±25°" in words(page)
    assert len(page.get("image")) > images
    page.number_input(key="new_contrast").set_value(-1.0).run()
    assert not may_start(page) and not page.exception


def test_settings_that_do_not_go_together_are_named_as_on_the_form(page: AppTest) -> None:
    page.selectbox(key="new_network").set_value("cnn").run()
    page.number_input(key="new_cnn_blocks").set_value(6).run()
    page.session_state.new_network = "vgg16"  # without what choosing it sets
    page.run()
    problem = next(error.value for error in page.error)
    assert not may_start(page)
    assert "convolutions are of Network" in problem and "cnn_blocks" not in problem


def test_settings_of_before_are_shown_where_a_run_had_them(page: AppTest) -> None:
    assert not [field for field in page.number_input if field.key == "new_fine_tune_layers"]
    page.session_state.new_fine_tune_layers = 30
    page.run()
    assert page.number_input(key="new_fine_tune_layers").value == 30
    assert may_start(page)


def test_what_ended_since_the_last_visit_is_told(page: AppTest, tmp_path: Path) -> None:
    from pages.training_parts import in_progress

    visit = tmp_path / "cache" / in_progress.VISIT
    page.session_state.training_tab = "In progress"
    page.run()
    assert visit.exists() and "overnight" not in words(page)
    run = make_run(tmp_path / "models", "overnight", pictures(40))
    run.log_file.touch()
    make_run(tmp_path / "models", "copied", pictures(40))
    hour = time.time() - 3600
    os.utime(visit, (hour, hour))
    again = AppTest.from_file(str(ROOT / "app.py"), default_timeout=90).run()
    again.session_state.training_tab = "In progress"
    again.switch_page("pages/training.py").run()
    assert "overnight" in words(again) and "copied" not in words(again)
