"""Many people at once: python benchmarks/load.py

Twenty browsers have the page open, each drops a picture of its own at the same moment. Says how
long each waited for its verdict and heatmaps, and whether each was shown its own picture and the
answer that the network gives to it alone. Browsers and server share this machine's cores, so a
second figure counts the processor time that the server spent.
"""

import argparse
import asyncio
import os
import time
from pathlib import Path

import numpy as np
from serving_tools import ROOT, Server, load_average, serve
from visitors import Picture, arrive, browser, drop, shown

from cxrlib import plots, radiograph, runs
from cxrlib.classifier import Classifier

FACTOR = 3


async def visit(url: str, people: int, server: Server) -> tuple[np.ndarray, list, float]:
    """Seconds each waited, what each was shown, and the server's processor seconds."""
    pictures = [Picture(number) for number in range(people)]
    files = [(picture.name, picture.data()) for picture in pictures]
    async with browser() as chromium:
        first = await arrive(chromium, url)
        await drop(first, [("first.jpg", Picture(people).data())])  # the network is loaded
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


def processor_seconds(server: Server) -> float:
    """What the server's process has had of the processor so far. Linux only."""
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


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


def check(reader: Classifier, answers: list, people: int) -> list[str]:
    """Who was shown what is not theirs."""
    wrong = []
    for number, (probability, caption, content) in enumerate(answers):
        picture = Picture(number)
        right = reader.read(radiograph.read(picture.data()).pixels)[0].probability
        others = [Picture(n).name for n in range(people) if n != number]
        if f"{picture.side} × {picture.side} pixels" not in caption:
            wrong.append(f"{picture.name}: the picture shown is another one ({caption})")
        if plots.percent(right) not in probability:
            wrong.append(f"{picture.name}: {probability!r}, not {plots.percent(right)}")
        if any(f">{name}<" in content for name in others):
            wrong.append(f"{picture.name}: the page has another one's file name")
    return wrong


def main(people: int) -> None:
    with serve(ROOT / "app.py") as server:
        waits, answers, spent = asyncio.run(visit(server.url, people, server))
    reader = Classifier(runs.find(runs.SHIPPED))
    single = alone(reader)
    wrong = check(reader, answers, people)
    print(f"{people} people at once, load average {load_average()}")
    print(f"answered: {len(answers)} of {people}; shown something of another: {len(wrong)}")
    print(*wrong, sep="\n", end="\n" if wrong else "")
    print(f"one explained prediction alone: {single * 1e3:.0f} ms")
    print("| seconds until verdict and heatmaps | median | p95 | longest |\n|---|---|---|---|")
    print(
        f"| in the browser | {np.median(waits):.1f} | {np.quantile(waits, 0.95):.1f} | "
        f"{waits.max():.1f} |"
    )
    ratio = np.quantile(waits, 0.95) / (people * single)
    print(f"p95 / ({people} predictions) = {ratio:.1f} (≤ {FACTOR})")
    print(
        f"server's processor time a person: {spent / people * 1e3:.0f} ms, "
        f"{spent / people / single:.1f} explained predictions"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=20)
    main(parser.parse_args().people)
