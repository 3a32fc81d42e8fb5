"""One X-ray in awkward guises: each gives the same pixels, or is refused for what it is."""

import csv
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from made_files import DEEP, PICTURE, dicom, of_12_bits, save, to_bytes, without
from odd_files import odd_dicom, table, tiff
from PIL import Image

from cxrlib.images.radiograph import RadiographError, read

WINDOW = {"WindowCenter": 2048, "WindowWidth": 4096}
REFUSED = {
    "png_bitflip_read_silently.png": "damaged",
    "dicom_columns_lie.dcm": "more pixel data",
    "jpg_12bit.jpg": "12-bit JPEG image",
}
TOLD = {"dcm12_nan_window.dcm": "program set the contrast"}
LOSSY = {"dcm_jpeg8_8in16.dcm": 8}


def test_every_shared_case_gives_its_right_answer(real) -> None:
    folder = real("cases")
    original = read((folder / "original.png").read_bytes()).pixels.astype(int)
    for row in csv.DictReader((folder / "cases.csv").read_text().splitlines()):
        name = row["file"]
        data = (folder / name).read_bytes()
        if name in REFUSED:
            with pytest.raises(RadiographError, match=REFUSED[name]):
                read(data)
            continue
        found = read(data)
        assert np.abs(found.pixels - original).max() <= LOSSY.get(name, 1), name
        if name in TOLD:
            assert TOLD[name] in " ".join(found.warnings)
        else:
            assert found.warnings == (), name


