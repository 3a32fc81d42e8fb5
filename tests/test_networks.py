"""Every registered network: shapes, flat graph, scaling inside."""

import keras
import numpy as np
import pytest

from cxrlib.images.preprocess import prepare
from cxrlib.networks import depth, loading, registry
from cxrlib.runs.config import NetworkName, TrainingConfig
from cxrlib.synthetic.phantom import phantom
from cxrlib.training.networks import freeze

pytestmark = pytest.mark.slow

NAMES = list(registry.REGISTRY)
SQUARE = prepare(phantom(3, pneumonia=True, size=256).pixels, 96)
BATCH = SQUARE[None, ..., None]


def outputs(network: keras.Model, batch: np.ndarray) -> np.ndarray:
    """As `predict_on_batch`, which takes seconds to compile a network for the one batch."""
    return keras.ops.convert_to_numpy(network(batch, training=False))


def test_registry_and_configuration_know_the_same_networks() -> None:
    assert set(NAMES) == set(NetworkName.__args__)


@pytest.mark.parametrize("name", NAMES)
def test_network(name: str) -> None:
    keras.utils.set_random_seed(1)
    model = registry.build(name, size=96, classes=3, head="softmax", weights="none")

    assert not [layer for layer in model.layers if isinstance(layer, keras.Model)], "not flat"
    assert model.input_shape == (None, 96, 96, 1)
    out = outputs(model, BATCH)
    assert out.shape == (1, 3)
    np.testing.assert_allclose(out.sum(), 1, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_the_score_of_an_evidence_head_is_made_from_its_map(name: str, tmp_path) -> None:
    keras.utils.set_random_seed(1)
    model = registry.build(name, size=96, head="evidence", weights="none")
    assert not [layer for layer in model.layers if isinstance(layer, keras.Model)], "not flat"
    evidence = model.get_layer("evidence").output
    assert 96 // evidence.shape[1] <= 16
    both = keras.Model(model.input, [model.output, evidence])
    probability, found = (keras.ops.convert_to_numpy(part) for part in both(BATCH, training=False))
    found = found.astype(np.float64)
    expected = np.log(np.exp(4 * found).mean()) / 4  # kernel 1, bias 0
    np.testing.assert_allclose(probability[0, 0], 1 / (1 + np.exp(-expected)), rtol=1e-3)

    # A run's file is loaded in Keras' safe mode, and a twin begins with its backbone.
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(outputs(again, BATCH), probability, rtol=1e-4)
    begun = (
        registry.build(name, size=96, head="evidence", weights=str(tmp_path / "model.keras"))
        if registry.REGISTRY[name].pretrained
        else again
    )
    features = [
        outputs(keras.Model(one.input, registry.pooled_features(one, name)), BATCH)
        for one in (model, begun)
    ]
    np.testing.assert_allclose(*features, rtol=1e-3, atol=1e-4)


def test_convnext_is_that_of_keras_applications(tmp_path) -> None:
    theirs = keras.applications.ConvNeXtTiny(
        include_top=False, input_shape=(96, 96, 3), weights=None
    )
    rng = np.random.default_rng(0)
    theirs.set_weights([rng.normal(0, 0.05, values.shape) for values in theirs.get_weights()])
    theirs.save_weights(tmp_path / "convnext.weights.h5")
    ours = registry.build("convnexttiny", size=96, weights=str(tmp_path / "convnext.weights.h5"))
    features = keras.Model(ours.input, ours.get_layer("norm").output)
    grey = rng.integers(0, 256, (2, 96, 96, 1)).astype(np.float32)
    np.testing.assert_allclose(
        outputs(features, grey),
        outputs(theirs, np.repeat(grey, 3, axis=-1)),
        atol=1e-3,
    )


@pytest.mark.parametrize("name", NAMES)
def test_every_network_takes_150_pixels(name: str) -> None:
    model = registry.build(name, size=150, weights="none", hidden_units=8)
    assert model.get_layer("hidden").units == 8
    assert model.output_shape == (None, 1)


def test_width_and_depth_of_the_cnn() -> None:
    plain, wide, deep = (
        registry.build("cnn", size=96, weights="none", **shape)
        for shape in ({}, {"cnn_width": 32}, {"cnn_blocks": 6})
    )
    assert wide.get_layer("block1_conv").filters == 2 * plain.get_layer("block1_conv").filters
    features = registry.REGISTRY["cnn"].heatmap_layer
    found = [depth.name(step) for step in depth.steps(deep, features)]
    assert found == depth.names("cnn", cnn_blocks=6)
    assert deep.get_layer(features).output.shape == plain.get_layer(features).output.shape


def test_pooling_is_near_the_mean_or_near_the_maximum() -> None:
    from cxrlib.networks.pooling import LogSumExpPooling

    maps = np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype(np.float32)
    soft, sharp = (
        keras.ops.convert_to_numpy(LogSumExpPooling(sharpness)(maps)) for sharpness in (1e-2, 1e3)
    )
    np.testing.assert_allclose(soft, maps.mean(axis=(1, 2)), atol=0.02)
    np.testing.assert_allclose(sharp, maps.max(axis=(1, 2)), atol=0.02)
    one = np.zeros((1, 6, 5, 1), np.float32)
    pooling = LogSumExpPooling(4.0)
    one[0, 2, 2] = 9 + pooling.one_place(one.shape)
    assert float(pooling(one)[0, 0]) == pytest.approx(9, abs=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_folding_normalization_changes_no_output(name: str) -> None:
    model = registry.build(name, size=96, classes=2, head="sigmoid", weights="none")
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    batch = np.stack([SQUARE, SQUARE[::-1]])[..., None]
    small = loading.folded(model)
    ours, theirs = (
        outputs(keras.Model(one.input, registry.pooled_features(one, name)), batch)
        for one in (small, model)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())
    assert theirs.std() > 0
    assert len(small.layers) < len(model.layers) or name in ("vgg16", "convnexttiny")


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("mobilenetv2", keras.applications.mobilenet_v2.preprocess_input),
        ("vgg16", keras.applications.vgg16.preprocess_input),
        ("resnet50", keras.applications.resnet50.preprocess_input),
        ("efficientnetb0", keras.applications.efficientnet.preprocess_input),
        ("efficientnetv2b0", keras.applications.efficientnet_v2.preprocess_input),
        ("densenet121", keras.applications.densenet.preprocess_input),
    ],
)
def test_scaling_is_that_of_the_pretrained_weights(name: str, reference) -> None:
    grey = np.arange(96 * 96, dtype=np.float32).reshape(1, 96, 96, 1) % 256
    pixels = keras.Input((96, 96, 1))
    scale = keras.Model(pixels, registry.REGISTRY[name].scale(pixels))
    expected = reference(np.repeat(grey, 3, axis=-1))
    np.testing.assert_allclose(outputs(scale, grey), expected, atol=1e-4)


