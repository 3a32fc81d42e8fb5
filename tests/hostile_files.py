"""A corpus of bad and misleading files, made by this script, and mutations of good ones.

Every entry is a function, so that the large ones are made only where they are wanted.
"""

import struct
import zlib
from collections.abc import Callable
from random import Random

import imagecodecs
import numpy as np
from made_files import DEEP, PICTURE, VALID, dicom, encapsulated, save, to_bytes, without
from odd_files import (
    BLACK_JPEG,
    GREY,
    bmp_run_lengths,
    bomb,
    declared,
    elements,
    exif_of_garbage,
    fragments,
    frame_dicom,
    j2k_of_size,
    jpeg_of_size,
    jpeg_with,
    nested,
    odd_dicom,
    png,
    progressive_flood,
    run_lengths,
    table,
    tiff,
    tiff_pages,
    with_exif,
    zipped,
)
from PIL import Image
from pydicom import uid
from pydicom.dataset import Dataset

Maker = Callable[[], bytes]
LARGE_SIDE = 7900  # px; 62 megapixels, just below what is refused
HEAVY_SIDE = 5600  # px; 31 megapixels, the same where decoding takes much memory
READ, REFUSED, EITHER = "read", "refused", "either"

_TAGS = (
    "Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "BitsAllocated",
    "BitsStored", "HighBit", "PixelRepresentation", "PixelData",
)  # fmt: skip
_ABSURD: dict[str, object] = {
    "Rows": 65535, "Columns": 0, "SamplesPerPixel": 65535, "PhotometricInterpretation": "NAME^X",
    "BitsAllocated": 64, "BitsStored": 99, "HighBit": 99, "PixelRepresentation": 7,
    "NumberOfFrames": -1, "PlanarConfiguration": 9, "WindowWidth": -5, "WindowCenter": "1e400",
    "RescaleSlope": "1e308", "RescaleIntercept": "-1e308", "PixelPaddingRangeLimit": 9,
    "VOILUTFunction": "NAME^X",
}  # fmt: skip

