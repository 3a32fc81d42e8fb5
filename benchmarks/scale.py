"""Archives and clusters, measured on this machine: python benchmarks/scale.py PART…

workers   files a second read with two processes, which have two cores, over one, which has one; at
          least 1.7. Other work on the machine spoils that, so it is told from the processor time of
          a file too: what two processes read on two cores of their own over what one does
nodes     the same with two nodes of a Ray cluster and one, by the clock
memory    what `predict --out` holds with 1,000 and with 10,000 files: the process that hands them
          out, and all of its processes together, at most; flat (needs Linux)
job       seconds that a run takes as a job of a cluster here beyond `train.py`; at most 10
million   minutes and cost of a million images, from the processor seconds of a file (``--seconds``)
          that ``workers`` found

Files are drawn radiographs of 1024 px as JPEG (``memory``: 256 px), a few under many names. Rounds
alternate and figures are medians; the machine's load is printed beside them. A cluster's nodes are
processes of this machine.
"""

import argparse
import itertools
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2

from cxrlib import runs
from cxrlib.inference import file_reader
from cxrlib.inference.cluster_reader import read_on_cluster
from cxrlib.inference.file_reader import Settings, read_in_processes
from cxrlib.synthetic import phantom

ROOT = Path(__file__).resolve().parent.parent
DRAWN, SIDE, SMALL_SIDE = 20, 1024, 256
FEW, MANY = 50, 300
# Of the cost's table: name, processors as a cloud counts them, assumed price in USD an hour.
MACHINES = (
    ("laptop, 8 processors", 8, 0.0),
    ("AWS c7i.4xlarge", 16, 0.714),
    ("AWS c7i.24xlarge", 96, 4.284),
    ("16 × AWS c7i.4xlarge, a cluster", 256, 16 * 0.714),
)
PATIENTS, EPOCHS = 40, 2


def draw(folder: Path, count: int, side: int = SIDE) -> list[str]:
    """An archive of so many files; returns their paths."""
    folder.mkdir()
    for seed in range(DRAWN):
        pixels = phantom.phantom(seed, pneumonia=bool(seed % 2), size=side).pixels
        cv2.imwrite(str(folder / f"{seed:06}.jpg"), pixels)
    for number in range(DRAWN, count):
        os.link(folder / f"{number % DRAWN:06}.jpg", folder / f"{number:06}.jpg")
    return [str(file) for file in sorted(folder.iterdir())]


def files_a_second(results: Iterable[file_reader.Result], warm: int) -> float:
    """From the result after the first ``warm`` ones, when all readers have started, to the last."""
    started, count = 0.0, 0
    for count, _ in enumerate(results, start=1):
        if count == warm:
            started = time.perf_counter()
    return (count - warm) / (time.perf_counter() - started)


def on_cores(count: int, results: Iterator[file_reader.Result]) -> Iterator[file_reader.Result]:
    """Results of processes that are started with the first one, and keep to so many cores."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(cores)[:count])
    yield next(results)
    os.sched_setaffinity(0, cores)  # the process that hands out files keeps to none
    yield from results


def local_cluster(nodes: int, cores: int = 1):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "dashboard_port": 0})
    for _ in range(nodes):
        cluster.add_node(num_cpus=cores)
    return cluster


def workers(place: Path, rounds: int) -> None:
    paths = draw(place / "workers", MANY)
    settings = Settings(runs.find(runs.SHIPPED).folder)
    rates: dict[int, list[float]] = {1: [], 2: []}
    costs: dict[int, list[float]] = {1: [], 2: []}
    for _, count in itertools.product(range(rounds), rates):
        read = partial(read_in_processes, settings=settings, processes=count)
        seconds = []
        for files in (paths[:FEW], paths):
            before = children_seconds()
            rate = files_a_second(on_cores(count, read(iter(files))), warm=FEW // 2)
            seconds.append(children_seconds() - before)
        rates[count].append(rate)
        # Without what starting takes.
        costs[count].append((seconds[1] - seconds[0]) / (MANY - FEW))
    rate = {count: statistics.median(values) for count, values in rates.items()}
    cost = {count: statistics.median(values) for count, values in costs.items()}
    for count in rates:
        print(
            f"{count} at a time: {rate[count]:.1f} files a second by the clock, "
            f"{cost[count] * 1000:.0f} ms of a processor for a file"
        )
    print(f"two over one: {rate[2] / rate[1]:.2f} by the clock", end=", ")
    print(f"{2 * cost[1] / cost[2]:.2f} by processor time")


def children_seconds() -> float:
    """Processor time of the processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def nodes(rounds: int) -> None:
    rates: dict[int, list[float]] = {1: [], 2: []}
    for _, count in itertools.product(range(rounds), rates):
        # A process can be connected to one cluster in its life.
        command = [sys.executable, __file__, "ray", "--nodes", str(count)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        rates[count].append(float(ran.stdout.split()[-1]))
    rate = {count: statistics.median(values) for count, values in rates.items()}
    print(f"nodes: {rate[1]:.1f} and {rate[2]:.1f} files a second, {rate[2] / rate[1]:.2f}")


def nodes_of_cluster(place: Path, nodes: int) -> None:
    """Files a second of a cluster; a part of ``workers``."""
    import ray

    paths = draw(place / "ray", MANY)
    cluster = local_cluster(nodes)
    settings = Settings(runs.find(runs.SHIPPED).folder)
    read = read_on_cluster(iter(paths), settings, address=cluster.address, sources=[str(place)])
    print(files_a_second(read, warm=2 * FEW))
    ray.shutdown()
    cluster.shutdown()


def memory_of(pids: Iterable[int]) -> float:
    """Megabytes of some processes together, what they share counted once."""
    total = 0
    for pid in pids:
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(int(line.split()[1]) for line in text.splitlines() if line[:4] == "Pss:")
    return total * 1024 / 1e6


def children(pid: int) -> list[int]:
    listed = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True).stdout
    return [int(line) for line in listed.split()]


