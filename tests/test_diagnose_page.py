"""The Diagnose page's logic, without a browser."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

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
    assert app.get("file_uploader")
    assert "Calibrated probability of pneumonia" in text(app), "an example is already read"


def upload(app: AppTest, *names: str) -> AppTest:
    files = [(name, jpeg(seed), "image/jpeg") for seed, name in enumerate(names, start=1)]
    app.get("file_uploader")[0].set_value(files).run()
    assert not app.exception
    return app


def test_one_bad_file_does_not_stop_the_others(app: AppTest) -> None:
    files = [
        ("first.jpg", jpeg(1), "image/jpeg"),
        ("broken.jpg", jpeg(2)[:500], "image/jpeg"),
        ("<b>third</b>.jpg", jpeg(3), "image/jpeg"),
    ]
    app.get("file_uploader")[0].set_value(files).run()
    assert not app.exception
    table = app.dataframe[0].value
    assert list(table.file) == ["first.jpg", "broken.jpg", "<b>third</b>.jpg"]
    assert table.probability.notna().tolist() == [True, False, True]
    assert table.remark[1]


def test_what_is_chosen_is_named_with_its_verdict(app: AppTest) -> None:
    upload(app, "first.jpg", "second.jpg")
    assert "**first\\.jpg**" in text(app), "of the newest drop the first"
    app.session_state.shown = list(app.session_state.cases)[1]
    app.run()
    assert "**second\\.jpg**" in text(app)


def test_uploads_leave_no_trace_on_disk(app: AppTest, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (128, 128), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    before = {path for path in Path().rglob("*") if "__pycache__" not in path.parts}
    app.get("file_uploader")[0].set_value([("a.png", file.getvalue(), "image/png")]).run()
    next(button for button in app.button if button.label == "Analyze anyway").click().run()
    assert not app.exception
    assert "no verdict" in text(app)
    after = {path for path in Path().rglob("*") if "__pycache__" not in path.parts}
    assert after == before
