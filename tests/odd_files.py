"""How odd and misleading files are put together, a PNG, a TIFF or a DICOM file at a time."""

import io
import struct
import zipfile
import zlib
from functools import cache

import numpy as np
from made_files import COLUMNS, DEEP, PICTURE, ROWS, dicom, encapsulated, save, to_bytes
from PIL import Image
from pydicom import config, uid
from pydicom.dataset import Dataset

GREY = Image.fromarray(PICTURE)


@cache
def bomb() -> bytes:
    """40 MB of zeros in 40 kB."""
    return zlib.compress(bytes(4 * 10**7))


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("picture.png", save(GREY, "PNG"))
    return file.getvalue()


# --- PNG, JPEG, BMP, WebP ------------------------------------------------------------------------


def png(*chunks: tuple[bytes, bytes], width: int = COLUMNS, height: int = ROWS, **header) -> bytes:
    """A PNG of these chunks after its header, and of a black image where none is among them."""
    depth, colour, interlaced = (header.get(k, v) for k, v in HEADER.items())
    first = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    if b"IDAT" not in dict(chunks):
        samples = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
        row = bytes(1 + (width * samples * depth + 7) // 8)
        packer = zlib.compressobj(1)
        rows = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
        chunks = (*chunks, (b"IDAT", rows))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in ((b"IHDR", first), *chunks, (b"IEND", b""))
    )


HEADER = {"depth": 8, "colour": 0, "interlaced": 0}
BLACK_JPEG = save(Image.new("L", (COLUMNS, ROWS)), "JPEG")


def jpeg_of_size(width: int, height: int) -> bytes:
    at = BLACK_JPEG.index(b"\xff\xc0")
    return BLACK_JPEG[: at + 5] + struct.pack(">HH", height, width) + BLACK_JPEG[at + 9 :]


def jpeg_with(markers: bytes) -> bytes:
    return BLACK_JPEG[:2] + markers + BLACK_JPEG[2:]


def progressive_flood(scans: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again."""
    data = save(GREY, "JPEG", progressive=True)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * scans + b"\xff\xd9"


def bmp_run_lengths(runs: bytes, width: int, height: int) -> bytes:
    palette = b"".join(bytes((i, i, i, 0)) for i in range(256))
    start = 14 + 40 + len(palette)
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(runs), 0, 0, 256, 0)
    return struct.pack("<2sIHHI", b"BM", start + len(runs), 0, 0, start) + info + palette + runs


def with_exif(orientation: int, format: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return save(GREY, format, exif=exif)


def exif_of_garbage(format: str) -> bytes:
    return save(GREY, format, exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(range(256)) * 8)


# --- TIFF ----------------------------------------------------------------------------------------


def tiff(data: bytes, *, next_page: int = 0, **tags: int) -> bytes:
    """A TIFF written by hand, because Pillow would not write it; tags by their numbers."""
    entries = {256: COLUMNS, 257: ROWS, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: ROWS}
    entries |= {279: len(data)} | {int(tag[1:]): value for tag, value in tags.items()}
    head = b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(entries))
    body = b"".join(struct.pack("<HHII", tag, 4, 1, entries[tag]) for tag in sorted(entries))
    return head + body + struct.pack("<I", next_page)


def tiff_pages(count: int) -> bytes:
    start = 8 + PICTURE.nbytes
    first = tiff(PICTURE.tobytes())
    size = len(first) - start
    pages = [first[start:-4] + struct.pack("<I", start + (i + 1) * size) for i in range(count)]
    return first[:start] + b"".join(pages) + first[start:]


# --- DICOM ---------------------------------------------------------------------------------------


def odd_dicom(**tags: object) -> bytes:
    # pydicom would refuse to write such values.
    with config.disable_value_validation():
        ds = dicom(DEEP, bits=12)
        for keyword, value in tags.items():
            setattr(ds, keyword, value)
        return to_bytes(ds)


def frame_dicom(frame: bytes, syntax: str, pixels: np.ndarray = PICTURE, **tags: object) -> bytes:
    bits = 8 if pixels.dtype == np.uint8 else 12
    return to_bytes(encapsulated(dicom(pixels, bits=bits, **tags), frame, syntax))


def declared(rows: int, columns: int, frame: bytes, syntax: str, *, bits: int = 16) -> bytes:
    """A DICOM that says it is of this size; its compressed frame may not be."""
    ds = encapsulated(dicom(DEEP, bits=bits), frame, syntax)
    ds.Rows, ds.Columns = rows, columns
    return to_bytes(ds)


def elements(count: int, element: bytes) -> bytes:
    """A DICOM in front of whose image stands one element over and over."""
    data = to_bytes(dicom())
    at = data.index(b"\x28\0\x02\0US")
    return data[:at] + element * count + data[at:]


def nested(depth: int) -> bytes:
    """Sequences of undefined length in each other."""
    item = b"\x28\0\x10\x30SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff"
    return elements(depth, item)


def fragments(count: int) -> bytes:
    data = frame_dicom(b"\0\0", uid.JPEGBaseline8Bit)
    return data[:-8] + b"\xfe\xff\0\xe0\0\0\0\0" * count + data[-8:]


def table(descriptor: list[int], data: list[int]) -> Dataset:
    lut = Dataset()
    lut.add_new("LUTDescriptor", "US", descriptor)
    lut.add_new("LUTData", "US", data)
    return lut


def run_lengths(segment: bytes) -> bytes:
    return struct.pack("<16L", 2, 64, 64 + len(segment), *[0] * 13) + segment * 2


def j2k_of_size(width: int, height: int, tile: int) -> bytes:
    data = save(Image.fromarray(DEEP), "JPEG2000", no_jp2=True)
    at = data.index(b"\xff\x51")
    size = struct.pack(">8I", width, height, 0, 0, tile, tile, 0, 0)
    return data[: at + 6] + size + data[at + 38 :]
