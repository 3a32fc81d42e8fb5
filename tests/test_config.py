"""A training run's configuration: what it refuses, and that form, command and file agree."""

import argparse
import json
from typing import get_args

import pytest
from pydantic import ValidationError

from cxrlib.runs import config, options
from cxrlib.runs.config import NetworkName, TrainingConfig
from cxrlib.training.augment import PRESETS, recipe_of


def problems(**values: object) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        TrainingConfig(**values)
    return config.problems(caught.value)


@pytest.mark.parametrize("network", get_args(NetworkName))
def test_what_suits_a_network_is_allowed(network: str) -> None:
    assert TrainingConfig(**config.for_network(network)).network == network


def test_given_values_override_what_suits() -> None:
    assert config.for_network("cnn", size=96)["size"] == 96


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("learning_rate", 0, "greater than 0"),
        ("size", 95, "at least 96"),
        ("size", 513, "at most 512"),
        ("batch_size", 1, "at least 2"),
        ("name", "a/b", "letters, digits"),
        ("network", "alexnet", "'cnn'"),
        ("weights", "notes.txt", ".h5"),
        ("dropout", 1, "less than 1"),
        ("rotation", 181, "at most 180"),
        ("contrast", -0.1, "at least 0"),
        ("epochs", 3, "not permitted"),
    ],
)
def test_bad_value_is_refused_at_its_field(field: str, value: object, reason: str) -> None:
    found = problems(**{field: value})
    assert list(found) == [field]
    assert reason in found[field]
    assert found[field].endswith(".")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"classes": 3}, "softmax"),
        ({"head_epochs": 0, "fine_tune_epochs": 0}, "Nothing to train"),
        ({"network": "cnn"}, "no pretrained weights"),
        ({"weights": "none"}, "cannot stay frozen"),
        (
            {"consistency_weight": 1, "augmentation": "none"},
            "consistency_weight compares augmentations",
        ),
        (
            {"consistency_weight": 1, "fine_tune_epochs": 0},
            "consistency_weight compares augmentations",
        ),
        ({"consistency_weight": 1, "batch_size": 15}, "an even "),
        (
            {"randomize_background": True, "augmentation": "none", "fine_tune_epochs": 0},
            "randomize_background off",
        ),
        ({"weight_interpolation": 0.5}, "the network of another run"),
        ({"consistency_weight": 1, "distribute": True}, "set distribute off"),
        ({"distill_from_start": True, "head_epochs": 0}, "set weights to its model.keras"),
        ({"distill_from_start": True, "weights": "a/model.keras"}, "does not use the labels"),
    ],
)
def test_values_that_do_not_go_together_are_refused(values: dict[str, object], reason: str) -> None:
    assert reason in problems(**values)[""]


def test_command_line_and_file_give_the_same_configuration() -> None:
    parser = argparse.ArgumentParser()
    options.add_arguments(parser)
    line = "--size 128 --batchnorm-recalibration none --learning-rate 3e-4 --optimizer sgd --name x"
    given = TrainingConfig(**vars(parser.parse_args(line.split())))
    assert given.learning_rate == 3e-4
    assert given.batchnorm_recalibration == "none"
    assert TrainingConfig(**json.loads(given.model_dump_json())) == given


def test_amounts_of_augmentation_are_set_over_the_preset() -> None:
    parser = argparse.ArgumentParser()
    options.add_arguments(parser)
    line = "--augmentation light --rotation 25 --zoom 0 --flip"
    asked = TrainingConfig(**vars(parser.parse_args(line.split())))
    recipe = recipe_of(asked.augmentation, asked.amounts)
    assert (recipe.rotation, recipe.zoom, recipe.flip) == (25, 0, True)
    assert recipe.shift == PRESETS["light"].shift
    assert asked.augments and TrainingConfig(augmentation="none", noise=5).augments
    assert not TrainingConfig(augmentation="none", rotation=0).augments
    assert recipe_of("strong", TrainingConfig().amounts) == PRESETS["strong"]
    assert config.describe_augmentation(asked.model_dump()) == "light, rotation 25, zoom 0, flip"


def test_amounts_are_those_of_augmentation() -> None:
    assert set(config.AMOUNTS) <= set(vars(PRESETS["none"]))


@pytest.mark.parametrize(
    ("file", "name"),
    [("mobilenet.h5", "mobilenet.h5"), ("first/model.keras", "first/model.keras")],
)
def test_record_tells_the_weights_name_and_not_where_they_lay(file: str, name: str) -> None:
    asked = TrainingConfig(weights=f"/home/somebody/{file}")
    record = asked.for_record("trial")
    assert (record.name, record.weights) == ("trial", name)
