"""Names that configurations had before version 0.2.

Run folders and command lines of that time go on working: `upgrade` gives a configuration today's
names, wherever one is read.
"""

from collections.abc import Mapping
from typing import Any

RENAMED = {
    "view": "crop",
    "repaint": "randomize_background",
    "drawn_opacities": "synthetic_opacity_ratio",
    "validation_share": "validation_fraction",
    "head_rate": "head_learning_rate",
    "rate": "learning_rate",
    "taught_by": "distill_from_start",
    "consistency": "consistency_weight",
    "kept_share": "weight_interpolation",
    "batch": "batch_size",
    "batch_statistics": "batchnorm_recalibration",
}
_VALUES: dict[str, dict[object, object]] = {
    "view": {"whole": "none"},
    "taught_by": {"labels": False, "run": True},
    "batch_statistics": {"moving": "none"},
}


def upgrade(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration under today's names, in its own order.

    >>> upgrade({"size": 224, "view": "whole", "rate": 0.001})
    {'size': 224, 'crop': 'none', 'learning_rate': 0.001}
    """
    return {
        RENAMED.get(name, name): _VALUES.get(name, {}).get(value, value)
        if name in _VALUES and isinstance(value, str | bool)
        else value
        for name, value in config.items()
    }
