"""DICOM files: compressions, windows, tables, and what must not be told."""

import io
import warnings

import imagecodecs
import numpy as np
import pytest
from made_files import (
    COMPRESSED,
    DEEP,
    PICTURE,
    dicom,
    encapsulated,
    mean_error,
    of_12_bits,
    save,
    to_bytes,
)
from PIL import Image
from pydicom import config, dcmread, uid
from pydicom.dataset import Dataset

from cxrlib.images import dicom as dicom_files
from cxrlib.images.radiograph import RadiographError, read


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressions(name):
    data, allowed = COMPRESSED[name]
    result = read(data)
    eight_bit = name.endswith(" 8") or name == "JPEG baseline"
    assert result.format == "DICOM"
    assert result.warnings == ()
    assert mean_error(result, PICTURE if eight_bit else of_12_bits(DEEP)) <= allowed + 0.001


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
    assert mean_error(result, of_12_bits(DEEP)) < 0.001


@pytest.mark.parametrize("signed", [False, True])
def test_colour_and_signs_in_run_lengths(signed):
    values = DEEP.astype(np.int16) - 2048 if signed else np.stack([PICTURE] * 3, axis=-1)
    ds = dicom(values, bits=12 if signed else 8)
    ds.compress(uid.RLELossless, encoding_plugin="pydicom")
    assert mean_error(read(to_bytes(ds)), of_12_bits(DEEP) if signed else PICTURE) < 0.001


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


@pytest.mark.parametrize("bits", [8, 12])
def test_a_negative_slope_inverts(bits):
    stored = PICTURE if bits == 8 else PICTURE.astype(np.uint16) * 16
    ds = dicom(stored, bits=bits, RescaleSlope=-1, RescaleIntercept=2**bits - 1)
    shown = read(to_bytes(ds)).pixels.astype(float)
    assert np.corrcoef(shown.ravel(), PICTURE.ravel())[0, 1] < -0.9


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
    expected = of_12_bits(DEEP[:, 60:260])
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
        ({"BodyPartExamined": "HAND"}, "another body part"),
        ({"BodyPartExamined": "PORT CHEST"}, ""),
        ({"BodyPartExamined": "", "Modality": "DX"}, ""),
        ({"ViewPosition": "LL"}, "lateral"),
    ],
)
def test_what_the_dicom_says_of_itself_is_told(tags, words):
    told = " ".join(read(to_bytes(dicom(**tags))).warnings)
    assert words in told if words else not told


def test_nothing_of_the_patient_is_parsed(monkeypatch):
    parsed = []

    def spy(*arguments, **options):
        parsed.append(dcmread(*arguments, **options))
        return parsed[-1]

    monkeypatch.setattr(dicom_files, "dcmread", spy)
    patient = {
        "PatientName": "A^B",
        "PatientID": "1",
        "PatientBirthDate": "19331224",
        "InstitutionName": "I",
        "ReferringPhysicianName": "R",
        "StudyDescription": "S",
        "StudyInstanceUID": "1.2",
        "AccessionNumber": "3",
    }
    data = to_bytes(dicom(**patient))
    assert set(patient) < set(dcmread(io.BytesIO(data)).dir())
    read(data)
    (ds,) = parsed
    assert "Rows" in ds
    assert not {*patient, "SOPInstanceUID"} & set(ds.dir())


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
