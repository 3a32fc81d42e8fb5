"""Bad files: each is read, or refused with a sentence; never anything else.

`benchmarks/hostile.py` does the same with thousands, and with the largest, and measures.
"""

import warnings
from pathlib import Path
from random import Random

import hostile_files
import numpy as np
import PIL
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_files import COMPRESSED, ROWS, VALID

from cxrlib.images.radiograph import RadiographError, read

PARSERS = tuple(str(Path(package.__file__).parent) for package in (PIL, pydicom))
many = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def read_or_refused(data: bytes) -> np.ndarray | None:
    """The pixels, or None; what the parsers remark on damaged metadata may go to the log."""
    with warnings.catch_warnings(record=True) as remarks:
        warnings.simplefilter("always")
        try:
            pixels = read(data).pixels
        except RadiographError as error:
            assert str(error).endswith(".")
            pixels = None
    assert [remark for remark in remarks if not remark.filename.startswith(PARSERS)] == []
    if pixels is not None:
        assert (pixels.dtype, pixels.ndim) == (np.uint8, 2)
        assert min(pixels.shape) >= 64
    return pixels


@pytest.mark.parametrize("name", hostile_files.SMALL)
def test_corpus(name: str) -> None:
    make, expected = hostile_files.SMALL[name]
    outcome = "refused" if read_or_refused(make()) is None else "read"
    assert expected in (outcome, hostile_files.EITHER)


@many
@given(st.binary(max_size=600), st.sampled_from([b"", *(data[:140] for data in VALID)]))
def test_any_bytes(noise: bytes, start: bytes) -> None:
    read_or_refused(start + noise)


@many
@given(st.sampled_from(VALID), st.integers(0, 2**32))
def test_mutated_files(valid: bytes, seed: int) -> None:
    read_or_refused(hostile_files.mutate(valid, Random(seed)))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("valid", VALID, ids=range(len(VALID)))
def test_a_file_cut_off_is_refused(valid: bytes, share: float) -> None:
    assert read_or_refused(valid[: int(len(valid) * share)]) is None


@pytest.mark.parametrize("name", ["JPEG baseline", "JPEG lossless", "JPEG-LS", "JPEG 2000"])
def test_a_frame_larger_than_its_header_says_is_not_decoded(name: str) -> None:
    data = COMPRESSED[name][0]
    rows, fewer = (b"\x28\0\x10\0US\x02\0" + n.to_bytes(2, "little") for n in (ROWS, ROWS // 2))
    assert rows in data
    with pytest.raises(RadiographError, match="damaged"):
        read(data.replace(rows, fewer))
