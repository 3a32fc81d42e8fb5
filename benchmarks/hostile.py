"""Bad files, many of them: python benchmarks/hostile.py --files 10000

The corpus of tests/hostile_files.py, its largest files too, and as many mutations of good files as
asked for. They are read in a process of its own, so that its end, its standstill, its time and
its memory are seen from outside. Each file is to be read, or refused with a sentence, within
2 seconds and 500 MB; a file that was merely cut off is never to be read as another picture.

Time is the processor's, because other programs on the machine would count otherwise. Memory is
what the process held at its peak beyond what it held before (Linux).
"""

import argparse
import ctypes
import gc
import logging
import multiprocessing as mp
import resource
import sys
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import hostile_files
from made_files import VALID

from cxrlib.images.radiograph import RadiographError, read

MAX_SECONDS, MAX_MB = 2.0, 500
STANDSTILL = 600  # seconds without an answer; the machine may be busy
ADDRESS_SPACE = 4 * 2**30  # bytes; what asks for more gets a MemoryError, not the machine's


@dataclass(frozen=True)
class Outcome:
    """What became of one file."""

    kind: str
    seconds: float = 0.0
    mb: float = 0.0
    detail: str = ""

    @property
    def problem(self) -> str:
        """What must not be; empty where all is well."""
        if self.kind not in ("read", "refused"):
            return self.kind
        if self.seconds > MAX_SECONDS:
            return "slow"
        return "memory" if self.mb > MAX_MB else ""


def names(files: int) -> list[str]:
    """The files' names: those of the corpus, then the numbers of mutations."""
    return [*hostile_files.SMALL, *hostile_files.LARGE, *map(str, range(files))]


def made(name: str, seed: int) -> tuple[bytes, bytes | None, str]:
    """The file, the whole one where it was cut off, and what is expected of it."""
    if not name.isdecimal():
        maker, expected = (hostile_files.SMALL | hostile_files.LARGE)[name]
        return maker(), None, expected
    random = Random(f"{seed}/{name}")
    valid = random.choice(VALID)
    if random.random() < 0.2:
        return hostile_files.cut(valid, random), valid, hostile_files.EITHER
    return hostile_files.mutate(valid, random), None, hostile_files.EITHER


def judged(name: str, seed: int) -> Outcome:
    """Make the file, read it, and measure."""
    data, whole, expected = made(name, seed)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what making the file took is not to hide what reading takes
    Path("/proc/self/clear_refs").write_text("5")
    before, started = _memory("VmRSS"), time.process_time()
    kind, detail, pixels = "read", "", None
    try:
        pixels = read(data).pixels
    except RadiographError as error:
        kind, detail = ("refused", "") if str(error).endswith(".") else ("no sentence", str(error))
    except BaseException as error:  # noqa: BLE001 - whatever it is, it is to be counted
        kind, detail = "raised", repr(error)
    seconds, mb = time.process_time() - started, _memory("VmHWM") - before
    if pixels is not None:
        if pixels.dtype != np.uint8 or pixels.ndim != 2 or min(pixels.shape) < 64:
            kind = "no picture"
        elif whole is not None and not np.array_equal(pixels, read(whole).pixels):
            kind = "half"
    if kind in ("read", "refused") and expected not in (kind, hostile_files.EITHER):
        kind = f"{kind}, not {expected}"
    return Outcome(kind, seconds, mb, detail)


def _memory(field: str) -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition(f"{field}:")[2].split()[0]) / 1024


def work(pipe: Connection, seed: int) -> None:
    """The process that reads: name in, outcome out."""
    warnings.simplefilter("ignore")  # parsers remark on damaged metadata, thousands of times
    logging.disable()
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    while name := pipe.recv():
        pipe.send(judged(name, seed))


class Reader:
    """A process that reads files, and is started anew where one ended or stopped it."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._start()

    def _start(self) -> None:
        self._pipe, theirs = mp.Pipe()
        spawn = mp.get_context("spawn")
        self._process = spawn.Process(target=work, args=(theirs, self._seed), daemon=True)
        self._process.start()
        theirs.close()

    def __call__(self, name: str) -> Outcome:
        self._pipe.send(name)
        try:
            if self._pipe.poll(STANDSTILL):
                return self._pipe.recv()
            outcome = Outcome("standstill")
        except EOFError:
            self._process.join()
            outcome = Outcome("crash", detail=f"exit code {self._process.exitcode}")
        self._process.kill()
        self._start()
        return outcome

    def stop(self) -> None:
        self._process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=10_000, help="how many mutations")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="a corpus entry's name, or a mutation's number")
    options = parser.parse_args()
    reader = Reader(options.seed)
    groups: dict[str, list[Outcome]] = {}
    for name in [options.only] if options.only else names(options.files):
        outcome = reader(name)
        group = "mutations" if name.isdecimal() else "corpus"
        groups.setdefault("corpus, largest" if name in hostile_files.LARGE else group, []).append(
            outcome
        )
        if outcome.problem or options.only:
            print(
                f"{outcome.problem or outcome.kind}: {name}, {outcome.seconds:.2f} s, "
                f"{outcome.mb:.0f} MB {outcome.detail}",
                flush=True,
            )
    reader.stop()
    print(f"\n{'':16} files   read refused  wrong | slowest s  most MB")
    for group, outcomes in groups.items():
        kinds = Counter(outcome.kind for outcome in outcomes)
        wrong = sum(bool(outcome.problem) for outcome in outcomes)
        slowest = max(outcome.seconds for outcome in outcomes)
        most = max(outcome.mb for outcome in outcomes)
        print(
            f"{group:16} {len(outcomes):5} {kinds['read']:6} {kinds['refused']:7} {wrong:6} | "
            f"{slowest:9.2f} {most:8.0f}"
        )
    sys.exit(any(outcome.problem for outcomes in groups.values() for outcome in outcomes))


if __name__ == "__main__":
    main()
