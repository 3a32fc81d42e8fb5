"""The fields of `TrainingConfig` as options of a command line."""

import argparse
from typing import Literal, get_args

from pydantic.fields import FieldInfo

from cxrlib.runs.config import (
    ADVANCED,
    AUGMENTATION,
    BASIC,
    RESEARCH,
    TrainingConfig,
    group_of,
)
from cxrlib.runs.legacy import RENAMED


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """One option a field of `TrainingConfig`; an option that is not given stays out.

    Options of before version 0.2 still work and are not listed.
    """
    groups = {
        group["group"]: parser.add_argument_group(f"{group['group'].lower()} settings")
        for group in (BASIC, AUGMENTATION, ADVANCED, RESEARCH)
    }
    for name, field in TrainingConfig.model_fields.items():
        if group_of(field) not in groups:
            _add_option(parser, name, field, argparse.SUPPRESS)
            continue
        default = "" if field.default is None else f" (default: {field.default})"
        help_text = f"{field.description}{default}".replace("%", "%%")
        _add_option(groups[group_of(field)], name, field, help_text)
    for old, new in RENAMED.items():
        _add_option(parser, old, TrainingConfig.model_fields[new], argparse.SUPPRESS)


def _add_option(
    to: argparse._ActionsContainer, name: str, field: FieldInfo, help_text: str
) -> None:
    option = "--" + name.replace("_", "-")
    if field.annotation is bool and name != "taught_by":  # took labels or run
        to.add_argument(
            option,
            action=argparse.BooleanOptionalAction,
            default=argparse.SUPPRESS,
            help=help_text,
        )
        return
    literal = getattr(field.annotation, "__origin__", None) is Literal
    choices = [str(value) for value in get_args(field.annotation)]
    integer = literal and isinstance(get_args(field.annotation)[0], int)
    to.add_argument(
        option,
        type=int if integer else str,
        default=argparse.SUPPRESS,
        metavar="{" + ",".join(choices) + "}" if literal else name.split("_")[-1].upper(),
        help=help_text,
    )
