"""Every page for everyone: axe-core in light and dark, the keyboard, a narrow phone."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from conftest import Servers
from made_runs import copy_shipped, make_runs, pictures

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

# What is Streamlit's own and cannot be mended from a page: rule and where.
STREAMLITS_OWN = {
    ("presentation-role-conflict", "stFileUploaderDropzone"),
}
PHONE = 360
NETWORK_LOADED = 240_000  # milliseconds, by a server that reads its first image


def is_streamlits(rule: str, html: str) -> bool:
    return any(rule == known and mark in html for known, mark in STREAMLITS_OWN)


@pytest.fixture(scope="module")
def url(app: Servers, phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The app with a data set, the shipped run and three others."""
    folder = tmp_path_factory.mktemp("accessible")
    copy_shipped(folder / "models")
    make_runs(folder / "models", pictures())
    return app(
        CXR_DATA_DIR=str(phantoms),
        CXR_MODELS_DIR=str(folder / "models"),
        CXR_REVIEWS=str(folder / "reviews.db"),
        CXR_CACHE_DIR=str(folder / "cache"),
        CXR_TRAINING="on",
    )


def settled(page: "Page") -> None:
    """Wait until no script runs and nothing is stale."""
    page.locator("[data-testid=stApp][data-test-script-state=notRunning]").wait_for()
    page.locator("[data-testid=stSkeleton]").first.wait_for(state="detached")


def look_over(page: "Page", name: str) -> list[str]:
    """What axe-core finds wrong, and what sticks out of a phone's screen, one line each."""
    settled(page)
    found = lasting(page, lambda: violations(page, name))
    page.emulate_media(color_scheme="dark")
    page.locator("[data-testid=stApp]:not([style*='color-scheme: light'])").wait_for()
    contrast = {"runOnly": ["color-contrast"]}
    found += lasting(page, lambda: violations(page, f"{name}, dark", contrast))
    page.emulate_media(color_scheme="light")
    wide = page.viewport_size
    page.set_viewport_size({"width": PHONE, "height": 800})
    page.wait_for_function("width => innerWidth === width", arg=PHONE)
    found += lasting(page, lambda: too_wide(page, name))
    page.set_viewport_size(wide)
    return found


def lasting(page: "Page", look: Callable[[], list[str]]) -> list[str]:
    """What is still found after ten seconds: on a busy machine colours and sizes change late."""
    deadline = time.monotonic() + 10
    while (found := look()) and time.monotonic() < deadline:
        page.wait_for_timeout(500)
    return found


def too_wide(page: "Page", name: str) -> list[str]:
    width = page.get_by_test_id("stMain").evaluate("node => node.scrollWidth")
    return [f"{name}: {width} px wide on a phone"] if width > PHONE else []


def violations(page: "Page", name: str, options: dict[str, object] | None = None) -> list[str]:
    return [
        f"{name}: {violation['id']}, {violation['help']}: {node['html'][:200]}"
        for violation in Axe().run(page, options=options).response["violations"]
        for node in violation["nodes"]
        if not is_streamlits(violation["id"], node["html"])
    ]


def tabs_of(page: "Page") -> list[str]:
    return page.get_by_test_id("stMain").get_by_role("tab").all_inner_texts()


@pytest.mark.parametrize("address", ["", "dataset", "training", "metrics", "review", "about"])
def test_page_and_its_tabs(page: "Page", url: str, address: str) -> None:
    page.goto(f"{url}/{address}")
    page.get_by_role("heading", level=1).wait_for()
    found = look_over(page, address)
    for tab in tabs_of(page)[1:]:
        page.get_by_role("tab", name=tab).click()
        found += look_over(page, f"{address} {tab}")
    assert not found, "\n".join(found)


def test_a_diagnosis(page: "Page", url: str) -> None:
    page.goto(url)
    page.get_by_role("button", name="Pneumonia, drawn").click()
    page.get_by_text("More", exact=True).wait_for(timeout=NETWORK_LOADED)
    found = look_over(page, "diagnosis")
    page.get_by_role("button", name="Keys and gestures").click()
    page.get_by_role("dialog").wait_for()
    found += look_over(page, "keys and gestures")
    assert not found, "\n".join(found)


def test_a_case_blind_and_with_the_model(page: "Page", url: str) -> None:
    page.goto(f"{url}/review")
    page.get_by_role("textbox", name="Name or initials").fill("AB")
    page.keyboard.press("Enter")
    page.get_by_text("Synthetic practice list").click()
    settled(page)
    page.get_by_role("button", name="Begin").click()
    page.locator("[data-ready$='-1-first']").wait_for()
    found = look_over(page, "blind")
    for key in "n4":
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    page.locator("[data-ready$='-1-second']").wait_for(timeout=NETWORK_LOADED)
    found += look_over(page, "with the model")
    assert not found, "\n".join(found)


# Marks what one acts on, and remembers how it looks without the focus. Of tabs and of radio buttons
# one is reached by Tab, the others by arrows.
MARK = """() => {
    const look = node => [node, node.parentElement, node.parentElement?.parentElement,
        node.nextElementSibling, node.previousElementSibling].filter(Boolean).map(part => {
            const style = getComputedStyle(part);
            return ["outline", "boxShadow", "borderColor", "backgroundColor"].map(
                name => style[name]).join();
        }).join();
    const nodes = [...document.querySelectorAll(
        "a[href], button:enabled, input:enabled, textarea:enabled, [role=tab], [role=combobox]")];
    window.lookOf = look;
    window.plain = new Map(nodes.filter(
        node => node.checkVisibility({visibilityProperty: true}) && node.tabIndex >= 0
            && node.getBoundingClientRect().width && !(node.type === "radio" && !node.checked)
    ).map(node => [node, look(node)]));
    return window.plain.size;
}"""
FOCUS = """() => {
    const node = document.activeElement;
    if (!window.plain.has(node)) return false;
    if (window.lookOf(node) !== window.plain.get(node)) window.plain.delete(node);
    return true;
}"""
LEFT = "() => [...window.plain.keys()].map(node => node.outerHTML.slice(0, 200))"


@pytest.mark.parametrize("address", ["", "dataset", "training", "metrics", "review", "about"])
def test_tab_reaches_everything_and_shows_where_it_is(page: "Page", url: str, address: str) -> None:
    page.goto(f"{url}/{address}")
    page.get_by_role("heading", level=1).wait_for()
    settled(page)
    page.add_style_tag(content="* { transition: none !important }")
    there = page.evaluate(MARK)
    assert there > 8, "six pages, the run and the operating point at least"
    for _ in range(2 * there + 20):
        page.keyboard.press("Tab")
        page.evaluate(FOCUS)
    assert page.evaluate(LEFT) == []
