"""Radiographs → the square pixels a network sees, decoded once and kept.

`prepare` is the one way from a radiograph to a network's input, for training and for serving.
A data set is decoded once into a memory-mapped file; epochs never decode again.
"""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from cxrlib.images import radiograph

if TYPE_CHECKING:
    import pandas as pd

# Left, top, right, bottom of a part of an image, as shares of its sides.
Box = tuple[float, float, float, float]
WHOLE: Box = (0.0, 0.0, 1.0, 1.0)

_CACHE_VERSION = 1  # raise when `prepare` changes what it returns
_ABANDONED_SECONDS = 24 * 3600
_HANDED_OUT = 256  # images given to the decoders at a time: what an end of the program waits for


def prepare(
    pixels: np.ndarray, size: int, equalization: str = "none", box: Box | None = None
) -> np.ndarray:
    """A radiograph as a network sees it.

    Args:
        pixels: ``uint8 [height, width]``.
        size: side of the network's input.
        equalization: as for `equalize`.
        box: the part of the image that it sees; None for the whole of it.

    Returns:
        ``uint8 [size, size]``: the whole image squashed to a square, or the box of it. Shrinking
        is anti-aliased, so that a detail's fate does not hang on the image's original size; and
        a box is cut from the square, not from the original, so that it is as sharp in a large
        image as in the small ones that networks are trained on.
    """
    side = square_side(size) if box else size
    square = np.asarray(Image.fromarray(pixels).resize((side, side), Image.Resampling.BILINEAR))
    return _finish(square, size, equalization, box)


def _finish(square: np.ndarray, size: int, equalization: str, box: Box | None) -> np.ndarray:
    """What `prepare` does to the squashed image."""
    square = equalize(square, equalization)
    return frame(square, box, size) if box else square


def square_side(size: int) -> int:
    """Side of the squashed image that a box for a network's input of that size is cut from.

    Lungs fill about three quarters of a radiograph: their box then keeps the square's detail.
    """
    return round(size * 4 / 3)


def frame(square: np.ndarray, box: Box, size: int) -> np.ndarray:
    """The box of an image ``uint8 [side, side]`` as an image ``uint8 [size, size]``."""
    matrix = into_frame(square.shape, box, (size, size))
    return cv2.warpAffine(square, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE)


def into_frame(shape: tuple[int, int], box: Box, target: tuple[int, int]) -> np.ndarray:
    """The affine map ``[2, 3]`` that makes the box of an image of ``shape`` fill ``target``.

    Both are ``(height, width)``; the map acts on (x, y).
    """
    left, top, right, bottom = box
    across = target[1] / ((right - left) * shape[1])
    down = target[0] / ((bottom - top) * shape[0])
    # Pixels are areas: the first one's middle lies half a pixel from the border.
    return np.array(
        [
            [across, 0, (0.5 - left * shape[1]) * across - 0.5],
            [0, down, (0.5 - top * shape[0]) * down - 0.5],
        ]
    )


def equalize(pixels: np.ndarray, how: str) -> np.ndarray:
    """``uint8 [height, width]`` with its contrast spread.

    Args:
        pixels: ``uint8 [height, width]``.
        how: ``histogram`` (over the whole image), ``clahe`` (place by place, limited; Pizer
            et al. 1987), or ``none``.
    """
    if how == "histogram":
        return cv2.equalizeHist(pixels)
    if how == "clahe":
        return cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8)).apply(pixels)
    return pixels


def thumbnail(pixels: np.ndarray, side: int) -> np.ndarray:
    """An image small and whole in a square ``uint8 [side, side]``, black about it.

    Args:
        pixels: ``uint8 [height, width]``.
        side: of the square, in pixels.
    """
    height, width = pixels.shape
    scale = side / max(height, width)
    wide, high = max(1, round(width * scale)), max(1, round(height * scale))
    square = np.zeros((side, side), np.uint8)
    top, left = (side - high) // 2, (side - wide) // 2
    square[top : top + high, left : left + wide] = cv2.resize(
        pixels, (wide, high), interpolation=cv2.INTER_AREA
    )
    return square


def edges(pixels: np.ndarray, how: str) -> np.ndarray:
    """Where a radiograph's grey levels change, for the eye only: no network is given this.

    Args:
        pixels: ``uint8 [height, width]``.
        how: ``canny`` (thin lines; Canny 1986, thresholds about the median grey level) or
            ``sobel`` (strength of the gradient, the strongest white).

    Returns:
        ``uint8 [height, width]``.
    """
    smooth = cv2.GaussianBlur(pixels, (0, 0), max(pixels.shape) / 250)
    if how == "canny":
        median = float(np.median(smooth))
        return cv2.Canny(smooth, 0.1 * median, 0.3 * median)
    across = cv2.Sobel(smooth, cv2.CV_32F, 1, 0)
    down = cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    return cv2.normalize(  # type: ignore[call-overload]  # None: into a new array
        np.hypot(across, down), None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U
    )


