"""What a network is given, and the cache it is given from."""

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from cxrlib.data import dataset
from cxrlib.images import preprocess, radiograph
from cxrlib.synthetic.phantom import phantom


@pytest.fixture
def folder(phantoms: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(phantoms, tmp_path / "chest_xray"))


def test_the_whole_image_is_squashed_to_a_square() -> None:
    wide = np.zeros((120, 300), np.uint8)
    wide[:, 150:] = 200
    wide[60:, :] += 50
    square = preprocess.prepare(wide, 96)
    assert (square.shape, square.dtype) == ((96, 96), np.uint8)
    quarters = [square[20, 20], square[20, 76], square[76, 20], square[76, 76]]
    assert quarters == [0, 200, 50, 250]


def test_shrinking_does_not_let_fine_stripes_through() -> None:
    # Picking every tenth pixel would turn these stripes into black, white, or false coarse ones.
    stripes = np.tile(np.array([0, 255], np.uint8), (1000, 500))
    small = preprocess.prepare(stripes, 100)
    assert abs(float(small.mean()) - 127.5) < 2
    assert small.std() < 3


@pytest.mark.parametrize("period", [3, 5, 8])
def test_shrinking_averages_what_is_finer_than_a_pixel(period: int) -> None:
    # Interpolating between the nearest pixels, without a wider filter, lets these through.
    fine = np.where(np.arange(1000) % period < period / 2, 255, 0).astype(np.uint8)
    small = preprocess.prepare(np.tile(fine, (1000, 1)), 64)
    assert abs(float(small.mean()) - fine.mean()) < 3
    assert small.std() < 12


