"""Radiographs: every format against a known image, damaged files, and the real ones."""

import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from made_files import (
    COLUMNS,
    DEEP,
    PICTURE,
    ROWS,
    dicom,
    encapsulated,
    mean_error,
    of_12_bits,
    save,
    stretched,
    to_bytes,
    without,
)
from PIL import Image
from pydicom import uid

from cxrlib.images.radiograph import MAX_BYTES, RadiographError, read, window

# --- images --------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["PNG", "BMP", "TIFF", "WebP", "JPEG"])
def test_format_follows_content_and_lossless_grey_is_kept_exactly(format):
    options = {"WebP": {"lossless": True}, "JPEG": {"quality": 95}}.get(format, {})
    result = read(save(Image.fromarray(PICTURE), format, **options))
    assert result.format == format
    assert result.warnings == ()
    assert mean_error(result, PICTURE) <= (1.0 if format == "JPEG" else 0)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_grey_stored_as_colour_is_exact_and_not_called_colour(mode):
    result = read(save(Image.fromarray(PICTURE).convert(mode), "PNG"))
    assert result.warnings == ()
    np.testing.assert_array_equal(result.pixels, PICTURE)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_is_laid_on_black(mode):
    image = Image.fromarray(PICTURE).convert(mode)
    alpha = np.full(PICTURE.shape, 255, np.uint8)
    alpha[:, :100] = 0
    image.putalpha(Image.fromarray(alpha))
    np.testing.assert_array_equal(read(save(image, "PNG")).pixels, np.where(alpha, PICTURE, 0))


def test_transparent_palette_entry_becomes_black():
    image = Image.fromarray(PICTURE).convert("P")
    expected = np.where(PICTURE == 200, 0, PICTURE)
    np.testing.assert_array_equal(read(save(image, "PNG", transparency=200)).pixels, expected)


@pytest.mark.parametrize("format", ["TIFF", "JPEG"])
def test_cmyk(format):
    result = read(save(Image.fromarray(PICTURE).convert("CMYK"), format))
    assert mean_error(result, PICTURE) <= 1


def test_one_bit_is_black_and_white():
    image = Image.fromarray(PICTURE > 127)
    np.testing.assert_array_equal(read(save(image, "PNG")).pixels, (PICTURE > 127) * 255)


@pytest.mark.parametrize(
    "format, dtype",
    [("PNG", np.uint16), ("TIFF", np.uint16), ("TIFF", np.int32), ("TIFF", np.float32)],
)
def test_deep_grey_that_fills_its_range_is_kept(format, dtype):
    result = read(save(Image.fromarray(DEEP.astype(dtype)), format))
    assert mean_error(result, of_12_bits(DEEP)) < 0.01
    assert result.warnings == ()


def test_dead_pixels_do_not_set_the_scale_of_deep_grey():
    damaged = DEEP.copy()
    damaged[:2, :60] = 65535
    result = read(save(Image.fromarray(damaged), "PNG"))
    assert np.abs(result.pixels[2:].astype(float) - stretched(DEEP)[2:]).max() <= 4


def test_float_without_value_is_black():
    holes = DEEP / 4096 - 3
    holes[50:60] = np.nan
    result = read(save(Image.fromarray(holes.astype(np.float32)), "TIFF"))
    assert not result.pixels[50:60].any()
    assert result.pixels[100, -1] > 200
    with pytest.raises(RadiographError, match="damaged"):
        read(save(Image.fromarray(np.full_like(holes, np.nan, np.float32)), "TIFF"))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_that_stores_white_as_zero(dtype):
    # Written by hand: Pillow writes no such file.
    values = (255 - PICTURE).astype(dtype)
    entries = [  # tag, type, value
        (256, 4, COLUMNS),
        (257, 4, ROWS),
        (258, 3, 8 * values.itemsize),
        (259, 3, 1),
        (262, 3, 0),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, ROWS),
        (279, 4, values.nbytes),
    ]
    data = b"II*\0" + struct.pack("<I", 8 + values.nbytes) + values.tobytes()
    data += struct.pack("<H", len(entries))
    data += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    data += struct.pack("<I", 0)
    assert mean_error(read(data), PICTURE) < 0.01


# What each EXIF orientation asks a viewer to do with the stored rows and columns.
UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).T,
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WebP", "TIFF"])
def test_exif_orientation_is_applied_and_told(format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"WebP": {"lossless": True}, "JPEG": {"quality": 95}}.get(format, {})
    result = read(save(Image.fromarray(PICTURE), format, exif=exif, **options))
    assert mean_error(result, UPRIGHT[orientation](PICTURE)) < 1
    assert any("EXIF" in warning for warning in result.warnings) == (orientation != 1)


# --- warnings --------------------------------------------------------------------------------


def warned(array: np.ndarray) -> str:
    return " ".join(read(save(Image.fromarray(array), "PNG")).warnings)


def test_colour_is_told_but_not_a_tint():
    rgb = np.stack([PICTURE] * 3, axis=-1).astype(int)
    tinted = np.clip(rgb + np.array([-12, 0, 14]), 0, 255).astype(np.uint8)
    assert warned(tinted) == ""
    marked = rgb.astype(np.uint8)
    marked[:20, :20] = (255, 0, 0)  # a small red annotation
    assert warned(marked) == ""
    photograph = np.stack([PICTURE, PICTURE[::-1], PICTURE[:, ::-1]], axis=-1)
    assert "colour" in warned(photograph)


