"""Many people at once: python benchmarks/load.py

Twenty people have the page open, each drops a picture of their own at the same moment. Says how
long each waited for verdict and heatmaps, and whether each was shown their own picture and the
answer that the network gives to it alone. Measured twice: with browsers, which share this machine's
cores with the server, and with clients that speak the same protocol and draw nothing. Says, too,
what server and browsers took of the cores: how much of the wait is the browsers' drawing.
"""

import argparse
import asyncio
import os
import time
from contextlib import AsyncExitStack
from pathlib import Path

import numpy as np
from bare_visitors import bare_visitor
from serving_tools import ROOT, Server, load_average, serve
from visitors import Picture, arrive, browser, drop, shown

from cxrlib import runs
from cxrlib.formatting import percent
from cxrlib.images import radiograph
from cxrlib.inference.ensemble import Classifier, load

FACTOR = 3


def files_of(pictures: list[Picture]) -> list[tuple[str, bytes]]:
    return [(picture.name, picture.data()) for picture in pictures]


async def visit_bare(files: list[tuple[str, bytes]], server: Server) -> tuple[np.ndarray, list]:
    """Seconds that each bare client waited, and what each was shown."""
    async with AsyncExitStack() as open_pages:
        visitors = [await open_pages.enter_async_context(bare_visitor(server.url)) for _ in files]
        waits = await asyncio.gather(
            *(visitor.drop(*file) for visitor, file in zip(visitors, files, strict=True))
        )
        return np.array(waits), [visitor.shown() for visitor in visitors]


async def visit(
    files: list[tuple[str, bytes]], server: Server
) -> tuple[np.ndarray, list, np.ndarray]:
    """Seconds each browser waited, what each was shown, and the processor seconds it took."""
    people, url = len(files), server.url
    async with browser() as chromium:
        first = await arrive(chromium, url)
        await drop(first, [("first.jpg", Picture(2 * people).data())])  # the network is loaded
        await first.context.close()
        pages = [await arrive(chromium, url) for _ in range(people)]

        async def one(page, file) -> float:
            began = time.perf_counter()
            await drop(page, [file])
            return time.perf_counter() - began

        spent = processor_seconds(server)
        waits = await asyncio.gather(*map(one, pages, files))
        spent = processor_seconds(server) - spent
        answers = [(*await shown(page), await page.content()) for page in pages]
    return np.array(waits), answers, spent


def processor_seconds(server: Server) -> np.ndarray:
    """What server, and browsers with what drives them, have had of the processor so far.

    Linux only.
    """
    parents, seconds = {}, {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        parents[int(process.name)] = int(fields[1])
        used = int(fields[11]) + int(fields[12])
        seconds[int(process.name)] = used / os.sysconf("SC_CLK_TCK")

    def is_ours(process: int) -> bool:
        return process == os.getpid() or (process in parents and is_ours(parents[process]))

    ours = sum(seconds[process] for process in seconds if is_ours(process))
    served = seconds[server.process.pid]
    return np.array([served, ours - served])


def alone(reader: Classifier) -> float:
    """Median seconds of one explained prediction in a process that does nothing else."""
    pixels = radiograph.read(Picture(0).data()).pixels
    reader.read(pixels)
    times = []
    for _ in range(20):
        began = time.perf_counter()
        reader.read(pixels)
        times.append(time.perf_counter() - began)
    return float(np.median(times))


def check(reader: Classifier, pictures: list[Picture], answers: list) -> list[str]:
    """Who was shown what is not theirs."""
    wrong = []
    for picture, (probability, caption, content) in zip(pictures, answers, strict=True):
        right = reader.read(radiograph.read(picture.data()).pixels)[0].probability
        if f"{picture.side} × {picture.side} pixels" not in caption:
            wrong.append(f"{picture.name}: the picture shown is another one ({caption})")
        if percent(right) not in probability:
            wrong.append(f"{picture.name}: {probability!r}, not {percent(right)}")
        if any(other.name in content for other in pictures if other != picture):
            wrong.append(f"{picture.name}: the page has another one's file name")
    return wrong


def main(people: int) -> None:
    # What one has read the server may still know when the other asks: nobody's is another's.
    seen, unseen = [Picture(n) for n in range(people)], [Picture(people + n) for n in range(people)]
    with serve(ROOT / "app.py") as server:
        waits, answers, spent = asyncio.run(visit(files_of(seen), server))
        bare_waits, bare_answers = asyncio.run(visit_bare(files_of(unseen), server))
    reader = load(runs.find(runs.SHIPPED))
    single = alone(reader)
    print(f"{people} people at once, load average {load_average()}")
    print(f"one explained prediction alone: {single * 1e3:.0f} ms")
    titles = ["answered", "shown another's", "median", "p95", "longest",
              f"p95 / {people} predictions (≤ {FACTOR})"]  # fmt: skip
    print(f"| seconds until verdict and heatmaps | {' | '.join(titles)} |\n{'|---' * 7}|")
    for name, pictures, seconds, told in (
        ("in browsers", seen, waits, answers),
        ("clients that draw nothing", unseen, bare_waits, bare_answers),
    ):
        wrong, late = check(reader, pictures, told), np.quantile(seconds, 0.95)
        print(
            f"| {name} | {len(told)} of {people} | {len(wrong)} | {np.median(seconds):.1f} | "
            f"{late:.1f} | {seconds.max():.1f} | {late / (people * single):.1f} |"
        )
        print(*wrong, sep="\n", end="\n" if wrong else "")
    of_server, of_browser = spent / people
    print(
        f"processor time a person: server {of_server:.2f} s ({of_server / single:.1f} explained "
        f"predictions), browser {of_browser:.2f} s"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=20)
    main(parser.parse_args().people)