def test_the_original_size_hardly_matters() -> None:
    large = phantom(5, pneumonia=True, size=900).pixels
    half = cv2.resize(large, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    difference = preprocess.prepare(large, 128).astype(int) - preprocess.prepare(half, 128).astype(
        int
    )
    assert np.abs(difference).mean() < 1


def test_equalizing_spreads_the_grey_levels() -> None:
    flat = (phantom(5, pneumonia=False, size=256).pixels // 4 + 90).astype(np.uint8)
    spread = {how: preprocess.equalize(flat, how).std() for how in ("none", "clahe", "histogram")}
    assert spread["none"] < spread["clahe"] < spread["histogram"]
    assert preprocess.equalize(flat, "none") is flat
    prepared = preprocess.prepare(flat, 96, "histogram")
    np.testing.assert_array_equal(prepared, cv2.equalizeHist(preprocess.prepare(flat, 96)))


def test_edges_lie_where_grey_levels_change() -> None:
    picture = np.full((200, 200), 60, np.uint8)
    cv2.rectangle(picture, (50, 50), (149, 149), 180, -1)
    for how in ("canny", "sobel"):
        found = preprocess.edges(picture, how)
        assert (found.shape, found.dtype) == (picture.shape, np.uint8)
        rows, columns = np.nonzero(found > 100)
        assert len(rows) > 300
        on_border = np.minimum(
            np.abs(np.array([rows - 49.5, rows - 149.5])).min(axis=0),
            np.abs(np.array([columns - 49.5, columns - 149.5])).min(axis=0),
        )
        assert on_border.max() <= 3
        assert not preprocess.edges(np.full((80, 80), 9, np.uint8), how).any()


def test_a_thumbnail_holds_the_whole_image() -> None:
    small = preprocess.thumbnail(np.full((100, 200), 80, np.uint8), 60)
    assert small.shape == (60, 60)
    assert (small[15:45] == 80).all()
    assert not small[:15].any() and not small[45:].any()


def test_cache_holds_what_prepare_gives_in_the_order_of_the_table(
    phantoms: Path, tmp_path: Path
) -> None:
    table = dataset.index(phantoms)
    shares: list[float] = []
    squares = preprocess.cached_pixels(table, 48, folder=tmp_path, progress=shares.append)
    assert (squares.shape, squares.dtype) == ((len(table), 48, 48), np.uint8)
    assert isinstance(squares, np.memmap)
    assert shares[-1] == 1
    for row in (0, len(table) // 2, len(table) - 1):
        picture = radiograph.read((phantoms / table.path[row]).read_bytes())
        np.testing.assert_array_equal(squares[row], preprocess.prepare(picture.pixels, 48))
    with pytest.raises(ValueError, match="read-only"):
        squares[0, 0, 0] = 1


def test_cache_is_made_once_and_anew_when_an_image_or_a_setting_changes(
    folder: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "kept"
    table = dataset.index(folder)
    first = preprocess.cached_pixels(table, 32, folder=kept)
    decoded: list[float] = []
    preprocess.cached_pixels(table, 32, folder=kept, progress=decoded.append)
    assert decoded == [], "decoded again"
    preprocess.cached_pixels(table, 32, "clahe", folder=kept)
    preprocess.cached_pixels(table, 40, folder=kept)

    changed = folder / table.path[1]
    shutil.copy(folder / table.path[0], changed)
    second = preprocess.cached_pixels(dataset.index(folder), 32, folder=kept)
    np.testing.assert_array_equal(second[1], first[0])
    np.testing.assert_array_equal(np.delete(second, 1, 0), np.delete(first, 1, 0))
    assert len(list(kept.iterdir())) == 4
    # The name does not hang on the file's date or place.
    os.utime(changed, (0, 0))
    moved = Path(shutil.move(folder, tmp_path / "elsewhere"))
    preprocess.cached_pixels(dataset.index(moved), 32, folder=kept)
    assert len(list(kept.iterdir())) == 4


def test_an_image_that_cannot_be_read_leaves_no_half_cache(folder: Path, tmp_path: Path) -> None:
    table = dataset.index(folder)
    (folder / table.path[7]).write_bytes(b"no picture")
    with pytest.raises(radiograph.RadiographError, match=table.path[7]):
        preprocess.cached_pixels(table, 32, folder=tmp_path / "kept")
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_box_is_cut_out_and_enlarged() -> None:
    square = np.zeros((100, 100), np.uint8)
    square[20:60, 30:80] = 200
    framed = preprocess.frame(square, (0.3, 0.2, 0.8, 0.6), 60)
    assert framed.shape == (60, 60)
    assert (framed[2:-2, 2:-2] == 200).all()
    np.testing.assert_array_equal(preprocess.frame(square, preprocess.WHOLE, 100), square)
    x = np.tile(np.arange(100, dtype=np.uint8), (100, 1))
    half = preprocess.frame(x, (0.25, 0, 0.75, 1), 100)
    np.testing.assert_allclose(half[50], 25 + (np.arange(100) - 0.5) / 2, atol=1)


def test_a_box_of_a_large_image_is_no_sharper_than_that_of_a_small_one() -> None:
    large = phantom(1, pneumonia=False, size=1200).pixels
    small = preprocess.prepare(large, 224)  # 168 px of a box are cut from a square of 224
    box = (0.1, 0.1, 0.8, 0.9)
    np.testing.assert_array_equal(
        preprocess.prepare(large, 168, box=box), preprocess.prepare(small, 168, box=box)
    )


def test_boxes_have_caches_of_their_own(phantoms: Path, tmp_path: Path) -> None:
    table = dataset.index(phantoms)
    whole = preprocess.cached_pixels(table, 128, folder=tmp_path)
    # Boxes of the same size of input, in the same folder: one must not be taken for the other.
    for box in ((0.1, 0.1, 0.5, 0.9), (0.5, 0.1, 0.9, 0.9)):
        boxes = [box] * len(table)
        boxed = preprocess.cached_pixels(table, 96, "none", boxes, folder=tmp_path)
        np.testing.assert_array_equal(boxed[3], preprocess.frame(whole[3], box, 96))
    assert len(list(tmp_path.glob("*.npy"))) == 3


def test_files_are_decoded_once_for_all_that_a_run_makes_of_them(
    folder: Path, tmp_path: Path
) -> None:
    table, kept = dataset.index(folder), tmp_path / "kept"
    pictures = [radiograph.read_file(folder / path).pixels for path in table.path]
    preprocess.cached_pixels(table, 128, folder=kept)
    for path in table.path:
        (folder / path).unlink()  # what follows is made of the squares
    box = (0.1, 0.2, 0.8, 0.9)
    boxed = preprocess.cached_pixels(table, 96, "clahe", [box] * len(table), folder=kept)
    equalized = preprocess.cached_pixels(table, 128, "histogram", folder=kept)
    for row, pixels in enumerate(pictures):
        np.testing.assert_array_equal(boxed[row], preprocess.prepare(pixels, 96, "clahe", box))
        np.testing.assert_array_equal(equalized[row], preprocess.prepare(pixels, 128, "histogram"))
