"""What a training run is asked to do, defined once.

The command line, the form on the training page and the run's ``config.json`` all come from
`TrainingConfig`. Nothing here imports Keras, so that a page can show the form at once.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from cxrlib import runs
from cxrlib.labels import BINARY, SUBTYPES
from cxrlib.runs.config_rules import check
from cxrlib.runs.legacy import upgrade

NetworkName = Literal[
    "cnn",
    "mobilenetv2",
    "vgg16",
    "resnet50",
    "efficientnetb0",
    "efficientnetv2b0",
    "densenet121",
    "convnexttiny",
]
Equalization = Literal["none", "histogram", "clahe"]
AugmentationName = Literal["none", "light", "strong", "machines"]

# The groups of fields on the form and in --help; a field without one is ADVANCED.
BASIC: dict[str, Any] = {"group": "Basic"}
ADVANCED: dict[str, Any] = {"group": "Advanced"}
AUGMENTATION: dict[str, Any] = {"group": "Augmentation"}
RESEARCH: dict[str, Any] = {"group": "Research"}
# What only configurations of earlier versions set: on no form, and not in --help.
LEGACY: dict[str, Any] = {"group": "Legacy"}

# Fields of `TrainingConfig` that are amounts of augmentation, under the names of `Augmentation`.
AMOUNTS = ("rotation", "shift", "zoom", "flip", "brightness", "contrast", "noise")


def _amount(most: float, description: str) -> Any:
    """A field that says how far one random change goes, by default as far as the preset's."""
    return Field(
        None,
        ge=0,
        le=most,
        description=f"{description}; by default the preset's, 0 switches it off",
        json_schema_extra=AUGMENTATION,
    )


