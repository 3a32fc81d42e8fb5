"""Reads files one after the other in processes of their own, for archives of any number of them."""

import io
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from cxrlib import urls
from cxrlib.images import files, radiograph
from cxrlib.images.limits import MAX_BYTES
from cxrlib.images.radiograph import RadiographError
from cxrlib.inference import ensemble, session
from cxrlib.inference.explain import Explanation
from cxrlib.runs.folder import Run

_HEATMAP_SIDE = 256  # px
_HEATMAP_COLOURS = 128  # a third of the bytes of all of them, and looks the same
_PENDING = 4  # files handed out ahead for each process
_ENDED = (
    "Reading the file ended the process: it may need more memory than there is. Read it by itself."
)


@dataclass(frozen=True)
class Result:
    """What became of one file.

    Attributes:
        file: its path or URL.
        probability: calibrated probability of pneumonia; None where it was not read.
        verdict: as `Prediction.verdict`; empty where it could not be read.
        reason: why the image should not be read, in a sentence; empty where it should.
        error: why the file could not be read, in a sentence; empty where it could.
        heatmap: the image with a heatmap over it, a small PNG; empty where none was asked for.
    """

    file: str
    probability: float | None = None
    verdict: str = ""
    reason: str = ""
    error: str = ""
    heatmap: bytes = b""


@dataclass(frozen=True)
class Settings:
    """How an archive's files are read.

    Attributes:
        run: folder of a finished run.
        insist: read images too that do not look like frontal chest radiographs.
        heatmaps: make a small heatmap of each image that is read.
    """

    run: Path
    insist: bool = False
    heatmaps: bool = False


class FileReader:
    """Reads one file after the other on one core.

    Raises:
        RunError: files of the run are missing or damaged.
    """

    def __init__(self, settings: Settings) -> None:
        # Processes that read a file each are faster than threads within one network's pass.
        session.use_cores(1)
        cv2.setNumThreads(1)
        self._settings = settings
        self._classifier = ensemble.load(Run(settings.run))

    def read(self, file: str) -> Result:
        """Read a file; what is wrong with it is part of the result."""
        try:
            pixels = radiograph.read(_load(file)).pixels
        except (RadiographError, urls.UrlError) as error:
            return Result(file, error=str(error))
        heatmap = b""
        if self._settings.heatmaps:
            method = self._classifier.methods[0]
            prediction, maps = self._classifier.read(pixels, [method])
            if self._settings.insist or not prediction.reason:
                heatmap = _small_png(pixels, maps[method])
        else:
            prediction = self._classifier.predict(pixels)
        if self._settings.insist:
            prediction = prediction.insist()
        return Result(
            file,
            None if prediction.refused else round(prediction.probability, 4),
            prediction.verdict,
            prediction.reason,
            heatmap=heatmap,
        )


def _load(file: str) -> bytes:
    """What a file at a path or URL holds.

    Raises:
        RadiographError: it is no image, too large, or cannot be opened.
        UrlError: it cannot be reached.
    """
    if not urls.is_url(file):
        if why := files.problem(Path(file)):
            raise RadiographError(f"Left out: {why}.")
        return files.load(Path(file))
    data = urls.read(file, MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise files.too_large()
    if why := files.kind_problem(file, data):
        raise RadiographError(f"Left out: {why}.")
    return data


def _small_png(pixels: np.ndarray, explanation: Explanation) -> bytes:
    from PIL import Image

    from cxrlib.plots import overlays

    image = Image.fromarray(pixels)
    image.thumbnail((_HEATMAP_SIDE, _HEATMAP_SIDE))
    small = np.asarray(image)
    drawn = Image.fromarray(overlays.overlay(small, explanation.on(small.shape)))
    written = io.BytesIO()
    drawn.quantize(_HEATMAP_COLOURS).save(written, "PNG", optimize=True)
    return written.getvalue()


def read_in_processes(paths: Iterator[str], settings: Settings, processes: int) -> Iterator[Result]:
    """Read files on this machine's cores; results come as they are ready, in no order.

    A file that ends its process (a crash in a decoder, no memory left) gives a result too.

    Args:
        paths: each once.
        settings: how to read them.
        processes: how many to start, each with a copy of the networks.
    """
    pool = _pool(settings, processes)
    pending: dict[str, Future[Result]] = {}
    try:
        while True:
            try:
                for path in islice(paths, _PENDING * processes - len(pending)):
                    pending[path] = Future()  # it is accounted for, should the pool be broken
                    pending[path] = pool.submit(_read, path)
                if not pending:
                    return
                wait(pending.values(), return_when=FIRST_COMPLETED)
                for path in [path for path, future in pending.items() if future.done()]:
                    result = pending[path].result()
                    del pending[path]
                    yield result
            except BrokenProcessPool:
                suspects = list(pending)
                pending.clear()
                yield from _read_one_by_one(suspects, settings)
                pool = _pool(settings, processes)
    finally:
        pool.shutdown(cancel_futures=True)


def _read_one_by_one(paths: list[str], settings: Settings) -> Iterator[Result]:
    """Read files of which one has ended a process."""
    pool = _pool(settings, 1)
    try:
        for path in paths:
            try:
                yield pool.submit(_read, path).result()
            except BrokenProcessPool:
                yield Result(path, error=_ENDED)
                pool = _pool(settings, 1)
    finally:
        pool.shutdown()


def _pool(settings: Settings, processes: int) -> ProcessPoolExecutor:
    # A forked copy of a process whose runtime has threads may hang.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, context, initializer=_start, initargs=(settings,))


_reader: FileReader


def _start(settings: Settings) -> None:
    global _reader
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that hands out files hears it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _reader = FileReader(settings)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent, "it is only started in a pool's processes"
    parent.join()
    os._exit(1)


def _read(path: str) -> Result:
    return _reader.read(path)
