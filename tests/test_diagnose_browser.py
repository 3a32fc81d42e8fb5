"""The paths people walk on the Diagnose page, in a real browser."""

import io
import json
import re
import sys
from pathlib import Path

import pytest
from PIL import Image
from pydicom.data import get_testdata_file

from cxrlib.synthetic.phantom import phantom

pytestmark = pytest.mark.browser
NETWORK_LOADED = 120_000
ROOT = Path(__file__).resolve().parent.parent


def picture(seed: int, *, pneumonia: bool = True) -> dict:
    file = io.BytesIO()
    Image.fromarray(phantom(seed, pneumonia=pneumonia, size=600).pixels).save(file, "JPEG")
    return {"name": f"phantom{seed}.jpg", "mimeType": "image/jpeg", "buffer": file.getvalue()}


def upload(page, *files) -> None:
    page.locator("input[type=file]").first.set_input_files(list(files))


def wait_for_verdict(page) -> None:
    page.get_by_role("img", name="Probability").wait_for(timeout=NETWORK_LOADED)
    page.locator(".viewer[data-ready]").wait_for()


def wait_for_file(page, name: str) -> None:
    page.locator(f"[aria-label='Radiograph {name}'][data-ready]").wait_for(timeout=NETWORK_LOADED)
    page.get_by_role("img", name="Probability").wait_for()


def pixel(page) -> int:
    return page.locator(".pane canvas").first.evaluate(
        "c => c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data[0]"
    )


def painted(page) -> str:
    return page.locator(".pane canvas").first.evaluate("c => c.toDataURL()")


@pytest.mark.skipif(sys.platform != "linux", reason="looks through /proc")
def test_a_server_loads_only_what_it_needs(app, page, tmp_path: Path) -> None:
    heavy = ("tensorflow", "matplotlib", "pandas", "pyarrow", "scipy", "pydantic_core")
    url = app(CXR_DATA_DIR=str(tmp_path))
    page.goto(url)
    wait_for_verdict(page)
    assert not app.loaded(url, (*heavy, "numpy", "onnxruntime"))
    upload(page, picture(1), picture(3))
    wait_for_file(page, "phantom1.jpg")
    assert app.loaded(url, ("numpy", "onnxruntime")) == {"numpy", "onnxruntime"}
    assert not app.loaded(url, heavy)
    page.get_by_text("Table of all files").click()
    page.get_by_role("button", name="Table as CSV").wait_for()
    assert "pandas" in app.loaded(url, heavy)
    app.kill(url)


def test_on_a_phone_the_verdict_stands_below_the_whole_radiograph(app, page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.goto(app())
    wait_for_verdict(page)
    for drop in (False, True):
        if drop:
            upload(page, picture(1), picture(3))
            wait_for_file(page, "phantom1.jpg")
            page.wait_for_timeout(1000)  # until the page has settled
        stage = page.locator(".stage").bounding_box()
        verdict = page.get_by_role("heading", level=2).first.bounding_box()
        assert stage["width"] > 340
        assert stage["y"] + stage["height"] <= verdict["y"]
        assert verdict["y"] + verdict["height"] <= 844
    assert not page.get_by_role("toolbar").is_visible()
    page.get_by_role("button", name="All tools").click()
    page.get_by_role("button", name="Invert").click()


def test_on_a_phone_nothing_that_was_asked_for_is_out_of_sight(app, browser) -> None:
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.set_default_timeout(NETWORK_LOADED)
    page.goto(f"{app()}/about")
    page.get_by_test_id("stExpandSidebarButton").tap()
    page.get_by_role("link", name="Diagnose").tap()
    page.get_by_test_id("stExpandSidebarButton").wait_for()  # the menu is closed again
    page.get_by_role("button", name="Normal, drawn").tap()
    page.locator("[aria-label='Radiograph Drawn, normal'][data-ready]").wait_for()
    page.get_by_role("button", name="All tools").tap()
    page.get_by_role("button", name="Keys and gestures").tap()
    page.get_by_role("dialog").get_by_text("Magnifier").wait_for()
    page.get_by_role("dialog").get_by_role("button", name="Close").tap()
    page.get_by_text("More", exact=True).tap()
    methods = page.get_by_role("combobox", name="Another heatmap")
    methods.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)  # a list that is open while the page scrolls is closed
    methods.tap()
    page.get_by_role("option", name="Occlusion").tap()
    stop = page.locator(".st-key-computing").get_by_role("button", name="Stop").bounding_box()
    assert stop["y"] + stop["height"] <= 844
    page.locator(".overlays").get_by_role("button", name="Occlusion").wait_for()
    page.wait_for_timeout(500)
    stage = page.locator(".stage").bounding_box()
    assert stage["y"] > 40 and stage["y"] + stage["height"] <= 844
    context.close()