def test_small_elongated_and_blank_images_are_told():
    assert "small (320 × 200" in warned(PICTURE[:200])
    assert "cropped" not in warned(np.repeat(PICTURE[:, :240], 2, axis=0))
    assert "very tall" in warned(np.repeat(PICTURE, 3, axis=0))
    assert "very wide" in warned(np.repeat(PICTURE, 3, axis=1))
    assert "no contrast" in warned(np.full((300, 300), 90, np.uint8))
    assert "no contrast" in warned(np.full((300, 300), 9000, np.uint16))
    assert "no contrast" in warned(PICTURE // 16)


# --- refusals --------------------------------------------------------------------------------


def huge_png() -> bytes:
    """A small image whose header declares 20000 × 20000 pixels."""
    data = bytearray(save(Image.fromarray(PICTURE), "PNG"))
    data[16:24] = struct.pack(">II", 20_000, 20_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def animation(format: str) -> bytes:
    frames = [Image.fromarray(PICTURE), Image.fromarray(PICTURE[::-1].copy())]
    return save(frames[0], format, save_all=True, append_images=frames[1:])


REFUSED = {
    "empty": (lambda: b"", "empty"),
    "text": (
        lambda: b"a report, not a picture",
        "a text file, which is not supported.*JPEG, PNG",
    ),
    "gif": (lambda: save(Image.fromarray(PICTURE), "GIF"), "GIF.*Save"),
    "too many bytes": (lambda: bytes(MAX_BYTES + 1), "50 MB.*Save"),
    "too many pixels": (huge_png, "20000 × 20000 pixels.*64 megapixels.*smaller"),
    "too few pixels": (
        lambda: save(Image.fromarray(PICTURE[:63]), "PNG"),
        "320 × 63.*original",
    ),
    "tiff pages": (lambda: animation("TIFF"), "several images.*file of its own"),
    "animated png": (lambda: animation("PNG"), "several images.*file of its own"),
    "animated webp": (lambda: animation("WebP"), "several images.*file of its own"),
    "dicom frames": (
        lambda: to_bytes(dicom(NumberOfFrames=2, PixelData=PICTURE.tobytes() * 2)),
        "several images.*file of its own",
    ),
    "dicom without picture": (
        lambda: to_bytes(without(dicom(), "PixelData")),
        "no image.*Ex",
    ),
    "dicom too large": (lambda: to_bytes(dicom(Rows=8001, Columns=8000)), "8000 × 8001.*smaller"),
    "dicom too small": (lambda: to_bytes(dicom(PICTURE[:63])), "320 × 63.*original"),
    "dicom without rows": (lambda: to_bytes(without(dicom(), "Rows")), "no image.*Ex"),
    "dicom of 32 bits": (
        lambda: to_bytes(dicom(DEEP.astype(np.uint32), bits=32)),
        "32 bits per pixel.*16 bits",
    ),
    "dicom palette": (
        lambda: to_bytes(dicom(PhotometricInterpretation="PALETTE COLOR")),
        "colour.*JPEG or PNG",
    ),
    "dicom video": (
        lambda: to_bytes(encapsulated(dicom(), b"\0" * 64, uid.MPEG2MPML)),
        "compressed.*uncompressed",
    ),
    "dicom deflated": (
        lambda: to_bytes(dicom(syntax=uid.DeflatedExplicitVRLittleEndian)),
        "compressed.*uncompressed",
    ),
}


@pytest.mark.parametrize("make, message", REFUSED.values(), ids=REFUSED)
def test_refusals_name_problem_and_remedy(make, message):
    data = make()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing may leak, such as Pillow's on huge images
        with pytest.raises(RadiographError, match=message):
            read(data)


# --- window ----------------------------------------------------------------------------------


@given(st.floats(-50, 300), st.floats(1, 600), st.booleans())
@example(127.5, 255, False)
def test_window_is_a_clipped_ramp(center, width, invert):
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    shown = window(levels, center=center, width=width, invert=invert)
    expected = 255 * ((levels - center) / width + 0.5).clip(0, 1)
    assert shown.dtype == np.uint8
    assert np.abs(shown - (255 - expected if invert else expected)).max() <= 0.51
    if (center, width, invert) == (127.5, 255, False):
        np.testing.assert_array_equal(shown, levels)


def test_window_without_width_is_refused():
    with pytest.raises(ValueError, match="above 0"):
        window(PICTURE, center=100, width=0)


def test_importing_is_light():
    heavy = "{'tensorflow', 'pydicom', 'imagecodecs', 'pandas', 'scipy', 'matplotlib'}"
    code = f"import sys, cxrlib.images.radiograph; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- real files ------------------------------------------------------------------------------


def test_real_dicom_files(real):
    results = {path.name: read(path.read_bytes()) for path in real("dicom").glob("*.dcm")}
    assert len(results) >= 3
    chest = results["RG1_J2KI.dcm"].pixels.astype(float)  # MONOCHROME1, JPEG 2000
    assert chest.shape == (1955, 1841)
    assert results["RG1_J2KI.dcm"].warnings == ()
    lungs = np.r_[chest[500:900, 350:650].ravel(), chest[500:900, 1150:1450].ravel()]
    mediastinum = chest[500:1500, 870:960]
    corners = chest[60:150, [20, -20]]
    assert corners.mean() < lungs.mean() < mediastinum.mean() - 20
    assert any("another body part" in w for w in results["RG3_RLE.dcm"].warnings)  # a tibia


def test_real_uploads(real):
    for path in real("uploads").rglob("*.jpeg"):
        result = read(path.read_bytes())
        with Image.open(path) as image:
            assert result.pixels.shape == image.size[::-1]
        assert result.format == "JPEG"
        assert not any("colour" in w or "contrast" in w for w in result.warnings)
