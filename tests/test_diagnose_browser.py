"""The paths people walk on the Diagnose page, in a real browser."""

import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image

from cxrlib.synthetic.phantom import phantom

pytestmark = pytest.mark.browser
NETWORK_LOADED = 120_000


def picture(seed: int, *, pneumonia: bool = True) -> dict:
    file = io.BytesIO()
    Image.fromarray(phantom(seed, pneumonia=pneumonia, size=600).pixels).save(file, "JPEG")
    return {"name": f"phantom{seed}.jpg", "mimeType": "image/jpeg", "buffer": file.getvalue()}


def upload(page, *files) -> None:
    page.locator("input[type=file]").first.set_input_files(list(files))


def wait_for_verdict(page) -> None:
    page.get_by_role("img", name="Probability").wait_for(timeout=NETWORK_LOADED)
    page.locator(".viewer[data-ready]").wait_for()


def pixel(page) -> int:
    return page.locator(".pane canvas").first.evaluate(
        "c => c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data[0]"
    )


def test_the_radiograph_is_large_and_keys_change_it_at_once(app, page) -> None:
    page.set_viewport_size({"width": 1366, "height": 768})
    page.goto(app())
    wait_for_verdict(page)
    upload(page, picture(1))
    page.get_by_text("phantom1.jpg", exact=True).first.wait_for()
    box = page.locator(".stage").bounding_box()
    assert box["width"] >= 640 and box["y"] + box["height"] <= 768
    page.get_by_role("button", name="None", exact=True).click()
    page.wait_for_timeout(100)
    plain = pixel(page)
    page.keyboard.press("i")
    page.wait_for_timeout(100)
    assert pixel(page) == 255 - plain


def test_nothing_is_asked_of_another_host(app, page) -> None:
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    url = app()
    page.goto(url)
    wait_for_verdict(page)
    strangers = [address for address in asked if not address.startswith((url, "data:", "blob:"))]
    assert not strangers, json.dumps(strangers)


def test_a_link_to_a_page_works_on_a_fresh_server(app, page) -> None:
    page.goto(f"{app(FRESH_SERVER='1')}/about")
    page.get_by_role("heading", name="How a picture is read").wait_for()
    page.get_by_role("combobox", name="Run in use").wait_for()
    page.get_by_role("heading", name="Model card").wait_for()


def test_a_picture_of_the_data_set_is_opened_from_its_page(app, page, phantoms: Path) -> None:
    page.goto(f"{app(CXR_DATA_DIR=str(phantoms))}/dataset?data_tab=Gallery")
    page.get_by_role("button", name=re.compile("^IM-")).first.click()
    page.get_by_role("button", name="Diagnose this one").click()
    wait_for_verdict(page)
    page.get_by_text("Reference label").wait_for()