def cache_folder() -> Path:
    """Where decoded images are kept: ``CXR_CACHE_DIR``, by default ``~/.cache/cxrlib``."""
    return Path(os.environ.get("CXR_CACHE_DIR", Path.home() / ".cache" / "cxrlib"))


def cached_pixels(
    table: "pd.DataFrame",
    size: int,
    equalization: str = "none",
    boxes: Sequence[Box] | None = None,
    *,
    folder: Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> np.ndarray:
    """All images of an index, prepared, from a cache made on first use.

    The cache's name is a digest of the images' bytes and of what was done to them: a changed
    file or setting makes a new one, an old one is never read by mistake. Files are decoded once a
    side: equalized images and boxes are made of the plain squares, which are kept too.

    Args:
        table: rows of `dataset.index`.
        size: side in pixels.
        equalization: as for `equalize`.
        boxes: the part of each image that is wanted; by default the whole of it.
        folder: where the cache is; by default `cache_folder`.
        progress: told now and then what share of the images is decoded, 0..1.

    Returns:
        Read-only memory map ``uint8 [len(table), size, size]`` in the table's order.

    Raises:
        RadiographError: an image cannot be read; the message names it.
    """
    folder = folder or cache_folder()
    key = hashlib.blake2b(digest_size=12)
    key.update(f"{_CACHE_VERSION} {size} {equalization} ".encode())
    key.update("".join(table.digest).encode())
    if boxes is not None:
        key.update(np.asarray(boxes, np.float64).tobytes())
    file = folder / f"pixels-{size}-{key.hexdigest()}.npy"

    def write(partial: Path) -> None:
        if equalization == "none" and boxes is None:
            _decode(table, size, partial, progress)
            return
        side = size if boxes is None else square_side(size)
        squares = cached_pixels(table, side, folder=folder, progress=progress)
        pixels = new_array(partial, (len(table), size, size), np.uint8)
        for row, square in enumerate(squares):
            pixels[row] = _finish(square, size, equalization, boxes[row] if boxes else None)
        pixels.flush()

    return cached_array(file, write)


def cached_array(file: Path, write: Callable[[Path], object]) -> np.ndarray:
    """A read-only memory map of an array's file, which is written where there is none, or half."""
    array = _whole_array(file)
    if array is None:
        file.parent.mkdir(parents=True, exist_ok=True)
        # What a process left that was killed: nobody else writes this file for so long.
        for left in file.parent.glob("*.partial"):
            with suppress(FileNotFoundError):
                if left.stat().st_mtime < time.time() - _ABANDONED_SECONDS:
                    left.unlink()
        # Written beside its place and then renamed: a killed run leaves no half cache.
        partial = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}.partial")
        try:
            write(partial)
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
        array = np.load(file, mmap_mode="r")
    return array


def _whole_array(file: Path) -> np.ndarray | None:
    try:
        return np.load(file, mmap_mode="r")
    except (FileNotFoundError, EOFError, ValueError):
        return None


def new_array(file: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> np.memmap:
    """A writable memory map of a new array's file.

    Raises:
        OSError: there is no room for it.
    """
    array = np.lib.format.open_memmap(file, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):  # not on macOS and Windows
        # A full disk is an error here; a write into the map would kill the process.
        with file.open("r+b") as whole:
            os.posix_fallocate(whole.fileno(), 0, file.stat().st_size)
    return array


def _decode(
    table: "pd.DataFrame", size: int, file: Path, progress: Callable[[float], None] | None
) -> None:
    root = Path(table.attrs["root"])
    pixels = new_array(file, (len(table), size, size), np.uint8)

    def decode(job: tuple[int, str]) -> None:
        row, path = job
        try:
            image = radiograph.read_file(root / path)
        except radiograph.RadiographError as error:
            raise radiograph.RadiographError(f"{path}: {error}") from error
        pixels[row] = prepare(image.pixels, size)

    jobs = list(enumerate(table.path))
    with (
        ThreadPoolExecutor() as pool,
        tqdm(total=len(jobs), desc="decoding", unit=" images") as bar,
    ):
        for start in range(0, len(jobs), _HANDED_OUT):
            for _ in pool.map(decode, jobs[start : start + _HANDED_OUT]):
                bar.update()
            if progress:
                progress(bar.n / len(jobs))
    pixels.flush()
