"""The Diagnose page's logic, without a browser."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from cxrlib import runs
from cxrlib.data import dataset
from cxrlib.synthetic.phantom import phantom

APP = Path(__file__).resolve().parent.parent / "app.py"


def jpeg(seed: int = 1) -> bytes:
    file = io.BytesIO()
    Image.fromarray(phantom(seed, pneumonia=True, size=300).pixels).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.delenv("CXR_DATA_DIR", raising=False)
    started = AppTest.from_file(APP, default_timeout=120).run()
    assert not started.exception
    return started


def text(app: AppTest) -> str:
    kinds = (app.header, app.markdown, app.caption, app.info, app.warning, app.error)
    return "\n".join(element.value for kind in kinds for element in kind)


def test_empty_page_says_what_to_do(app: AppTest) -> None:
    assert "Drop one or several frontal chest X-rays" in text(app)
    assert [button.label for button in app.button] == ["Try an example"]


def test_example_is_synthetic_and_called_so(app: AppTest) -> None:
    app.button[0].click().run()
    assert not app.exception
    shown = text(app)
    assert "Synthetic radiograph: drawn by a program" in shown
    assert "Probability of pneumonia" in shown
    assert "For education and research, not for diagnosis" in shown
    assert f"Read by the run {runs.SHIPPED}" in shown


def test_one_bad_file_does_not_stop_the_others(app: AppTest) -> None:
    uploader = app.get("file_uploader")[0]
    uploader.set_value(
        [
            ("first.jpg", jpeg(1), "image/jpeg"),
            ("broken.jpg", jpeg(2)[:500], "image/jpeg"),
            ("<b>third</b>.jpg", jpeg(3), "image/jpeg"),
        ]
    ).run()
    assert not app.exception
    table = app.dataframe[0].value
    assert list(table.file) == ["first.jpg", "broken.jpg", "<b>third</b>.jpg"]
    assert table.probability.notna().tolist() == [True, False, True]
    assert "damaged or cut off" in table.remark[1]

    picture = next(box for box in app.selectbox if box.label == "Picture shown")
    picture.set_value(1).run()
    assert "damaged or cut off" in text(app)
    assert not app.exception


def test_operating_point_changes_the_verdict_not_the_probability() -> None:
    lines = []
    for title in ("balanced (Youden)", "screening, sensitivity ≥ 0.99"):
        app = AppTest.from_file(APP, default_timeout=120)
        app.query_params["point"] = title
        app.query_params["example"] = "Synthetic, with an opacity"
        app.run()
        lines.append(next(line for line in text(app).splitlines() if "Probability of" in line))
        assert title in lines[-1]
    assert lines[0].split("**")[1] == lines[1].split("**")[1]
    assert lines[0] != lines[1]


@pytest.mark.parametrize("method", ["gradcam++", "scorecam", "occlusion"])
def test_methods_on_demand(app: AppTest, method: str) -> None:
    app.button[0].click().run()
    app.selectbox(key="method_gradcam").set_value(method).run()
    assert not app.exception


def test_real_examples_where_a_data_set_is_configured(
    phantoms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_DATA_DIR", str(phantoms))
    app = AppTest.from_file(APP, default_timeout=120).run()
    app.button[0].click().run()
    titles = app.selectbox(key="example").options
    real = [title for title in titles if title.startswith(("Normal: ", "Pneumonia: "))]
    assert len(real) >= 4
    app.selectbox(key="example").set_value(real[0]).run()
    assert not app.exception
    assert "Synthetic" not in text(app)
    assert "Probability of pneumonia" in text(app)


def test_picture_from_kaggle_out_of_reach_says_how_to_get_the_set(app: AppTest) -> None:
    app.button[0].click().run()
    kaggle = [t for t in app.selectbox(key="example").options if t.startswith("From Kaggle")]
    assert len(kaggle) == 4


def test_a_link_fetches_nothing_before_a_click(
    phantoms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []
    picture = next((phantoms / "test" / "PNEUMONIA").iterdir()).read_bytes()
    monkeypatch.setattr(
        dataset, "download_picture", lambda *asked: fetched.append(asked) or picture
    )
    split, label, name = dataset.KAGGLE_EXAMPLES[0]
    app = AppTest.from_file(APP, default_timeout=120)
    app.query_params["example"] = f"From Kaggle, {label.lower()}: {name}"
    app.run()
    assert not fetched
    next(button for button in app.button if button.label == "Fetch it from Kaggle").click().run()
    assert not app.exception
    assert fetched == [(split, label, name)]
    assert "How far to trust this" in text(app)


def test_a_wrong_data_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXR_DATA_DIR", str(tmp_path))
    app = AppTest.from_file(APP, default_timeout=120).run()
    assert "should look like this" in text(app) + "".join(code.value for code in app.code)
    app.button[0].click().run()
    assert "Synthetic radiograph" in text(app)


def test_uploads_leave_no_trace_on_disk(app: AppTest, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 128), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    before = {path for path in Path().rglob("*") if "__pycache__" not in path.parts}
    app.get("file_uploader")[0].set_value([("a.png", file.getvalue(), "image/png")]).run()
    assert "No lung fields were found" in text(app)
    app.button[-1].click().run()
    assert "Read because you insisted" in text(app)
    assert "Probability of pneumonia" in text(app)
    after = {path for path in Path().rglob("*") if "__pycache__" not in path.parts}
    assert after == before


def test_uploads_stay_while_another_page_is_looked_at(app: AppTest) -> None:
    upload = [("first.jpg", jpeg(1), "image/jpeg"), ("second.jpg", jpeg(3), "image/jpeg")]
    app.get("file_uploader")[0].set_value(upload).run()
    read = app.dataframe[0].value
    app.switch_page("pages/about.py").run()
    app.switch_page("pages/diagnose.py").run()
    assert not app.exception
    assert app.dataframe[0].value.equals(read)
    # One more joins them.
    app.get("file_uploader")[0].set_value([("third.jpg", jpeg(5), "image/jpeg")]).run()
    assert list(app.dataframe[0].value.file) == ["first.jpg", "second.jpg", "third.jpg"]
    take_away = next(button for button in app.button if button.label.startswith("Take away 2"))
    take_away.click().run()
    assert not app.exception
    assert not app.dataframe  # a single picture needs no table
    assert "Probability of pneumonia" in text(app)
    app.switch_page("pages/about.py").run()
    app.switch_page("pages/diagnose.py").run()
    take_away = next(button for button in app.button if button.label.startswith("Take away the"))
    take_away.click().run()
    assert not app.exception
    assert "Drop one or several" in text(app)


def test_a_link_to_a_picture_of_the_set_fetches_it_where_there_is_no_set(
    phantoms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []
    picture = next((phantoms / "test" / "PNEUMONIA").iterdir()).read_bytes()
    monkeypatch.delenv("CXR_DATA_DIR", raising=False)
    monkeypatch.setattr(
        dataset, "download_picture", lambda *asked: fetched.append(asked) or picture
    )
    app = AppTest.from_file(APP, default_timeout=120)
    app.query_params["example"] = "train/NORMAL/IM-0115-0001.jpeg"
    app.run()
    assert not fetched
    next(button for button in app.button if button.label == "Fetch it from Kaggle").click().run()
    assert fetched == [("train", "NORMAL", "IM-0115-0001.jpeg")]
    assert "How far to trust this" in text(app)
