"""Whole sessions in a browser: by keyboard alone, across a restart, two readers at once."""

import re

import pytest
from sqlalchemy import create_engine

from cxrlib import reviews
from cxrlib.reviews import Store

pytestmark = pytest.mark.browser


@pytest.fixture
def file(tmp_path):
    return tmp_path / "reviews.db"


@pytest.fixture
def store(file):
    engine = create_engine(f"sqlite:///{file}")
    yield Store(engine)
    engine.dispose()


def enter(page, url):
    """To the review page, by way of the front door."""
    page.goto(url)
    page.get_by_role("heading", name="Diagnose").wait_for()
    page.get_by_role("link", name="Reading room").click()
    page.get_by_role("heading", name="Reading room").wait_for()


def focus(page, role, name):
    """Tab to a widget, as one without a mouse would."""
    wanted = page.get_by_role(role, name=name, exact=True)
    wanted.wait_for()
    for _ in range(80):
        if wanted.evaluate("node => node === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{name} cannot be reached by the Tab key")


def begin(page, name, *, cases):
    """Begin a practice session with the keyboard alone; returns the session's number."""
    focus(page, "textbox", "Name or initials")
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    chosen = page.locator("label", has=page.locator("input[type=radio]:checked"))
    # The page may be drawn anew meanwhile, and the keyboard then begins at its top again.
    for _ in range(120):
        if "Synthetic" in chosen.inner_text():
            break
        on_kinds = page.evaluate("document.activeElement.type") == "radio"
        page.keyboard.press("ArrowDown" if on_kinds else "Tab")
        page.wait_for_timeout(300 if on_kinds else 20)
    else:
        raise AssertionError("the synthetic cases cannot be reached by the keyboard")
    focus(page, "spinbutton", "Number of cases")
    page.keyboard.press("Control+a")
    page.keyboard.type(str(cases))
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Begin").and_(page.locator(":enabled")).wait_for()
    focus(page, "button", "Begin")
    page.keyboard.press("Enter")
    case(page, 1, cases)
    return re.search(r"session=(\w+)", page.url)[1]


def case(page, number, cases):
    """Wait until a case is there to be read blind."""
    page.get_by_text(f"Case {number} of {cases}").wait_for()
    page.locator(f"[data-ready$='-{number}-first']").wait_for()
    page.get_by_role("button", name="Done: show the model").wait_for()


def choose(page, key, name):
    """Press the key of a button, and wait until it is the chosen one."""
    page.keyboard.press(key)
    page.locator(f"[data-testid=stBaseButton-primary]:has-text('{name}')").first.wait_for()


def pixel(page):
    """The grey in the middle of what is seen of the radiograph."""
    page.wait_for_timeout(100)  # it is drawn with the browser's next frame
    return page.locator(".pane canvas").first.evaluate(
        "c => c.getContext('2d').getImageData(c.width / 2, c.height / 2, 1, 1).data[0]"
    )


def read_blind(page, key, name):
    choose(page, key, name)
    page.keyboard.press("4")
    page.get_by_text("sure", exact=True).wait_for()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Model:").wait_for()
    revealed(page)


def revealed(page):
    page.get_by_text("Your answer now").wait_for()
    page.locator("[data-ready$='-second']").wait_for()


def go_on(page):
    page.keyboard.press("Enter")


