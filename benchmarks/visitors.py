"""People at the app in browsers of their own: each with pictures that nobody else has."""

import io
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

from cxrlib.data import examples

_PATIENCE = 300_000  # milliseconds: on a busy machine a late answer is a slow one, not a fault


@dataclass(frozen=True)
class Picture:
    """One of the drawn examples as a file; no two of different numbers are of the same size."""

    number: int

    @property
    def name(self) -> str:
        return f"visitor-{self.number}.jpg"

    @property
    def side(self) -> int:
        """Width and height in pixels."""
        return 1000 + self.number

    def data(self) -> bytes:
        drawn = examples.all_examples()[self.number % 2].load()  # with an opacity, or normal
        picture = Image.fromarray(drawn.pixels).resize((self.side, self.side))
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=92)
        return file.getvalue()


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Headless Chromium."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if found is None:
        sys.exit("Needs Chromium: install the package chromium.")
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(
            executable_path=found,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield running
        await running.close()


async def arrive(browser: Browser, url: str) -> Page:
    """A person who has the page open and nothing on it."""
    context = await browser.new_context()
    context.set_default_timeout(_PATIENCE)
    page = await context.new_page()
    await page.goto(url, timeout=_PATIENCE)
    await page.get_by_text("Drop frontal chest X-rays").wait_for()
    return page


async def leave(page: Page) -> None:
    """Close the browser."""
    await page.context.close()


async def drop(page: Page, files: list[tuple[str, bytes]]) -> None:
    """Put files on the page and wait until all are read and one is shown explained."""
    payload = [{"name": n, "mimeType": "image/jpeg", "buffer": data} for n, data in files]
    await page.locator("input[type=file]").first.set_input_files(payload)
    await page.get_by_text(files[-1][0]).first.wait_for()
    await page.locator(f"[aria-label='Radiograph {files[0][0]}'][data-ready]").wait_for()
    await page.get_by_text("How far to trust this").wait_for()
    await page.locator("[data-test-script-state=notRunning]").wait_for()


async def shown(page: Page) -> tuple[str, str]:
    """What the page says of its image: the verdict with the probability, and its description."""
    verdict = await page.get_by_role("heading", level=2).first.inner_text()
    await page.get_by_text("More", exact=True).click()
    return verdict, await page.get_by_text(re.compile("^JPEG, ")).first.inner_text()
