"""What each command of `python -m cxrlib` does with its options.

Each prints what it has to say and returns the exit status.
"""

import argparse
from collections.abc import Callable

from cxrlib.commands import data, evaluating, reading, training

COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "download": data.download,
    "train": training.train,
    "sweep": training.sweep,
    "delete": training.delete,
    "train-lungs": training.train_lungs,
    "evaluate": evaluating.evaluate,
    "stress": evaluating.stress_run,
    "describe": evaluating.describe,
    "faithfulness": evaluating.faithfulness_run,
    "ensemble": evaluating.save_ensemble,
    "predict": reading.predict,
    "explain": reading.explain_file,
    "export": training.export_run,
}
