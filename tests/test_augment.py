"""Random changes of training images: what they move, and what they leave alone."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrlib.images.preprocess import frame
from cxrlib.synthetic.phantom import phantom
from cxrlib.training.augment import PRESETS, Augmentation, augment, repaint_surroundings

PICTURE = phantom(3, pneumonia=True, size=160, aspect=1.25)
OPACITY = PICTURE.opacity.astype(np.uint8) * 255
# Differs from "nothing" by what no eye could see: everything is gone through, nothing changes.
IDENTITY = Augmentation(rotation=1e-9)


def centre(mask: np.ndarray) -> np.ndarray:
    """Centre of mass, (row, column)."""
    return np.array(np.nonzero(mask > 127)).mean(axis=1)


def variants(picture: np.ndarray, recipe: Augmentation, count: int = 60) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    return [augment(picture, recipe, rng) for _ in range(count)]


def test_none_gives_the_image_itself() -> None:
    assert augment(PICTURE.pixels, PRESETS["none"], np.random.default_rng(0)) is PICTURE.pixels


def test_going_through_everything_without_a_change_gives_the_same_pixels() -> None:
    for variant in variants(PICTURE.pixels, IDENTITY, 10):
        np.testing.assert_array_equal(variant, PICTURE.pixels)


@pytest.mark.parametrize("preset", ["light", "strong"])
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(8, 90), width=st.integers(8, 90))
def test_shape_and_type_stay_and_the_source_decides(
    preset: str, seed: int, height: int, width: int
) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8)
    before = picture.copy()
    first, second = (
        augment(picture, PRESETS[preset], np.random.default_rng(seed)) for _ in range(2)
    )
    assert (first.shape, first.dtype) == (picture.shape, np.uint8)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(picture, before)


def test_a_shift_moves_the_opacity_and_nothing_else() -> None:
    recipe = Augmentation(shift=0.1)
    moved = [centre(mask) - centre(OPACITY) for mask in variants(OPACITY, recipe)]
    rows, columns = np.array(moved).T
    height, width = OPACITY.shape
    assert np.abs(rows).max() <= 0.1 * height + 1
    assert np.abs(columns).max() <= 0.1 * width + 1
    assert rows.std() > 0.03 * height and columns.std() > 0.03 * width
    assert abs(np.corrcoef(rows, columns)[0, 1]) < 0.4
    sizes = [(mask > 127).sum() for mask in variants(OPACITY, recipe)]
    assert np.allclose(sizes, (OPACITY > 127).sum(), rtol=0.05)


def test_image_and_mask_move_alike() -> None:
    # With the same source of chance, a mask of the opacity stays on the opacity.
    healthy = phantom(3, pneumonia=False, size=160, aspect=1.25).pixels
    recipe = Augmentation(rotation=10, shift=0.08, zoom=0.12, stretch=0.25, flip=True)
    for seed in range(12):
        ill, well, mask = (
            augment(picture, recipe, np.random.default_rng(seed)).astype(int)
            for picture in (PICTURE.pixels, healthy, OPACITY)
        )
        difference = np.abs(ill - well)
        inside = cv2.erode((mask > 127).astype(np.uint8), np.ones((3, 3))) > 0
        outside = cv2.dilate((mask > 20).astype(np.uint8), np.ones((25, 25))) == 0
        assert difference[inside].mean() > 8 * difference[outside].mean()


def test_flip_mirrors_half_of_them() -> None:
    flipped = variants(PICTURE.pixels, Augmentation(flip=True), 200)
    mirrored = [np.array_equal(variant, PICTURE.pixels[:, ::-1]) for variant in flipped]
    same = [np.array_equal(variant, PICTURE.pixels) for variant in flipped]
    assert sum(mirrored) + sum(same) == 200
    assert 70 < sum(mirrored) < 130
    assert not PRESETS["light"].flip and not PRESETS["strong"].flip


def test_stretch_changes_width_and_height_independently() -> None:
    disc = np.zeros((201, 201), np.uint8)
    cv2.circle(disc, (100, 100), 40, 255, -1)
    spans = np.array(
        [
            (np.ptp(np.nonzero(v > 127)[0]), np.ptp(np.nonzero(v > 127)[1]))
            for v in variants(disc, Augmentation(stretch=0.25), 150)
        ]
    )
    assert abs(np.corrcoef(spans.T)[0, 1]) < 0.25
    ratio = spans[:, 1] / spans[:, 0]
    assert ratio.max() > 1.3 and ratio.min() < 1 / 1.3
    assert spans.max() <= 80 * 1.25 + 2 and spans.min() >= 80 / 1.25 - 2
    zoomed = variants(disc, Augmentation(zoom=0.2), 60)
    for picture in zoomed:
        rows, columns = np.nonzero(picture > 127)
        assert abs(np.ptp(rows) - np.ptp(columns)) <= 1


def test_all_geometry_is_one_resampling() -> None:
    """A variant is as sharp as one turn leaves it; turning, zooming and moving one after another
    would blur three times."""
    noise = np.random.default_rng(0).integers(0, 256, (200, 200), np.uint8)

    def sharpness(picture: np.ndarray) -> float:
        return float(cv2.Laplacian(picture[60:140, 60:140].astype(np.float32), -1).std())

    turned = np.mean([sharpness(v) for v in variants(noise, Augmentation(rotation=8))])
    recipe = Augmentation(rotation=8, shift=0.05, zoom=1e-6, stretch=1e-6)
    together = np.mean([sharpness(v) for v in variants(noise, recipe)])
    assert together > 0.93 * turned


def test_places_between_pixels_are_interpolated() -> None:
    ramp = np.tile(np.arange(0, 240, 10, dtype=np.uint8), (24, 1))
    moved = np.array([v[12, 12] for v in variants(ramp, Augmentation(shift=0.04))])
    assert np.ptp(moved) <= 20, "less than a pixel either way"
    assert len(np.unique(moved)) > 8, "by fractions of a pixel"


@pytest.mark.parametrize("name", ["brightness", "contrast", "gamma"])
def test_exposure_keeps_the_order_of_grey_levels(name: str) -> None:
    ramp = np.tile(np.arange(256, dtype=np.uint8), (8, 1))
    recipe = Augmentation(**{name: 0.4})
    seen = variants(ramp, recipe)
    for variant in seen:
        assert (np.diff(variant[0].astype(int)) >= 0).all()
    levels = np.array(
        [variant[0, 128] if name != "contrast" else variant[0, 60] for variant in seen]
    )
    assert levels.min() < levels.max() - 20
    if name == "gamma":
        assert all(variant[0, 0] == 0 and variant[0, 255] == 255 for variant in seen)


def test_lost_resolution_takes_fine_detail_and_keeps_the_coarse() -> None:
    x = np.arange(256)
    fine = (127 + 100 * np.sin(2 * np.pi * x / 3))[None].repeat(256, 0).astype(np.uint8)
    coarse = (127 + 100 * np.sin(2 * np.pi * x / 64))[None].repeat(256, 0).astype(np.uint8)
    recipe = Augmentation(resolution=77)
    kept_fine = np.array([v.std() / fine.std() for v in variants(fine, recipe)])
    kept_coarse = np.array([v.std() / coarse.std() for v in variants(coarse, recipe)])
    degraded = kept_fine < 0.8
    assert 0.3 < degraded.mean() < 0.65, "about half"
    assert kept_fine.min() < 0.25
    assert kept_coarse.min() > 0.93


def test_noise_blur_and_erasing_reach_their_share_and_no_further_than_asked() -> None:
    flat = np.full((168, 168), 128, np.uint8)
    noise = np.array([v.std() for v in variants(flat, Augmentation(noise=8), 200)])
    assert 0.37 < (noise > 0.5).mean() < 0.6 and noise.max() < 8.5
    erased = np.array([(v != 128).mean() for v in variants(flat, Augmentation(erase=0.1), 200)])
    assert 0.2 < (erased > 0).mean() < 0.45 and erased.max() < 0.11
    sharp = PICTURE.pixels
    blurred = np.array(
        [cv2.Laplacian(v, cv2.CV_32F).std() for v in variants(sharp, Augmentation(blur=0.01), 200)]
    )
    assert 0.3 < (blurred < 0.95 * blurred.max()).mean() < 0.6


def test_noise_is_normal_and_leaves_the_mean() -> None:
    flat = np.full((250, 400), 128, np.uint8)
    recipe = Augmentation(noise=16)
    noise = max(variants(flat, recipe, 12), key=np.std).astype(float) - 128
    assert abs(noise.mean()) < 0.2
    z = (noise.ravel() - noise.mean()) / noise.std()
    for deviations, share in ((1, 0.3173), (2, 0.0455), (3, 0.0027)):
        # Whole grey levels blur the border between inside and outside by half of one each way.
        half = 0.5 / noise.std()
        least, most = ((np.abs(z) > deviations + shift).mean() for shift in (half, -half))
        assert 0.9 * least <= share <= 1.1 * most
    assert 3.5 < np.abs(z).max() < 5.5
    assert abs((z**3).mean()) < 0.05 and (z**4).mean() == pytest.approx(3, abs=0.1)
    neighbours = np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]
    assert abs(neighbours) < 0.02


def test_blur_is_a_gaussian_of_the_size_it_is_asked_for() -> None:
    spread = []
    point = np.zeros((61, 61), np.uint8)
    point[30, 30] = 255
    for variant in variants(point, Augmentation(blur=0.03), 200):
        weights = variant.astype(float)
        rows, columns = np.mgrid[:61, :61] - 30
        assert abs((rows * weights).sum()) < 1 and abs((columns * weights).sum()) < 1
        spread.append(np.sqrt((rows**2 * weights).sum() / weights.sum()))
    spread = np.array(spread)
    assert spread.max() == pytest.approx(0.03 * 61, rel=0.2)
    assert 0.35 < (spread > 0.1).mean() < 0.65


def test_switching_one_change_off_leaves_the_others_as_they_were() -> None:
    strong = replace(PRESETS["strong"], noise=0, blur=0, resolution=0, erase=0)
    quiet = replace(strong, brightness=0, contrast=0, gamma=0)
    for seed in range(10):
        with_light, without = (
            augment(OPACITY, recipe, np.random.default_rng(seed)) for recipe in (strong, quiet)
        )
        if with_light.max() > with_light.min():
            middle = (int(with_light.max()) + int(with_light.min())) / 2
            agree = (with_light > middle) == (without > 127)
            assert agree.mean() > 0.97


def test_repainting_keeps_the_lungs_and_changes_what_is_around_them() -> None:
    drawn = phantom(1, pneumonia=True, size=224)
    other = phantom(2, pneumonia=False, size=224).pixels
    lungs = drawn.lungs.astype(np.uint8)
    core = cv2.erode(lungs, np.ones((25, 25), np.uint8)) > 0
    far = cv2.dilate(lungs, np.ones((61, 61), np.uint8)) == 0
    repainted = [
        repaint_surroundings(drawn.pixels, lungs, other, np.random.default_rng(seed))
        for seed in range(60)
    ]
    changed = [picture for picture in repainted if (picture != drawn.pixels).any()]
    assert 0.4 < len(changed) / len(repainted) < 0.8
    for picture in changed:
        assert np.abs(picture[core].astype(int) - drawn.pixels[core]).max() <= 3
        assert np.abs(picture[far].astype(int) - drawn.pixels[far]).mean() > 3


def test_without_a_lung_mask_nothing_is_repainted() -> None:
    pixels = phantom(1, pneumonia=True, size=128).pixels
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert repaint_surroundings(pixels, np.zeros_like(pixels), pixels[::-1], rng) is pixels


def test_a_box_is_framed_and_changed_in_one_resampling() -> None:
    picture = phantom(5, pneumonia=True, size=224).pixels
    box = (0.2, 0.1, 0.9, 0.85)
    plain = frame(picture, box, 168)
    next_to_nothing = augment(picture, IDENTITY, np.random.default_rng(0), box, 168)
    assert np.abs(next_to_nothing.astype(int) - plain).max() <= 1
    unchanged = augment(picture, Augmentation(), np.random.default_rng(0), box, 168)
    np.testing.assert_array_equal(unchanged, plain)
    # What a shift moves into sight is the image around the box, not a margin.
    shifted = augment(picture, Augmentation(shift=0.1), np.random.default_rng(3), box, 168)
    x, y = (0.1 * draw for draw in np.random.default_rng(3).uniform(-1, 1, 6)[4:6])
    moved = frame(picture, (0.2 - 0.7 * x, 0.1 - 0.75 * y, 0.9 - 0.7 * x, 0.85 - 0.75 * y), 168)
    assert np.corrcoef(shifted.ravel(), moved.ravel())[0, 1] > 0.99
