"""What a training run is asked to do, defined once.

The command line, the form on the training page and the run's ``config.json`` all come from
`TrainingConfig`. Nothing here imports Keras, so that a page can show the form at once.
"""

import argparse
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from cxrlib import runs

NetworkName = Literal["cnn", "mobilenetv2", "vgg16", "resnet50", "efficientnetb0", "densenet121"]
Equalization = Literal["none", "histogram", "clahe"]
AugmentationName = Literal["none", "light", "strong"]


class TrainingConfig(BaseModel):
    """One training run. A bad value is refused where it is set, with the reason."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    name: str | None = Field(
        None, description="name of the run's folder; by default made of network, size and time"
    )
    network: NetworkName = Field("mobilenetv2", description="architecture")
    size: int = Field(224, ge=96, le=512, description="side of the network's input, in pixels")
    weights: str = Field(
        "imagenet",
        description="what the backbone starts from: imagenet, none, a weights file (.h5), or the "
        "model.keras of another run",
    )
    classes: Literal[2, 3] = Field(
        2, description="2: normal, pneumonia; 3: normal, bacterial, viral"
    )
    head: Literal["sigmoid", "softmax"] = Field(
        "sigmoid", description="sigmoid (two classes) or softmax"
    )
    equalization: Equalization = Field(
        "none", description="fixed contrast treatment of every picture, kept for serving"
    )
    augmentation: AugmentationName = Field("strong", description="preset of random changes")
    view: Literal["whole", "lungs"] = Field(
        "whole",
        description="what the network sees: the whole picture, or the lungs' box set to a standard "
        "frame, which takes its shape, borders and markers out of play; kept for serving",
    )
    repaint: bool = Field(
        False,
        description="often paint over what lies outside the lungs while training, so that the "
        "network cannot lean on it",
    )
    drawn_opacities: float = Field(
        0.0,
        ge=0,
        le=2,
        description="how many normal pictures, as a share of all, are trained on once more while "
        "fine-tuning: with opacities drawn into their lungs, and as pneumonia",
    )
    validation_share: float = Field(
        0.15, ge=0.05, le=0.5, description="share of train+val held out, whole patients at a time"
    )
    imbalance: Literal["class_weights", "oversample", "none"] = Field(
        "class_weights", description="what is done about the unequal class sizes"
    )
    head_epochs: int = Field(
        5, ge=0, le=200, description="epochs for the head alone, backbone frozen"
    )
    fine_tune_epochs: int = Field(
        8, ge=0, le=500, description="epochs of fine-tuning after that (all of a cnn's training)"
    )
    fine_tune_layers: int | None = Field(
        None,
        ge=1,
        description="fine-tune only the last N layers, of which Keras counts those without weights "
        "too; by default all",
    )
    optimizer: Literal["adam", "adamw", "nadam", "sgd"] = Field("adam", description="optimizer")
    head_rate: float = Field(1e-3, gt=0, le=1, description="learning rate for the head alone")
    rate: float = Field(1e-4, gt=0, le=1, description="peak learning rate of fine-tuning")
    schedule: Literal["cosine", "constant"] = Field(
        "cosine", description="course of the fine-tuning rate; cosine starts with a short warm-up"
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=0.5, description="how far targets are moved towards even odds"
    )
    taught_by: Literal["labels", "run"] = Field(
        "labels",
        description="what fine-tuning goes by: the labels; or the run that weights names, of which "
        "the network learns to say of changed pictures what that one says of them unchanged",
    )
    consistency: float = Field(
        0.0,
        ge=0,
        le=10,
        description="how much two random variants of a picture must agree while fine-tuning (if "
        "opacities are drawn in, each with its own); above 0 a step takes two variants each of "
        "half as many pictures",
    )
    kept_share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="after training on from another run's backbone, the share of that run's "
        "weights, its head's too, in the mean that is served (after WiSE-FT); 0 serves what was "
        "reached",
    )
    dropout: float = Field(0.2, ge=0, lt=1, description="dropout before the last layer")
    batch: int = Field(32, ge=2, le=1024, description="pictures a step")
    patience: int = Field(
        5,
        ge=1,
        description="stop after so many epochs without a better validation AUC; what a run "
        "teaches is learned to the end",
    )
    mixed_precision: bool = Field(False, description="16-bit arithmetic where the GPU has it")
    distribute: bool = Field(
        False,
        description="spread every batch over all GPUs of the machine; a batch is still one step",
    )
    batch_statistics: Literal["plain", "augmented", "moving"] = Field(
        "plain",
        description="what batch normalization goes by after fine-tuning: statistics gathered anew "
        "on plain training pictures (they fit plain pictures), anew on pictures changed as in "
        "training (the verdict hangs less on small changes), or the moving averages of training",
    )
    seed: int = Field(0, ge=0, description="seed of split, weights, order and augmentation")

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
        if self.classes == 3 and self.head == "sigmoid":
            raise ValueError("three classes need head=softmax: a sigmoid tells only two apart")
        if self.head_epochs + self.fine_tune_epochs == 0:
            raise ValueError("nothing to train: set head_epochs or fine_tune_epochs above 0")
        if self.network == "cnn" and self.weights != "none":
            raise ValueError("the cnn has no pretrained weights: set weights=none")
        if self.weights == "none" and self.head_epochs > 0:
            raise ValueError(
                "a backbone without pretrained weights cannot stay frozen: set head_epochs=0"
            )
        if self.consistency and (self.augmentation == "none" or not self.fine_tune_epochs):
            raise ValueError(
                "consistency compares random variants while fine-tuning: set augmentation and "
                "fine_tune_epochs, or consistency=0"
            )
        if self.drawn_opacities and (self.classes == 3 or not self.fine_tune_epochs):
            raise ValueError(
                "a drawn opacity is neither bacterial nor viral, and is for fine-tuning: set "
                "classes=2 and fine_tune_epochs, or drawn_opacities=0"
            )
        if self.repaint and (self.augmentation == "none" and not self.fine_tune_epochs):
            raise ValueError(
                "surroundings are repainted while pictures are changed at random or fine-tuning "
                "goes on: set augmentation or fine_tune_epochs, or repaint off"
            )
        if self.taught_by == "run" and (
            not self.weights.endswith(".keras")
            or self.augmentation == "none"
            or not self.fine_tune_epochs
        ):
            raise ValueError(
                "a run teaches how to read pictures that are changed: set weights to its "
                "model.keras, augmentation and fine_tune_epochs, or taught_by=labels"
            )
        if self.taught_by == "run" and (
            self.head_epochs or self.label_smoothing or self.consistency
        ):
            raise ValueError(
                "a run teaches what it says, not the labels: set head_epochs, "
                "label_smoothing and consistency to 0, or taught_by=labels"
            )
        if self.kept_share and not self.weights.endswith(".keras"):
            raise ValueError(
                "kept_share mixes with the network of another run: set weights to its model.keras"
            )
        if self.consistency and (self.distribute or self.batch % 2):
            raise ValueError(
                "consistency compares pairs within a batch: set distribute off and an even batch"
            )
        return self

    @property
    def class_names(self) -> tuple[str, ...]:
        """The network's outputs in order; NORMAL is always first."""
        return ("NORMAL", "PNEUMONIA") if self.classes == 2 else ("NORMAL", "BACTERIAL", "VIRAL")

    @property
    def gathers_statistics(self) -> bool:
        """Whether batch normalization is to go by statistics gathered after training."""
        learned_anew = self.fine_tune_epochs > 0 and self.taught_by == "labels"
        return learned_anew and self.batch_statistics != "moving"

    def for_record(self, name: str) -> "TrainingConfig":
        """As it is kept with the run of that name.

        Where files lay on this machine is nobody's business; their names are, and of a run's
        network also the run's.
        """
        file = Path(self.weights)
        weights = f"{file.parent.name}/{file.name}" if file.suffix == ".keras" else file.name
        return self.model_copy(update={"name": name, "weights": weights})