def memory(place: Path) -> None:
    for count in (1_000, 10_000):
        folder = place / f"memory-{count}"
        draw(folder, count, SMALL_SIDE)
        out = place / f"{count}.parquet"
        command = [sys.executable, "-m", "cxrlib", "predict", str(folder), "--out", str(out)]
        reading = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        most_own = most_all = 0.0
        while reading.poll() is None:
            own = memory_of([reading.pid])
            most_own = max(most_own, own)
            most_all = max(most_all, own + memory_of(children(reading.pid)))
            time.sleep(0.5)
        print(f"{count:,} files: {most_own:.0f} MB hands out, {most_all:.0f} MB together")


def job(place: Path, rounds: int) -> None:
    data = place / "chest_xray"
    phantom.write_dataset(data, patients=PATIENTS, size=128)
    cluster = local_cluster(1, os.cpu_count() or 1)  # as many as train.py has
    command = [sys.executable, str(ROOT / "train.py"), "--data", str(data), "--network", "cnn"]
    command += ["--size", "96", "--batch-size", "8", "--fine-tune-epochs", str(EPOCHS)]
    command += ["--models", str(place / "models")]
    found: dict[str, list[float]] = {"train.py": [], "job": []}
    for number in range(rounds):
        for name in found:
            asked = ["--cluster", cluster.address] if name == "job" else []
            started = time.perf_counter()
            subprocess.run(
                [*command, *asked, "--name", f"{name}-{number}"], check=True, capture_output=True
            )
            found[name].append(time.perf_counter() - started)
    cluster.shutdown()
    seconds = {name: statistics.median(values) for name, values in found.items()}
    beyond = seconds["job"] - seconds["train.py"]
    print(f"train.py {seconds['train.py']:.1f} s, as a job {seconds['job']:.1f} s: {beyond:.1f} s")


def million(seconds: float) -> None:
    print("| machine | minutes | USD |\n|---|---|---|")
    for name, processors, price in MACHINES:
        minutes = 1e6 * seconds / processors / 60
        cost = f"{minutes / 60 * price:.2f}" if price else ""
        print(f"| {name} | {minutes:.1f} | {cost} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "parts", nargs="+", metavar="PART", help="workers, nodes, memory, job, million"
    )
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=0.0, help="processor time of a file")
    parser.add_argument("--nodes", type=int, default=1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    # What a cluster's nodes find cxrlib and Python by.
    os.environ["PYTHONPATH"] = str(ROOT)
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory(prefix="scale-") as place:
        os.environ["CXR_CACHE_DIR"] = f"{place}/cache"
        parts: dict[str, Callable[[], None]] = {
            "workers": lambda: workers(Path(place), options.rounds),
            "nodes": lambda: nodes(options.rounds),
            "ray": lambda: nodes_of_cluster(Path(place), options.nodes),
            "memory": lambda: memory(Path(place)),
            "job": lambda: job(Path(place), options.rounds),
            "million": lambda: million(options.seconds),
        }
        for part in options.parts:
            parts[part]()
    if options.parts != ["ray"]:
        print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
