"""What every file must keep to before it is decoded, and the error that says why it is refused.

The files come from strangers. Whatever a header asks for is checked before it is granted.
"""

import io
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager

MAX_BYTES = 50 * 2**20
MAX_PIXELS = 64_000_000
MIN_SIDE = 64  # px; below it there is nothing to read

# A 50 MB file can be made of millions of empty parts, each of which costs a parser microseconds.
# A real one, a PNG in chunks of 8 kB, has some thousands.
MAX_PARTS = 100_000
# Each scan of a progressive JPEG goes over the whole image, and a hundred bytes make a scan.
_MAX_SCANS = 100

# Decoding and scaling take about so much for each pixel of an ordinary image.
_BYTES_PER_PIXEL = 8
_DECODING_BYTES = MAX_PIXELS * _BYTES_PER_PIXEL

# What decoders raise on damaged input; those of imagecodecs are RuntimeErrors.
DAMAGED = (
    OSError, SyntaxError, ValueError, RuntimeError, EOFError, struct.error,
    ArithmeticError, AttributeError, LookupError, TypeError,
)  # fmt: skip


class RadiographError(ValueError):
    """A file that cannot be read as a radiograph; the message says why and what to do."""


class Source(io.BytesIO):
    """The bytes of a file for a parser, which may ask for them only so many times."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self._reads += 1
        if self._reads > MAX_PARTS:
            raise too_many_parts()
        return super().read(size)


def too_many_parts() -> RadiographError:
    """The error for a file that would keep a parser busy for minutes."""
    return RadiographError(
        "The file has far more parts than an X-ray should. Save the X-ray as PNG or JPEG."
    )


def check_size(width: int, height: int, *, weight: int = 1) -> None:
    """Refuse a size in pixels that the file's header declares, before anything is decoded.

    Args:
        width: pixels.
        height: pixels.
        weight: how much more memory or time a pixel takes than usual; fewer are read then.

    Raises:
        RadiographError: too large or too small.
    """
    limit = MAX_PIXELS // weight
    if width * height > limit:
        raise RadiographError(
            f"The image has {width} × {height} pixels; the limit "
            f"{'for its kind ' if weight > 1 else ''}is {limit // 10**6} megapixels. Save it "
            "smaller, for example 2000 pixels wide."
        )
    if min(width, height) < MIN_SIDE:
        raise RadiographError(
            f"The image has only {width} × {height} pixels; at least {MIN_SIDE} per side are "
            "needed. Export the X-ray at its original size."
        )


def check_frames(several: bool) -> None:
    """Refuse a file of `several` images.

    Raises:
        RadiographError: it is one.
    """
    if several:
        raise RadiographError("The file holds several images. Save the X-ray as a file of its own.")


def check_scans(jpeg: bytes) -> None:
    """Refuse a JPEG that takes minutes to decode because it goes over the image too often.

    Raises:
        RadiographError: it has more scans than any encoder makes.
    """
    if jpeg.count(b"\xff\xda") > _MAX_SCANS:
        raise RadiographError(
            "The JPEG image has too many progressive scans. Save the X-ray again, as PNG or as "
            "an ordinary JPEG."
        )


class _Budget:
    """Bytes that several threads share; who asks for more than is left waits for its turn."""

    def __init__(self, total: int) -> None:
        self._total = self._left = total
        self._turn = threading.Lock()  # the first to ask is the first to get: no large one starves
        self._freed = threading.Condition()

    @contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        amount = min(amount, self._total)
        with self._turn, self._freed:
            self._freed.wait_for(lambda: self._left >= amount)
            self._left -= amount
        try:
            yield
        finally:
            with self._freed:
                self._left += amount
                self._freed.notify()


_decoding = _Budget(_DECODING_BYTES)


def decoding(width: int, height: int, *, weight: int = 1):
    """Context in which an image of this size is decoded: as many at once as fit into memory.

    One of the largest that are read goes alone; some thirty of two megapixels go together.
    """
    return _decoding.hold(width * height * weight * _BYTES_PER_PIXEL)
