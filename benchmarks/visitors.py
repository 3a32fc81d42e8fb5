"""People at the app in browsers of their own: each with pictures that nobody else has."""

import asyncio
import io
import re
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

from cxrlib.phantom import phantom

_PATIENCE = 300_000  # milliseconds: on a busy machine a late answer is a slow one, not a fault
_VERDICT = "How far to trust this"


@dataclass(frozen=True)
class Picture:
    """A synthetic radiograph as a file; no two of different numbers are of the same size."""

    number: int
    side: int = 900

    @property
    def name(self) -> str:
        return f"visitor-{self.number}.jpg"

    @property
    def pixels(self) -> int:
        """Width and height."""
        return self.side + self.number

    def data(self) -> bytes:
        drawn = phantom(self.number, pneumonia=self.number % 2 == 1, size=self.pixels)
        file = io.BytesIO()
        Image.fromarray(drawn.pixels).save(file, "JPEG", quality=92)
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
    await page.get_by_text("Drop one or several").wait_for()
    return page


async def leave(page: Page) -> None:
    """Close the browser."""
    await page.context.close()


async def drop(page: Page, files: list[tuple[str, bytes]]) -> None:
    """Put files on the page and wait until what is shown is read and explained."""
    before = await page.get_by_text(_VERDICT).count()
    payload = [{"name": n, "mimeType": "image/jpeg", "buffer": data} for n, data in files]
    await page.locator("input[type=file]").first.set_input_files(payload)
    if before:
        await page.locator("[data-test-script-state=running]").wait_for(timeout=5000)
    await page.get_by_text(_VERDICT).wait_for()
    await page.get_by_alt_text("over it").nth(1).wait_for()
    await page.locator("[data-test-script-state=notRunning]").wait_for()


async def shown(page: Page) -> tuple[str, str]:
    """What the page says of its picture: the probability in words, and its caption."""
    probability = await page.get_by_text(re.compile("^Probability of pneumonia")).inner_text()
    return probability, await page.get_by_text(re.compile("^JPEG, ")).first.inner_text()


async def together(*jobs: object) -> list:
    return await asyncio.gather(*jobs)
