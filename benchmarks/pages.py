"""Time to what a person waits for on a page: python benchmarks/pages.py

In headless Chromium, which shares the machine's cores with the server:

- Metrics on a fresh server, from pressing its entry in the menu until its charts stand there;
- of thirty synthetic files dropped together, from the key for the next until it can be seen.
"""

import argparse
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np
from serving_tools import ROOT, chromium, load_average, serve

from cxrlib.synthetic.phantom import phantom

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FILES = 30
NEXT = 5


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


def next_file(browser: "Browser") -> float:
    """Median of the seconds to the next of the files."""
    drawn = [phantom(seed, pneumonia=seed % 2 == 0, size=1024).pixels for seed in range(FILES)]
    files = [
        {
            "name": f"{number:02}.png",
            "mimeType": "image/png",
            "buffer": cv2.imencode(".png", pixels)[1].tobytes(),
        }
        for number, pixels in enumerate(drawn)
    ]
    with serve(ROOT / "app.py") as server:
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        page.goto(server.url)
        page.locator("input[type=file]").set_input_files(files)
        page.locator("[aria-label='Radiograph 00.png'][data-ready]").wait_for()
        times = []
        for number in range(1, NEXT + 1):
            settle(page)
            times.append(
                timed(
                    lambda: page.keyboard.press("PageDown"),
                    page.locator(f"[aria-label='Radiograph {number:02}.png'][data-ready]").wait_for,
                )
            )
        page.close()
    return float(np.median(times))


def main(rounds: int) -> None:
    with chromium() as browser:
        times = np.array([(metrics(browser), next_file(browser)) for _ in range(rounds)])
    opening, following = np.median(times, axis=0)
    print(f"median of {rounds} rounds, load average {load_average()}")
    print(f"Metrics, first opening: {opening:.2f} s (at most 1.5)")
    print(f"next of {FILES} files: {following:.2f} s (at most 0.3)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    main(parser.parse_args().rounds)
