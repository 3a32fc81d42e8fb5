"""The paths people walk on the Diagnose page, in a real browser."""

import io
import json
import re
from pathlib import Path

import pytest
from PIL import Image
from pydicom.data import get_testdata_file

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
    page.get_by_text("How far to trust this").wait_for(timeout=NETWORK_LOADED)
    page.get_by_role("img", name="Probability").wait_for()
    page.get_by_alt_text("over it").nth(1).wait_for()


def heatmaps(page) -> list[str]:
    return [image.get_attribute("src") for image in page.get_by_alt_text("over it").all()]


def test_a_jpeg_from_upload_to_report(app, page, tmp_path: Path) -> None:
    page.goto(app())
    page.get_by_text("Drop one or several frontal chest X-rays").wait_for()
    upload(page, picture(1))
    wait_for_verdict(page)
    assert page.get_by_text(re.compile("^Probability of pneumonia")).is_visible()
    assert len(heatmaps(page)) == 2

    before = heatmaps(page)
    page.get_by_role("combobox", name="Heatmap").first.click()
    page.get_by_role("option", name="LayerCAM").click()
    page.get_by_alt_text("LayerCAM over it").wait_for()
    page.wait_for_function("() => location.search.includes('LayerCAM')")
    assert heatmaps(page)[0] != before[0]
    assert heatmaps(page)[1] == before[1]

    with page.expect_download() as download:
        page.get_by_role("button", name="LayerCAM overlay as PNG").click()
    overlay = tmp_path / "overlay.png"
    download.value.save_as(overlay)
    with Image.open(overlay) as saved:
        assert saved.size == (600, 600)
        assert saved.mode == "RGB"

    with page.expect_download() as download:
        page.get_by_role("button", name="Report as PDF").click()
    report = tmp_path / "report.pdf"
    download.value.save_as(report)
    data = report.read_bytes()
    assert data.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", data)) == 1


def test_a_dicom_shows_the_picture_and_no_identity(app, page) -> None:
    file = get_testdata_file("CT_small.dcm", download=False)
    page.goto(app())
    upload(page, file)
    # A slice of a CT is no frontal radiograph.
    page.get_by_role("button", name="Read it all the same").click()
    wait_for_verdict(page)
    assert page.get_by_text(re.compile("^DICOM, ")).is_visible()
    assert "CompressedSamples^CT1" not in page.content()


def test_real_pictures(app, page, real) -> None:
    page.goto(app())
    files = [str(min((real("uploads") / label).glob("*"))) for label in ("NORMAL", "PNEUMONIA")]
    upload(page, *files, *map(str, real("dicom").glob("RG1*.dcm")))
    wait_for_verdict(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="Table as CSV").click()
    table = Path(download.value.path()).read_text()
    assert len(table.splitlines()) == 4
    assert "unlikely" in table.splitlines()[1]
    assert ',"likely"' in table.splitlines()[2]


def test_three_files_one_of_them_broken(app, page) -> None:
    broken = picture(2) | {"name": "broken.jpg"}
    broken["buffer"] = broken["buffer"][:400]
    page.goto(app())
    upload(page, picture(1), broken, picture(3, pneumonia=False))
    wait_for_verdict(page)
    page.get_by_role("combobox", name="Picture shown").click()
    page.get_by_role("option", name="2 · broken.jpg").click()
    page.get_by_role("alert").get_by_text("damaged or cut off").wait_for()
    with page.expect_download() as download:
        page.get_by_role("button", name="Table as CSV").click()
    rows = Path(download.value.path()).read_text().splitlines()
    assert len(rows) == 4
    assert "not opened" in rows[2]


def test_nothing_is_asked_of_another_host(app, page) -> None:
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    url = app()
    page.goto(url)
    page.get_by_role("button", name="Try an example").click()
    wait_for_verdict(page)
    strangers = [address for address in asked if not address.startswith((url, "data:", "blob:"))]
    assert not strangers, json.dumps(strangers)


def test_address_brings_back_what_was_on_the_page(app, page) -> None:
    url = app()
    page.goto(url)
    page.get_by_role("button", name="Try an example").click()
    wait_for_verdict(page)
    page.wait_for_function("() => location.search.includes('example')")
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    wait_for_verdict(page)
    assert page.get_by_text("Synthetic radiograph").is_visible()


def test_a_link_to_a_page_works_on_a_fresh_server(app, page) -> None:
    page.goto(f"{app(FRESH_SERVER='1')}/about")
    page.get_by_role("heading", name="How an image is read").wait_for()
    page.get_by_role("combobox", name="Run in use").wait_for()
    page.get_by_role("heading", name="Model card").wait_for()


def test_a_picture_of_the_data_set_is_opened_from_its_page(app, page, phantoms: Path) -> None:
    page.goto(f"{app(CXR_DATA_DIR=str(phantoms))}/dataset?data_tab=Gallery")
    page.get_by_role("button", name=re.compile("^IM-")).first.click()
    page.get_by_role("button", name="Diagnose this one").click()
    wait_for_verdict(page)
    assert page.get_by_text(re.compile("^JPEG, ")).is_visible()