class TrainingConfig(BaseModel):
    """One training run. A bad value is refused where it is set, with the reason."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    name: str | None = Field(
        None,
        description="name of the run; by default network, size and time",
        json_schema_extra=BASIC,
    )
    network: NetworkName = Field("mobilenetv2", description="architecture", json_schema_extra=BASIC)
    size: int = Field(
        224, ge=96, le=512, description="side of the input, in pixels", json_schema_extra=BASIC
    )
    weights: str = Field(
        "imagenet",
        description="initial weights of the backbone: imagenet, none, a weights file (.h5), or the "
        "model.keras of another run",
        json_schema_extra=BASIC,
    )
    classes: Literal[2, 3] = Field(
        2,
        description="2: normal, pneumonia; 3: normal, bacterial, viral",
        json_schema_extra=BASIC,
    )
    augmentation: AugmentationName = Field(
        "strong", description="preset of random augmentation", json_schema_extra=BASIC
    )
    batch_size: int = Field(32, ge=2, le=1024, description="images a step")
    head_epochs: int = Field(
        5,
        ge=0,
        le=200,
        description="epochs for the head alone, backbone frozen",
        json_schema_extra=BASIC,
    )
    fine_tune_epochs: int = Field(
        8,
        ge=0,
        le=500,
        description="epochs of fine-tuning after that (for the cnn, all of its training)",
        json_schema_extra=BASIC,
    )
    learning_rate: float = Field(
        1e-4, gt=0, le=1, description="peak learning rate of fine-tuning", json_schema_extra=BASIC
    )

    rotation: float | None = _amount(180, "rotation, in degrees either way")
    shift: float | None = _amount(0.5, "shift across and down, as a share of the side either way")
    zoom: float | None = _amount(1, "enlarging and shrinking, as a share")
    flip: bool = Field(
        False,
        description="mirror left and right half the time; no preset does: the heart has a side",
        json_schema_extra=AUGMENTATION,
    )
    brightness: float | None = _amount(0.5, "brightness, as a share of the grey scale either way")
    contrast: float | None = _amount(2, "contrast, as a share more or less")
    noise: float | None = _amount(
        100, "largest standard deviation of noise, in grey levels at 168 pixels, in half the images"
    )

    head: Literal["sigmoid", "softmax", "evidence"] = Field(
        "sigmoid",
        description="sigmoid (two classes), softmax, or evidence: two classes, from a map of local "
        "evidence that learns from synthetic opacities where to look",
    )
    hidden_units: int = Field(
        0,
        ge=0,
        le=4096,
        description="width of a dense layer with ReLU before the last layer; 0 for none",
    )
    cnn_width: int = Field(
        16, ge=4, le=128, description="for the cnn, filters of the first convolution"
    )
    cnn_blocks: int = Field(4, ge=2, le=8, description="for the cnn, how many convolutions")
    crop: Literal["none", "lungs"] = Field(
        "none",
        description="what the network sees: the whole image, or the bounding box of the lungs; "
        "kept for serving",
    )
    equalization: Equalization = Field(
        "none", description="contrast equalization of every image; kept for serving"
    )
    validation_fraction: float = Field(
        0.15,
        ge=0.05,
        le=0.5,
        description="fraction of train and val held out for validation, whole patients at a time",
    )
    balanced_validation: bool = Field(
        False,
        description="validate on as many normal images as pneumonias, whole patients of the larger "
        "class left out at random",
    )
    imbalance: Literal["class_weights", "oversample", "none"] = Field(
        "class_weights", description="how unequal class sizes are balanced"
    )
    fine_tune_depth: int | None = Field(
        None,
        ge=1,
        description="fine-tune only the last N layers of the backbone that have weights, a "
        "convolution with its normalization counted once; by default all",
    )
    fine_tune_layers: int | None = Field(
        None,
        ge=1,
        description="fine-tune_depth as it was counted before version 0.2: all of Keras' layers, "
        "with or without weights",
        json_schema_extra=LEGACY,
    )
    optimizer: Literal["adam", "adamw", "nadam", "sgd"] = Field("adam", description="optimizer")
    head_learning_rate: float = Field(
        1e-3, gt=0, le=1, description="learning rate while only the head is trained"
    )
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="learning-rate schedule of fine-tuning; cosine has a short warm-up"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="label smoothing")
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout before the last layer")
    monitor: Literal["auc", "loss", "accuracy"] = Field(
        "auc",
        description="validation metric that decides which epoch is kept and when training stops "
        "early",
    )
    patience: int = Field(
        5, ge=1, description="stop after N epochs without a better validation metric"
    )
    mixed_precision: bool = Field(False, description="16-bit arithmetic on GPUs that have it")
    distribute: bool = Field(False, description="split every batch over all GPUs of the machine")
    seed: int = Field(0, ge=0, description="seed of split, weights, order and augmentation")
    split_seed: int | None = Field(
        None,
        ge=0,
        description="seed of the validation split alone, so that runs of other seeds hold out the "
        "same images and can be averaged; by default the seed",
    )

    randomize_background: bool = Field(
        False,
        description="often replace what lies outside the lungs while training, so that the "
        "network cannot rely on it",
        json_schema_extra=RESEARCH,
    )
    synthetic_opacity_ratio: float = Field(
        0.0,
        ge=0,
        le=2,
        description="how many normal images, as a ratio of all normal ones, are added in "
        "fine-tuning with synthetic opacities in their lungs, labelled pneumonia",
        json_schema_extra=RESEARCH,
    )
    evidence_weight: float = Field(
        1.0,
        ge=0,
        le=10,
        description="weight of the evidence map's loss beside the label's, with head=evidence",
        json_schema_extra=RESEARCH,
    )
    weight_averaging: bool = Field(
        False,
        description="validate and serve an exponential moving average of the weights",
        json_schema_extra=RESEARCH,
    )
    distill_from_start: bool = Field(
        False,
        description="instead of the labels, learn the log-odds that the run whose model.keras is "
        "given as weights assigns to the images before augmentation",
        json_schema_extra=RESEARCH,
    )
    consistency_weight: float = Field(
        0.0,
        ge=0,
        le=10,
        description="weight of the agreement between two augmentations of each image (R-Drop); "
        "above 0 a batch holds two variants each of half as many images",
        json_schema_extra=RESEARCH,
    )
    weight_interpolation: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the initial weights in the served weights (WiSE-FT), when training "
        "starts from another run; 0 serves the trained weights",
        json_schema_extra=RESEARCH,
    )
    batchnorm_recalibration: Literal["plain", "augmented", "none"] = Field(
        "plain",
        description="batch-normalization statistics after fine-tuning: recomputed on plain or on "
        "augmented training images, or the moving averages of training",
        json_schema_extra=RESEARCH,
    )

    @model_validator(mode="before")
    @classmethod
    def _todays_names(cls, values: Any) -> Any:
        return upgrade(values) if isinstance(values, dict) else values

    @field_validator("name")
    @classmethod
    def _folder_name(cls, name: str | None) -> str | None:
        return None if name is None else runs.check_name(name)

    @field_validator("weights")
    @classmethod
    def _weights_exist(cls, weights: str) -> str:
        if weights not in ("imagenet", "none") and Path(weights).suffix not in (".h5", ".keras"):
            raise ValueError(
                "weights are 'imagenet', 'none', or the path of an .h5 file or a run's model.keras"
            )
        return weights

    @model_validator(mode="after")
    def _consistent(self) -> "TrainingConfig":
        check(self)
        return self

    @property
    def class_names(self) -> tuple[str, ...]:
        """The network's outputs in order; NORMAL is always first."""
        return BINARY if self.classes == 2 else SUBTYPES

    @property
    def amounts(self) -> dict[str, float | bool]:
        """The amounts of augmentation that are set over the preset."""
        return amounts(self.model_dump())

    @property
    def augments(self) -> bool:
        """Whether training images are changed at random."""
        return self.augmentation != "none" or any(self.amounts.values())

    @property
    def recalibrates_batchnorm(self) -> bool:
        """Whether batch-normalization statistics are recomputed after training."""
        trained = self.fine_tune_epochs > 0 and not self.distill_from_start
        if self.head == "evidence":  # its normalization is folded into convolutions
            return False
        return trained and self.batchnorm_recalibration != "none"

    def for_record(self, name: str) -> "TrainingConfig":
        """As it is kept with the run of that name.

        Where files lay on this machine is nobody's business; their names are, and of a run's
        network also the run's.
        """
        file = Path(self.weights)
        weights = f"{file.parent.name}/{file.name}" if file.suffix == ".keras" else file.name
        return self.model_copy(update={"name": name, "weights": weights})


