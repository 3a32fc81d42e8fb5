"""Opacities drawn into radiographs: where they are, where nothing changes, what they teach."""

import numpy as np
import pytest
from pydantic import ValidationError

from cxrlib.images.preprocess import frame
from cxrlib.runs.config import TrainingConfig
from cxrlib.synthetic import phantom
from cxrlib.synthetic.opacities import draw_opacities
from cxrlib.training.batches import Batches, Framing, Samples, Variation


def test_lungs_whiten_where_the_mask_says_and_nothing_else_changes() -> None:
    whitened = []
    for seed in range(16):
        healthy = phantom.phantom(7000 + seed, pneumonia=False, size=224)
        lungs = healthy.lungs.astype(np.uint8)
        drawn, opacity = draw_opacities(healthy.pixels, lungs, np.random.default_rng(seed))
        rise = drawn.astype(float) - healthy.pixels
        assert 0.01 < opacity[healthy.lungs].mean() < 0.97
        # With a part of the lung goes the outline of heart and diaphragm: a little lies beyond it.
        assert opacity[~healthy.lungs].mean() < 0.1
        untouched = ~opacity
        assert np.abs(rise[untouched]).mean() < np.abs(rise[opacity]).mean() / 2
        whitened.append(rise[opacity].mean())
    assert min(whitened) > 1, "a faint haze"
    assert np.median(whitened) > 8


def test_the_mask_may_be_coarser_than_the_image() -> None:
    healthy = phantom.phantom(7100, pneumonia=False, size=256)
    coarse = healthy.lungs[::2, ::2].astype(np.uint8)
    drawn, opacity = draw_opacities(healthy.pixels, coarse, np.random.default_rng(0))
    assert drawn.shape == opacity.shape == (256, 256)
    assert healthy.lungs[opacity].mean() > 0.9


def test_a_batch_draws_into_the_rows_it_was_told_and_anew_each_epoch() -> None:
    healthy = [phantom.phantom(7200 + number, pneumonia=False, size=128) for number in range(4)]
    pixels = np.stack([one.pixels for one in healthy])
    lungs = np.stack([one.lungs.astype(np.uint8) for one in healthy])
    rows, drawn = np.array([0, 1, 2, 3, 2]), np.arange(5) == 4
    number = np.arange(5, dtype=np.float32)
    batches = Batches(
        Samples(pixels, rows, number[:, None], number, drawn),
        Framing(size=128, lungs=lungs),
        batch_size=5,
        seed=0,
    )
    seen = []
    for epoch in range(2):
        batches.start_epoch(epoch)
        inputs, _, numbers = batches[0]
        shown = {
            int(number): picture[..., 0] for number, picture in zip(numbers, inputs, strict=True)
        }
        for row in range(4):
            np.testing.assert_array_equal(shown[row], pixels[row])
        assert (shown[4] != pixels[2]).any()
        seen.append(shown[4])
    assert (seen[0] != seen[1]).any()


def test_opacities_drawn_once_are_those_that_are_shown_unchanged() -> None:
    healthy = [phantom.phantom(7300 + number, pneumonia=False, size=128) for number in range(3)]
    pixels = np.stack([one.pixels for one in healthy])
    lungs = np.stack([one.lungs.astype(np.uint8) for one in healthy])
    rows, drawn = np.array([0, 1, 2, 2]), np.arange(4) == 3
    boxes = [(0.1, 0.2, 0.9, 0.8)] * 3
    number = np.arange(4, dtype=np.float32)
    batches = Batches(
        Samples(pixels, rows, number[:, None], number, drawn),
        Framing(boxes, 96, lungs),
        Variation(synthetic_once=True),
        batch_size=2,
        seed=0,
    )
    unchanged = np.concatenate(list(batches.unchanged()))
    for row in range(3):
        np.testing.assert_array_equal(unchanged[row, ..., 0], frame(pixels[row], boxes[row], 96))
    assert (unchanged[3] != unchanged[2]).any()
    for epoch in range(2):
        batches.start_epoch(epoch)
        for inputs, _, numbers in (batches[0], batches[1]):
            np.testing.assert_array_equal(inputs, unchanged[numbers.astype(int)])


def test_what_cannot_be_drawn_for_is_refused() -> None:
    for unfit in ({"classes": 3, "head": "softmax"}, {"fine_tune_epochs": 0}):
        with pytest.raises(ValidationError, match="synthetic_opacity_ratio=0"):
            TrainingConfig(synthetic_opacity_ratio=0.5, **unfit)