@pytest.mark.parametrize(
    "tags",
    [
        {"RescaleSlope": "", "RescaleIntercept": ""},
        {"RescaleIntercept": "0"},
        {"VOILUTFunction": ""},
        {"WindowCenter": ["nan", "2048"], "WindowWidth": ["nan", "4096"]},
        {"PhotometricInterpretation": "Monochrome_2"},
        {"VOILUTSequence": [table([4096, 0, 16], list(range(4096)))]},
        {"BodyPartExamined": "TORAX"},
        {"BodyPartExamined": "THX"},
        {"BodyPartExamined": "UNKNOWN"},
    ],
    ids=str,
)
def test_unusual_display_tags_change_nothing(tags: dict[str, object]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, on writing such values
        found = read(odd_dicom(**WINDOW | tags))
    assert np.abs(found.pixels - of_12_bits(DEEP)).max() <= 1
    assert found.warnings == ()


@pytest.mark.parametrize(
    "tags",
    [
        {"WindowWidth": "-4096"},
        {"WindowCenter": "nan", "WindowWidth": "nan"},
        {"WindowCenter": "1e6"},
        {"VOILUTSequence": [table([4096, 0, 16], [0, 1])], "WindowWidth": "0"},
    ],
    ids=str,
)
def test_a_window_that_cannot_be_used_is_left_out_and_said(tags: dict[str, object]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = read(odd_dicom(**WINDOW | tags))
    assert np.abs(found.pixels - of_12_bits(DEEP)).max() <= 1
    assert len(found.warnings) == 1
    assert "ignored" in found.warnings[0]
    assert "program set the contrast" in found.warnings[0]


@pytest.mark.parametrize(
    "width, warned", [(b"4096,0", False), (b"broad ", True), (b"NaN   ", True), (b"      ", True)]
)
def test_numbers_written_otherwise(width: bytes, warned: bool) -> None:
    data = odd_dicom(WindowCenter="2048.0", WindowWidth="4096.0")
    found = read(data.replace(b"2048.0", b"2048,0").replace(b"4096.0", width))
    assert np.abs(found.pixels - of_12_bits(DEEP)).max() <= 1
    assert bool(found.warnings) == warned


def test_a_packed_table_of_8_bits_is_read() -> None:
    entries = np.minimum(np.arange(4096) // 16, 255).astype(np.uint8)
    packed = table([4096, 0, 8], entries.view("<u2").tolist())
    found = read(odd_dicom(VOILUTSequence=[packed]))
    np.testing.assert_array_equal(found.pixels, entries[DEEP])


@pytest.mark.parametrize(
    "keyword",
    ["SamplesPerPixel", "BitsStored", "BitsAllocated", "HighBit", "PixelRepresentation",
     "PhotometricInterpretation"],
)  # fmt: skip
@pytest.mark.parametrize("pixels", [PICTURE, DEEP], ids=["8 bits", "12 bits"])
def test_a_missing_attribute_is_filled_in(keyword: str, pixels: np.ndarray) -> None:
    bits = 8 if pixels is PICTURE else 12
    found = read(to_bytes(without(dicom(pixels, bits=bits), keyword)))
    expected = PICTURE if bits == 8 else of_12_bits(DEEP)
    assert np.abs(found.pixels - expected).max() <= 1


@pytest.mark.parametrize("signed", [False, True])
def test_values_in_the_upper_bits_are_shifted_down(signed: bool) -> None:
    values = DEEP.astype(np.int16) - 2048 if signed else DEEP
    ds = dicom(values << 4, bits=12, HighBit=15)
    assert np.abs(read(to_bytes(ds)).pixels - of_12_bits(DEEP)).max() <= 1


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
@pytest.mark.parametrize("factor", [1, 16, 257])
def test_the_same_grey_values_are_the_same_at_any_depth(format: str, factor: int) -> None:
    deep = Image.fromarray(PICTURE.astype(np.uint16) * factor)
    found = read(save(deep, format))
    assert np.abs(found.pixels.astype(int) - PICTURE).max() <= 1
    assert found.warnings == ()


def test_a_contrast_that_the_program_sets_is_told() -> None:
    narrow = Image.fromarray(PICTURE.astype(np.uint16) * 20 + 20_000)
    assert "program set the contrast" in " ".join(read(save(narrow, "PNG")).warnings)


@pytest.mark.parametrize("alpha", [0, 1, 128])
def test_alpha_that_is_the_same_everywhere_is_ignored(alpha: int) -> None:
    image = Image.fromarray(PICTURE).convert("RGBA")
    image.putalpha(alpha)
    np.testing.assert_array_equal(read(save(image, "PNG")).pixels, PICTURE)


def test_unsigned_and_signed_tiff_values_keep_their_sign() -> None:
    large = (PICTURE.astype(np.uint32) * 16_843_009).tobytes()
    assert np.abs(read(tiff(large, t258=32, t339=1)).pixels.astype(int) - PICTURE).max() <= 1
    signed = (PICTURE.astype(int) - 128).astype(np.int8).tobytes()
    assert np.abs(read(tiff(signed, t339=2)).pixels.astype(int) - PICTURE).max() <= 1


def test_a_thumbnail_page_is_passed_over() -> None:
    file = io.BytesIO()
    small = Image.fromarray(PICTURE).resize((80, 64))
    Image.fromarray(PICTURE).save(file, "TIFF", save_all=True, append_images=[small])
    np.testing.assert_array_equal(read(file.getvalue()).pixels, PICTURE)


def test_a_png_whose_pixels_fail_their_checksum_is_damaged() -> None:
    data = bytearray(save(Image.fromarray(PICTURE), "PNG"))
    at = data.index(b"IDAT")
    length = struct.unpack(">I", data[at - 4 : at])[0]
    data[at + 4 + length : at + 8 + length] = struct.pack(">I", zlib.crc32(b"another"))
    with pytest.raises(RadiographError, match="damaged"):
        read(bytes(data))


@pytest.mark.parametrize(
    "data, name",
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", "AVIF"),
        (save(Image.fromarray(PICTURE), "JPEG2000"), "JPEG 2000"),
        (b"PK\3\4" + bytes(40), "ZIP"),
        (b"%PDF-1.7\n", "PDF"),
        (bytes(344) + b"n+1\0" + bytes(600), "NIfTI"),
        (b"<!DOCTYPE html><html>", "HTML"),
        (tiff(DEEP.astype(np.float16).tobytes(), t258=16, t339=3), "floating-point.*16 bits"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_kind_that_is_not_read_is_named(data: bytes, name: str) -> None:
    with pytest.raises(RadiographError, match=name) as refused:
        read(data)
    assert "damaged" not in str(refused.value)


def test_a_pixel_aspect_ratio_is_not_called_cropping() -> None:
    ds = dicom(np.repeat(PICTURE, 3, axis=1), PixelAspectRatio=[3, 1])
    found = read(to_bytes(ds))
    assert found.pixels.shape == (3 * PICTURE.shape[0], 3 * PICTURE.shape[1])
    assert found.warnings == ()


@pytest.mark.parametrize(
    "tags, word",
    [
        ({"PresentationIntentType": "FOR PROCESSING"}, "FOR PROCESSING"),
        ({"PresentationLUTShape": "INVERSE"}, "INVERSE"),
    ],
)
def test_raw_and_contradictory_images_are_named(tags: dict[str, str], word: str) -> None:
    assert word in " ".join(read(to_bytes(dicom(**tags))).warnings)
