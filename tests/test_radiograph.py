"""Radiographs: every format against a known picture, damaged files, and the real ones."""

import io
import struct
import subprocess
import sys
import warnings
import zlib

import imagecodecs
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from made_files import (
    COLUMNS,
    COMPRESSED,
    DEEP,
    PICTURE,
    ROWS,
    dicom,
    encapsulated,
    save,
    to_bytes,
    without,
)
from PIL import Image
from pydicom import config, uid
from pydicom.dataset import Dataset

from cxrlib.radiograph import MAX_BYTES, Radiograph, RadiographError, read, window


def stretched(values: np.ndarray) -> np.ndarray:
    black, white = np.percentile(values, (0.5, 99.5))
    return np.rint(np.clip((values - black) / (white - black), 0, 1) * 255)


def mean_error(result: Radiograph, expected: np.ndarray) -> float:
    assert result.pixels.dtype == np.uint8
    assert result.pixels.shape == expected.shape
    return float(np.abs(result.pixels.astype(float) - expected).mean())


# --- pictures --------------------------------------------------------------------------------


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
def test_deep_grey_fills_the_range(format, dtype):
    result = read(save(Image.fromarray(DEEP.astype(dtype)), format))
    assert mean_error(result, stretched(DEEP)) < 0.01
    assert (result.pixels.min(), result.pixels.max()) == (0, 255)


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
    expected = PICTURE if dtype == np.uint8 else stretched(PICTURE)
    assert mean_error(read(data), expected) < 0.01


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


def test_small_elongated_and_blank_pictures_are_told():
    assert "small (320 × 200" in warned(PICTURE[:200])
    assert "cropped" not in warned(np.repeat(PICTURE[:, :240], 2, axis=0))
    assert "very tall" in warned(np.repeat(PICTURE, 3, axis=0))
    assert "very wide" in warned(np.repeat(PICTURE, 3, axis=1))
    assert "no contrast" in warned(np.full((300, 300), 90, np.uint8))
    assert "no contrast" in warned(np.full((300, 300), 9000, np.uint16))
    assert "no contrast" in warned(PICTURE // 16)


# --- refusals --------------------------------------------------------------------------------


def huge_png() -> bytes:
    """A small picture whose header declares 20000 × 20000 pixels."""
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
        "not a picture.*JPEG, PNG, BMP, TIFF, WebP or DICOM",
    ),
    "gif": (lambda: save(Image.fromarray(PICTURE), "GIF"), "not a picture.*Save"),
    "too many bytes": (lambda: bytes(MAX_BYTES + 1), "50 MB.*Save"),
    "too many pixels": (huge_png, "20000 × 20000 pixels.*64 megapixels.*smaller"),
    "too few pixels": (
        lambda: save(Image.fromarray(PICTURE[:63]), "PNG"),
        "320 × 63.*original",
    ),
    "tiff pages": (lambda: animation("TIFF"), "several pictures.*file of its own"),
    "animated png": (lambda: animation("PNG"), "several pictures.*file of its own"),
    "animated webp": (lambda: animation("WebP"), "several pictures.*file of its own"),
    "dicom frames": (
        lambda: to_bytes(dicom(NumberOfFrames=2, PixelData=PICTURE.tobytes() * 2)),
        "several pictures.*file of its own",
    ),
    "dicom without picture": (
        lambda: to_bytes(without(dicom(), "PixelData")),
        "no picture.*Ex",
    ),
    "dicom too large": (lambda: to_bytes(dicom(Rows=8001, Columns=8000)), "8000 × 8001.*smaller"),
    "dicom too small": (lambda: to_bytes(dicom(PICTURE[:63])), "320 × 63.*original"),
    "dicom without rows": (lambda: to_bytes(without(dicom(), "Rows")), "no picture.*Ex"),
    "dicom without bits": (lambda: to_bytes(without(dicom(), "BitsStored")), "damaged.*again"),
    "dicom of 32 bits": (
        lambda: to_bytes(dicom(DEEP.astype(np.uint32), bits=32)),
        "32 bits each.*16 bits",
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
        warnings.simplefilter("error")  # nothing may leak, such as Pillow's on huge pictures
        with pytest.raises(RadiographError, match=message):
            read(data)


# --- DICOM -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressions(name):
    data, allowed = COMPRESSED[name]
    result = read(data)
    eight_bit = name.endswith(" 8") or name == "JPEG baseline"
    assert result.format == "DICOM"
    assert result.warnings == ()
    assert mean_error(result, PICTURE if eight_bit else stretched(DEEP)) <= allowed + 0.001


@pytest.mark.parametrize("name", ["JPEG lossless", "JPEG-LS"])
def test_signed_values_of_a_lossless_compression(name):
    signed = DEEP.astype(np.int16) - 2048
    stored = (signed & 0xFFF).astype(np.uint16)
    frame, syntax = {
        "JPEG lossless": (
            imagecodecs.jpeg8_encode(stored, lossless=True, bitspersample=12),
            uid.JPEGLosslessSV1,
        ),
        "JPEG-LS": (imagecodecs.jpegls_encode(stored), uid.JPEGLSLossless),
    }[name]
    result = read(to_bytes(encapsulated(dicom(signed, bits=12), frame, syntax)))
    assert mean_error(result, stretched(signed)) < 0.001


@pytest.mark.parametrize("signed", [False, True])
def test_colour_and_signs_in_run_lengths(signed):
    values = DEEP.astype(np.int16) - 2048 if signed else np.stack([PICTURE] * 3, axis=-1)
    ds = dicom(values, bits=12 if signed else 8)
    ds.compress(uid.RLELossless, encoding_plugin="pydicom")
    assert mean_error(read(to_bytes(ds)), stretched(values) if signed else PICTURE) < 0.001


@pytest.mark.parametrize("meta", [True, False], ids=["meta", "no meta"])
def test_files_of_old_equipment_without_preamble(meta):
    ds = dicom(syntax=uid.ImplicitVRLittleEndian)
    data = to_bytes(ds)[132:]
    if not meta:
        del ds.file_meta
        file = io.BytesIO()
        ds.save_as(file, implicit_vr=True, little_endian=True)
        data = file.getvalue()
    np.testing.assert_array_equal(read(data).pixels, PICTURE)


def test_a_preamble_may_hold_a_tiff_header():
    data = to_bytes(dicom())
    np.testing.assert_array_equal(read(b"II*\0\x08\0\0\0" + data[8:]).pixels, PICTURE)


def test_monochrome1_is_inverted_so_that_air_is_dark():
    ds = dicom(255 - PICTURE, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read(to_bytes(ds)).pixels, PICTURE)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("slope", [1, 2, -2])
def test_first_window_is_applied_to_rescaled_values(function, slope):
    center, width, intercept = slope * 2000 - 1000, 1800, -1000
    ds = dicom(
        DEEP,
        bits=12,
        RescaleSlope=slope,
        RescaleIntercept=intercept,
        WindowCenter=[center, 1],
        WindowWidth=[width, 2],
        VOILUTFunction=function,
    )
    x = DEEP.astype(float) * slope + intercept
    shown = {  # DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3
        "LINEAR": (x - (center - 0.5)) / (width - 1) + 0.5,
        "LINEAR_EXACT": (x - center) / width + 0.5,
        "SIGMOID": 1 / (1 + np.exp(-4 * (x - center) / width)),
    }[function]
    assert mean_error(read(to_bytes(ds)), np.rint(255 * shown.clip(0, 1))) < 0.01


def lut(values: np.ndarray, first: int, bits: int) -> Dataset:
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [len(values), first, bits])
    table.add_new("LUTData", "US", values.tolist())
    return table