def amounts(values: Mapping[str, Any]) -> dict[str, float | bool]:
    """The amounts of augmentation that a configuration sets over its preset."""
    found = {name: values.get(name) for name in AMOUNTS}
    return {name: value for name, value in found.items() if not (value is None or value is False)}


def describe_augmentation(values: Mapping[str, Any]) -> str:
    """Preset and amounts of a configuration, in words.

    >>> describe_augmentation({"augmentation": "none", "rotation": 20.0, "flip": True})
    'none, rotation 20, flip'
    """
    parts = [
        name if value is True else f"{name} {value:g}" for name, value in amounts(values).items()
    ]
    return ", ".join([str(values["augmentation"]), *parts])


def repeat_settings(recorded: dict[str, Any], models: Path) -> dict[str, Any]:
    """What a run's ``config.json`` asks for, to be asked once more under another name.

    Where the run began with another's network, that is the one of that run in ``models``.
    """
    beside = models / recorded.get("weights", "")
    weights = {"weights": str(beside)} if beside.is_file() else {}
    return {key: value for key, value in upgrade(recorded).items() if key != "name"} | weights


def seed_of_split(values: Mapping[str, Any]) -> Any:
    """What the validation split of a run is drawn with, by its configuration's values: an integer.

    None where the configuration of an earlier version does not say.
    """
    own = values.get("split_seed")
    return values.get("seed") if own is None else own


def default_name(config: TrainingConfig) -> str:
    """A run's name made of network, size and time."""
    return f"{config.network}-{config.size}-{datetime.now():%Y%m%d-%H%M%S}"


def problems(error: ValidationError) -> dict[str, str]:
    """What is wrong, a sentence a field; under the empty name what concerns several fields.

    >>> try:
    ...     TrainingConfig(learning_rate=0)
    ... except ValidationError as error:
    ...     problems(error)
    {'learning_rate': 'Should be greater than 0, not 0.'}
    """
    found = {}
    for problem in error.errors():
        field = str(problem["loc"][0]) if problem["loc"] else ""
        if problem["type"] == "value_error":
            sentence = str(problem["ctx"]["error"])
        else:
            message = problem["msg"].removeprefix("Input ").rstrip(".")
            message = message.replace("greater than or equal to", "at least")
            message = message.replace("less than or equal to", "at most")
            sentence = f"{message}, not {problem['input']}"
        if "_" not in sentence.split()[0]:  # not an option's name
            sentence = sentence[0].upper() + sentence[1:]
        found[field] = sentence.rstrip(".") + "."
    return found


def for_network(network: str, **values: Any) -> dict[str, Any]:
    """Starting values that suit a network, overridden by ``values``."""
    suited: dict[str, Any] = {"network": network}
    if network == "cnn":
        suited |= {
            "weights": "none",
            "head_epochs": 0,
            "fine_tune_epochs": 15,
            "learning_rate": 1e-3,
            "size": 150,
        }
    return suited | values


def group_of(field: FieldInfo) -> str:
    """The group of settings that a field stands in, such as Basic or Legacy."""
    extra = field.json_schema_extra
    return str((extra if isinstance(extra, dict) else ADVANCED)["group"])


LEGACY_FIELDS = tuple(
    name for name, field in TrainingConfig.model_fields.items() if group_of(field) == "Legacy"
)