def test_whole_session_with_the_keyboard_alone_and_a_restart(app, file, store, page):
    url = app(CXR_REVIEWS=str(file))
    enter(page, url)
    uid = begin(page, "AB", cases=3)

    header = page.get_by_test_id("stHeader").bounding_box()
    first_line = page.get_by_text("Case 1 of 3").bounding_box()
    assert first_line["y"] >= header["y"] + header["height"] - 8, "the header covers nothing"

    # Looking: every key changes what is seen, and nothing else.
    plain = pixel(page)
    page.keyboard.press("i")
    assert pixel(page) == 255 - plain
    page.keyboard.press("i")
    page.keyboard.press("l")
    assert pixel(page) > plain, "the lung window makes the middle brighter"
    page.keyboard.press("w")
    for keys, says in (("h", "mirrored"), ("k", "rotated 90°"), ("+", "×"), ("0", "")):
        page.keyboard.press(keys)
        page.wait_for_timeout(100)
        assert says in page.locator(".note").inner_text()
    right = page.locator("[data-side=R]").first
    assert right.get_attribute("data-at") == "left"
    page.keyboard.press("h")
    page.wait_for_timeout(100)
    assert right.get_attribute("data-at") == "right", "mirrored, and marked so"
    page.keyboard.press("k")
    page.wait_for_timeout(100)
    assert right.get_attribute("data-at") == "bottom"
    page.keyboard.press("0")
    assert pixel(page) == plain

    # Keys typed into the comment are words, no answers.
    page.keyboard.press("e")
    page.keyboard.type("np s i")
    page.keyboard.press("Escape")
    read_blind(page, "v", "viral")
    for _ in range(4):  # evidence, Grad-CAM, saliency, lungs
        page.keyboard.press("g")
    page.locator(".overlays [aria-pressed=true]", has_text="None").wait_for()
    assert pixel(page) == plain
    page.keyboard.press("i")
    assert pixel(page) == 255 - plain, "still once a press"
    page.keyboard.press("y")
    page.locator("[data-testid=stBaseButton-primary]:has-text('Yes')").wait_for()
    choose(page, "n", "Normal")
    go_on(page)
    case(page, 2, 3)
    first = store.session(uid).readings[0]
    assert (first.first_answer, first.first_confidence, first.comment) == ("viral", 4, "np s i")
    assert (first.second_answer, first.rating, first.skipped) == ("normal", "yes", False)

    # The server dies in the middle of a case, and comes back.
    choose(page, "b", "bacterial")
    app.kill(url)
    page.goto(f"{app(CXR_REVIEWS=str(file))}/review?session={uid}")
    case(page, 2, 3)
    choose(page, "f", "Flagged")
    read_blind(page, "b", "bacterial")
    go_on(page)
    case(page, 3, 3)
    page.keyboard.press("s")
    focus(page, "button", "Finish without it")
    page.keyboard.press("Enter")
    page.get_by_text("2 read, 1 skipped, 1 flagged").wait_for()
    session = store.session(uid)
    assert session.ended and session.readings[1].first_answer == "bacterial"
    found = reviews.session_result(reviews.export(store, uid=uid))
    assert found.read == 2 and found.seconds > 0
    page.get_by_text("Accuracy").wait_for()
    assert not page.get_by_test_id("stException").count()


def test_no_key_is_lost_or_done_twice_however_fast_they_come(app, file, store, page):
    enter(page, app(CXR_REVIEWS=str(file)))
    uid = begin(page, "AB", cases=4)
    page.context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": 3})
    for number in range(1, 5):
        case(page, number, 4)
        # The Enter too many is still meant for what was seen then: the model's answer stays.
        for key in ("p", "n", "v", "1", "3", "f", "Enter", "Enter"):
            page.keyboard.press(key)
        revealed(page)
        for key in ("b", "5", "x", "q", "Enter"):
            page.keyboard.press(key)
    # A flag that was set twice would be gone.
    page.get_by_text("4 read, 0 skipped, 4 flagged").wait_for()
    for reading in store.session(uid).readings:
        assert (reading.first_answer, reading.first_confidence) == ("viral", 3)
        assert (reading.second_answer, reading.second_confidence) == ("bacterial", 5)
        assert reading.rating == "partly" and reading.flagged


