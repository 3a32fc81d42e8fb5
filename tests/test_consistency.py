"""Losses that have images read alike: two random variants, or as a teacher reads them."""

import numpy as np
import pytest
from scipy.special import logit, rel_entr
from sklearn.metrics import log_loss

from cxrlib.training.augment import PRESETS


def test_loss_is_cross_entropy_and_the_divergence_between_the_variants() -> None:
    import keras

    from cxrlib.training.losses import RDropLoss

    rng = np.random.default_rng(0)
    ill = rng.uniform(0.02, 0.98, (8, 1)).astype(np.float32)
    truth = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    both = np.hstack([1 - ill, ill])
    one, other = both[0::2], both[1::2]
    divergence = (rel_entr(one, other) + rel_entr(other, one)).sum(axis=1).mean() / 2
    expected = log_loss(truth, ill[:, 0]) + 3 * divergence
    sigmoid = RDropLoss(keras.losses.BinaryCrossentropy(), 3)
    softmax = RDropLoss(keras.losses.CategoricalCrossentropy(), 3)
    assert float(sigmoid(truth[:, None].astype(np.float32), ill)) == pytest.approx(expected, 1e-5)
    assert float(softmax(np.eye(2, dtype=np.float32)[truth], both)) == pytest.approx(expected, 1e-5)


def test_loss_of_certain_and_opposite_outputs_is_finite() -> None:
    import keras

    from cxrlib.training.losses import RDropLoss

    loss = RDropLoss(keras.losses.BinaryCrossentropy(), 1)
    assert np.isfinite(float(loss(np.ones((2, 1)), np.array([[0.0], [1.0]], np.float32))))


def test_an_epoch_has_two_variants_of_every_image_side_by_side() -> None:
    from cxrlib.training.batches import Batches, Samples, Variation

    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, 32, 32)).astype(np.uint8)
    targets = np.arange(12, dtype=np.float32)[:, None]

    def batches(preset: str) -> Batches:
        return Batches(
            Samples(pixels, np.arange(12), targets, targets[:, 0]),
            variation=Variation(PRESETS[preset], variants=2),
            batch_size=4,
            seed=0,
        )

    plain, changed = batches("none"), batches("strong")
    assert len(plain) == plain.steps == 6
    seen = []
    for number in range(6):
        inputs, truth, weights = plain[number]
        np.testing.assert_array_equal(inputs[0::2], inputs[1::2])
        np.testing.assert_array_equal(inputs[..., 0], pixels[truth[:, 0].astype(int)])
        np.testing.assert_array_equal(truth[:, 0], weights)
        assert (changed[number][0][0::2] != changed[number][0][1::2]).any(axis=(1, 2, 3)).all()
        seen += list(truth[0::2, 0])
    assert sorted(seen) == list(range(12))


def test_loss_to_a_teacher_is_hubers_of_the_log_odds() -> None:
    import keras

    from cxrlib.training.losses import LogitDistillationLoss

    said = np.array([[0.5], [0.5], [0.9]], np.float32)
    says = np.array([[0.6], [0.99], [0.9]], np.float32)
    far = np.abs(logit(said.astype(float)) - logit(says.astype(float)))[:, 0]
    assert far[0] < 1 < far[1]
    expected = [far[0] ** 2 / 2, far[1] - 1 / 2, 0]
    loss = LogitDistillationLoss()
    found = keras.ops.convert_to_numpy(loss.call(said, says))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    both = [np.hstack([1 - one, one]) for one in (said, says)]
    np.testing.assert_allclose(loss.call(*both), expected, atol=1e-5)
    assert np.isfinite(float(loss(np.ones((1, 1)), np.zeros((1, 1), np.float32))))