def test_the_radiograph_is_large_and_keys_change_it_at_once(app, page) -> None:
    page.set_viewport_size({"width": 1366, "height": 768})
    page.goto(app())
    wait_for_verdict(page)
    upload(page, picture(1))
    page.get_by_text("Add X-rays").wait_for()
    wait_for_file(page, "phantom1.jpg")
    page.wait_for_timeout(1000)  # until the page has settled
    box = page.locator(".stage").bounding_box()
    assert box["width"] >= 640 and box["y"] + box["height"] <= 768
    page.get_by_role("button", name="None", exact=True).click()
    page.wait_for_timeout(100)
    plain = pixel(page)
    page.keyboard.press("i")
    page.wait_for_timeout(100)
    assert pixel(page) == 255 - plain


def test_no_verdict_stands_beside_images_that_are_still_read(app, page) -> None:
    page.goto(app())
    wait_for_verdict(page)
    page.evaluate("""() => {
        window.seen = [];
        const look = () => {
            const bar = document.querySelector("[data-testid=stProgress]");
            const verdict = document.querySelector(".st-key-headline h2");
            const visible = verdict && getComputedStyle(verdict).visibility === "visible";
            window.seen.push([Boolean(bar), Boolean(visible)]);
            requestAnimationFrame(look);
        };
        look();
    }""")
    upload(page, *[picture(seed) for seed in range(8)])
    wait_for_file(page, "phantom0.jpg")
    page.wait_for_timeout(500)
    seen = page.evaluate("seen")
    assert [True, False] in seen
    assert [True, True] not in seen
    assert seen[-1] == [False, True], "the verdict is there in the end"


def test_a_slow_method_shows_how_far_it_is_and_is_stopped(app, page) -> None:
    page.goto(f"{app()}/?example=Drawn,+with+an+opacity&method=Occlusion")
    page.get_by_text(re.compile(r"Computing Occlusion.*: \d+")).wait_for(timeout=NETWORK_LOADED)
    page.get_by_role("button", name="Report as PDF").wait_for()  # nothing waits for the map
    page.locator(".st-key-computing").get_by_role("button", name="Stop").click()
    page.get_by_text("Computing Occlusion").wait_for(state="detached")
    page.wait_for_function("() => !location.search.includes('Occlusion')")
    assert not page.locator(".overlays").get_by_role("button", name="Occlusion").count()


def test_windows_are_in_order_and_ignore_borders(page) -> None:
    script = (ROOT / "pages" / "shared" / "viewer" / "image.js").read_text("utf-8")
    windows = """grey => {
        const radiograph = {levels: [{grey}]};
        return Radiograph.prototype.windows.call(radiograph);
    }"""
    page.add_script_tag(content=f"{script}\nwindow.Radiograph = Radiograph;")
    ramp = [*range(40, 201)] * 50
    found = page.evaluate(windows, ramp)
    assert found == page.evaluate(windows, ramp + [0] * 5000), "a black border changes nothing"
    assert found["Auto"] == [40, 200]
    for end in (0, 1):
        assert found["Lung"][end] < found["Soft tissue"][end] < found["Bone"][end]
    assert all(low < high for low, high in page.evaluate(windows, [7] * 81).values())


def test_a_jpeg_from_upload_to_report(app, page, tmp_path: Path) -> None:
    page.goto(app())
    page.get_by_text("Drop frontal chest X-rays").wait_for()
    upload(page, picture(1))
    wait_for_file(page, "phantom1.jpg")
    assert page.get_by_role("heading", name="Pneumonia").is_visible()

    before = painted(page)
    page.get_by_text("More", exact=True).click()
    methods = page.get_by_role("combobox", name="Another heatmap")
    methods.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)  # a list that is open while the page scrolls is closed
    methods.click()
    page.get_by_role("option", name="LayerCAM").click()
    page.locator(".overlays").get_by_role("button", name="LayerCAM").wait_for()
    page.wait_for_function("() => location.search.includes('LayerCAM')")
    page.locator(".legend").get_by_text("LayerCAM").wait_for()
    assert painted(page) != before

    with page.expect_download() as download:
        page.get_by_role("button", name="Save as PNG").click()
    assert download.value.suggested_filename == "phantom1-layercam.png"
    overlay = tmp_path / "overlay.png"
    download.value.save_as(overlay)
    with Image.open(overlay) as saved:
        assert saved.size == (600, 600)

    with page.expect_download() as download:
        page.get_by_role("button", name="Report as PDF").click()
    report = tmp_path / "report.pdf"
    download.value.save_as(report)
    data = report.read_bytes()
    assert data.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", data)) == 1