def test_backbone_with_real_weights_is_that_of_keras_applications(real) -> None:
    file = str(real("weights") / "mobilenet_v2_imagenet_notop.weights.h5")
    ours = registry.build("mobilenetv2", weights=file)
    features = keras.Model(ours.input, ours.get_layer("out_relu").output)
    theirs = keras.applications.MobileNetV2(
        include_top=False, input_shape=(224, 224, 3), weights=file
    )
    grey = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 1)).astype(np.float32)
    expected = outputs(theirs, np.repeat(grey, 3, axis=-1) / 127.5 - 1)
    np.testing.assert_allclose(outputs(features, grey), expected, atol=1e-3)


@pytest.mark.parametrize("name", ["cnn", "mobilenetv2"])
def test_fused_normalization_learns_what_keras_does(name: str) -> None:
    from cxrlib.networks.fused_batchnorm import fused

    model = registry.build(name, size=96, weights="none", dropout=0)
    quick = fused(model)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (8, 96, 96, 1)).astype(np.uint8)
    targets = rng.integers(0, 2, (8, 1)).astype(np.float32)
    before = np.concatenate([values.ravel() for values in model.get_weights()])
    changes = []
    for network in (model, quick):
        network.compile(keras.optimizers.SGD(1e-3), "binary_crossentropy")
        network.train_on_batch(pixels, targets)
        after = np.concatenate([values.ravel() for values in network.get_weights()])
        changes.append(after - before)
    # Rounding alone, of the images' seventh digit, changes a fresh MobileNetV2's gradient by 1 %.
    assert np.linalg.norm(changes[1] - changes[0]) < 0.03 * np.linalg.norm(changes[0])
    # What is served is a network of Keras' own layers with these weights.
    fused_outputs = quick.predict_on_batch(pixels)
    model.set_weights(quick.get_weights())
    np.testing.assert_allclose(model.predict_on_batch(pixels), fused_outputs, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "alexnet"}, "mobilenetv2"),
        ({"name": "cnn", "weights": "none", "size": 64}, "96 to 512"),
        ({"name": "cnn", "weights": "none", "classes": 3}, "softmax"),
        ({"name": "cnn", "weights": "none", "head": "evidence", "size": 100}, "multiple of 32"),
        ({"name": "cnn", "weights": "imagenet"}, "weights=none"),
        ({"name": "mobilenetv2", "weights": "nowhere.h5"}, "Check the path"),
    ],
)
def test_refusals_name_the_remedy(arguments: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        registry.build(**arguments)


def test_a_network_begins_with_the_backbone_of_a_run_at_another_size(tmp_path) -> None:
    learned = registry.build("mobilenetv2", size=96, weights="none")
    learned.save(tmp_path / "model.keras")
    begun = registry.build(
        "mobilenetv2", size=128, classes=3, head="softmax", weights=str(tmp_path / "model.keras")
    )
    for layer in ("Conv1", "block_16_project_BN", "Conv_1"):
        for one, other in zip(
            begun.get_layer(layer).get_weights(),
            learned.get_layer(layer).get_weights(),
            strict=True,
        ):
            np.testing.assert_array_equal(one, other)


def test_a_run_of_another_network_is_refused_as_weights(tmp_path) -> None:
    file = tmp_path / "model.keras"
    registry.build("cnn", size=96, weights="none").save(file)
    with pytest.raises(registry.WeightsError, match="run of this network"):
        registry.build("mobilenetv2", size=96, weights=str(file))


def test_weights_of_another_network_are_refused(tmp_path) -> None:
    file = tmp_path / "other.weights.h5"
    registry.build("cnn", size=96, weights="none").save_weights(file)
    refused = pytest.raises(registry.WeightsError, match="does not hold weights of mobilenetv2")
    with pytest.warns(UserWarning, match="no matching group"), refused:
        registry.build("mobilenetv2", size=96, weights=str(file))


@pytest.mark.parametrize("name", NAMES)
def test_the_layers_that_a_page_names_are_the_networks(name: str) -> None:
    model = registry.build(name, size=96, weights="none")
    steps = depth.steps(model, registry.REGISTRY[name].heatmap_layer)
    assert [depth.name(step) for step in steps] == depth.names(name)
    learning = [layer.name for layer in model.layers if layer.trainable_weights]
    assert sorted(layer.name for step in steps for layer in step) == sorted(
        layer for layer in learning if layer != "probability"
    )


def test_the_last_five_layers_are_the_last_five_convolutions() -> None:
    for name, expected in {
        "vgg16": ["block4_conv2", "block4_conv3", *(f"block5_conv{n}" for n in (1, 2, 3))],
        "resnet50": [
            "conv5_block2_2_conv", "conv5_block2_2_bn", "conv5_block2_3_conv", "conv5_block2_3_bn",
            *(f"conv5_block3_{n}_{kind}" for n in (1, 2, 3) for kind in ("conv", "bn")),
        ],
    }.items():  # fmt: skip
        model = registry.build(name, size=96, weights="none")
        freeze(TrainingConfig(network=name, fine_tune_depth=5), model)
        learning = {layer.name for layer in model.layers if layer.trainable_weights}
        assert learning == {*expected, "probability"}


@pytest.mark.parametrize("fuse", [False, True])
def test_statistics_gathered_again_are_the_means_over_the_batches(fuse: bool) -> None:
    from cxrlib.networks.fused_batchnorm import fused
    from cxrlib.networks.loading import reestimate_normalization

    model = registry.build("cnn", size=96, weights="none", dropout=0)
    model = fused(model) if fuse else model
    rng = np.random.default_rng(0)
    batches = [
        (rng.integers(0, 256, (6, 96, 96, 1)) * share).astype(np.uint8) for share in (0.2, 0.5, 1)
    ]
    layers = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    reestimate_normalization(model, iter(batches))
    into = keras.Model(model.input, layers[0].input)
    values = [into.predict_on_batch(batch) for batch in batches]
    for found, expected in (
        (layers[0].moving_mean, [one.mean((0, 1, 2)) for one in values]),
        (layers[0].moving_variance, [one.var((0, 1, 2)) for one in values]),
    ):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(found), np.mean(expected, 0), rtol=1e-3, atol=1e-6
        )
    assert [layer.momentum for layer in layers] == momenta