def test_on_a_phone_each_case_and_each_reveal_begins_with_the_image(app, file, browser):
    context = browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True
    )
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{app(CXR_REVIEWS=str(file))}/review")
    page.get_by_role("heading", name="Reading room").wait_for()
    page.get_by_role("textbox", name="Name or initials").fill("AB")
    page.keyboard.press("Enter")
    page.get_by_text("Synthetic practice list").tap()
    page.get_by_role("spinbutton", name="Number of cases").fill("2")
    page.keyboard.press("Enter")
    page.wait_for_timeout(500)
    page.get_by_role("button", name="Begin").tap()

    def image_is_in_sight():
        page.wait_for_timeout(500)
        box = page.locator(".stage").bounding_box()
        return box["y"] > 40 and box["y"] + box["height"] < 844

    case(page, 1, 2)
    assert image_is_in_sight()
    page.get_by_role("button", name="Skip this case").tap()
    case(page, 2, 2)
    assert image_is_in_sight()
    page.get_by_role("button", name="Pneumonia", exact=False).first.tap()
    page.get_by_role("button", name="4", exact=True).tap()
    page.get_by_text("sure", exact=True).wait_for()
    page.get_by_role("button", name="Done: show the model").tap()
    page.locator("[data-ready$='-2-second']").wait_for()
    assert image_is_in_sight()
    # A finger on the image scrolls the page.
    assert page.locator(".pane canvas").first.evaluate("c => getComputedStyle(c).touchAction") == (
        "pan-y"
    )
    page.get_by_role("button", name="Next case").tap()
    case(page, 1, 2)
    assert image_is_in_sight(), "the skipped case is back"
    page.get_by_role("button", name="Case 2, done").tap()
    page.locator("[data-ready$='-2-done']").wait_for()
    page.get_by_role("button", name="Go on with case 1").tap()
    case(page, 1, 2)
    page.get_by_role("button", name="Finish without it").tap()
    page.get_by_text("1 read, 1 skipped").wait_for()
    context.close()


def test_two_readers_at_once(app, file, store, browser):
    contexts = [browser.new_context(viewport={"width": 1280, "height": 1000}) for _ in range(2)]
    pages = [context.new_page() for context in contexts]
    uids = []
    for page, name in zip(pages, ("AB", "CD"), strict=True):
        page.set_default_timeout(60_000)
        enter(page, app(CXR_REVIEWS=str(file)))
        uids.append(begin(page, name, cases=2))
    answers = (("n", "Normal"), ("v", "viral"))
    for number in (1, 2):
        # In turns, key by key.
        for page, (key, name) in zip(pages, answers, strict=True):
            choose(page, key, name)
        for page in pages:
            page.keyboard.press("2")
            page.get_by_text("unsure", exact=True).wait_for()
        for page in pages:
            page.keyboard.press("Enter")
        for page in pages:
            revealed(page)
        for page in pages:
            go_on(page)
        for page in pages:
            if number == 1:
                case(page, 2, 2)
            else:
                page.get_by_text("2 read").wait_for()
    said = [{r.first_answer for r in store.session(uid).readings} for uid in uids]
    assert said == [{"normal"}, {"viral"}]
    assert [store.session(uid).reader.name for uid in uids] == ["AB", "CD"]
    for context in contexts:
        context.close()


def test_postgresql_of_the_secrets_is_used(app, page, tmp_path, postgres):
    secrets = tmp_path / ".streamlit" / "secrets.toml"
    secrets.parent.mkdir()
    secrets.write_text(f'[connections.reviews]\nurl = "{postgres}"\n', "utf-8")
    url = app(HOME=str(tmp_path))
    enter(page, url)
    uid = begin(page, "in PostgreSQL", cases=2)
    choose(page, "v", "viral")
    engine = create_engine(postgres)
    assert Store(engine).session(uid).current.first_answer == "viral"
    engine.dispose()
    app.kill(url)
    page.goto(f"{app(HOME=str(tmp_path))}/review?session={uid}")
    case(page, 1, 2)
    page.locator("[data-testid=stBaseButton-primary]:has-text('viral')").wait_for()
