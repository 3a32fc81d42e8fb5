"""Batches made ahead of the step: the same as made one by one, whatever was asked for before."""

import numpy as np
import pytest

from cxrlib.training.augment import PRESETS
from cxrlib.training.batches import Batches, Samples, Variation
from cxrlib.training.prefetch import fit_input

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 16, 16), np.uint8)
LABELS = (np.arange(40) % 2).astype(np.float32)


def fresh() -> Batches:
    samples = Samples(PIXELS, np.arange(40), LABELS[:, None], np.ones(40, np.float32))
    return Batches(samples, variation=Variation(PRESETS["strong"]), batch_size=4, seed=3)


def inputs(batches: Batches) -> np.ndarray:
    return np.stack([batches[number][0] for number in range(len(batches))])


def test_batches_made_ahead_are_those_made_one_by_one() -> None:
    batches = fresh()
    alone = np.stack([batches.make(number)[0] for number in range(10)])
    np.testing.assert_array_equal(inputs(batches), alone)


def test_what_was_made_ahead_is_dropped_with_its_epoch() -> None:
    batches, next_one = fresh(), fresh()
    batches[0]
    batches.start_epoch(1)
    next_one.start_epoch(1)
    seen = inputs(batches)
    np.testing.assert_array_equal(seen, inputs(next_one))
    assert (seen != inputs(fresh())).any()
    batches.start_epoch(1, step=7)
    np.testing.assert_array_equal(inputs(batches), seen[7:])


def test_what_a_thread_cannot_do_is_an_error_of_the_step() -> None:
    samples = Samples(PIXELS, np.full(40, 99), LABELS[:, None], np.ones(40, np.float32))
    with pytest.raises(IndexError):
        Batches(samples, batch_size=4, seed=0)[0]


def test_tensorflow_is_given_one_epoch_in_its_order() -> None:
    batches = fresh()
    batches.start_epoch(2, step=3)
    given = list(fit_input(batches))
    assert len(given) == 7
    for number, (pixels, targets, weights) in enumerate(given):
        for tensor, array in zip((pixels, targets, weights), batches.make(number), strict=True):
            np.testing.assert_array_equal(tensor.numpy(), array)
