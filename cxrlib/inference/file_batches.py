"""Reads many files in this process: some are decoded while the networks read others."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np

from cxrlib.images import radiograph
from cxrlib.images.radiograph import RadiographError

_BATCH = 32
_Small = TypeVar("_Small")
_Result = TypeVar("_Result")


def read_files(
    files: Iterable[Path],
    shrink: Callable[[np.ndarray], _Small],
    predict: Callable[[list[_Small]], list[_Result]],
) -> Iterator[tuple[Path, _Result | RadiographError]]:
    """Predictions for files, in their order; bad files give their error.

    Args:
        files: of radiographs.
        shrink: from a radiograph ``uint8 [height, width]`` to what is kept of it until its batch
            is read.
        predict: from what was kept of some radiographs to their predictions.
    """

    def load(file: Path) -> _Small | RadiographError:
        try:
            return shrink(radiograph.read_file(file).pixels)
        except RadiographError as error:
            return error

    def read(batch: list[Path]) -> list[tuple[Path, _Result | RadiographError]]:
        loaded = [load(file) for file in batch]
        small = [one for one in loaded if not isinstance(one, RadiographError)]
        results = iter(predict(small) if small else [])
        return [
            (file, one if isinstance(one, RadiographError) else next(results))
            for file, one in zip(batch, loaded, strict=True)
        ]

    # Each worker takes a batch from its files to its predictions.
    workers = (os.cpu_count() or 1) + 1
    rest = iter(files)
    waiting: deque[Future[list[tuple[Path, _Result | RadiographError]]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        while True:
            while len(waiting) < 2 * workers and (batch := list(islice(rest, _BATCH))):
                waiting.append(pool.submit(read, batch))
            if not waiting:
                return
            yield from waiting.popleft().result()
