"""The Diagnose page's logic, without a browser."""

import base64
import io
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from cxrlib import runs
from cxrlib.data import dataset
from cxrlib.images import radiograph
from cxrlib.inference.methods import METHODS
from cxrlib.synthetic.phantom import phantom
from pages.diagnose_parts import store_example, stored

ROOT = Path(__file__).resolve().parent.parent
APP = ROOT / "app.py"
DRAWN = "Drawn, with an opacity"
_NUMBER = r"\d+(?:\.\d+)?"


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


def opened(**query: str) -> AppTest:
    app = AppTest.from_file(APP, default_timeout=120)
    app.query_params.update(query)
    app.run()
    assert not app.exception
    return app


def upload(app: AppTest, *files: tuple[str, bytes]) -> None:
    app.get("file_uploader")[0].set_value([(*file, "image/jpeg") for file in files]).run()
    assert not app.exception


def press(app: AppTest, label: str) -> None:
    next(button for button in app.button if button.label.startswith(label)).click().run()
    assert not app.exception


def text(app: AppTest) -> str:
    kinds = (app.header, app.markdown, app.caption, app.info, app.warning, app.error)
    return "\n".join(element.value for kind in kinds for element in kind)


def verdict(app: AppTest) -> str:
    return app.header[0].value


def viewer_data(app: AppTest) -> dict[str, object]:
    """What the viewer on the page was sent."""
    return next(data for data in _components(app) if "image_id" in data)


def thumbnails(app: AppTest, label: str) -> list[dict[str, object]]:
    """What a strip of thumbnails on the page was sent."""
    return next(data for data in _components(app) if data.get("label") == label)["items"]


def _components(app: AppTest) -> list[dict[str, object]]:
    return [json.loads(found.proto.json) for found in app.get("bidi_component")]


def test_first_page_shows_a_reading_and_says_what_to_do(app: AppTest) -> None:
    assert "Drop frontal chest X-rays" in app.get("file_uploader")[0].proto.label
    assert "Pneumonia likely" in verdict(app)
    assert "Drawn by a program" in text(app)
    assert "For education and research, not for diagnosis" in text(app)
    assert viewer_data(app)["overlays"]


def test_example_is_drawn_and_called_so() -> None:
    app = opened(example=DRAWN)
    shown = text(app)
    assert "Drawn by a program, not taken of a patient" in shown
    assert "Pneumonia likely" in verdict(app)
    assert "For education and research, not for diagnosis" in shown
    assert f"Read by the run {runs.SHIPPED}".replace("-", "\\-") in shown
    assert [item["badge"] for item in thumbnails(app, "Examples")][:2] == ["drawn", "drawn"]


def test_stored_reading_is_what_the_run_says() -> None:
    made = store_example.made()
    kept = json.loads(stored.FILE.read_text("utf-8"))
    again = f"run `{stored.COMMAND}`"
    assert (made["title"], made["run"]) == (kept["title"], kept["run"]), again
    assert [overlay["title"] for overlay in made["overlays"]] == [
        overlay["title"] for overlay in kept["overlays"]
    ], again
    # Another processor may round another way.
    assert _words(made["panels"]) == _words(kept["panels"]), again
    assert np.abs(_numbers(made["panels"]) - _numbers(kept["panels"])).max() <= 1, again
    pairs = [(made["image"], kept["image"]), *zip(made["overlays"], kept["overlays"], strict=True)]
    for ours, theirs in pairs:
        if theirs["url"]:
            found = [_decoded(url).ravel() for url in (ours["url"], theirs["url"])]
            assert np.corrcoef(found)[0, 1] > 0.9, again  # 0.95 with the oldest libraries


def _words(content: object) -> str:
    return re.sub(_NUMBER, "#", json.dumps(content))


def _numbers(content: object) -> np.ndarray:
    return np.array(re.findall(_NUMBER, json.dumps(content)), float)


