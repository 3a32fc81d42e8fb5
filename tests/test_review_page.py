"""The review page: the flow of a session, and what it must not show."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import create_engine
from streamlit.testing.v1 import AppTest

from cxrlib import reviews
from cxrlib.data import dataset
from cxrlib.reviews import Store
from pages.review_parts import cases, parts, records

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def store(tmp_path, monkeypatch):
    engine = create_engine(f"sqlite:///{tmp_path / 'reviews.db'}")
    store = Store(engine)
    monkeypatch.setenv("CXR_REVIEWS", str(tmp_path / "reviews.db"))
    monkeypatch.setattr(dataset, "configured_place", lambda: None)
    parts.store.clear()
    yield store
    parts.store.clear()
    engine.dispose()


@pytest.fixture
def open_page(store):
    def opened(**query):
        app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=90).run()
        app.switch_page("pages/review.py")
        app.query_params.update(query)
        app.run()
        assert not app.exception
        return app

    return opened


def press(app, start):
    """Press the button whose key starts so."""
    next(button for button in app.button if (button.key or "").startswith(start)).click()
    app.run()
    assert not app.exception
    return app


def press_label(app, label):
    next(button for button in app.button if button.label == label).click()
    app.run()
    assert not app.exception
    return app


def begin(app, *, length=3, name="AB"):
    app.text_input(key="reader_name").set_value(name)
    app.radio(key="case_source").set_value("practice")
    app.number_input(key="case_count").set_value(length)
    app.run()
    next(button for button in app.button if button.label == "Begin").click()
    app.run()
    assert not app.exception
    return app.query_params["session"]


def words(app):
    shown = [*app.markdown, *app.caption, *app.text, *app.info, *app.warning, *app.get("html")]
    return " ".join(str(getattr(item, "value", "") or item.proto) for item in shown)


def model_is_shown(app):
    return any(heading.value.startswith("Model:") for heading in app.header)


def read_to_end(app, answer="normal"):
    while any((button.key or "").startswith("commit-") for button in app.button):
        for start in (f"first-{answer}-", "first-4-", "commit-", "go-on-"):
            press(app, start)


def asked_about_the_heatmap(app):
    return any("heatmap point" in line.value for line in app.markdown)


@pytest.mark.parametrize("heat", [0, 1])
def test_the_heatmap_is_asked_about_where_there_is_one(open_page, monkeypatch, heat):
    found = cases.explained

    def explained(*asked):
        prediction, explanations = found(*asked)
        values = np.full((8, 8), heat, np.float32)
        return prediction, [replace(explanation, values=values) for explanation in explanations]

    monkeypatch.setattr(cases, "explained", explained)
    app = open_page()
    begin(app)
    for start in ("first-pneumonia-", "first-4-", "commit-"):
        press(app, start)
    assert asked_about_the_heatmap(app) == bool(heat)
    press(app, "second-normal-")
    assert not asked_about_the_heatmap(app), "who finds nothing is not asked where it is"


def test_nobody_begins_without_a_name(open_page, store):
    app = open_page()
    next(button for button in app.button if button.label == "Begin").click().run()
    assert "Enter a name" in app.warning[0].value
    assert store.readers() == []


def test_blind_reading_shows_neither_label_nor_score(open_page, store):
    app = open_page()
    uid = begin(app)
    shown = words(app)
    reading = store.session(uid).current
    for told in (reading.path, reading.path.partition("/")[0], "PNEUMONIA", "NORMAL", "robability"):
        assert told not in shown
    assert not any("go-on" in (button.key or "") for button in app.button)
    press(app, "commit-")
    assert "Choose an answer" in app.toast[0].value
    assert store.session(uid).current.stage == "first"
    assert not model_is_shown(app)


def test_pressed_twice_is_pressed_once(open_page, store):
    app = open_page()
    uid = begin(app)
    for start in ("first-viral-", "first-2-"):
        press(app, start)
    # Another tab was faster, as the first of two clicks is.
    store.commit_first(store.session(uid).current.id, 1.0)
    press(app, "commit-")
    assert store.session(uid).current.stage == "second"
    assert model_is_shown(app) and not app.toast


def test_session_from_the_first_case_to_the_results(open_page, store):
    app = open_page()
    uid = begin(app, length=2)
    for start in ("first-viral-", "first-2-", "commit-"):
        press(app, start)
    found = store.session(uid).current
    assert (found.stage, found.first_answer, found.first_confidence) == ("second", "viral", 2)
    assert 0 <= found.probability <= 1
    assert model_is_shown(app) and "Your blind answer: **viral, unsure**" in words(app)
    assert found.label not in words(app), "the reference label waits for the end"
    for start in ("rate-partly-", "second-normal-", "flag-"):
        press(app, start)
    press(app, "go-on-")
    first = store.session(uid).readings[0]
    assert (first.second_answer, first.rating, first.flagged) == ("normal", "partly", True)
    press(app, "skip-")
    assert not store.session(uid).ended, "a skipped case comes back"
    press_label(app, "Finish without it")
    assert store.session(uid).ended
    shown = words(app)
    assert "1 read, 1 skipped, 1 flagged" in shown
    assert "synthetic practice list" in shown
    tables = [table.value for table in app.dataframe]
    assert tables[0].Reader.tolist() == ["You, blind", "You, after the model", "Model"]
    labels = [reading.label.lower() for reading in store.session(uid).readings]
    assert tables[-1]["Reference label"].tolist() == labels


def test_earlier_cases_are_looked_at_and_a_skip_is_undone(open_page, store):
    app = open_page()
    uid = begin(app)
    for start in ("first-viral-", "first-2-", "commit-", "go-on-"):
        press(app, start)
    app.query_params["case"] = "1"
    app.run()
    shown = words(app)
    assert "Case 1 of 3" in shown and "After the model: **viral, unsure**" in shown
    assert model_is_shown(app) and store.session(uid).readings[0].label not in shown
    kinds = ("first-", "second-", "commit-", "skip-", "flag-", "rate-")
    assert not any((button.key or "").startswith(kinds) for button in app.button)
    press(app, "go_on_reading")
    assert "Case 2 of 3" in words(app)
    press(app, "skip-")
    assert "Case 3 of 3" in words(app)
    press(app, "undo-")
    assert "Case 2 of 3" in words(app) and not store.session(uid).readings[1].skipped
    # What is not yet to be read is not shown, whatever the address says.
    app.query_params["case"] = "3"
    app.run()
    assert "Case 2 of 3" in words(app)


def test_session_is_gone_on_with_in_a_second_tab(open_page, store):
    first = open_page()
    uid = begin(first)
    press(first, "first-pneumonia-")
    second = open_page(session=uid)
    press(second, "first-5-")
    press(second, "commit-")
    # The first tab lags behind: it changes nothing, and comes to where the second is.
    press(first, "first-normal-")
    found = store.session(uid).current
    assert (found.first_answer, found.second_answer) == ("pneumonia", "pneumonia")
    assert any("another tab" in toast.value for toast in first.toast)
    assert any((button.key or "").startswith("go-on-") for button in first.button)


def test_sessions_are_listed_and_gone_on_with(open_page, store):
    uid = begin(open_page(), name="AB")
    over = begin(open_page(), name="CD")
    store.end(over)
    app = open_page()
    assert "AB" not in words(app) and not [box for box in app.selectbox if "AB" in str(box.options)]
    app.text_input(key="reader_name").set_value("CD").run()
    assert app.selectbox(key="sessions_over").options[0].startswith("CD")
    assert not [box for box in app.selectbox if "AB" in str(box.options)]
    app.text_input(key="reader_name").set_value("AB").run()
    assert app.selectbox(key="sessions_open").options[0].startswith("AB · Synthetic practice list")
    app.button(key="go_open").click().run()
    assert app.query_params["session"] == uid
    assert any((button.key or "").startswith("commit-") for button in app.button)


def test_database_that_does_not_answer_is_said(open_page, store, tmp_path, monkeypatch):
    monkeypatch.setenv("CXR_REVIEWS", str(tmp_path))  # a folder
    parts.store.clear()
    assert "does not answer" in open_page().error[0].value


def test_ending_early_shows_results_and_closes_the_rest(open_page, store):
    app = open_page()
    uid = begin(app, length=4)
    next(button for button in app.button if button.label == "End the session").click()
    app.run()
    assert store.session(uid).ended
    assert any("No case was completed" in info.value for info in app.info)


def test_model_and_operating_point_are_pinned(open_page, store):
    app = open_page()
    app.session_state["point"] = "sensitivity_99"
    uid = begin(app)
    app.session_state["point"] = "fixed_50"
    for start in ("first-normal-", "first-3-", "commit-"):
        press(app, start)
    session = store.session(uid)
    assert session.point == "sensitivity_99" and session.threshold < 0.5
    assert "Finds 99 % of pneumonias" in words(app)


def test_stranger_sees_no_sessions_and_opens_no_folder(open_page, store, monkeypatch):
    begin(open_page(), name="AB")
    monkeypatch.setenv("CXR_TRAINING", "off")
    app = open_page()
    assert "folder" not in app.radio(key="case_source").options
    assert not app.get("selectbox") or "AB" not in str([box.options for box in app.selectbox])
    assert "not listed" in words(app)
    for tab in ("Data", "Agreement between readers"):
        app = open_page(review_tab=tab)
        assert not app.get("download_button") and not app.get("file_uploader")
        assert not app.tabs and not app.dataframe and "AB" not in words(app)


def test_session_is_deleted_where_it_is_read(open_page, store):
    app = open_page()
    begin(app)
    next(button for button in app.button if button.label == "Delete the session").click().run()
    assert store.readers() == []
    assert "New session" in [heading.value for heading in app.header]


def test_unknown_session_is_named(open_page):
    app = open_page(session="nothing")
    assert "no such session" in app.error[0].value
    assert app.title[0].value == "Reading room"


def test_readers_meet_after_the_end(open_page, store):
    for name, answer in (("AB", "normal"), ("CD", "viral")):
        read_to_end_of = open_page()
        begin(read_to_end_of, name=name, length=2)
        read_to_end(read_to_end_of, answer)
    app = open_page(review_tab="Agreement between readers")
    (matrix, argued) = (table.value for table in app.dataframe)
    assert matrix.Reader.tolist() == ["AB", "CD"]
    assert argued.disagreement.tolist() == [1.0, 1.0]
    assert set(argued.label) == {"NORMAL", "PNEUMONIA"}
    # A third reader has the same cases before them: nobody is told what they show.
    store.start(
        name="EF", role="Other", source="practice", strategy="random", split="", seed=0, run="r",
        model="m", point=store.session(store.readers()[0].sessions[0].uid).operating_point,
        cases=reviews.practice_cases(length=2, seed=0),
    )  # fmt: skip
    app = open_page(review_tab="Agreement between readers")
    assert set(app.dataframe[1].value.label) == {"being read"}


def test_reader_is_deleted_only_when_sure(open_page, store):
    begin(open_page(), name="AB")
    app = open_page(review_tab="Data")
    app.selectbox(key="delete_name").set_value("AB").run()
    button = next(button for button in app.button if button.label == "Delete permanently")
    assert button.disabled
    app.checkbox[0].check().run()
    next(button for button in app.button if button.label == "Delete permanently").click()
    app.run()
    assert not app.exception
    assert store.readers() == []


def test_readings_are_brought_back(open_page, store):
    uid = begin(open_page(), name="AB")
    table = reviews.export(store)
    store.delete_reader(store.readers()[0].id)
    app = open_page(review_tab="Data")
    uploader = app.get("file_uploader")[0]
    uploader.set_value(("readings.csv", table.to_csv(index=False).encode(), "text/csv")).run()
    next(button for button in app.button if button.label == "Import").click()
    app.run()
    assert "Sessions imported: 1" in app.success[0].value
    assert store.session(uid).reader.name == "AB"


def test_image_that_is_gone_is_said_without_its_name(open_page, store, tmp_path, phantoms):
    folder = tmp_path / "mine" / "PNEUMONIA"
    folder.mkdir(parents=True)
    source = sorted((phantoms / "test" / "PNEUMONIA").iterdir())[0]
    (folder / "secret-name.jpeg").write_bytes(source.read_bytes())
    app = open_page()
    app.text_input(key="reader_name").set_value("AB")
    app.radio(key="case_source").set_value("folder").run()
    app.text_input(key="case_folder").set_value(str(tmp_path / "mine")).run()
    next(button for button in app.button if button.label == "Begin").click().run()
    (folder / "secret-name.jpeg").unlink()
    cases.open_case.clear()
    app.run()
    assert "cannot be opened" in app.error[0].value
    assert "secret" not in words(app) + app.error[0].value
    press(app, "skip-")


def test_a_second_person_of_the_same_name_is_asked(open_page, store):
    begin(open_page(), name="AB")
    app = open_page()
    app.text_input(key="reader_name").set_value("AB")
    app.radio(key="case_source").set_value("practice").run()
    next(button for button in app.button if button.label == "Begin").click().run()
    assert "Somebody called AB" in app.warning[0].value
    assert len(store.readers()[0].sessions) == 1
    app.checkbox(key="reader_is_AB").check().run()
    next(button for button in app.button if button.label == "Begin").click().run()
    assert not app.exception
    assert len(store.readers()[0].sessions) == 2


def test_time_away_from_a_case_does_not_count(open_page, store):
    app = open_page()
    uid = begin(app, length=2)
    app.session_state.review_since -= 1000
    app.switch_page("pages/about.py").run()
    app.query_params["session"] = uid
    app.switch_page("pages/review.py").run()
    for start in ("first-normal-", "first-4-", "commit-"):
        press(app, start)
    assert store.session(uid).readings[0].first_seconds < 500


def test_folders_of_a_file_brought_back_are_not_opened_where_none_are(
    open_page, store, tmp_path, phantoms, monkeypatch
):
    app = open_page()
    app.text_input(key="reader_name").set_value("AB")
    app.radio(key="case_source").set_value("folder").run()
    app.text_input(key="case_folder").set_value(str(phantoms / "test")).run()
    next(button for button in app.button if button.label == "Begin").click().run()
    uid = app.query_params["session"]
    table = reviews.export(store)
    store.delete_session(uid)
    monkeypatch.setattr(records, "allowed", lambda role="train": role == "delete")
    app = open_page()
    app.query_params["review_tab"] = "Data"
    app.run()
    (uploader,) = app.get("file_uploader")
    uploader.set_value(("readings.csv", table.to_csv(index=False).encode(), "text/csv")).run()
    next(button for button in app.button if button.label == "Import").click()
    app.run()
    assert "folders are not opened" in app.error[0].value
    with pytest.raises(reviews.ReviewError):
        store.session(uid)


@pytest.mark.parametrize(
    ("place", "words"),
    [("file/reviews.db", "cannot be made"), ("file", "does not answer")],
)
def test_where_no_readings_can_be_kept_the_page_says_so(tmp_path, monkeypatch, place, words):
    (tmp_path / "file").write_text("no database", encoding="utf-8")
    monkeypatch.setenv("CXR_REVIEWS", str(tmp_path / place))
    parts.store.clear()
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=90).run()
    app.switch_page("pages/review.py").run()
    parts.store.clear()
    assert not app.exception
    assert words in app.error[0].value
