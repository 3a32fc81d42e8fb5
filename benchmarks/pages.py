"""Time to what a person waits for on a page: python benchmarks/pages.py

In headless Chromium, which shares the machine's cores with the server:

- Metrics on a fresh server, from pressing its entry in the menu until its charts stand there;
- of thirty synthetic files dropped together, from the key for the next until it can be seen;
- on a radiograph of 2048 pixels, from a key that changes how it is shown until the browser's next
  frame after the changed image was drawn;
- of the threshold under Metrics, from a key that moves it until the thousand patients stand there
  as they then are.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import cycle, islice
from typing import TYPE_CHECKING

import cv2
import numpy as np
from serving_tools import ROOT, chromium, load_average, serve

from cxrlib.synthetic.phantom import phantom

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FILES = 30
NEXT = 5
SIDE = 2048  # pixels; the viewer is sent no more
PRESSES = 10
# One key after the other, each of which changes the image.
KEYS = {
    "invert": "i",
    "window": "lotaw",
    "local contrast": "jw",
    "overlay": "g",
    "opacity": ("ArrowLeft", "ArrowRight"),
    "zoom": "+-",
}
# Whether the canvas has changed is looked up before the viewer draws into a frame: what it drew
# counts when the browser is ready for the next.
PROBE = """canvas => {
  const shown = () => {
    const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
    return new Uint32Array(data.buffer).reduce((sum, value) => (31 * sum + value) | 0, 0);
  };
  const before = shown();
  window.drawn = new Promise((resolve) => {
    window.addEventListener('keydown', ({ timeStamp }) => {
      const look = () => {
        if (shown() === before) requestAnimationFrame(look);
        else resolve(performance.now() - timeStamp);
      };
      requestAnimationFrame(look);
    }, { once: true, capture: true });
  });
}"""

# From a key to the frame after another figure has been loaded.
MOVED = """() => {
  const figure = () => document.querySelector('[data-testid=stImage] img');
  const before = figure().src;
  window.drawn = new Promise((resolve) => {
    window.addEventListener('keydown', ({ timeStamp }) => {
      const look = () => {
        if (figure().src === before || !figure().complete) requestAnimationFrame(look);
        else requestAnimationFrame(() => resolve(performance.now() - timeStamp));
      };
      requestAnimationFrame(look);
    }, { once: true, capture: true });
  });
}"""


def timed(act: Callable[[], object], wait: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    wait()
    return time.perf_counter() - began


def settle(page: "Page") -> None:
    page.locator("[data-test-script-state=notRunning]").wait_for()
    page.wait_for_timeout(1000)


def metrics(browser: "Browser") -> float:
    """Seconds to the charts of Metrics, the first time that anybody opens it."""
    with serve(ROOT / "app.py") as server:
        page = browser.new_page()
        page.goto(server.url)
        settle(page)
        taken = timed(
            page.get_by_role("link", name="Metrics").click,
            page.locator("[data-testid=stVegaLiteChart] svg.marks").nth(1).wait_for,
        )
        page.close()
    return taken


def drawn(seed: int, side: int) -> dict[str, object]:
    """A synthetic radiograph as a file to drop."""
    pixels = phantom(seed, pneumonia=seed % 2 == 0, size=side).pixels
    return {
        "name": f"{seed:02}.png",
        "mimeType": "image/png",
        "buffer": cv2.imencode(".png", pixels)[1].tobytes(),
    }


@contextmanager
def dropped(browser: "Browser", files: list[dict[str, object]]) -> "Iterator[Page]":
    """A page on a laptop's screen with files dropped on it, the first of them shown."""
    with serve(ROOT / "app.py") as server:
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        page.goto(server.url)
        page.locator("input[type=file]").set_input_files(files)
        page.locator("[aria-label='Radiograph 00.png'][data-ready]").wait_for()
        settle(page)
        yield page
        page.close()


def next_file(browser: "Browser") -> float:
    """Median of the seconds to the next of the files."""
    times = []
    with dropped(browser, [drawn(seed, 1024) for seed in range(FILES)]) as page:
        for number in range(1, NEXT + 1):
            times.append(
                timed(
                    lambda: page.keyboard.press("PageDown"),
                    page.locator(f"[aria-label='Radiograph {number:02}.png'][data-ready]").wait_for,
                )
            )
            settle(page)
    return float(np.median(times))


def changes(browser: "Browser") -> dict[str, list[float]]:
    """Milliseconds to the screen of each way to show a radiograph otherwise."""
    times: dict[str, list[float]] = {name: [] for name in KEYS}
    with dropped(browser, [drawn(0, SIDE)]) as page:
        canvas = page.locator(".pane canvas").first
        for name, keys in KEYS.items():
            if name == "opacity":
                page.get_by_label("Opacity").focus()
            for key in islice(cycle(keys), PRESSES):
                canvas.evaluate(PROBE)
                page.keyboard.press(key)
                times[name].append(page.evaluate("drawn"))
            if name == "opacity":
                page.get_by_label("Opacity").blur()
    return times


def threshold(browser: "Browser") -> list[float]:
    """Seconds until the figure follows the threshold."""
    times = []
    with serve(ROOT / "app.py") as server:
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        page.goto(f"{server.url}/metrics?tab=Threshold")
        slider = page.get_by_role("slider", name="Threshold")
        slider.wait_for()
        for key in islice(cycle(("PageDown", "PageUp")), PRESSES):
            settle(page)
            page.evaluate(MOVED)
            slider.press(key)
            times.append(page.evaluate("drawn") / 1000)
        page.close()
    return times[1:]  # the first loads what draws


def main(rounds: int) -> None:
    opening, following, moving = [], [], []
    changing: dict[str, list[float]] = {name: [] for name in KEYS}
    with chromium() as browser:
        for _ in range(rounds):
            opening.append(metrics(browser))
            following.append(next_file(browser))
            moving += threshold(browser)
            for name, times in changes(browser).items():
                changing[name] += times
    print(f"median of {rounds} rounds, load average {load_average()}")
    print(f"Metrics, first opening: {np.median(opening):.2f} s (at most 1.5)")
    print(f"next of {FILES} files: {np.median(following):.2f} s (at most 0.3)")
    print(f"threshold moved: {np.median(moving):.2f} s (at most 0.2), slowest {max(moving):.2f} s")
    for name, times in changing.items():
        median, slowest = np.median(times), max(times)
        print(f"{name}: {median:.0f} ms (at most 50), slowest of {len(times)}: {slowest:.0f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    main(parser.parse_args().rounds)
