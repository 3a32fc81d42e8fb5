"""Versions and devices that Keras trains with."""

import platform
from datetime import datetime

import keras
import numpy as np

from cxrlib import __version__


def environment() -> dict[str, object]:
    """Versions and device, for the run's record."""
    return {
        "cxrlib": __version__,
        "python": platform.python_version(),
        "keras": keras.__version__,
        "backend": keras.backend.backend(),
        "numpy": np.__version__,
        "device": ", ".join(gpus()) or f"CPU ({platform.machine()})",
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def gpus() -> list[str]:
    """The GPUs that the Keras backend can use, by its names for them."""
    match keras.backend.backend():
        case "torch":  # which Keras lists no devices for
            import torch

            return [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        case "jax":  # which fails where it is asked for GPUs and there are none
            import jax

            found = jax.local_devices()
            return [f"gpu:{device.id}" for device in found if device.platform == "gpu"]
    return keras.distribution.list_devices("gpu")
