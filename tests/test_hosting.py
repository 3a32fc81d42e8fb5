"""What holds where the app is served to others: nothing is asked of elsewhere, uploads are bounded,
and a request that the page did not make is turned away."""

import re
import urllib.error
import urllib.request

import pytest

pytestmark = pytest.mark.browser
PAGES = ("", "dataset", "training", "metrics", "review", "about")


def test_no_page_asks_anything_of_another_host(app, page) -> None:
    url = app()
    strangers = []

    def look(request) -> None:
        if not re.match(
            rf"(http|ws)s?://{re.escape(url.removeprefix('http://'))}|data:|blob:", request.url
        ):
            strangers.append(request.url)

    page.on("request", look)
    page.on("websocket", look)
    for name in PAGES:
        page.goto(f"{url}/{name}")
        page.get_by_role("heading", level=1).wait_for()
        page.locator("[data-test-script-state=notRunning]").wait_for()
    assert not strangers


def test_a_file_that_is_too_large_is_refused_with_the_limit(app, page) -> None:
    page.goto(app())
    page.get_by_text("Drop frontal chest X-rays").wait_for()
    page.locator("input[type=file]").first.evaluate(
        """input => {
            const files = new DataTransfer();
            files.items.add(new File([new Uint8Array(51 * 1024 * 1024)], "large.png"));
            input.files = files.files;
            input.dispatchEvent(new Event("change", {bubbles: true}));
        }"""
    )
    page.get_by_text(re.compile("File must be 50.*MB or smaller")).wait_for()


def test_an_upload_from_another_page_is_turned_away(app) -> None:
    request = urllib.request.Request(
        f"{app()}/_stcore/upload_file/session/file", data=b"", method="PUT"
    )
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=60)
    assert refusal.value.code == 403