def test_a_dicom_shows_the_image_and_no_identity(app, page) -> None:
    file = get_testdata_file("CT_small.dcm", download=False)
    page.goto(app())
    upload(page, file)
    # A slice of a CT is no frontal radiograph.
    page.get_by_role("button", name="Analyze anyway").click(timeout=NETWORK_LOADED)
    page.get_by_text("there is no verdict").wait_for()
    page.locator(".overlays").get_by_role("button", name="Saliency").wait_for()
    assert page.get_by_role("img", name="Probability").count() == 0
    page.get_by_text("More", exact=True).click()
    page.get_by_text(re.compile("^DICOM, ")).wait_for()
    assert "CompressedSamples^CT1" not in page.content()


def test_real_images(app, page, real) -> None:
    page.goto(app())
    files = [str(min((real("uploads") / label).glob("*"))) for label in ("NORMAL", "PNEUMONIA")]
    upload(page, *files, *map(str, real("dicom").glob("RG1*.dcm")))
    wait_for_file(page, Path(files[0]).name)
    table = table_as_csv(page)
    assert len(table) == 4
    assert "unlikely" in table[1]
    assert ',"likely"' in table[2]


def test_three_files_one_of_them_broken(app, page) -> None:
    page.set_viewport_size({"width": 1366, "height": 768})
    broken = picture(2) | {"name": "broken.jpg"}
    broken["buffer"] = broken["buffer"][:400]
    page.goto(app())
    upload(page, picture(1), broken, picture(3, pneumonia=False))
    wait_for_file(page, "phantom1.jpg")
    page.wait_for_timeout(1000)  # until the page has settled
    thumbnail = page.get_by_role("button", name="2: broken.jpg")
    box = thumbnail.bounding_box()
    assert box["y"] + box["width"] <= 768, "the strip is in sight below the image"
    thumbnail.click()
    page.get_by_role("alert").get_by_text("damaged or cut off").wait_for()
    rows = table_as_csv(page)
    assert len(rows) == 4
    assert "not opened" in rows[2]
    # On with the keyboard, as a reader of many files does.
    page.get_by_role("button", name="1: phantom1.jpg").click()
    page.locator("[aria-label='Radiograph phantom1.jpg'][data-ready]").wait_for()
    page.keyboard.press("PageUp")
    page.locator("[aria-label='Radiograph phantom3.jpg'][data-ready]").wait_for()
    page.keyboard.press("ArrowRight")
    page.locator("[aria-label='Radiograph phantom1.jpg'][data-ready]").wait_for()
    page.keyboard.press("ArrowLeft")
    page.locator("[aria-label='Radiograph phantom3.jpg'][data-ready]").wait_for()
    # What is chosen stays chosen while others go.
    page.get_by_test_id("stFileChipDeleteBtn").first.get_by_role("button").click()
    page.get_by_role("button", name="2: phantom3.jpg").wait_for()
    page.locator("[aria-label='Radiograph phantom3.jpg'][data-ready]").wait_for()
    assert page.get_by_text("phantom3.jpg", exact=True).first.is_visible()


def table_as_csv(page) -> list[str]:
    page.locator("[data-test-script-state=notRunning]").wait_for()
    page.get_by_text("Table of all files").click()
    page.locator("[data-testid=stDataFrame] canvas").first.wait_for()
    page.wait_for_timeout(1000)  # the table has taken its place
    with page.expect_download(timeout=NETWORK_LOADED) as download:
        page.get_by_role("button", name="Table as CSV").click()
    return Path(download.value.path()).read_text().splitlines()


def test_address_brings_back_what_was_on_the_page(app, page) -> None:
    page.goto(app())
    page.get_by_role("button", name="Normal, drawn").click()
    page.locator("[aria-label='Radiograph Drawn, normal'][data-ready]").wait_for()
    page.wait_for_function("() => location.search.includes('example')")
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    page.locator("[aria-label='Radiograph Drawn, normal'][data-ready]").wait_for()
    page.get_by_text("Drawn by a program").wait_for()


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
    page.get_by_role("heading", name="How an image is read").wait_for()
    page.get_by_role("combobox", name="Run in use").wait_for()
    page.get_by_role("heading", name="Model card").wait_for()


def test_an_image_of_the_data_set_is_opened_from_its_page(app, page, phantoms: Path) -> None:
    page.goto(f"{app(CXR_DATA_DIR=str(phantoms))}/dataset?data_tab=Gallery")
    page.get_by_role("button", name=re.compile("^IM-")).first.click()
    page.get_by_role("button", name="Diagnose this one").click()
    page.get_by_text("Reference label: normal").wait_for(timeout=NETWORK_LOADED)
    page.locator("[aria-label*='/NORMAL/IM-'][data-ready]").wait_for()