SMALL: dict[str, tuple[Maker, str]] = {
    # Not images, whatever they are called
    "zero bytes": (lambda: b"", REFUSED),
    "one byte": (lambda: b"\xff", REFUSED),
    "text": (lambda: b"a report", REFUSED),
    "page with a script": (lambda: b"<html><script>alert(1)</script>", REFUSED),
    "SVG": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", REFUSED),
    "zip in disguise": (zipped, REFUSED),
    "PDF": (lambda: b"%PDF-1.7\n" + bytes(500), REFUSED),
    "program": (lambda: b"\x7fELF" + bytes(500), REFUSED),
    "GIF": (lambda: save(GREY, "GIF"), REFUSED),
    "JPEG signature alone": (lambda: b"\xff\xd8\xff", REFUSED),
    "PNG signature alone": (lambda: b"\x89PNG\r\n\x1a\n", REFUSED),
    "BMP signature alone": (lambda: b"BM", REFUSED),
    "TIFF signature alone": (lambda: b"II*\0", REFUSED),
    "WebP signature alone": (lambda: b"RIFF\x04\0\0\0WEBP", REFUSED),
    "DICOM signature alone": (lambda: bytes(128) + b"DICM", REFUSED),
    "zip with a DICOM signature": (lambda: zipped()[:128].ljust(128) + b"DICM", REFUSED),
    # Polyglots: read as what they begin with, the rest is left alone
    "JPEG with a zip behind": (lambda: BLACK_JPEG + zipped(), READ),
    "PNG with a page behind": (lambda: png() + b"<script>alert(1)</script>", READ),
    "BMP with a program behind": (lambda: save(GREY, "BMP") + b"\x7fELF" + bytes(99), READ),
    "DICOM with a TIFF in its preamble": (lambda: b"II*\0" + to_bytes(dicom())[4:], READ),
    # PNG
    "PNG of 20000 px": (lambda: png((b"IDAT", b"x"), width=20000, height=20000), REFUSED),
    "PNG of 2 billion px": (lambda: png((b"IDAT", b"x"), width=2**31 - 1, height=64), REFUSED),
    "PNG of 0 px": (lambda: png((b"IDAT", b"x"), width=0, height=0), REFUSED),
    "PNG, text bomb": (
        lambda: png((b"zTXt", b"a\0\0" + bomb())), REFUSED,
    ),
    "PNG, profile bomb": (
        lambda: png((b"iCCP", b"a\0\0" + bomb())), EITHER,
    ),
    "PNG, pixels bomb": (lambda: png((b"IDAT", bomb())), EITHER),
    "PNG, too few pixels": (lambda: png((b"IDAT", zlib.compress(bytes(999)))), REFUSED),
    "PNG without pixels": (lambda: png((b"IDAT", b"")), REFUSED),
    "PNG, palette missing": (lambda: png(colour=3), EITHER),
    "PNG, palette of 400": (lambda: png((b"PLTE", bytes(1200)), colour=3), EITHER),
    "PNG, index beyond its palette": (
        lambda: png((b"PLTE", b"\1\2\3"), (b"IDAT", zlib.compress((b"\0" + b"\x90" * 320) * 240)),
                    colour=3),
        EITHER,
    ),
    "PNG, depth of 3": (lambda: png(depth=3), REFUSED),
    "PNG, 16 bit colour": (lambda: png(depth=16, colour=6), READ),
    "PNG, interlaced": (lambda: png(interlaced=1), EITHER),
    "PNG, animation of a billion": (
        lambda: png((b"acTL", struct.pack(">II", 10**9, 0))), REFUSED,
    ),
    "PNG, wrong checksum": (lambda: png().replace(b"IEND\xaeB`\x82", b"IEND\0\0\0\0"), EITHER),
    "PNG, profile of garbage": (lambda: save(GREY, "PNG", icc_profile=b"garbage"), READ),
    "PNG, EXIF of garbage": (lambda: exif_of_garbage("PNG"), EITHER),
    # JPEG
    "JPEG of 65500 px": (lambda: jpeg_of_size(65500, 65500), REFUSED),
    "JPEG of 0 px": (lambda: jpeg_of_size(0, 0), REFUSED),
    "JPEG of 900 px, data for 240": (lambda: jpeg_of_size(900, 900), EITHER),
    "JPEG, thousand comments": (lambda: jpeg_with(b"\xff\xfe\0\2" * 1000), READ),
    "JPEG, filled up": (lambda: jpeg_with(b"\xff" * 200_000), REFUSED),
    "JPEG, 500 scans": (lambda: progressive_flood(500), REFUSED),
    "JPEG, 12 bit": (lambda: imagecodecs.jpeg8_encode(DEEP, bitspersample=12), REFUSED),
    "JPEG, lossless": (lambda: imagecodecs.jpeg8_encode(PICTURE, lossless=True), EITHER),
    "JPEG, CMYK": (lambda: save(GREY.convert("CMYK"), "JPEG"), READ),
    "JPEG, profile of garbage": (lambda: save(GREY, "JPEG", icc_profile=b"garbage"), READ),
    "JPEG, EXIF of garbage": (lambda: exif_of_garbage("JPEG"), EITHER),
    **{
        f"JPEG, EXIF orientation {value}": (lambda value=value: with_exif(value), READ)
        for value in (0, 9, 65535)
    },
    "JPEG of a JPEG signature": (lambda: b"\xff\xd8\xff" + BLACK_JPEG, EITHER),
    # BMP
    "BMP, run lengths": (
        lambda: bmp_run_lengths(b"\xff\x07\x41\x07\0\0" * 240 + b"\0\1", 320, 240), READ,
    ),
    "BMP, run lengths missing": (lambda: bmp_run_lengths(b"\0\1", 320, 240), EITHER),
    "BMP, run lengths for ever": (
        lambda: bmp_run_lengths(b"\1\7" * 500_000, 7000, 7000), REFUSED,
    ),
    # WebP
    "WebP, animated": (
        lambda: save(GREY, "WebP", save_all=True, append_images=[GREY.rotate(90)]), REFUSED,
    ),
    "WebP, canvas of 16383 px": (
        lambda: b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\xfe\x3f\0\xfe\x3f\0", REFUSED,
    ),
    "WebP, EXIF of garbage": (lambda: exif_of_garbage("WebP"), EITHER),
    # TIFF
    "TIFF, float": (lambda: save(Image.fromarray(DEEP.astype(np.float32)), "TIFF"), READ),
    "TIFF, float out of bounds": (
        lambda: save(
            Image.fromarray(np.where(PICTURE > 99, 3e38, -3e38).astype(np.float32)), "TIFF"
        ),
        EITHER,
    ),
    "TIFF, float of nothing": (
        lambda: save(Image.fromarray(np.full((99, 99), np.nan, np.float32)), "TIFF"), REFUSED,
    ),
    "TIFF, 32 bit": (
        lambda: save(Image.fromarray(DEEP.astype(np.int32) * 500_000), "TIFF"), READ,
    ),
    "TIFF, 64 bit": (lambda: tiff(DEEP.astype(np.float64).tobytes(), t258=64, t339=3), REFUSED),
    "TIFF, CMYK": (lambda: save(GREY.convert("CMYK"), "TIFF"), READ),
    "TIFF, LAB": (lambda: tiff(bytes(3 * 76800), t262=8, t277=3), EITHER),
    "TIFF of itself": (lambda: tiff(PICTURE.tobytes(), next_page=8 + PICTURE.nbytes), EITHER),
    "TIFF, page nowhere": (lambda: tiff(PICTURE.tobytes(), next_page=2**31), REFUSED),
    "TIFF, 20 000 pages": (lambda: tiff_pages(20_000), REFUSED),
    "TIFF of 4 billion px": (lambda: tiff(b"", t256=65535, t257=65535), REFUSED),
    "TIFF, strip nowhere": (lambda: tiff(PICTURE.tobytes(), t273=10**9), REFUSED),
    "TIFF, strip without end": (lambda: tiff(PICTURE.tobytes(), t279=2**32 - 1), EITHER),
    "TIFF, 65535 samples": (lambda: tiff(PICTURE.tobytes(), t277=65535), REFUSED),
    "TIFF, 65535 bits": (lambda: tiff(PICTURE.tobytes(), t258=65535), REFUSED),
    "TIFF, compression unknown": (lambda: tiff(PICTURE.tobytes(), t259=777), REFUSED),
    "TIFF, pixels bomb": (
        lambda: tiff(bomb(), t259=8), EITHER,
    ),
    "TIFF, tile of 30000 px": (
        lambda: tiff(bomb(), t259=8, t322=30000, t323=30000, t324=8,
                     t325=len(bomb())),
        REFUSED,
    ),
    "TIFF, EXIF orientation 9": (lambda: tiff(PICTURE.tobytes(), t274=9), READ),
    # DICOM
    **{
        f"DICOM without {tag}": (lambda tag=tag: to_bytes(without(dicom(), tag)), EITHER)
        for tag in _TAGS
    },
    **{
        f"DICOM, {tag} {value}": (lambda tag=tag, value=value: odd_dicom(**{tag: value}), EITHER)
        for tag, value in _ABSURD.items()
    },
    "DICOM, window of nothing": (lambda: odd_dicom(WindowCenter="nan", WindowWidth="nan"), EITHER),
    "DICOM, padding swapped": (
        lambda: odd_dicom(PixelPaddingValue=4000, PixelPaddingRangeLimit=7), READ,
    ),
    "DICOM, tables of nothing": (
        lambda: odd_dicom(VOILUTSequence=[table([0, 0, 16], [0])]), EITHER,
    ),
    "DICOM, empty table": (lambda: odd_dicom(ModalityLUTSequence=[Dataset()]), EITHER),
    "DICOM, table of -1 bits": (
        lambda: odd_dicom(VOILUTSequence=[table([2, 0, 65535], [0, 1])]), EITHER,
    ),
    "DICOM, 100 000 numbers": (lambda: odd_dicom(WindowCenter=["1"] * 30_000), REFUSED),
    "DICOM, nested": (lambda: nested(20_000), REFUSED),
    "DICOM, 200 000 elements": (lambda: elements(200_000, b"\x28\0\x01\x10US\0\0"), REFUSED),
    "DICOM, 200 000 fragments": (lambda: fragments(200_000), REFUSED),
    "DICOM, text as a frame": (lambda: frame_dicom(b"a report", uid.JPEGBaseline8Bit), REFUSED),
    "DICOM, zip as a frame": (lambda: frame_dicom(zipped(), uid.JPEG2000), REFUSED),
    "DICOM, PNG as a frame": (lambda: frame_dicom(png(), uid.JPEGBaseline8Bit), REFUSED),
    "DICOM, JPEG as JPEG 2000": (lambda: frame_dicom(BLACK_JPEG, uid.JPEG2000), REFUSED),
    "DICOM, JPEG as JPEG-LS": (lambda: frame_dicom(BLACK_JPEG, uid.JPEGLSLossless), REFUSED),
    "DICOM, JPEG-LS as lossless": (
        lambda: frame_dicom(imagecodecs.jpegls_encode(DEEP), uid.JPEGLossless, DEEP), REFUSED,
    ),
    "DICOM, text as RLE": (lambda: frame_dicom(b"report" * 20, uid.RLELossless), REFUSED),
    "DICOM, pixels as RLE": (lambda: frame_dicom(bytes(76800), uid.RLELossless), REFUSED),
    "DICOM, empty frame": (lambda: frame_dicom(b"\0\0", uid.JPEGLSLossless), REFUSED),
    "DICOM, 500 scans": (
        lambda: frame_dicom(progressive_flood(500), uid.JPEGBaseline8Bit), REFUSED,
    ),
    "DICOM, J2K of 65535 px": (
        lambda: declared(7900, 8000, j2k_of_size(65535, 65535, 65535), uid.JPEG2000Lossless),
        REFUSED,
    ),
    "DICOM, J2K of tiny tiles": (
        lambda: declared(7900, 7900, j2k_of_size(7900, 7900, 31), uid.JPEG2000Lossless), REFUSED,
    ),
    "DICOM, deflated bomb": (
        lambda: to_bytes(dicom(syntax=uid.DeflatedExplicitVRLittleEndian)), REFUSED,
    ),
    **{
        f"DICOM, {name} frame cut": (
            lambda syntax=syntax, frame=frame, pixels=pixels: frame_dicom(
                frame()[: len(frame()) * 9 // 10], syntax, pixels
            ),
            REFUSED,
        )
        for name, syntax, frame, pixels in (
            ("JPEG", uid.JPEGBaseline8Bit, lambda: save(GREY, "JPEG"), PICTURE),
            ("JPEG lossless", uid.JPEGLosslessSV1,
             lambda: imagecodecs.jpeg8_encode(PICTURE, lossless=True), PICTURE),
            ("JPEG extended", uid.JPEGExtended12Bit,
             lambda: imagecodecs.jpeg8_encode(DEEP, level=98, bitspersample=12), DEEP),
            ("JPEG-LS", uid.JPEGLSLossless, lambda: imagecodecs.jpegls_encode(DEEP), DEEP),
            ("JPEG 2000", uid.JPEG2000Lossless,
             lambda: save(Image.fromarray(DEEP), "JPEG2000", no_jp2=True), DEEP),
        )
    },
}  # fmt: skip


def _large(dtype: type = np.uint8, side: int = LARGE_SIDE) -> np.ndarray:
    return np.zeros((side, side), dtype)


def _colour() -> np.ndarray:
    return np.zeros((3200, 3200, 3), np.uint8)


def _large_png(**header: int) -> Maker:
    return lambda: png(width=LARGE_SIDE, height=LARGE_SIDE, **header)


# As large as may be, from some kilobytes, or as many parts as 50 MB hold: seconds to make.
LARGE: dict[str, tuple[Maker, str]] = {
    "PNG, 62 megapixels": (_large_png(), EITHER),
    "PNG, 62 megapixels, RGB": (_large_png(colour=2), EITHER),
    "PNG, 62 megapixels, RGBA": (_large_png(colour=6), EITHER),
    "PNG, 62 megapixels, 16 bit": (_large_png(depth=16), EITHER),
    "PNG, 62 megapixels, 16 bit RGBA": (_large_png(depth=16, colour=6), EITHER),
    "PNG, 62 megapixels, interlaced": (_large_png(interlaced=1), EITHER),
    "PNG, 4 million chunks": (lambda: png(*[(b"tEXt", b"")] * 4_000_000), REFUSED),
    "JPEG, 62 megapixels": (lambda: save(Image.fromarray(_large()), "JPEG"), EITHER),
    "JPEG, 62 megapixels, RGB": (
        lambda: save(Image.new("RGB", (LARGE_SIDE, LARGE_SIDE)), "JPEG", subsampling=0), EITHER,
    ),
    "JPEG, 62 megapixels, CMYK": (
        lambda: save(Image.new("CMYK", (LARGE_SIDE, LARGE_SIDE)), "JPEG"), EITHER,
    ),
    "JPEG, 62 megapixels, progressive": (
        lambda: save(Image.fromarray(_large()), "JPEG", progressive=True), EITHER,
    ),
    "JPEG, 62 megapixels, turned": (
        lambda: save(Image.new("RGB", (LARGE_SIDE, LARGE_SIDE)), "JPEG",
                     exif=b"Exif\0\0II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\x06\0\0\0\0\0\0\0"),
        EITHER,
    ),
    "JPEG, 31 megapixels, progressive RGB": (
        lambda: save(Image.new("RGB", (HEAVY_SIDE, HEAVY_SIDE)), "JPEG", progressive=True), EITHER,
    ),
    "JPEG, 62 megapixels, progressive RGB": (
        lambda: save(Image.new("RGB", (LARGE_SIDE, LARGE_SIDE)), "JPEG", progressive=True), REFUSED,
    ),
    "JPEG, 12 million comments": (lambda: jpeg_with(b"\xff\xfe\0\2" * 12_000_000), REFUSED),
    "JPEG, 50 MB of filling": (lambda: jpeg_with(b"\xff" * 50_000_000), REFUSED),
    "BMP, run lengths, 62 megapixels": (
        lambda: bmp_run_lengths(b"\xff\7" * 25_000_000, LARGE_SIDE, LARGE_SIDE), REFUSED,
    ),
    "BMP, 25 million run lengths": (
        lambda: bmp_run_lengths(b"\1\7" * 25_000_000, LARGE_SIDE, LARGE_SIDE), REFUSED,
    ),
    "WebP, 31 megapixels": (
        lambda: save(Image.fromarray(_large(side=HEAVY_SIDE)), "WebP", quality=1), EITHER,
    ),
    "TIFF, 31 megapixels, float": (
        lambda: save(
            Image.fromarray(_large(np.float32, HEAVY_SIDE)), "TIFF", compression="tiff_lzw"
        ),
        EITHER,
    ),
    "TIFF, 62 megapixels, RGBA": (
        lambda: save(
            Image.new("RGBA", (LARGE_SIDE, LARGE_SIDE)), "TIFF", compression="tiff_lzw"
        ),
        EITHER,
    ),
    "TIFF, 300 000 pages": (lambda: tiff_pages(300_000), REFUSED),
    "DICOM, 5 million elements": (lambda: elements(5_000_000, b"\x28\0\x01\x10US\0\0"), REFUSED),
    "DICOM, 5 million fragments": (lambda: fragments(5_000_000), REFUSED),
    "DICOM, RLE, 62 megapixels": (
        lambda: declared(
            LARGE_SIDE, LARGE_SIDE, run_lengths(b"\x81\7" * (LARGE_SIDE**2 // 128 + 1)),
            uid.RLELossless,
        ),
        EITHER,
    ),
    "DICOM, 24 million run lengths": (
        lambda: declared(4900, 4900, run_lengths(b"\xff\7" * 12_005_000), uid.RLELossless), EITHER,
    ),
    "DICOM, JPEG lossless, 62 megapixels": (
        lambda: declared(
            LARGE_SIDE, LARGE_SIDE,
            imagecodecs.jpeg8_encode(_large(np.uint16), lossless=True, bitspersample=16),
            uid.JPEGLosslessSV1,
        ),
        EITHER,
    ),
    "DICOM, JPEG-LS, 62 megapixels": (
        lambda: declared(
            LARGE_SIDE, LARGE_SIDE, imagecodecs.jpegls_encode(_large(np.uint16)),
            uid.JPEGLSLossless,
        ),
        EITHER,
    ),
    "DICOM, JPEG 2000, 31 megapixels": (
        lambda: declared(
            HEAVY_SIDE, HEAVY_SIDE,
            save(Image.fromarray(_large(np.uint16, HEAVY_SIDE)), "JPEG2000", no_jp2=True),
            uid.JPEG2000Lossless,
        ),
        EITHER,
    ),
    "DICOM, JPEG, 10 megapixels of colour": (
        lambda: to_bytes(
            encapsulated(
                dicom(_colour(), PhotometricInterpretation="YBR_FULL_422"),
                save(Image.fromarray(_colour()), "JPEG"),
                uid.JPEGBaseline8Bit,
            )
        ),
        EITHER,
    ),
}  # fmt: skip


# --- mutations -----------------------------------------------------------------------------------


def cut(data: bytes, random: Random) -> bytes:
    """The file as a broken copy leaves it."""
    return data[: random.randrange(1, len(data))]


def mutate(data: bytes, random: Random) -> bytes:
    """One to six random changes; headers are where they do harm, and a TIFF's is at the end."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 6)):
        reach = min(random.choice([64, 400, 800, len(changed)]), len(changed))
        at = random.randrange(reach)
        if random.random() < 0.25:
            at = len(changed) - 1 - at
        kind = random.randrange(7)
        if kind < 2:
            changed[at] ^= 1 << random.randrange(8)
        elif kind < 4:
            changed[at] = random.randrange(256)
        elif kind == 4:  # numbers that break arithmetic
            number = random.choice([0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF])
            changed[at : at + 4] = struct.pack(random.choice("<>") + "I", number)
        elif kind == 5:
            del changed[at : at + random.randint(1, 16)]
        else:  # a piece of another file
            other = random.choice(VALID)
            start = random.randrange(len(other))
            changed[at:at] = other[start : start + random.randint(1, 400)]
        if not changed:
            return b""
    return bytes(changed)
