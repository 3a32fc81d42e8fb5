"""The data-set page, as a person meets it."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from cxrlib import runs
from cxrlib.data import dataset

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def open_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., AppTest]:
    """Opens the page on a data folder, ``open_page(folder, data_tab="Gallery")``."""
    monkeypatch.setenv("CXR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kagglehub"))

    def start(folder: Path | None, **address: str) -> AppTest:
        if folder is None:
            monkeypatch.delenv("CXR_DATA_DIR", raising=False)
        else:
            monkeypatch.setenv("CXR_DATA_DIR", str(folder))
        page = AppTest.from_file(str(ROOT / "app.py"), default_timeout=90)
        page.run()
        for name, value in address.items():
            page.query_params[name] = value
        page.switch_page("pages/dataset.py").run()
        assert not page.exception
        return page

    return start


def words(page: AppTest) -> str:
    parts = [*page.markdown, *page.caption, *page.error, *page.info, *page.warning]
    return "\n".join(part.value for part in parts)


def test_without_a_data_set_it_says_how_to_get_one(
    phantoms: Path, open_page: Callable[..., AppTest]
) -> None:
    page = open_page(None)
    assert "comes from Kaggle" in words(page)
    assert any(button.label.startswith("Download the data set") for button in page.button)
    assert any(dataset.INSTRUCTIONS in code.value for code in page.code)
    page.text_input[0].set_value(str(phantoms))
    next(button for button in page.button if button.label == "Open the folder").click().run()
    assert "images in" in words(page)


def test_without_a_data_set_the_run_tells_what_it_was_trained_on(
    open_page: Callable[..., AppTest], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_TRAINING", "off")
    page = open_page(None)
    held_out = runs.find(runs.SHIPPED).predictions.query("split == 'validation'")
    split = page.dataframe[1].value
    assert split.loc["Validation", "pictures"] == len(held_out)
    assert split.loc["Validation", "patients"] == held_out.patient.nunique()
    shown = words(page)
    assert "are locked" in shown and "Always answering *pneumonia*" in shown
    page = open_page(None, data_tab="Shortcuts")
    assert "Contrast" in page.dataframe[0].value.Measure.tolist()
    page = open_page(None, data_tab="Augmentation")
    assert "Drawn by a program" in words(page) and len(page.get("image")) > 10


def test_a_wrong_or_broken_folder_is_named(
    phantoms: Path, tmp_path: Path, open_page: Callable[..., AppTest]
) -> None:
    page = open_page(tmp_path / "no*where*")
    assert "does not exist" in page.error[0].value
    assert r"no\*where\*" in page.error[0].value, "a folder's name is no Markdown"
    assert dataset.LAYOUT in page.code[0].value

    folder = Path(shutil.copytree(phantoms, tmp_path / "chest_xray"))
    victim = sorted((folder / "train" / "NORMAL").iterdir())[0]
    victim.write_bytes(victim.read_bytes()[:-50])
    page = open_page(folder)
    assert "cut off" in page.error[0].value
    assert victim.stem.replace("-", r"\-") in page.error[0].value


def test_what_was_left_out_and_labels_that_contradict_are_said(
    phantoms: Path, tmp_path: Path, open_page: Callable[..., AppTest]
) -> None:
    folder = Path(shutil.copytree(phantoms, tmp_path / "chest_xray"))
    (folder / "train" / "NORMAL" / "notes.txt").write_text("seen by AB")
    normal = sorted((folder / "train" / "NORMAL").iterdir())[0]
    shutil.copy(normal, folder / "train" / "PNEUMONIA" / "person9_virus_9.jpeg")
    for page in (open_page(folder), open_page(folder).switch_page("pages/training.py").run()):
        left_out, contradiction = (warning.value for warning in page.warning)
        assert r"notes\.txt" in left_out
        assert r"person9\_virus\_9" in contradiction


def test_overview_counts_both_splits(phantoms: Path, open_page: Callable[..., AppTest]) -> None:
    page = open_page(phantoms)
    table = dataset.index(phantoms)
    official, own, shared = (frame.value for frame in page.dataframe)
    assert (
        official.loc["Train", "normal"]
        == ((table.split == "train") & (table.label == "NORMAL")).sum()
    )
    assert official.pictures.sum() == own.pictures.sum() == len(table)
    assert own.index.tolist() == ["Train", "Validation", "Test"]
    assert (shared == 0).all(axis=None)
    assert "not the whole Kaggle set" in words(page)
    assert "There are no identical images" in words(page)


def test_shortcuts_are_measured(phantoms: Path, open_page: Callable[..., AppTest]) -> None:
    page = open_page(phantoms, data_tab="Shortcuts")
    found = page.dataframe[0].value.set_index("Measure")
    assert {"Aspect ratio", "Size", "Brightness", "Contrast"} <= set(found.index)
    assert found.loc["Aspect ratio", "AUC, train and val"].startswith("0.")
    assert "AUC, test" in found


def test_gallery_filters_and_turns_pages(phantoms: Path, open_page: Callable[..., AppTest]) -> None:
    page = open_page(phantoms, data_tab="Gallery", data_split="train", data_class="Pneumonia")
    table = dataset.index(phantoms)
    count = ((table.split == "train") & (table.label == "PNEUMONIA")).sum()
    assert f"{count} images, 1 to" in words(page)
    page.text_input(key="data_name").set_value("nobody").run()
    assert "No image matches" in words(page)
    page.text_input(key="data_name").set_value("").run()
    page.selectbox(key="data_subtype").set_value("viral").run()
    viral = ((table.split == "train") & (table.subtype == "viral")).sum()
    assert f"{viral} images, 1 to" in words(page)


def test_an_image_of_the_address_is_one_of_the_data_set(
    phantoms: Path, open_page: Callable[..., AppTest]
) -> None:
    table = dataset.index(phantoms)
    page = open_page(phantoms, data_image=table.path[0])
    assert any(button.label == "Diagnose this one" for button in page.button)
    page = open_page(phantoms, data_image="../../secret.jpeg")
    assert "has no image" in words(page)
    assert not any(button.label == "Diagnose this one" for button in page.button)


def test_an_image_too_small_to_read_does_not_stop_the_page(
    phantoms: Path, tmp_path: Path, open_page: Callable[..., AppTest]
) -> None:
    folder = Path(shutil.copytree(phantoms, tmp_path / "chest_xray"))
    tiny = folder / "test" / "NORMAL" / "IM-0000-0001.png"
    Image.new("L", (20, 20)).save(tiny)
    address = tiny.relative_to(folder).as_posix()
    page = open_page(folder, data_tab="Gallery", data_order="By name", data_image=address)
    assert "64" in page.error[0].value
    assert any(
        item["instead"] and not item["url"]
        for component in page.get("bidi_component")
        for item in json.loads(component.proto.json).get("items", [])
    )
    page = open_page(folder, data_tab="Augmentation", data_sample="1")
    assert address in words(page).replace("\\", "")
    assert "64" in page.error[0].value
    page = open_page(folder, data_tab="Shortcuts")
    assert "IM-0000-0001.png" in words(page).replace("\\", "")
    assert "Aspect ratio" in page.dataframe[0].value["Measure"].tolist()


def test_augmentation_shows_every_preset(phantoms: Path, open_page: Callable[..., AppTest]) -> None:
    page = open_page(phantoms, data_tab="Augmentation", data_sample="3")
    text = words(page)
    assert dataset.index(phantoms).path[2].split("/")[-1].split("-")[0] in text
    for name in ("none", "light", "strong", "machines", "CLAHE", "Canny", "Sobel"):
        assert name in text


@pytest.mark.browser
def test_from_the_gallery_to_an_image_and_on(
    phantoms: Path, tmp_path: Path, app: Callable[..., str], page: "Page"
) -> None:
    from playwright.sync_api import expect

    url = app(CXR_DATA_DIR=str(phantoms), CXR_CACHE_DIR=str(tmp_path))
    page.goto(url)
    page.get_by_role("link", name="Data set").click()
    page.get_by_role("heading", name="Split in use").wait_for()
    page.get_by_role("tab", name="Gallery").click()
    gallery = page.get_by_role("tabpanel")
    thumbnails = gallery.locator(".grid button")
    thumbnails.nth(23).wait_for()
    assert thumbnails.nth(23).locator("img").evaluate("image => image.naturalWidth") == 240
    badges = set(gallery.locator(".grid .badge.left").all_inner_texts())
    assert "normal" in badges and len(badges) > 1, "classes are mixed"

    page.get_by_text("2", exact=True).click()
    page.wait_for_url("**data_page=2**")
    page.locator(".grid button:visible").first.click()
    dialog = page.get_by_role("dialog").first
    dialog.get_by_text("Reference label").wait_for()
    dialog.get_by_text("Aspect ratio").wait_for()
    dialog.locator(".viewer[data-ready]").wait_for()
    first = page.url
    assert "data_image=" in first
    name = dialog.get_by_role("heading").inner_text()
    dialog.get_by_role("button", name="Next").click()
    expect(dialog.get_by_role("heading")).not_to_have_text(name)
    second = dialog.get_by_role("heading").inner_text()
    dialog.locator(f".viewer[aria-label$='{second}'][data-ready]").wait_for()
    idle = page.locator("[data-testid=stApp][data-test-script-state=notRunning]")
    idle.wait_for()
    page.wait_for_timeout(500)
    page.keyboard.press("PageUp")
    expect(dialog.get_by_role("heading")).to_have_text(name)
    idle.wait_for()
    page.wait_for_timeout(500)
    page.keyboard.press("PageDown")
    expect(dialog.get_by_role("heading")).to_have_text(second)
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    assert page.url != first
    dialog.get_by_role("button", name="Close").click()
    dialog.wait_for(state="hidden")
    page.wait_for_url(lambda address: "data_image" not in address)

    page.goto(first)
    page.get_by_role("dialog").get_by_role("button", name="Augment this one").click()
    page.get_by_text("Preset strong").wait_for()
    variants = page.get_by_role("img", name="under the preset")
    variants.nth(18).wait_for()
    assert variants.count() == 19


def test_images_can_be_looked_at_where_there_are_none_to_train_on(
    phantoms: Path, tmp_path: Path, open_page: Callable[..., AppTest]
) -> None:
    shutil.copytree(phantoms / "test", tmp_path / "only" / "test")
    page = open_page(tmp_path / "only")
    assert not page.exception
    assert any("no images to train on" in error.value for error in page.error)
