"""The evidence map: what it is taught of each cell, and the looks that images lend each other."""

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from cxrlib.images.style import lend, style_of
from cxrlib.runs.config import TrainingConfig
from cxrlib.synthetic import phantom
from cxrlib.training.augment import PRESETS, random_geometry
from cxrlib.training.batches import Batches, Framing, Samples, Variation

NORMAL, PNEUMONIA, DRAWN, NO_LUNGS = range(4)  # places in an epoch
SIDE, GRID = 160, (10, 10)
RADIOGRAPHS = [phantom.phantom(7400 + n, pneumonia=n == PNEUMONIA, size=SIDE) for n in range(4)]
LUNGS = np.stack([one.lungs.astype(np.uint8) for one in RADIOGRAPHS])
LUNGS[NO_LUNGS] = 0


def batch(preset: str, seed: int = 0) -> dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Of each place its image, its cells' targets and their weights."""
    weights = np.arange(4, dtype=np.float32)
    batches = Batches(
        Samples(
            np.stack([one.pixels for one in RADIOGRAPHS]),
            np.arange(4),
            np.array([[0], [1], [1], [1]], np.float32),
            weights,
            synthetic=np.arange(4) == DRAWN,
        ),
        Framing([(0.0, 0.0, 1.0, 1.0)] * 4, SIDE, LUNGS),
        Variation(PRESETS[preset], evidence_grid=GRID),
        batch_size=4,
        seed=seed,
    )
    inputs, targets, known = batches[0]
    assert targets["evidence"].shape == (4, *GRID, 1)
    assert known["evidence"].shape == (4, *GRID)
    return {
        int(place): (inputs[n, ..., 0], targets["evidence"][n, ..., 0], known["evidence"][n])
        for n, place in enumerate(known["probability"])
    }


def test_a_cell_is_taught_what_is_known_of_it() -> None:
    found = batch("none")
    _, targets, known = found[NORMAL]
    assert not targets.any() and (known == 1).all(), "no evidence anywhere in a normal image"

    image, targets, known = found[DRAWN]
    rise = cv2.resize(
        image.astype(np.float32) - RADIOGRAPHS[DRAWN].pixels, GRID, interpolation=cv2.INTER_AREA
    )
    assert (known == 1).all() and targets.max() > 0.5
    assert rise[targets > 0.5].mean() > 3 * abs(rise[targets == 0].mean())

    _, targets, known = found[PNEUMONIA]
    lungs = cv2.resize(LUNGS[PNEUMONIA].astype(np.float32), GRID, interpolation=cv2.INTER_AREA)
    assert not targets.any()
    assert not known[lungs > 0.1].any(), "where in the lungs it is nobody said"
    assert (known > 0).mean() > 0.2, "outside of them it is not"

    _, targets, known = found[NO_LUNGS]
    assert not targets.any() and not known.any(), "without lungs nothing is known of a pneumonia"


def test_masks_move_with_the_image() -> None:
    spot = np.zeros((SIDE, SIDE), np.uint8)
    spot[40:80, 30:60] = 255
    for seed in range(8):
        geometry = random_geometry(PRESETS["machines"], np.random.default_rng(seed))
        moved = geometry.move_mask((spot[::2, ::2] > 0).astype(np.uint8), size=SIDE)
        seen = geometry.move(spot, size=SIDE)
        assert ((seen > 127) == (moved > 0)).mean() > 0.97
        assert (moved > 0).sum() > 300


def blurred(pixels: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(pixels, (0, 0), 2)


def detail(pixels: np.ndarray) -> float:
    return float(cv2.Laplacian(pixels, cv2.CV_32F).std())


def test_a_style_brings_sharpness_and_grey_levels_and_leaves_the_anatomy() -> None:
    sharp = phantom.phantom(7500, pneumonia=False, size=192).pixels
    other = phantom.phantom(7501, pneumonia=False, size=192).pixels
    dull = np.clip(blurred(other) * 0.4 + 90, 0, 255).astype(np.uint8)
    changed = [lend(sharp, style_of(dull), np.random.default_rng(seed)) for seed in range(20)]
    assert np.median([detail(one) for one in changed]) < 0.7 * detail(sharp)
    contrasts = [np.ptp(np.quantile(one, [0.05, 0.95])) for one in changed]
    assert np.median(contrasts) < 0.85 * np.ptp(np.quantile(sharp, [0.05, 0.95]))
    for one in changed:
        assert np.corrcoef(blurred(one).ravel(), blurred(sharp).ravel())[0, 1] > 0.9
    back = lend(changed[0], style_of(sharp), np.random.default_rng(1))
    assert detail(back) > detail(changed[0])


def test_its_own_style_changes_next_to_nothing() -> None:
    pixels = phantom.phantom(7502, pneumonia=True, size=128).pixels
    same = lend(pixels, style_of(pixels), np.random.default_rng(0))
    assert np.quantile(np.abs(same.astype(int) - pixels), 0.99) <= 3


@pytest.mark.parametrize(
    ("asked", "remedy"),
    [
        ({"head_epochs": 2}, "head_epochs=0"),
        ({"size": 200}, "multiple of 32"),
        ({"classes": 3}, "head=softmax"),
        ({"consistency_weight": 1.0}, "consistency_weight=0"),
        ({"distribute": True}, "distribute"),
    ],
)
def test_what_an_evidence_map_cannot_be_learned_with_is_refused(asked: dict, remedy: str) -> None:
    with pytest.raises(ValidationError, match=remedy):
        TrainingConfig(**{"head": "evidence", "head_epochs": 0} | asked)