def test_tables_are_applied():
    modality = lut(np.arange(4096)[::-1], 0, 16)
    modality.ModalityLUTType = "US"
    voi = lut(np.minimum(np.arange(4096) // 8, 255), 0, 8)
    ds = dicom(DEEP, bits=12, ModalityLUTSequence=[modality], VOILUTSequence=[voi])
    np.testing.assert_array_equal(read(to_bytes(ds)).pixels, np.minimum((4095 - DEEP) // 8, 255))


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_does_not_set_the_scale(photometric):
    padded = DEEP.copy()
    padded[:, :60] = 4095
    padded[:, 260:] = 4090
    ds = dicom(
        padded,
        bits=12,
        PhotometricInterpretation=photometric,
        PixelPaddingValue=4095,
        PixelPaddingRangeLimit=4090,
    )
    pixels = read(to_bytes(ds)).pixels
    assert not pixels[:, :60].any()
    assert not pixels[:, 260:].any()
    expected = stretched(DEEP[:, 60:260])
    if photometric == "MONOCHROME1":
        expected = 255 - expected
    assert np.abs(pixels[:, 60:260] - expected).max() <= 1


def test_colour_dicom_becomes_grey():
    rgb = np.stack([PICTURE] * 3, axis=-1)
    result = read(to_bytes(dicom(rgb)))
    np.testing.assert_array_equal(result.pixels, PICTURE)
    assert result.warnings == ()
    frame = save(Image.fromarray(rgb), "JPEG", quality=95)
    ds = dicom(rgb, PhotometricInterpretation="YBR_FULL_422")
    assert mean_error(read(to_bytes(encapsulated(ds, frame, uid.JPEGBaseline8Bit))), PICTURE) < 1


@pytest.mark.parametrize(
    "tags, words",
    [
        ({"Modality": "CT"}, "computed tomography"),
        ({"Modality": "OT"}, "another kind"),
        ({"BodyPartExamined": "HAND"}, "another part of the body"),
        ({"BodyPartExamined": "PORT CHEST"}, ""),
        ({"BodyPartExamined": "", "Modality": "DX"}, ""),
        ({"ViewPosition": "LL"}, "from the side"),
    ],
)
def test_what_the_dicom_says_of_itself_is_told(tags, words):
    told = " ".join(read(to_bytes(dicom(**tags))).warnings)
    assert words in told if words else not told


def test_no_identity_in_result_messages_or_log(caplog):
    secret = "Ottilie^Zwetschgenbaum"
    with warnings.catch_warnings(), config.disable_value_validation():
        data = to_bytes(
            dicom(
                PatientName=secret,
                PatientID=secret,
                InstitutionName=secret,
                StudyDescription=secret,
                Modality=secret[:14],
                BodyPartExamined=secret[:14],
                ViewPosition=secret[:14],
            )
        )
    assert secret.encode() in data
    with warnings.catch_warnings(record=True) as leaked:
        warnings.simplefilter("always")
        result = read(data)
        with pytest.raises(RadiographError) as refused:
            read(data[:-1000])
    for text in (repr(result), str(refused.value), caplog.text, str([w.message for w in leaked])):
        assert "Ottilie" not in text.title()
    assert len(result.warnings) == 2


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
    code = f"import sys, cxrlib.radiograph; sys.exit(bool({heavy} & set(sys.modules)))"
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
    assert any("another part" in w for w in results["RG3_RLE.dcm"].warnings)  # a tibia


def test_real_uploads(real):
    for path in real("uploads").rglob("*.jpeg"):
        result = read(path.read_bytes())
        with Image.open(path) as image:
            assert result.pixels.shape == image.size[::-1]
        assert result.format == "JPEG"
        assert not any("colour" in w or "contrast" in w for w in result.warnings)
