"""Time to the first page and to the first prediction: python benchmarks/start.py

On fresh servers, in headless Chromium, against an app of one line:

- from asking for the page until all of it stands there;
- from pressing an example at once until the verdict stands there, against importing
  the runtime, loading the shipped run and reading one image in a process that does only that.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from serving_tools import ROOT, chromium, load_average, serve

from cxrlib import runs

ONE_LINE = 'import streamlit as st; st.title("Hello")\n'
BARE = f"""
import time
began = time.perf_counter()
from cxrlib import runs
from cxrlib.synthetic import phantom
from cxrlib.inference.ensemble import load
load(runs.find("{runs.SHIPPED}")).read(phantom.phantom(1, pneumonia=True, size=768).pixels)
print(time.perf_counter() - began)
"""


def first_page(browser, app: Path, text: str) -> float:
    """Seconds from asking a fresh server for the page until it stands there whole."""
    with serve(app) as server:
        page = browser.new_page()
        began = time.perf_counter()
        page.goto(server.url, wait_until="commit")
        page.get_by_text(text).first.wait_for()
        page.locator("[data-test-script-state=notRunning]").wait_for()
        taken = time.perf_counter() - began
        page.close()
    return taken


def first_prediction(browser) -> float:
    """Seconds from pressing the button, as soon as it is there, to the verdict."""
    with serve(ROOT / "app.py") as server:
        page = browser.new_page()
        page.goto(server.url)
        button = page.get_by_role("button", name="Normal, drawn")
        button.wait_for()
        began = time.perf_counter()
        button.click()
        page.locator("[aria-label='Radiograph Drawn, normal'][data-ready]").wait_for(
            timeout=180_000
        )
        taken = time.perf_counter() - began
        page.close()
    return taken


def bare() -> float:
    done = subprocess.run(
        [sys.executable, "-c", BARE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def main(rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        hello = Path(folder) / "hello.py"
        hello.write_text(ONE_LINE)
        times = np.array(
            [
                (
                    first_page(browser, hello, "Hello"),
                    first_page(browser, ROOT / "app.py", "Drop frontal chest X-rays"),
                    bare(),
                    first_prediction(browser),
                )
                for _ in range(rounds)
            ]
        )
    line, page, alone, prediction = np.median(times, axis=0)
    print(f"median of {rounds} rounds, load average {load_average()}")
    ratio = page / line
    print(f"first page {page:.2f} s, one-line app {line:.2f} s: ratio {ratio:.2f} (at most 1.2)")
    print(
        f"first reading {prediction:.1f} s, the runtime, the networks and one image alone "
        f"{alone:.1f} s: ratio {prediction / alone:.2f} (at most 1.5)"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    main(parser.parse_args().rounds)