def _decoded(url: str) -> np.ndarray:
    data = np.frombuffer(base64.b64decode(url.partition(",")[2]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_GRAYSCALE).astype(float)


def table_of_files(app: AppTest) -> pd.DataFrame:
    """What the table holds once it is unfolded."""
    app.session_state.table = True
    app.run()
    return app.dataframe[0].value


def test_one_bad_file_does_not_stop_the_others(app: AppTest) -> None:
    upload(
        app,
        ("first.jpg", jpeg(1)),
        ("broken.jpg", jpeg(2)[:500]),
        ("<b>third</b>.jpg", jpeg(3)),
    )
    assert not app.dataframe
    table = table_of_files(app)
    assert list(table.file) == ["first.jpg", "broken.jpg", "<b>third</b>.jpg"]
    assert table.probability.notna().tolist() == [True, False, True]
    assert "damaged or cut off" in table.remark[1]
    choose(app, "broken.jpg")
    assert "damaged or cut off" in text(app)
    assert "Cannot be opened" in verdict(app)


def choose(app: AppTest, name: str) -> None:
    """As a press on a file's thumbnail does."""
    items = thumbnails(app, "Files")
    app.session_state["shown"] = next(item["id"] for item in items if item["caption"] == name)
    app.run()
    assert not app.exception


def test_operating_point_changes_the_verdict_not_the_probability() -> None:
    shown = {}
    for point in ("Balanced", "Finds 99 % of pneumonias"):
        app = opened(point=point, example=DRAWN)
        assert app.session_state.point == ("youden" if point == "Balanced" else "sensitivity_99")
        shown[point] = verdict(app).rpartition(",")[2], text(app)
    balanced, screening = shown.values()
    assert balanced[0] == screening[0]
    assert balanced[1] != screening[1]


@pytest.mark.parametrize("method", ["gradcam++", "scorecam", "occlusion"])
def test_methods_on_demand(method: str) -> None:
    app = opened(example=DRAWN)
    app.selectbox(key="method").set_value(method).run()
    assert not app.exception
    data = viewer_data(app)
    title = METHODS[method].title
    assert data["chosen"] == title
    assert title in [overlay["title"] for overlay in data["overlays"]]


def test_real_examples_where_a_data_set_is_configured(
    phantoms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_DATA_DIR", str(phantoms))
    titles = [item["id"] for item in thumbnails(opened(), "Examples")]
    real = [title for title in titles if title.startswith(("Normal: ", "Pneumonia: "))]
    assert len(real) >= 4
    app = opened(example=real[0])
    assert "Drawn" not in text(app)
    assert "Pneumonia" in verdict(app)
    assert "Reference label" in text(app)


def test_no_such_example_is_said(app: AppTest) -> None:
    assert "no example of that name" in text(opened(example="nonsense"))


def test_images_of_kaggle_are_offered(app: AppTest) -> None:
    titles = [item["id"] for item in thumbnails(app, "Examples")]
    assert sum(title.startswith("From Kaggle") for title in titles) == 4


def test_a_link_fetches_nothing_before_a_click(
    phantoms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []
    picture = next((phantoms / "test" / "PNEUMONIA").iterdir()).read_bytes()
    monkeypatch.setattr(
        dataset, "download_picture", lambda *asked: fetched.append(asked) or picture
    )
    split, label, name = dataset.KAGGLE_EXAMPLES[0]
    app = opened(example=f"From Kaggle, {label.lower()}: {name}")
    assert not fetched
    press(app, "Fetch it from Kaggle")
    assert fetched == [(split, label, name)]
    assert "How far to trust this" in text(app)


def test_a_link_to_an_image_of_the_set_fetches_it_where_there_is_no_set(
    phantoms: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = []
    picture = next((phantoms / "test" / "PNEUMONIA").iterdir()).read_bytes()
    monkeypatch.delenv("CXR_DATA_DIR", raising=False)
    monkeypatch.setattr(
        dataset, "download_picture", lambda *asked: fetched.append(asked) or picture
    )
    app = opened(example="train/NORMAL/IM-0115-0001.jpeg")
    assert not fetched
    press(app, "Fetch it from Kaggle")
    assert fetched == [("train", "NORMAL", "IM-0115-0001.jpeg")]
    assert "How far to trust this" in text(app)


def test_a_wrong_data_folder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXR_DATA_DIR", str(tmp_path))
    app = opened()
    assert "should look like this" in text(app) + "".join(code.value for code in app.code)
    assert "Pneumonia likely" in verdict(app), "the example is there all the same"


def test_uploads_leave_no_trace_on_disk(app: AppTest) -> None:
    before = {path for path in Path().rglob("*") if "__pycache__" not in path.parts}
    upload(app, ("first.jpg", jpeg(1)), ("noise.png", noise()))
    choose(app, "noise.png")
    press(app, "Analyze anyway")
    after = {path for path in Path().rglob("*") if "__pycache__" not in path.parts}
    assert after == before


def noise() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (128, 128), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_what_is_rejected_has_no_verdict_though_it_is_read(app: AppTest) -> None:
    upload(app, ("a.png", noise()))
    assert "No lung fields were found" in text(app)
    assert "likely" not in verdict(app)
    press(app, "Analyze anyway")
    assert "no verdict" in text(app)
    assert "likely" not in verdict(app)
    assert "Probability" not in "".join(html.proto.body for html in app.get("html"))


def test_what_was_insisted_on_has_no_verdict_in_strip_and_table_either(app: AppTest) -> None:
    upload(app, ("first.jpg", jpeg(1)), ("noise.png", noise()))
    choose(app, "noise.png")
    press(app, "Analyze anyway")
    assert thumbnails(app, "Files")[1]["mark"] == "⊘"
    table = table_of_files(app)
    assert table.verdict[1] == "rejected"
    assert table.probability.notna().tolist() == [True, False]


def test_a_file_is_decoded_once(app: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[bytes] = []
    decode = radiograph.read
    monkeypatch.setattr(radiograph, "read", lambda data: decoded.append(data) or decode(data))
    upload(app, ("first.jpg", jpeg(1)))
    assert verdict(app)
    assert decoded == [jpeg(1)]


def test_uploads_stay_while_another_page_is_looked_at(app: AppTest) -> None:
    upload(app, ("first.jpg", jpeg(1)), ("second.jpg", jpeg(3)))
    read = table_of_files(app)
    app.get("button_group")[0].set_value("suspicion").run()
    app.switch_page("pages/about.py").run()
    app.switch_page("pages/diagnose.py").run()
    assert not app.exception
    assert app.session_state.order == "suspicion"
    app.get("button_group")[0].set_value("dropped").run()
    assert table_of_files(app).equals(read)
    # One more joins them, and is what is shown.
    upload(app, ("third.jpg", jpeg(5)))
    assert list(table_of_files(app).file) == ["first.jpg", "second.jpg", "third.jpg"]
    assert "third\\.jpg" in text(app)
    assert [item["badge"] for item in thumbnails(app, "Files")] == ["earlier", "earlier", ""]
    press(app, "Remove the 2 earlier")
    assert not app.dataframe  # a single image needs no table
    assert "Pneumonia" in verdict(app)
    app.switch_page("pages/about.py").run()
    app.switch_page("pages/diagnose.py").run()
    press(app, "Remove the earlier image")
    assert "Drop frontal" in app.get("file_uploader")[0].proto.label
    assert viewer_data(app)["image_id"] == f"example {DRAWN}"


def test_newest_drop_is_shown_and_what_is_chosen_stays(app: AppTest) -> None:
    first, second = "first.jpg", "second.jpg"
    upload(app, (first, jpeg(1)), (second, jpeg(3)))
    assert viewer_data(app)["title"].endswith(first), "of one drop the first"
    choose(app, second)
    assert viewer_data(app)["title"].endswith(second)
    assert "second\\.jpg" in text(app)