def again(recorded: dict[str, Any], models: Path) -> dict[str, Any]:
    """What a run's ``config.json`` asks for, to be asked once more under another name.

    Where the run began with another's network, that is the one of that run in ``models``.
    """
    beside = models / recorded.get("weights", "")
    weights = {"weights": str(beside)} if beside.is_file() else {}
    return {key: value for key, value in recorded.items() if key != "name"} | weights


def default_name(config: TrainingConfig) -> str:
    """A run's name made of network, size and time."""
    return f"{config.network}-{config.size}-{datetime.now():%Y%m%d-%H%M%S}"


def problems(error: ValidationError) -> dict[str, str]:
    """What is wrong, a sentence a field; under the empty name what concerns several fields.

    >>> try:
    ...     TrainingConfig(rate=0)
    ... except ValidationError as error:
    ...     problems(error)
    {'rate': 'Should be greater than 0, not 0.'}
    """
    found = {}
    for problem in error.errors():
        field = str(problem["loc"][0]) if problem["loc"] else ""
        if problem["type"] == "value_error":
            sentence = str(problem["ctx"]["error"])
        else:
            said = problem["msg"].removeprefix("Input ").rstrip(".")
            sentence = f"{said}, not {problem['input']}"
        found[field] = sentence[0].upper() + sentence[1:].rstrip(".") + "."
    return found


def for_network(network: str, **values: object) -> dict[str, object]:
    """Starting values that suit a network, overridden by ``values``."""
    suited: dict[str, object] = {"network": network}
    if network == "cnn":
        suited |= {
            "weights": "none",
            "head_epochs": 0,
            "fine_tune_epochs": 15,
            "rate": 1e-3,
            "size": 150,
        }
    return suited | values


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One option a field of `TrainingConfig`; an option that is not given stays out."""
    for name, field in TrainingConfig.model_fields.items():
        option = "--" + name.replace("_", "-")
        default = "" if field.default is None else f" (default: {field.default})"
        help_text = f"{field.description}{default}".replace("%", "%%")
        if field.annotation is bool:
            parser.add_argument(
                option,
                action=argparse.BooleanOptionalAction,
                default=argparse.SUPPRESS,
                help=help_text,
            )
        else:
            literal = getattr(field.annotation, "__origin__", None) is Literal
            choices = [str(value) for value in get_args(field.annotation)]
            whole = literal and isinstance(get_args(field.annotation)[0], int)
            parser.add_argument(
                option,
                type=int if whole else str,
                default=argparse.SUPPRESS,
                metavar="{" + ",".join(choices) + "}" if literal else name.split("_")[-1].upper(),
                help=help_text,
            )
