"""The browser's own buttons: Back to where one was, and a reload."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from made_files import save
from PIL import Image

from cxrlib.synthetic.phantom import phantom

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


def test_back_returns_to_the_tab_and_the_page_of_the_gallery(
    app: Callable[..., str], page: "Page", phantoms: Path
) -> None:
    page.goto(app(CXR_DATA_DIR=str(phantoms)))
    page.get_by_role("link", name="Data set").click()
    page.get_by_role("tab", name="Gallery").click()
    page.get_by_text("2", exact=True).click()
    page.get_by_text("25 to 48 shown").wait_for()
    page.locator(".grid button:visible").first.click()
    page.get_by_role("dialog").first.get_by_role("button", name="Diagnose this one").click()
    page.wait_for_url("**/?*example=*")
    page.get_by_text("How far to trust this").first.wait_for()
    page.go_back()
    page.wait_for_url("**/dataset?*data_page=2*")
    page.get_by_text("25 to 48 shown").wait_for()
    assert page.get_by_role("tab", name="Gallery").get_attribute("aria-selected") == "true"


def test_back_returns_to_the_list_of_errors(
    app: Callable[..., str], page: "Page", real: Callable[[str], Path]
) -> None:
    page.goto(f"{app(CXR_DATA_DIR=str(real('chest_xray')))}/metrics?tab=Errors")
    page.locator(".grid button:visible").first.click()
    dialog = page.get_by_role("dialog").first
    dialog.get_by_text("Reference label: pneumonia").wait_for()
    dialog.get_by_text("wrong").wait_for()
    dialog.get_by_role("button", name="Evidence").wait_for()
    dialog.get_by_role("button", name="Diagnose this one").click()
    page.wait_for_url("**/?*example=*")
    page.get_by_text("How far to trust this").first.wait_for()
    page.go_back()
    page.wait_for_url("**/metrics?*tab=Errors*")
    page.locator(".grid button:visible").first.wait_for()


def test_a_reload_says_that_uploads_are_gone(app: Callable[..., str], page: "Page") -> None:
    page.goto(app())
    drawn = phantom(1, pneumonia=True, size=600).pixels
    page.locator("input[type=file]").first.set_input_files(
        [
            {
                "name": "a.png",
                "mimeType": "image/png",
                "buffer": save(Image.fromarray(drawn), "PNG"),
            }
        ]
    )
    page.get_by_text("How far to trust this").first.wait_for()
    page.wait_for_url("**/?*uploads=*")
    page.reload()
    page.get_by_text("are gone").wait_for()
    page.locator("input[type=file]").first.wait_for(state="attached")
