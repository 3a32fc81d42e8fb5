"""Memory of the serving process: python benchmarks/memory.py

Ten people keep the page open; each drops twenty pictures on it, five at a time, and looks at
another heatmap of the last. That is one round of 200 uploads. They leave, ten others come, and so
on. Streamlit keeps what a closed page had for two minutes, in case its browser comes back: the
rounds are that far apart. With ``--bare`` they are clients that draw nothing, drop one picture at a
time, and look at no other heatmap: of use where browsers would take the cores.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from bare_visitors import BareVisitor, bare_visitor
from serving_tools import ROOT, Server, load_average, serve
from visitors import Picture, arrive, browser, drop, leave

LOTS, LOT = 4, 5
KEPT_SECONDS = 130


def row(what: str, server: Server) -> None:
    found = server.memory()
    print(
        f"| {what} | {found['VmRSS']:.0f} | {found['RssAnon']:.0f} | {found['VmHWM']:.0f} |",
        flush=True,
    )


async def in_browsers(server: Server, files: list[tuple[str, bytes]], people: int) -> None:
    async with browser() as chromium:
        pages = [await arrive(chromium, server.url) for _ in range(people)]
        for lot in range(LOTS):
            for page in pages:
                await drop(page, files[lot * LOT : (lot + 1) * LOT])
            row(f"{people * LOT * (lot + 1)} uploads", server)
        for page in pages:
            await page.get_by_text("More", exact=True).click()
            methods = page.get_by_role("combobox", name="Another heatmap")
            await methods.scroll_into_view_if_needed()
            await asyncio.sleep(1)  # a list that is open while the page scrolls is closed
            await methods.click()
            await page.get_by_role("option", name="LayerCAM").click()
            await page.locator(".overlays").get_by_role("button", name="LayerCAM").wait_for()
        row("another heatmap each", server)
        for page in pages:
            await leave(page)


async def bare(server: Server, files: list[tuple[str, bytes]], people: int) -> None:
    async with AsyncExitStack() as open_pages:
        visitors = [
            await open_pages.enter_async_context(bare_visitor(server.url)) for _ in range(people)
        ]

        async def drop_all(visitor: BareVisitor) -> None:
            for file in files:
                await visitor.drop(*file)

        await asyncio.gather(*map(drop_all, visitors))
        row(f"{people * len(files)} uploads", server)


async def main(visit: Callable[..., Awaitable[None]], rounds: int, people: int) -> None:
    files = [(Picture(n).name, Picture(n).data()) for n in range(LOTS * LOT)]
    print("| after | resident MB | of it anonymous | peak so far |\n|---|---|---|---|")
    with serve(ROOT / "app.py") as server:
        row("start", server)
        for number in range(rounds):
            print(f"| **round {number + 1}** | | | |")
            await visit(server, files, people)
            await asyncio.sleep(KEPT_SECONDS)
            row("all gone", server)
        peak = server.memory()["VmHWM"]
    print(f"peak {peak:.0f} MB (< 1000), load average {load_average()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--people", type=int, default=10)
    parser.add_argument("--bare", action="store_true")
    options = parser.parse_args()
    asyncio.run(main(bare if options.bare else in_browsers, options.rounds, options.people))
